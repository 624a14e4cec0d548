//! What is run: files, flags, environment.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::files::write;
use super::outcome::Outcome;
use super::pipe::Pipe;
use super::process::Running;
use super::tools::{binary, cache_home, plugin};

/// One call of the binary in a folder of its own, which is its working directory and its home.
#[derive(Clone)]
pub(crate) struct Case {
    dir: Arc<TempDir>,
    command: Vec<String>,
    plugin: Option<PathBuf>,
    out: Option<String>,
    arguments: Vec<String>,
    sources: Vec<String>,
    variables: Vec<(String, String)>,
    stdin: Option<Vec<u8>>,
    stdin_stays_open: bool,
    range: (Option<u64>, Option<u64>),
}

impl Case {
    /// `linemill run --quiet --plugin NAME --out out`, with a plugin that is known by name.
    pub(crate) fn new(name: &str) -> Case {
        Case::with_plugin(plugin(name))
    }

    /// The same with a component that stands somewhere.
    pub(crate) fn with_plugin(path: impl Into<PathBuf>) -> Case {
        let mut case = Case::command(["run", "--quiet"]);
        case.plugin = Some(path.into());
        case.out = Some("out".to_owned());
        case
    }

    /// A command line that says all itself.
    pub(crate) fn command<const N: usize>(words: [&str; N]) -> Case {
        Case {
            dir: Arc::new(TempDir::new().expect("there is room for temporary files")),
            command: words.map(str::to_owned).to_vec(),
            plugin: None,
            out: None,
            arguments: Vec::new(),
            sources: Vec::new(),
            variables: Vec::new(),
            stdin: None,
            stdin_stays_open: false,
            range: (None, None),
        }
    }

    /// A further call in the folder of this one, with the same flags but without its sources.
    pub(crate) fn again(&self) -> Case {
        let mut case = self.clone();
        case.sources.clear();
        case.stdin = None;
        case.stdin_stays_open = false;
        case.range = (None, None);
        case
    }

    /// Another command line in the folder of this one, which says all itself.
    pub(crate) fn command_here<const N: usize>(&self, words: [&str; N]) -> Case {
        Case {
            dir: self.dir.clone(),
            ..Case::command(words)
        }
    }

    /// `linemill redrive --quiet` in the folder of this one, with another plugin and the same flags.
    pub(crate) fn redrive(&self, name: &str) -> Case {
        let mut case = self.again();
        case.command = ["redrive", "--quiet"].map(str::to_owned).to_vec();
        case.plugin = Some(plugin(name));
        case
    }

    /// Whether objects of faulted lines are run again.
    pub(super) fn is_redrive(&self) -> bool {
        self.command.first().is_some_and(|word| word == "redrive")
    }

    /// A file; no source.
    pub(crate) fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Case {
        write(&self.dir().join(path), bytes.as_ref());
        self
    }

    /// A file that is a source.
    pub(crate) fn input(self, path: &str, bytes: impl AsRef<[u8]>) -> Case {
        self.file(path, bytes).source(path)
    }

    /// A file of these lines that is a source; every line is ended.
    pub(crate) fn input_lines<L: AsRef<str>>(
        self,
        path: &str,
        lines: impl IntoIterator<Item = L>,
    ) -> Case {
        let text: String = lines
            .into_iter()
            .map(|line| format!("{}\n", line.as_ref()))
            .collect();
        self.input(path, text)
    }

    /// A source as the command line names it.
    pub(crate) fn source(mut self, source: &str) -> Case {
        self.sources.push(source.to_owned());
        self
    }

    /// What can be read from standard input.
    pub(crate) fn standard_input(mut self, bytes: impl AsRef<[u8]>) -> Case {
        self.stdin = Some(bytes.as_ref().to_vec());
        self
    }

    /// The same, but standard input does not end.
    pub(crate) fn open_input(self, bytes: impl AsRef<[u8]>) -> Case {
        let mut case = self.standard_input(bytes);
        case.stdin_stays_open = true;
        case
    }

    /// A named pipe in its folder.
    pub(crate) fn pipe(&self, path: &str) -> Pipe {
        Pipe::new(self.dir().join(path))
    }

    /// Flags as they are.
    pub(crate) fn args<const N: usize>(mut self, words: [&str; N]) -> Case {
        self.arguments.extend(words.map(str::to_owned));
        self
    }

    /// `--set NAME=VALUE`
    pub(crate) fn set(self, name: &str, value: impl ToString) -> Case {
        self.args(["--set", &format!("{name}={}", value.to_string())])
    }

    /// `--setting NAME=VALUE`, for the plugin.
    pub(crate) fn setting(self, name: &str, value: &str) -> Case {
        self.args(["--setting", &format!("{name}={value}")])
    }

    /// No time for lines: all of it is kept back for handing them over, so that a busy machine manages that.
    pub(crate) fn without_time(self) -> Case {
        self.args(["--max-exec-time-ms", "20000"])
            .set("deadline_reduction_ms", 20_000)
    }

    /// `--offset` and `--length`
    pub(crate) fn range(mut self, offset: u64, length: Option<u64>) -> Case {
        self.range = (Some(offset), length);
        self
    }

    /// An environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Case {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another base for all that is written.
    pub(crate) fn out(mut self, url: &str) -> Case {
        self.out = Some(url.to_owned());
        self
    }

    /// No base for all that is written: the flags say where.
    pub(crate) fn without_out(mut self) -> Case {
        self.out = None;
        self
    }

    /// The folder in which it runs.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the binary.
    pub(crate) fn start(&self) -> Running {
        Running::start(self, self.process())
    }

    /// Runs the binary to its end, and checks the books.
    #[track_caller]
    pub(crate) fn run(&self) -> Outcome {
        self.start().finish()
    }

    /// Runs the binary, and compares all that came of it with `expected`: see [`Outcome::check`].
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) -> Outcome {
        let outcome = self.run();
        outcome.check(expected);
        outcome
    }

    pub(super) fn stdin(&self) -> Option<&[u8]> {
        self.stdin.as_deref()
    }

    pub(super) fn stdin_stays_open(&self) -> bool {
        self.stdin_stays_open
    }

    pub(super) fn sources(&self) -> &[String] {
        &self.sources
    }

    pub(super) fn ranged(&self) -> (Option<u64>, Option<u64>) {
        self.range
    }

    fn process(&self) -> Command {
        let mut process = Command::new(binary());
        process.args(&self.command);
        if let Some(plugin) = &self.plugin {
            process.arg("--plugin").arg(plugin);
        }
        if let Some(out) = &self.out {
            process.args(["--out", out]);
        }
        process.args(&self.arguments);
        let (offset, length) = self.range;
        for (flag, bytes) in [("--offset", offset), ("--length", length)] {
            if let Some(bytes) = bytes {
                process.arg(flag).arg(bytes.to_string());
            }
        }
        process.args(&self.sources);
        process.current_dir(self.dir()).env_clear();
        process
            .env("HOME", self.dir())
            .env("XDG_CACHE_HOME", cache_home());
        process.envs(self.variables.iter().map(|(name, value)| (name, value)));
        process
    }
}
