//! `linemill serve` while it runs.

use std::net::SocketAddr;
use std::path::Path;

use super::process::Running;
use super::{Answer, Case, Client, Outcome};

/// A server on a free port. It is killed when it is dropped.
pub(crate) struct Served {
    running: Option<Running>,
    pub(crate) address: SocketAddr,
    pub(crate) case: Case,
}

impl Served {
    /// `linemill serve --plugin NAME --out out`, with a plugin that is known by name.
    pub(crate) fn case(name: &str) -> Case {
        Case::command(["serve", "--listen", "127.0.0.1:0"])
            .args(["--out", "out", "--plugin"])
            .args([super::plugin(name).display().to_string().as_str()])
    }

    /// Starts it, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(case: Case) -> Served {
        let mut running = case.start();
        running.wait_for_stderr("listening on http://");
        // The line is printed in one piece or more.
        running.wait_for_stderr("\n");
        let stderr = running.stderr();
        let (_, after) = stderr
            .split_once("listening on http://")
            .expect("it was waited for");
        let address = after.split_whitespace().next().expect("an address follows");
        let address = address.parse().unwrap_or_else(|_| panic!("{stderr}"));
        Served {
            running: Some(running),
            address,
            case,
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request in a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let answer = self.connect().ask(request, headers, body);
        answer.unwrap_or_else(|error| panic!("{request}: {error}"))
    }

    /// Lines in, and what comes of them.
    #[track_caller]
    pub(crate) fn lines(&self, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST /lines", headers, body)
    }

    /// Where a browser finds it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it writes to.
    pub(crate) fn dir(&self) -> &Path {
        self.case.dir()
    }

    /// The process.
    pub(crate) fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it has not been ended")
    }

    /// Sends it a signal, and waits for its end.
    #[track_caller]
    pub(crate) fn stop(self) -> Outcome {
        self.running
            .as_ref()
            .expect("it has not been ended")
            .signal("TERM");
        self.ended()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Outcome {
        let running = self.running.take().expect("it has not been ended");
        let outcome = running.end();
        let panicked = |line: &str| line.starts_with("thread '") && line.contains("panicked at");
        assert!(!outcome.stderr.lines().any(panicked), "{}", outcome.stderr);
        outcome
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.give_up();
        }
    }
}
