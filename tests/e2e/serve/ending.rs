//! How a server begins and ends.

use std::net::TcpListener;

use super::{wait_for_requests, written};
use crate::support::{Case, Client, Served};

/// A request of which a line was run, and a later one hangs.
fn hanging(served: &Served) -> Client {
    let mut client = served.connect();
    client
        .send_head("POST /lines?report=last", "Transfer-Encoding: chunked")
        .unwrap();
    client.send_chunk("a\n").unwrap();
    assert_eq!(client.head().expect("the answer begins").status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"a\n"[..]));
    client.send_chunk("!sleep 100000\nb\n").unwrap();
    client.send_chunk("").unwrap();
    client
}

#[test]
fn requests_under_way_are_handed_over_and_answered() {
    let mut served = Served::start(
        Served::case("unruly")
            .set("grace_ms", 2000)
            .args(["--concurrency", "1"]),
    );
    let mut client = hanging(&served);
    served.running().signal("TERM");
    served.running().wait_for_stderr("ending within 2s");
    let mut last = Vec::new();
    while let Some(chunk) = client.chunk().expect("the answer comes to its end") {
        last.extend(chunk);
    }
    let report: serde_json::Value = serde_json::from_slice(&last).expect("it is the report");
    assert_eq!(
        (&report["Status"], &report["Processed"]),
        (&"retry".into(), &1.into()),
        "{report}"
    );
    let files = written(&served);
    let outcome = served.ended();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let lines: Vec<_> = files
        .iter()
        .filter(|(path, _)| path.ends_with("-retry01"))
        .flat_map(|(_, lines)| lines)
        .collect();
    assert_eq!(lines, ["!sleep 100000", "b"]);
}

#[test]
fn requests_that_end_in_time_are_not_disturbed() {
    let mut served = Served::start(Served::case("unruly"));
    let mut idle = served.connect();
    assert_eq!(idle.ask("GET /health", "", "").unwrap().status, 200);
    let mut client = served.connect();
    client
        .send_head("POST /lines", "Transfer-Encoding: chunked\nTE: trailers")
        .unwrap();
    client.send_chunk("a\n").unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"a\n"[..]));
    served.running().signal("INT");
    served.running().wait_for_stderr("ending within");
    // Nobody new is let in, and who is idle is let go.
    assert_eq!(idle.rest().expect("it is closed"), b"");
    client.send_chunk("b\n").unwrap();
    client.send_chunk("").unwrap();
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"b\n"[..]));
    assert_eq!(client.chunk().unwrap(), None);
    let address = served.address;
    let outcome = served.ended();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_source_under_way_is_handed_over() {
    let case = Served::case("unruly")
        .file("in/a.txt", "a\n!sleep 100000\nb\n")
        .set("grace_ms", 1000);
    let folder = case.dir().join("in").display().to_string();
    let mut served = Served::start(case.set("allowed_sources", folder).set("batch_lines", 1));
    let mut client = served.connect();
    client
        .send_head("POST /run?source=in/a.txt", "Content-Length: 0")
        .unwrap();
    wait_for_requests(&served, 1);
    served.running().signal("TERM");
    let answer = client.answer().expect("it is answered");
    assert_eq!(
        (answer.status, &answer.json()["Status"]),
        (200, &"retry".into()),
        "{}",
        answer.text()
    );
    assert_eq!(served.ended().exit, Some(0));
}

#[test]
fn a_second_signal_quits_at_once() {
    let mut served = Served::start(Served::case("unruly").set("grace_ms", 60_000));
    let _client = hanging(&served);
    served.running().signal("TERM");
    served.running().wait_for_stderr("ending within");
    served.running().signal("TERM");
    let files = written(&served);
    let outcome = served.ended();
    assert_eq!(outcome.exit, Some(130), "{}", outcome.stderr);
    assert!(files.is_empty());
}

#[test]
fn what_keeps_it_from_starting_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let table = [
        (["--listen", address.as_str()], "cannot listen on"),
        (["--listen", "nowhere"], "ADDRESS:PORT"),
        (["--set", "allowed_sources=http://"], "name a host"),
        (["--set", "requests_max=0"], "requests_max"),
        (["--set", "token=two words"], "token"),
        (["--plugin", "none.wasm"], "none.wasm"),
    ];
    for (arguments, word) in table {
        let case = Case::command(["serve", "--out", "out"]);
        let case = match arguments[0] {
            "--plugin" => case,
            _ => case.args([
                "--plugin",
                crate::support::plugin("unruly")
                    .display()
                    .to_string()
                    .as_str(),
            ]),
        };
        let outcome = case.args(arguments).start().end();
        assert_eq!(outcome.exit, Some(2), "{arguments:?}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains(word),
            "{arguments:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn tokens_are_not_printed() {
    let case =
        Case::command(["config", "--set", "admin_token=hush1"]).env("LINEMILL_TOKEN", "hush2");
    let outcome = case.start().end();
    let printed = String::from_utf8_lossy(&outcome.stdout).into_owned() + &outcome.stderr;
    assert!(
        printed.contains("admin_token") && !printed.contains("hush"),
        "{printed}"
    );
}
