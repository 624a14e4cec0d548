//! All that came of a case.

use super::files::{Files, lines_of, unpack};
use super::report::Report;
use super::{Case, books, render};

/// What a call of the binary left: exit code, prints, files.
pub(crate) struct Outcome {
    /// What was run.
    pub(crate) case: Case,
    /// The exit code; none after a signal.
    pub(crate) exit: Option<i32>,
    /// The reports, in the order of the sources.
    pub(crate) reports: Vec<Report>,
    /// Standard output without reports.
    pub(crate) stdout: Vec<u8>,
    /// Standard error without reports.
    pub(crate) stderr: String,
    /// All files that were there before.
    pub(crate) before: Files,
    /// All files that are there now.
    pub(crate) after: Files,
}

impl Outcome {
    pub(super) fn new(
        case: Case,
        exit: Option<i32>,
        stdout: &[u8],
        stderr: &[u8],
        before: Files,
        after: Files,
    ) -> Outcome {
        let (mut reports, stdout) = Report::split(stdout);
        let (others, stderr) = Report::split(stderr);
        reports.extend(others);
        if reports.is_empty() {
            // They may be in a file only, which is not among the objects.
            let written = after
                .iter()
                .filter(|(name, _)| !name.contains('/') && !before.contains_key(*name));
            reports.extend(written.flat_map(|(_, bytes)| Report::split(bytes).0));
        }
        Outcome {
            case,
            exit,
            reports,
            stdout,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            before,
            after,
        }
    }

    /// Compares all of it with `expected`, which is written like this:
    ///
    /// ```text
    /// exit 1
    /// corrupted: loaded 7, processed 6, corrupted 1
    /// out/corruption/a.txt: asd
    ///   5 corrupt: not a valid integer: `asd`
    /// out/destination/a.txt: 407
    /// ```
    ///
    /// First the exit code, then for each report status and counters (those that are not 0) and the errors that no
    /// line explains, what was printed, and each file that is new: its lines, joined by `,`, and why they are there.
    /// Whatever is left out must not be there. Fuel is left out of reasons, and so is the folder of the case.
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let seen = render::render(self);
        let expected = render::undent(expected);
        assert!(
            seen == expected,
            "\n--- expected ---\n{expected}\n--- seen ---\n{seen}\n--- stderr ---\n{}",
            self.stderr_start()
        );
    }

    /// Checks what holds for every outcome: lines are conserved, nothing panicked.
    #[track_caller]
    pub(crate) fn check_books(&self) {
        let panicked = |line: &str| line.starts_with("thread '") && line.contains("panicked at");
        assert!(!self.stderr.lines().any(panicked), "{}", self.stderr);
        books::check(self);
    }

    /// The report of a case with one source.
    #[track_caller]
    pub(crate) fn report(&self) -> &Report {
        match &self.reports[..] {
            [report] => report,
            others => panic!(
                "one report is expected, not {}\n{}",
                others.len(),
                self.stderr_start()
            ),
        }
    }

    /// The plain bytes of a file that was written, or is still there.
    #[track_caller]
    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        let bytes = self.after.get(path).unwrap_or_else(|| {
            let names: Vec<_> = self.after.keys().collect();
            panic!("{path} is not among {names:?}\n{}", self.stderr_start())
        });
        unpack(path, bytes)
    }

    /// The same as text.
    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path)).expect("it is text")
    }

    /// The lines of a file, or none where it is not there.
    pub(crate) fn lines(&self, path: &str) -> Vec<String> {
        let bytes = self.after.get(path).map(|bytes| unpack(path, bytes));
        let bytes = bytes.unwrap_or_default();
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        lines_of(&bytes).into_iter().map(text).collect()
    }

    /// The names of the files that were not there before.
    pub(crate) fn new_files(&self) -> Vec<&str> {
        let names = self.after.keys().map(String::as_str);
        names
            .filter(|name| !self.before.contains_key(*name))
            .collect()
    }

    /// A URL of a report as a path below the case's folder.
    pub(super) fn local(&self, url: &str) -> String {
        let path = url.strip_prefix("file://").unwrap_or(url);
        let dir = format!("{}/", self.case.dir().display());
        path.strip_prefix(&dir).unwrap_or(path).to_owned()
    }

    /// Enough of stderr to see what went wrong.
    pub(crate) fn stderr_start(&self) -> String {
        self.stderr.chars().take(4000).collect()
    }
}
