//! The binary while it runs, and its end: no case waits longer than a minute.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Case;
use super::files::{Files, snapshot};
use super::outcome::Outcome;

/// A case that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The binary while it runs.
pub(crate) struct Running {
    case: Case,
    before: Files,
    child: Child,
    /// Kept where standard input is not to end: a thread's result lives as long as its handle.
    _input: Option<JoinHandle<ChildStdin>>,
    stdout: Arc<Stream>,
    stderr: Arc<Stream>,
    until: Instant,
}

/// What was printed so far.
#[derive(Default)]
struct Stream {
    text: Mutex<Printed>,
    changed: Condvar,
}

#[derive(Default)]
struct Printed {
    bytes: Vec<u8>,
    ended: bool,
}

impl Running {
    pub(super) fn start(case: &Case, mut command: Command) -> Running {
        let before = snapshot(case.dir());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(match case.stdin() {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        });
        let mut child = command.spawn().expect("the binary can be started");
        let input = child
            .stdin
            .take()
            .zip(case.stdin())
            .map(|(mut stdin, bytes)| {
                let bytes = bytes.to_vec();
                std::thread::spawn(move || {
                    // Who does not read to the end closes the pipe, which is no error of the case.
                    drop(stdin.write_all(&bytes));
                    stdin
                })
            });
        Running {
            _input: input.filter(|_| case.stdin_stays_open()),
            case: case.clone(),
            before,
            stdout: Stream::of(child.stdout.take().expect("it is piped")),
            stderr: Stream::of(child.stderr.take().expect("it is piped")),
            child,
            until: Instant::now() + TIMEOUT,
        }
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `text` was printed to stderr.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&mut self, text: &str) {
        let found = |printed: &Printed| find(&printed.bytes, text.as_bytes());
        let printed = self.stderr.wait(self.until, found);
        if !found(&printed) {
            let text = String::from_utf8_lossy(&printed.bytes).into_owned();
            drop(printed);
            let _ = self.child.kill();
            panic!("stderr does not hold what was waited for:\n{text}");
        }
    }

    /// What was printed to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        let printed = self.stderr.text.lock();
        let printed = printed.expect("nothing panics while it is held");
        String::from_utf8_lossy(&printed.bytes).into_owned()
    }

    /// Ends it, however far it is: for a test that has failed.
    pub(crate) fn give_up(&mut self) {
        let _ = self.child.kill();
    }

    /// The most memory that it had at any time until its end, in KiB.
    pub(crate) fn peak_kib(&mut self) -> u64 {
        let status = format!("/proc/{}/status", self.pid());
        let mut peak = 0;
        // Once it has ended, there is no memory any more.
        while let Some(kib) = std::fs::read_to_string(&status)
            .ok()
            .as_deref()
            .and_then(high_water)
        {
            peak = kib;
            std::thread::yield_now();
        }
        peak
    }

    /// Sends a signal by its name: `TERM`, `INT`, `STOP` …
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "kill -s {name} {pid}"
        );
    }

    /// Kills it, as if the machine were gone, and tells what is there then. No books are checked.
    pub(crate) fn kill(mut self) -> Outcome {
        self.child.kill().expect("it can be killed");
        self.outcome()
    }

    /// Waits for its end; no books are checked, as for what other runs write into the same folder.
    pub(crate) fn end(self) -> Outcome {
        self.outcome()
    }

    /// Waits for its end, and checks the books.
    #[track_caller]
    pub(crate) fn finish(self) -> Outcome {
        let outcome = self.outcome();
        outcome.check_books();
        outcome
    }

    fn outcome(mut self) -> Outcome {
        let ended = |printed: &Printed| printed.ended;
        let all = ended(&self.stdout.wait(self.until, ended))
            && ended(&self.stderr.wait(self.until, ended));
        if !all {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("it is a child of this process");
        let stderr = self.stderr.take();
        assert!(
            all,
            "it did not end within {TIMEOUT:?}:\n{}",
            String::from_utf8_lossy(&stderr)
        );
        let after = snapshot(self.case.dir());
        let stdout = self.stdout.take();
        Outcome::new(
            self.case,
            status.code(),
            &stdout,
            &stderr,
            self.before,
            after,
        )
    }
}

fn high_water(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

impl Stream {
    fn of(mut from: impl Read + Send + 'static) -> Arc<Stream> {
        let stream = Arc::new(Stream::default());
        let filled = stream.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            loop {
                let n = from.read(&mut buffer).unwrap_or(0);
                let mut printed = filled.text.lock().expect("nothing panics while it is held");
                printed.bytes.extend_from_slice(&buffer[..n]);
                printed.ended = n == 0;
                filled.changed.notify_all();
                if n == 0 {
                    break;
                }
            }
        });
        stream
    }

    /// Waits until `what` holds, the stream has ended, or time is up.
    fn wait(
        &self,
        until: Instant,
        what: impl Fn(&Printed) -> bool,
    ) -> std::sync::MutexGuard<'_, Printed> {
        let left = until.saturating_duration_since(Instant::now());
        let printed = self.text.lock().expect("nothing panics while it is held");
        let waited = self
            .changed
            .wait_timeout_while(printed, left, |printed| !printed.ended && !what(printed));
        waited.expect("nothing panics while it is held").0
    }

    fn take(&self) -> Vec<u8> {
        let mut printed = self.text.lock().expect("nothing panics while it is held");
        std::mem::take(&mut printed.bytes)
    }
}

fn find(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len().max(1)).any(|window| window == what)
}
