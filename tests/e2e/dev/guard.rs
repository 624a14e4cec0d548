//! Who is let in, and how it begins and ends.

use super::{case, component, get, run, start};
use crate::support::{Case, Served};

/// The status of an answer to a request with these headers.
fn status(served: &Served, request: &str, headers: &str) -> u16 {
    let mut client = served.connect();
    let head = format!("{request} HTTP/1.1\r\n{headers}\r\n");
    client.send(head).expect("it listens");
    client.answer().expect("it answers").status
}

#[test]
fn only_browsers_on_this_machine_are_let_in() {
    let served = start("sum", "1\n");
    let port = served.address.port();
    let table = [
        ("GET /", format!("Host: 127.0.0.1:{port}\r\n"), 200),
        ("GET /state", format!("Host: localhost:{port}\r\n"), 200),
        (
            "GET /page.js",
            "Host: localhost\r\nOrigin: http://localhost\r\n".to_owned(),
            200,
        ),
        ("GET /state", "Host: evil.example\r\n".to_owned(), 403),
        ("GET /", format!("Host: evil.example:{port}\r\n"), 403),
        ("GET /changes", "Host: evil.example\r\n".to_owned(), 403),
        (
            "GET /state",
            "Host: localhost\r\nOrigin: http://evil.example\r\n".to_owned(),
            403,
        ),
        (
            "GET /state",
            "Host: localhost\r\nOrigin: null\r\n".to_owned(),
            403,
        ),
        (
            "GET /state",
            "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n".to_owned(),
            403,
        ),
        ("GET /nothing", "Host: localhost\r\n".to_owned(), 404),
        (
            "POST /state",
            "Host: localhost\r\nContent-Length: 0\r\n".to_owned(),
            405,
        ),
        ("OPTIONS /state", "Host: localhost\r\n".to_owned(), 405),
    ];
    for (request, headers, want) in table {
        assert_eq!(
            status(&served, request, &headers),
            want,
            "{request} {headers}"
        );
    }
    let page = get(&served, "/", "");
    let policy = page
        .header("content-security-policy")
        .expect("there is a policy");
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(page.header("access-control-allow-origin"), None);
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let text = page.text();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "nothing comes from elsewhere"
    );
}

#[test]
fn ctrl_c_ends_it_at_once() {
    for signal in ["INT", "TERM"] {
        let mut served = start("sum", "1\n");
        run(&served, 1);
        let mut open = served.connect();
        open.send("GET /changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("it listens");
        assert_eq!(open.head().expect("it answers").status, 200);
        assert!(
            open.chunk().expect("it goes on").is_some(),
            "the first version comes at once"
        );
        served.running().signal(signal);
        let outcome = served.ended();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    }
}

#[test]
fn ctrl_c_ends_a_run_under_way() {
    let mut served = start("unruly", "!log 1\n!sleep 3000000\n".repeat(100));
    served.running().wait_for_stderr("message 0");
    served.running().signal("INT");
    assert_eq!(served.ended().exit, Some(0));
}

#[test]
fn what_cannot_be_begun_is_refused() {
    let taken = start("sum", "1\n");
    let port = taken.address.port().to_string();
    let table: [(&[&str], &str); 5] = [
        (
            &["p.wasm", "-"],
            "linemill: standard input cannot be read again and again: name a file\n",
        ),
        (
            &["folder", "sample.txt"],
            "linemill: there is no folder/linemill.toml: name a project's folder or a component, or begin one with `linemill new`\n",
        ),
        (
            &["empty", "sample.txt"],
            "linemill: empty/linemill.toml names no `plugin`: add the path of the component\n",
        ),
        (
            &["p.wasm", "sample.txt", "--set", "colour=1"],
            "linemill: configuration: ",
        ),
        (
            &["p.wasm", "sample.txt", "--port", &port],
            "linemill: cannot listen on 127.0.0.1:",
        ),
    ];
    for (words, why) in table {
        let case = words
            .iter()
            .fold(Case::command(["dev"]), |case, word| case.args([*word]));
        let case = case.file("folder/x", "").file("empty/linemill.toml", "");
        let outcome = case.file("p.wasm", component("sum")).run();
        assert_eq!(outcome.exit, Some(2), "{words:?}");
        assert!(
            outcome.stderr.starts_with(why),
            "{words:?}: {}",
            outcome.stderr
        );
    }
}

#[test]
fn too_many_pages_are_sent_away() {
    let served = Served::start(case("sum", "1\n"));
    let open = |_| {
        let mut page = served.connect();
        page.send("GET /changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("it listens");
        let status = page.head().expect("it answers").status;
        (page, status)
    };
    let mut pages: Vec<_> = (0..64).map(open).collect();
    assert!(pages.iter().all(|(_, status)| *status == 200));
    assert_eq!(open(65).1, 503);
    // One that is closed makes room for another; when that is noticed is the server's matter.
    drop(pages.pop());
    let until = std::time::Instant::now() + super::TIMEOUT;
    while open(0).1 != 200 {
        assert!(
            std::time::Instant::now() < until,
            "the room is not given back"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
