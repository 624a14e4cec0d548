//! `POST /`: events, and what their status says.

use super::written;
use crate::support::{Answer, Served};

fn serving() -> Served {
    let case = Served::case("unruly")
        .file("in/a.txt", "a\n!corrupt c\n")
        .file("in/b.txt", "b\n")
        .set("body_bytes_max", "64k");
    let folder = case.dir().join("in").display().to_string();
    Served::start(case.set("allowed_sources", folder))
}

fn post(served: &Served, headers: &str, body: &str) -> Answer {
    served.ask("POST /", headers, body)
}

#[test]
fn requests_of_its_own() {
    let served = serving();
    let answer = post(&served, "", r#"{"sources":["in/a.txt","in/b.txt"]}"#);
    let json = answer.json();
    assert_eq!(answer.status, 200, "{json}");
    let statuses: Vec<_> = json["reports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|report| report["Status"].clone())
        .collect();
    assert_eq!(statuses, ["corrupted", "ok"]);
}

#[test]
fn messages_that_carry_lines() {
    let served = serving();
    let push = r#"{"message":{"data":"YQpiCg==","messageId":"1"},"subscription":"projects/p/subscriptions/s"}"#;
    let answer = post(&served, "Content-Type: application/json", push);
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["reports"][0]["Loaded"]),
        (200, &2.into()),
        "{json}"
    );
    let headers = "ce-specversion: 1.0\nce-type: com.example.lines\nce-source: /device/7\nce-id: 42\nContent-Type: text/plain";
    let answer = post(&served, headers, "a\nb\nc\n");
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["reports"][0]["Loaded"]),
        (200, &3.into()),
        "{json}"
    );
    let mut lines: Vec<_> = written(&served)
        .into_iter()
        .map(|(_, lines)| lines.join(","))
        .collect();
    lines.sort();
    assert_eq!(lines, ["a,b", "a,b,c"]);
}

#[test]
fn what_can_never_be_understood_is_not_to_be_sent_again() {
    let served = serving();
    let deep = "[".repeat(20_000);
    let table = [
        ("", 400, "not JSON"),
        ("{", 400, "not JSON"),
        (deep.as_str(), 400, "not JSON"),
        ("{}", 400, "expected records of S3"),
        (r#"{"hello":"world"}"#, 400, "`hello`"),
        ("[1,2]", 400, "unknown event"),
        (r#"{"source":7}"#, 400, "source"),
        (r#"{"sources":["in/none.txt"]}"#, 404, "does not exist"),
        (r#"{"source":"/etc/passwd"}"#, 403, "allowed_sources"),
        (
            r#"{"sources":["file:///etc/passwd","http://169.254.169.254/latest"]}"#,
            403,
            "allowed_sources",
        ),
        (
            r#"{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{"key":"a.txt"}}}]}"#,
            403,
            "s3://b/a.txt",
        ),
    ];
    for (body, status, word) in table {
        let answer = post(&served, "", body);
        let start: String = body.chars().take(80).collect();
        assert_eq!(answer.status, status, "{start}: {}", answer.text());
        let error = answer.json()["error"]
            .as_str()
            .expect("an error is said")
            .to_owned();
        assert!(error.contains(word), "{start}: {error}");
    }
    assert!(written(&served).is_empty());
}

#[test]
fn one_bad_source_does_not_keep_the_others_from_being_run() {
    let served = serving();
    let answer = post(
        &served,
        "",
        r#"{"sources":["in/a.txt","in/none.txt","in/b.txt"]}"#,
    );
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(
        written(&served)
            .iter()
            .any(|(path, _)| path == "destination/in/b.txt")
    );
}

#[test]
fn what_went_wrong_here_is_to_be_sent_again() {
    let case = Served::case("unruly").file("in/a.txt", "a\n!route nowhere x\n");
    let folder = case.dir().join("in").display().to_string();
    let served = Served::start(case.set("allowed_sources", folder));
    let answer = post(&served, "", r#"{"source":"in/a.txt"}"#);
    assert_eq!(answer.status, 500, "{}", answer.text());
}

#[test]
fn a_test_message_is_taken() {
    let served = serving();
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-01T00:00:00.000Z","Bucket":"b"}"#;
    let answer = post(&served, "", test);
    assert_eq!(
        (
            answer.status,
            answer.json()["skipped"].as_array().unwrap().len()
        ),
        (200, 1)
    );
}

#[test]
fn a_body_may_be_so_large() {
    let served = serving();
    let large = format!(r#"{{"sources":["{}"]}}"#, "x".repeat(64 * 1024));
    let answer = post(&served, "", &large);
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(
        answer.text().contains("body_bytes_max"),
        "{}",
        answer.text()
    );
    // One that does not say how large it is.
    let mut client = served.connect();
    let mut sender = client.second();
    client
        .send_head("POST /", "Transfer-Encoding: chunked")
        .unwrap();
    let sending = std::thread::spawn(move || while sender.send_chunk([b'x'; 10_000]).is_ok() {});
    assert_eq!(client.answer().expect("it is answered").status, 413);
    drop(client);
    sending.join().unwrap();
}
