//! `linemill dev`: runs on every change, a page that tells what they did, and who may see it.

mod changes;
mod guard;
mod page;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Answer, Case, Served, plugin};

/// What is waited for by then has failed.
const TIMEOUT: Duration = Duration::from_secs(50);

/// `dev COMPONENT sample.txt` on a free port; the component is a copy of the plugin's.
fn case(name: &str, lines: impl AsRef<[u8]>) -> Case {
    let case = Case::command(["dev", "p.wasm", "sample.txt", "--port", "0"]);
    case.file("p.wasm", component(name))
        .file("sample.txt", lines)
}

fn component(name: &str) -> Vec<u8> {
    std::fs::read(plugin(name)).expect("it was built")
}

fn start(name: &str, lines: impl AsRef<[u8]>) -> Served {
    Served::start(case(name, lines))
}

/// Puts a file in the place of another, at once.
fn replace(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let new = dir.join(format!("{name}.new"));
    std::fs::write(&new, bytes).expect("it can be written to");
    std::fs::rename(new, dir.join(name)).expect("they are in the same folder");
}

/// A request as a browser on this machine makes it.
fn get(served: &Served, path: &str, headers: &str) -> Answer {
    let mut client = served.connect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    client.send(head).expect("it listens");
    client.answer().expect("it answers")
}

/// What the page is told, once `what` holds.
#[track_caller]
fn state(served: &Served, what: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + TIMEOUT;
    loop {
        let state = get(served, "/state", "").json();
        if what(&state) {
            return state;
        }
        assert!(Instant::now() < until, "{state:#}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The state once a run came to its end and nothing else goes on.
#[track_caller]
fn run(served: &Served, number: u64) -> Value {
    let ended = |state: &Value| state["state"] == "ready" && state["run"]["number"] == number;
    state(served, ended)["run"].clone()
}
