//! `POST /lines`.

use std::io::ErrorKind;

use super::{wait_for_requests, wait_until_idle, written};
use crate::support::{Client, Served, gzip, numbered, zstd};

const LAST: &str = "Accept: application/x-ndjson; report=last";

#[test]
fn lines_come_back() {
    let served = Served::start(Served::case("unruly"));
    let body = numbered(10);
    let answer = served.lines("", &body);
    assert_eq!((answer.status, answer.text()), (200, body.as_str()));
    assert_eq!(
        answer.header("content-length"),
        Some(body.len().to_string().as_str())
    );
    let id = answer.header("linemill-request-id").expect("it is told");
    assert_eq!(id.len(), 36, "{id}");
    let digest = answer.header("linemill-plugin-digest").expect("it is told");
    assert!(digest.starts_with("sha256:"), "{digest}");

    let answer = served.lines(LAST, &body);
    let (output, report) = answer.output_and_report();
    assert_eq!(output, body);
    assert_eq!(
        (&report["Status"], &report["Processed"]),
        (&"ok".into(), &10.into())
    );
    assert_eq!(
        report["RequestId"].as_str(),
        answer.header("linemill-request-id")
    );
    assert_eq!(report["Plugin"]["Digest"].as_str(), Some(digest));

    let answer = served.lines("TE: trailers", &body);
    assert_eq!(answer.header("trailer"), Some("linemill-report"));
    assert_eq!(
        (answer.text(), &answer.trailer()["Loaded"]),
        (body.as_str(), &10.into())
    );
    for empty in ["", "TE: trailers", LAST] {
        assert_eq!(served.lines(empty, "").status, 200, "{empty}");
    }
    let (output, report) = served.lines(LAST, "").output_and_report();
    assert_eq!((output.as_str(), &report["Loaded"]), ("", &0.into()));
    assert!(written(&served).is_empty());
}

#[test]
fn a_connection_is_used_again() {
    let served = Served::start(Served::case("unruly"));
    let mut client = served.connect();
    for n in 0..100 {
        let line = format!("line {n}\n");
        let answer = client
            .ask("POST /lines", "", &line)
            .expect("it is answered");
        assert_eq!(answer.text(), line);
    }
    // Two at once: the second waits for the first.
    for line in ["a\n", "b\n"] {
        client
            .send_head("POST /lines", "Content-Length: 2")
            .unwrap();
        client.send(line).unwrap();
    }
    for line in ["a\n", "b\n"] {
        assert_eq!(client.answer().expect("it is answered").text(), line);
    }
}

#[test]
fn large_bodies_come_back_whole_and_in_order() {
    let served = Served::start(Served::case("unruly").args(["--concurrency", "2"]));
    let body = numbered(500_000);
    let mut client = served.connect();
    let mut sender = client.second();
    client
        .send_head(
            "POST /lines?report=last",
            &format!("Content-Length: {}", body.len()),
        )
        .unwrap();
    let sending = {
        let body = body.clone();
        std::thread::spawn(move || sender.send(body))
    };
    let (output, report) = client.answer().expect("it is answered").output_and_report();
    sending.join().unwrap().expect("all was taken");
    assert!(output == body, "{report}");
    assert_eq!(report["Processed"], 500_000);
}

#[test]
fn output_arrives_before_the_body_has_ended() {
    let served = Served::start(Served::case("unruly"));
    let mut client = served.connect();
    client
        .send_head("POST /lines", "Transfer-Encoding: chunked\nTE: trailers")
        .unwrap();
    client.send_chunk("first\n").unwrap();
    let head = client.head().expect("the answer begins");
    assert_eq!(head.status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"first\n"[..]));
    for n in 0..10 {
        let line = format!("line {n}\n");
        client.send_chunk(&line).unwrap();
        assert_eq!(client.chunk().unwrap().as_deref(), Some(line.as_bytes()));
    }
    client.send_chunk("last, not ended").unwrap();
    client.send_chunk("").unwrap();
    assert_eq!(
        client.chunk().unwrap().as_deref(),
        Some(&b"last, not ended\n"[..])
    );
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn bodies_may_be_packed() {
    let served = Served::start(Served::case("unruly"));
    let body = numbered(1000);
    for (encoding, packed) in [
        ("gzip", gzip(&body)),
        ("zstd", zstd(&body)),
        ("GZip", gzip(&body)),
    ] {
        let answer = served.lines(&format!("Content-Encoding: {encoding}"), packed);
        assert_eq!(
            (answer.status, answer.text()),
            (200, body.as_str()),
            "{encoding}"
        );
    }
    let answer = served.lines("Content-Encoding: br", &body);
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("gzip and zstd"), "{}", answer.text());
    let answer = served.lines("Content-Encoding: gzip", &body);
    assert_eq!(answer.status, 422, "{}", answer.text());
    let cut_off = &gzip(&body)[..100];
    assert_eq!(served.lines("Content-Encoding: gzip", cut_off).status, 422);
}

#[test]
fn faulted_lines_go_where_they_always_go() {
    let served = Served::start(Served::case("unruly"));
    let answer = served.lines(LAST, "a\n!corrupt c\n!retry r\n!trap\nb\n");
    let (output, report) = answer.output_and_report();
    assert_eq!(output, "a\nb\n");
    assert_eq!(report["Status"], "retry|corrupted");
    let id = report["RequestId"].as_str().expect("it is text");
    let mut files = written(&served);
    files.retain(|(path, _)| !path.ends_with(".faults.ndjson"));
    let want = [
        (
            format!("corruption/{id}"),
            vec!["!corrupt c".to_owned(), "!trap".to_owned()],
        ),
        (format!("retry/{id}-retry01"), vec!["!retry r".to_owned()]),
    ];
    assert_eq!(files, want);
}

#[test]
fn an_error_has_a_status_as_long_as_nothing_was_sent() {
    let served = Served::start(Served::case("unruly"));
    for headers in ["", "TE: trailers", LAST] {
        let answer = served.lines(headers, "a\n!corrupt c\n!route nowhere x\n");
        assert_eq!(answer.status, 500, "{headers}");
        let json = answer.json();
        let error = json["error"].as_str().expect("it is said");
        assert!(
            error.contains("nowhere") && json["report"]["Status"] == "corrupted|error",
            "{json}"
        );
    }
    let timeouts = ["", "-1", "0", "soon", "99999999999"];
    for value in timeouts {
        let answer = served.lines(&format!("linemill-timeout-ms: {value}"), "a\n");
        assert_eq!(answer.status, 400, "{value}");
    }
    assert_eq!(
        served.ask("POST /lines?report=frist", "", "a\n").status,
        400
    );
    assert!(written(&served).is_empty());
}

/// Sends lines until some of the output has come, so that no status can be taken back.
fn begun(served: &Served, headers: &str) -> Client {
    let mut client = served.connect();
    client
        .send_head(
            "POST /lines",
            &format!("Transfer-Encoding: chunked\n{headers}"),
        )
        .unwrap();
    client.send_chunk("a\n!corrupt c\n").unwrap();
    assert_eq!(client.head().expect("the answer begins").status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"a\n"[..]));
    client
}

#[test]
fn an_error_after_that_resets_the_connection() {
    let served = Served::start(Served::case("unruly"));
    for headers in ["", "TE: trailers", LAST] {
        let mut client = begun(&served, headers);
        client.send_chunk("!route nowhere x\n").unwrap();
        let error = client
            .chunk()
            .expect_err("it does not end as if it were whole");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    wait_until_idle(&served);
    assert!(written(&served).is_empty());
    assert_eq!(served.lines("", "a\n").status, 200);
}

#[test]
fn a_client_that_disappears_leaves_nothing() {
    let served = Served::start(Served::case("unruly").set("fuel_base", crate::deadlines::ENDLESS));
    // In the middle of its body.
    drop(begun(&served, ""));
    wait_until_idle(&served);
    // After its body, while a line is being run.
    let mut client = served.connect();
    let body = "a\n!corrupt c\n!sleep 100000\n";
    client
        .send_head("POST /lines", &format!("Content-Length: {}", body.len()))
        .unwrap();
    client.send(body).unwrap();
    wait_for_requests(&served, 1);
    drop(client);
    wait_until_idle(&served);
    // The same, and it computes.
    let mut client = begun(&served, "");
    client.send_chunk("!spin\n").unwrap();
    client.send_chunk("").unwrap();
    drop(client);
    wait_until_idle(&served);
    assert!(written(&served).is_empty(), "{:?}", written(&served));
}

#[test]
fn a_body_that_never_ends_is_answered_at_its_deadline() {
    let served = Served::start(Served::case("unruly"));
    let mut client = served.connect();
    let mut sender = client.second();
    client
        .send_head(
            "POST /lines?report=last",
            "Transfer-Encoding: chunked\nlinemill-timeout-ms: 2000",
        )
        .unwrap();
    let sending = std::thread::spawn(move || {
        let mut n = 0;
        loop {
            let lines: String = (n..n + 1000).map(|n| format!("{n}\n")).collect();
            n += 1000;
            if sender.send_chunk(lines).is_err() {
                return n;
            }
        }
    });
    let (output, report) = client.answer().expect("it is answered").output_and_report();
    drop(client);
    assert!(sending.join().unwrap() > 0);
    assert_eq!(report["Status"], "retry", "{report}");
    let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
    assert_eq!(report["Processed"], lines.len());
    let (path, handed_over) = written(&served).remove(0);
    assert!(
        path.starts_with("retry/") && path.ends_with("-retry01"),
        "{path}"
    );
    lines.extend(handed_over);
    for (n, line) in lines.iter().enumerate().take(lines.len() - 1) {
        assert_eq!(*line, n.to_string());
    }
}

#[test]
fn there_is_room_for_so_many_requests() {
    let served = Served::start(Served::case("unruly").args(["--max-requests", "2"]));
    let mut clients = [begun(&served, ""), begun(&served, "")];
    let answer = served.lines("", "a\n");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
    for path in ["/", "/run?source=a"] {
        assert_eq!(
            served.ask(&format!("POST {path}"), "", "{}").status,
            503,
            "{path}"
        );
    }
    assert_eq!(served.ask("GET /health", "", "").json()["requests"], 2);
    for client in &mut clients {
        client.send_chunk("").unwrap();
        assert_eq!(client.chunk().unwrap(), None);
    }
    wait_until_idle(&served);
    assert_eq!(served.lines("", "a\n").status, 200);
}
