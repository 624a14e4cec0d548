//! Faults with the same kind and reason, counted: a bounded number of groups. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::{Kind, Row, pattern};
use crate::outcome::cut;

/// So many groups are kept; when there are more, the smaller half of them is put together.
const GROUPS_MAX: usize = 4096;
/// So many names of files, and of plugins, are kept of a group.
const NAMES_MAX: usize = 4;
/// So much is kept of a reason, in bytes.
const REASON_MAX: usize = 1024;
/// So much is kept of a sample, in bytes.
pub(super) const SAMPLE_MAX: usize = 200;

/// Faults with the same kind and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    /// What became of the lines.
    pub kind: Kind,
    /// Why: the pattern of the reasons, or the reason itself.
    pub reason: String,
    /// One of the reasons in full, where that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
    /// How many lines.
    pub count: u64,
    /// How many faults files they are in.
    pub files: u64,
    /// The first of those.
    pub file_names: Vec<String>,
    /// Number of the first line, in the first of the files.
    pub first_line: u64,
    /// Number of the last line, in the last of the files.
    pub last_line: u64,
    /// The least and the most often that the lines had been tried before.
    pub attempts: (u32, u32),
    /// Digests of plugins that ran them, the first few.
    pub plugins: Vec<String>,
    /// Some of the lines.
    pub samples: Vec<Example>,
    #[serde(skip)]
    last_file: usize,
}

/// A line as a sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Example {
    /// The faults file.
    pub file: String,
    /// Number of the line in its source.
    pub line: u64,
    /// Where it starts in the source.
    pub offset: u64,
    /// The line, or its remainder: what is no printable character is escaped.
    pub text: String,
    /// It goes on.
    pub cut: bool,
}

/// Groups while they are counted.
#[derive(Debug)]
pub(super) struct Groups {
    exact: bool,
    samples: usize,
    groups: HashMap<(Kind, String), Group>,
    /// Lines of groups that are no longer kept.
    pub(super) others: u64,
    groups_max: usize,
}

impl Groups {
    /// `exact`: each reason is a group of its own. Of each group, `samples` lines are kept.
    pub(super) fn new(exact: bool, samples: usize) -> Self {
        Groups {
            exact,
            samples,
            groups: HashMap::new(),
            others: 0,
            groups_max: GROUPS_MAX,
        }
    }

    /// Counts what a row of the file `name`, the `file`-th of all, says; `text` is the beginning of its line, and how
    /// long that is.
    pub(super) fn add(
        &mut self,
        file: usize,
        name: &str,
        row: &Row<'_>,
        text: Option<(&[u8], u64)>,
    ) {
        let reason = match self.exact {
            true => Cow::Borrowed(cut(&row.reason, REASON_MAX)),
            false => Cow::Owned(pattern(&row.reason)),
        };
        let key = (row.kind, reason.into_owned());
        if !self.groups.contains_key(&key) {
            self.make_room();
        }
        let samples = self.samples;
        let group = self
            .groups
            .entry(key)
            .or_insert_with_key(|(kind, reason)| Group::new(*kind, reason, file, row));
        group.count(file, name, row);
        if let Some((text, len)) = text
            && group.samples.len() < samples
        {
            group.samples.push(Example {
                file: name.to_owned(),
                line: row.line,
                offset: row.offset,
                text: printable(&text[..text.len().min(SAMPLE_MAX)]),
                cut: len > SAMPLE_MAX as u64,
            });
        }
    }

    /// Lets go of the smaller half, so that what comes often is kept even if it comes late.
    fn make_room(&mut self) {
        if self.groups.len() < self.groups_max {
            return;
        }
        let mut counts: Vec<u64> = self.groups.values().map(|group| group.count).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let (median, mut room) = (*median, middle.max(1));
        self.groups.retain(|_, group| {
            let goes = room > 0 && group.count <= median;
            if goes {
                self.others += group.count;
                room -= 1;
            }
            !goes
        });
    }

    /// The groups, the largest first.
    pub(super) fn into_sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by(|one, two| {
            let by_size = two.count.cmp(&one.count);
            by_size.then_with(|| (one.kind, &one.reason).cmp(&(two.kind, &two.reason)))
        });
        groups
    }
}

impl Group {
    fn new(kind: Kind, reason: &str, file: usize, row: &Row<'_>) -> Self {
        Group {
            kind,
            reason: reason.to_owned(),
            example: (reason != row.reason).then(|| cut(&row.reason, REASON_MAX).to_owned()),
            count: 0,
            files: 0,
            file_names: Vec::new(),
            first_line: row.line,
            last_line: row.line,
            attempts: (row.attempt, row.attempt),
            plugins: Vec::new(),
            samples: Vec::new(),
            last_file: file,
        }
    }

    fn count(&mut self, file: usize, name: &str, row: &Row<'_>) {
        if self.files == 0 || self.last_file != file {
            self.files += 1;
            self.last_file = file;
            if self.file_names.len() < NAMES_MAX {
                self.file_names.push(name.to_owned());
            }
        }
        self.count += row.lines;
        self.last_line = row.line;
        self.attempts.0 = self.attempts.0.min(row.attempt);
        self.attempts.1 = self.attempts.1.max(row.attempt);
        if self.plugins.len() < NAMES_MAX && !self.plugins.iter().any(|known| *known == row.plugin)
        {
            self.plugins.push(cut(&row.plugin, REASON_MAX).to_owned());
        }
    }
}

/// Text that a terminal shows as it is: what is no printable character, or no character at all, is escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push(c),
                c if c.is_control() || is_hidden(c) => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

/// Characters that turn the direction of text, or have no width: what is shown must be what is there.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, reason: &str) -> Row<'_> {
        Row {
            line,
            offset: line * 10,
            kind: Kind::Corrupt,
            reason: reason.into(),
            attempt: line as u32 % 3,
            plugin: "sha256:0".into(),
            lines: 1,
        }
    }

    fn shown(groups: Groups) -> String {
        let show = |group: &Group| {
            let example = group.example.as_deref().unwrap_or("-");
            format!(
                "{} {} [{example}] {}..{} in {} tried {:?}",
                group.count,
                group.reason,
                group.first_line,
                group.last_line,
                group.files,
                group.attempts
            )
        };
        let shown: Vec<_> = groups.into_sorted().iter().map(show).collect();
        shown.join("\n")
    }

    #[test]
    fn groups_by_pattern_or_reason() {
        let rows = [
            (0, 1, "bad 1"),
            (0, 4, "bad 2"),
            (1, 2, "worse"),
            (1, 9, "bad 1"),
        ];
        let table = [
            (
                false,
                "3 bad # [bad 1] 1..9 in 2 tried (0, 1)\n1 worse [-] 2..2 in 1 tried (2, 2)",
            ),
            (
                true,
                "2 bad 1 [-] 1..9 in 2 tried (0, 1)\n1 bad 2 [-] 4..4 in 1 tried (1, 1)\n1 worse [-] 2..2 in 1 tried (2, 2)",
            ),
        ];
        for (exact, expected) in table {
            let mut groups = Groups::new(exact, 0);
            for (file, line, reason) in rows {
                groups.add(file, &format!("f{file}"), &row(line, reason), None);
            }
            assert_eq!(shown(groups), expected);
        }
    }

    #[test]
    fn groups_are_bounded_and_all_lines_counted() {
        let mut groups = Groups::new(true, 1);
        groups.groups_max = 16;
        for n in 0..10_000 {
            groups.add(0, "f", &row(n + 1, &format!("own {n}")), None);
            // What comes often is kept although it comes late.
            if n > 5000 {
                groups.add(0, "f", &row(n + 1, "often"), None);
            }
            assert!(groups.groups.len() <= 16);
        }
        let others = groups.others;
        let sorted = groups.into_sorted();
        assert_eq!(
            (sorted[0].reason.as_str(), sorted[0].count),
            ("often", 4999)
        );
        let kept: u64 = sorted.iter().map(|group| group.count).sum();
        assert_eq!(kept + others, 14_999);
    }

    #[test]
    fn samples_are_cut_and_escaped() {
        let long = [b'x'; 300];
        let table: &[(&[u8], &str, bool)] = &[
            (b"plain \\ text", "plain \\ text", false),
            (b"a\tb\x1b[31m\0\r", "a\\tb\\u{1b}[31m\\u{0}\\r", false),
            ("ü \u{202e}x".as_bytes(), "ü \\u{202e}x", false),
            (b"\xff\xc3", "\\xff\\xc3", false),
            (&long, &"x".repeat(200), true),
        ];
        for (line, expected, cut) in table {
            let mut groups = Groups::new(false, 1);
            groups.add(0, "f", &row(1, "r"), Some((line, line.len() as u64)));
            groups.add(0, "f", &row(2, "r"), Some((b"second", 6)));
            let [group] = &groups.into_sorted()[..] else {
                panic!("one group")
            };
            let [sample] = &group.samples[..] else {
                panic!("one sample")
            };
            assert_eq!((sample.text.as_str(), sample.cut), (*expected, *cut));
        }
    }
}
