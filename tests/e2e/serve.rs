//! `linemill serve`: lines, sources and events over HTTP, and all that clients can do wrong.

mod admin;
mod ending;
mod events;
mod hostile;
mod lines;
mod sources;
mod swap;

use crate::support::Served;

/// Waits until no request is under way. What is waited for is told by the server itself.
fn wait_until_idle(served: &Served) {
    wait_for_requests(served, 0);
}

/// Waits until so many requests are under way.
fn wait_for_requests(served: &Served, requests: u64) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let health = served.ask("GET /health", "", "").json();
        if health["requests"].as_u64() == Some(requests) {
            return;
        }
        assert!(std::time::Instant::now() < until, "{health}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The files below `out`, by their paths, and their lines.
fn written(served: &Served) -> Vec<(String, Vec<String>)> {
    let files = crate::support::snapshot(&served.dir().join("out"));
    let lines = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().map(str::to_owned).collect()
    };
    files
        .iter()
        .map(|(path, bytes)| (path.clone(), lines(bytes)))
        .collect()
}
