//! `POST /run`, and which sources it may name.

use super::{wait_until_idle, written};
use crate::support::{Case, HttpServer, Served, numbered, respond};

/// A server whose requests may name what is below `in`.
fn allowing(case: Case) -> Served {
    let folder = case.dir().join("in").display().to_string();
    Served::start(case.set("allowed_sources", folder))
}

fn quoted(source: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    source.bytes().map(byte).collect()
}

fn run(served: &Served, source: &str) -> crate::support::Answer {
    served.ask(&format!("POST /run?source={}", quoted(source)), "", "")
}

#[test]
fn a_source_is_run() {
    let case = Served::case("unruly").file("in/a b+%41.txt", "a\n!corrupt c\nb\n");
    let served = allowing(case);
    let answer = run(&served, "in/a b+%41.txt");
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["Status"]),
        (200, &"corrupted".into()),
        "{report}"
    );
    assert_eq!(
        (&report["Loaded"], &report["Processed"]),
        (&3.into(), &2.into())
    );
    let names: Vec<String> = written(&served).into_iter().map(|(path, _)| path).collect();
    let want = [
        "corruption/in/a b+%41.txt",
        "corruption/in/a b+%41.txt.faults.ndjson",
        "destination/in/a b+%41.txt",
    ];
    assert_eq!(names, want);
    // The same again: what is to be written is there.
    assert_eq!(run(&served, "in/a b+%41.txt").status, 409);
}

#[test]
fn a_range_of_a_source_is_run() {
    let served = allowing(Served::case("unruly").file("in/a.txt", numbered(100)));
    let answer = served.ask("POST /run?source=in/a.txt&offset=7&length=14", "", "");
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["Loaded"]),
        (200, &2.into()),
        "{report}"
    );
}

#[test]
fn what_cannot_be_run_has_a_status() {
    let case = Served::case("unruly")
        .file("in/cut.gz", "no gzip")
        .file("in/a.txt", "a\n");
    let served = allowing(case);
    let table = [
        ("", 400, "source"),
        ("?source=", 400, "source"),
        ("?source=in/", 400, "folder"),
        ("?source=in/a.txt&ofset=1", 400, "ofset"),
        ("?source=in/a.txt&offset=x", 400, "offset"),
        ("?source=in/a.txt.resume.json&offset=1", 400, "pointer"),
        ("?source=in/none.txt", 404, "does not exist"),
        ("?source=in/none.resume.json", 404, "does not exist"),
        ("?source=in/cut.gz", 422, "corrupt"),
    ];
    for (query, status, word) in table {
        let answer = served.ask(&format!("POST /run{query}"), "", "");
        assert_eq!(answer.status, status, "{query}: {}", answer.text());
        assert!(answer.text().contains(word), "{query}: {}", answer.text());
    }
    assert_eq!(served.ask("GET /run?source=in/a.txt", "", "").status, 405);
    assert!(written(&served).is_empty());
}

#[test]
fn no_source_is_allowed_by_itself() {
    let served = Served::start(Served::case("unruly").file("in/a.txt", "a\n"));
    for source in ["in/a.txt", "s3://b/a.txt", "http://127.0.0.1:1/a", "-"] {
        let answer = run(&served, source);
        assert_eq!(answer.status, 403, "{source}: {}", answer.text());
        let names_it = answer.text().contains("allowed_sources") || source == "-";
        assert!(names_it, "{}", answer.text());
    }
}

#[test]
fn sources_outside_are_refused_however_they_are_spelled() {
    let case = Served::case("unruly")
        .file("in/a.txt", "a\n")
        .file("out-of/secret", "s\n");
    let dir = case.dir().canonicalize().expect("it is there");
    std::os::unix::fs::symlink(dir.join("out-of/secret"), dir.join("in/link")).unwrap();
    std::os::unix::fs::symlink(dir.join("out-of"), dir.join("in/folder")).unwrap();
    let case = case.file("inside/a.txt", "a\n");
    let served = allowing(case);
    let here = dir.display();
    let hostile = [
        "/etc/passwd".to_owned(),
        "file:///etc/passwd".to_owned(),
        "FILE:///etc/passwd".to_owned(),
        "file://localhost/etc/passwd".to_owned(),
        "in/../out-of/secret".to_owned(),
        "in/%2e%2e/out-of/secret/../../../../out-of/secret".to_owned(),
        format!("{here}/in/../out-of/secret"),
        "in/link".to_owned(),
        "in/folder/secret".to_owned(),
        "inside/a.txt".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned() + "iam",
        "http://[fd00:ec2::254]/latest".to_owned(),
        "http://metadata.google.internal/computeMetadata/v1/x".to_owned(),
        "s3://bucket/key".to_owned(),
        "-".to_owned(),
    ];
    for source in hostile {
        let answer = run(&served, &source);
        assert_eq!(answer.status, 403, "{source}: {}", answer.text());
    }
    assert_eq!(run(&served, "in/a.txt").status, 200);
    assert_eq!(
        run(&served, &format!("file://{here}/in/../in/a.txt")).status,
        409
    );
}

#[test]
fn a_pointer_leads_nowhere_else() {
    let pointer = |source: &str| {
        let fields = format!(r#"{{"source":"{source}","offset":0,"first_line":1,"attempt":1}}"#);
        fields + "\n"
    };
    let case = Served::case("unruly")
        .file("in/a.txt", "a\n")
        .file("in/bad-retry01.txt.resume.json", pointer("/etc/passwd"))
        .file("in/up-retry01.txt.resume.json", pointer("in/../in2/a.txt"))
        .file("in/good-retry01.txt.resume.json", pointer("in/a.txt"))
        .file("in2/a.txt", "a\n");
    let served = allowing(case);
    for name in [
        "in/bad-retry01.txt.resume.json",
        "in/up-retry01.txt.resume.json",
    ] {
        let answer = run(&served, name);
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
    }
    assert_eq!(run(&served, "in/good-retry01.txt.resume.json").status, 200);
}

#[test]
fn a_client_that_disappears_leaves_the_source_alone() {
    let case = Served::case("unruly").file("in/a.txt", "a\n!corrupt c\n!sleep 100000\n");
    let served = allowing(case.args(["--completion", "delete"]));
    let mut client = served.connect();
    client
        .send_head("POST /run?source=in/a.txt", "Content-Length: 0")
        .unwrap();
    super::wait_for_requests(&served, 1);
    drop(client);
    wait_until_idle(&served);
    assert!(written(&served).is_empty());
    assert!(served.dir().join("in/a.txt").exists());
}

#[test]
fn a_server_leads_to_no_other_one() {
    let (asked, was_asked) = std::sync::mpsc::channel();
    let secret = HttpServer::start(move |_, stream| {
        let _ = asked.send(());
        respond(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n",
            b"secret\n",
        );
    });
    let elsewhere = secret.url("/latest/meta-data");
    let leading = HttpServer::start(move |_, stream| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n");
        respond(stream, &head, b"");
    });
    let allowed = leading.url("/in");
    let served = Served::start(Served::case("unruly").set("allowed_sources", allowed));
    let answer = run(&served, &leading.url("/in/a.txt"));
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(answer.text().contains("302"), "{}", answer.text());
    assert!(was_asked.try_recv().is_err(), "it followed");
}
