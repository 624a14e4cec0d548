//! Clients that are slow, silent, greedy or talk something else.

use std::time::{Duration, Instant};

use super::{wait_for_requests, wait_until_idle, written};
use crate::support::Served;

#[test]
fn headers_have_to_come_in_time() {
    let case = Served::case("unruly")
        .set("header_ms_max", 300)
        .set("connections_max", 4);
    let served = Served::start(case);
    // A head that trickles in, one that begins and stops, and one that does not begin.
    let mut slow: Vec<_> = ["POST /lines HTTP/1.1\r\n", "P", ""]
        .into_iter()
        .map(|head| {
            let mut client = served.connect();
            client.send(head).unwrap();
            client
        })
        .collect();
    let mut trickling = slow[0].second();
    let trickle = std::thread::spawn(move || {
        let begun = Instant::now();
        while trickling.send("X-Slow: 1\r\n").is_ok() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it is never closed"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    // Whoever comes after them is served all the same.
    assert_eq!(served.lines("", "a\n").status, 200);
    for client in &mut slow[1..] {
        assert_eq!(client.rest().expect("it is closed"), b"");
    }
    trickle.join().unwrap();
}

#[test]
fn a_kept_connection_waits_longer_than_a_head_may_take() {
    let case = Served::case("unruly").set("header_ms_max", 300);
    let served = Served::start(case);
    let mut client = served.connect();
    assert_eq!(client.ask("POST /lines", "", "a\n").unwrap().status, 200);
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(client.ask("POST /lines", "", "b\n").unwrap().text(), "b\n");
    // From its first byte on the next head has to hurry like any other.
    client.send("POST /lines HTTP/1.1\r\n").unwrap();
    assert_eq!(client.rest().expect("it is closed"), b"");
}

#[test]
fn silence_ends_a_request() {
    let served = Served::start(Served::case("unruly").set("idle_ms_max", 300));
    // Before anything was sent.
    for length in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let mut client = served.connect();
        client.send_head("POST /lines", length).unwrap();
        let answer = client.answer().expect("it is answered");
        assert_eq!(answer.status, 408, "{length}: {}", answer.text());
        assert!(answer.text().contains("idle_ms_max"), "{}", answer.text());
    }
    // After some of it was.
    let mut client = served.connect();
    client
        .send_head("POST /lines", "Transfer-Encoding: chunked")
        .unwrap();
    client.send_chunk("a\n!corrupt c\n").unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap().as_deref(), Some(&b"a\n"[..]));
    client
        .chunk()
        .expect_err("it does not end as if it were whole");
    // An event.
    let mut client = served.connect();
    client.send_head("POST /", "Content-Length: 100").unwrap();
    assert_eq!(client.answer().expect("it is answered").status, 408);
    // A connection that is kept.
    let mut client = served.connect();
    assert_eq!(client.ask("GET /health", "", "").unwrap().status, 200);
    assert_eq!(client.rest().expect("it is closed"), b"");
    wait_until_idle(&served);
    assert!(written(&served).is_empty());
}

#[test]
fn one_who_takes_nothing_is_given_up() {
    let served = Served::start(
        Served::case("unruly")
            .set("idle_ms_max", 500)
            .set("fuel_base", crate::deadlines::ENDLESS),
    );
    let mut client = served.connect();
    client
        .send_head("POST /lines", "Transfer-Encoding: chunked")
        .unwrap();
    // 100 MB of output are more than the system keeps for a client.
    for _ in 0..10 {
        client.send_chunk("!flood 10000000\n").unwrap();
    }
    client.send_chunk("!corrupt c\n").unwrap();
    client.send_chunk("").unwrap();
    wait_for_requests(&served, 1);
    wait_until_idle(&served);
    assert!(written(&served).is_empty(), "{:?}", written(&served));
}

#[test]
fn what_is_no_request_is_turned_away() {
    let served = Served::start(Served::case("unruly"));
    let large = format!(
        "GET /health HTTP/1.1\r\nX-Large: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let table = [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        (
            "POST /lines HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
            400,
        ),
        (
            "POST /lines HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            400,
        ),
        (large.as_str(), 431),
    ];
    for (bytes, status) in table {
        let mut client = served.connect();
        client.send(bytes).unwrap();
        let start: String = bytes.chars().take(40).collect();
        assert_eq!(
            client.head().expect("it is answered").status,
            status,
            "{start}"
        );
    }
    for (request, status) in [
        ("GET /nothing", 404),
        ("GET /../../etc/passwd", 404),
        ("POST /health", 405),
        ("GET /", 405),
        ("DELETE /lines", 405),
    ] {
        let answer = served.ask(request, "", "");
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.json()["error"].is_string(), "{request}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{request}");
    }
    let mut client = served.connect();
    client
        .send_head("POST /lines", "Transfer-Encoding: chunked")
        .unwrap();
    client.send("zz\r\nno size\r\n").unwrap();
    assert_eq!(client.head().expect("it is answered").status, 422);
    assert_eq!(served.lines("", "a\n").status, 200);
}

#[test]
fn a_token_is_asked_for() {
    let served = Served::start(Served::case("unruly").env("LINEMILL_TOKEN", "s3cret"));
    let wrong = [
        "",
        "Authorization: Bearer wrong",
        "Authorization: Bearer s3cre",
        "Authorization: Basic s3cret",
        "Authorization: s3cret",
    ];
    for headers in wrong {
        for request in [
            "POST /lines",
            "POST /run?source=a",
            "POST /",
            "GET /metrics",
            "GET /nothing",
        ] {
            let answer = served.ask(request, headers, "");
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some("Bearer")),
                "{request} {headers}"
            );
        }
        let health = served.ask("GET /health", headers, "");
        assert_eq!(health.status, 200);
        assert!(
            health.json()["plugin"]["digest"].is_string() && health.json()["registry"].is_null()
        );
    }
    for headers in [
        "Authorization: Bearer s3cret",
        "authorization: bearer  s3cret",
    ] {
        assert_eq!(served.lines(headers, "a\n").text(), "a\n");
        assert_eq!(served.ask("GET /metrics", headers, "").status, 200);
        assert!(served.ask("GET /health", headers, "").json()["registry"].is_object());
    }
}

#[test]
fn metrics_are_counted() {
    let served = Served::start(Served::case("unruly"));
    served.lines("", "a\nb\n!corrupt c\n!trap\n");
    served.ask("POST /run?source=/etc/passwd", "", "");
    wait_until_idle(&served);
    let metrics = served.ask("GET /metrics", "", "");
    assert_eq!(
        metrics.header("content-type"),
        Some("text/plain; version=0.0.4")
    );
    for line in [
        "linemill_lines_total{fate=\"processed\"} 2",
        "linemill_lines_total{fate=\"corrupted\"} 2",
        "linemill_requests_total{route=\"/lines\",status=\"200\"} 1",
        "linemill_requests_total{route=\"/run\",status=\"403\"} 1",
        "linemill_requests_in_flight 0",
        "linemill_request_seconds_count{route=\"/lines\"} 1",
        "linemill_plugin_requests_total{role=\"stable\"} 1",
    ] {
        assert!(
            metrics.text().lines().any(|found| found == line),
            "{line}:\n{}",
            metrics.text()
        );
    }
    assert!(
        metrics
            .text()
            .contains("linemill_plugin_info{digest=\"sha256:")
    );
    for line in metrics
        .text()
        .lines()
        .filter(|line| line.starts_with("# TYPE "))
    {
        let name = line.split(' ').nth(2).unwrap();
        assert!(
            metrics.text().contains(&format!("# HELP {name} ")),
            "{name} says nothing of itself"
        );
    }
}
