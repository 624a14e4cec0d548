//! Lines looked up at a server that behaves or does not: what becomes of them, and that nothing else is reached.

use std::net::TcpListener;
use std::time::Instant;

use super::deadlines::{check_in_time, timed};
use super::support::{Case, LookupServer, Outcome, Served, plugin};

/// These lines, looked up below `/v1/`, which is what is granted.
fn looked_up<L: AsRef<str>>(server: &LookupServer, lines: impl IntoIterator<Item = L>) -> Case {
    Case::new("url-lookup")
        .setting("base_url", &server.url("/v1/"))
        .set(
            "grants.http",
            format!("[{}]", server.grant(r#", "path": "/v1/""#)),
        )
        .input_lines("a.txt", lines)
}

/// What a plugin gets for these requests, with these grants.
fn probed<L: AsRef<str>>(grants: &str, lines: impl IntoIterator<Item = L>) -> Case {
    Case::new("prober")
        .set("grants.http", format!("[{grants}]"))
        .input_lines("a.txt", lines)
}

/// What was written for each line, all of which were processed.
#[track_caller]
fn said(outcome: &Outcome) -> Vec<String> {
    assert_eq!(
        outcome.exit,
        Some(0),
        "{} {}",
        outcome.report().0,
        outcome.stderr
    );
    outcome.lines("out/destination/a.txt")
}

#[track_caller]
fn check_said(outcome: &Outcome, expected: &[&str]) {
    let said = said(outcome);
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(
            said.starts_with(expected),
            "{expected} is expected: {said}\n{}",
            outcome.stderr
        );
    }
}

#[test]
fn what_came_back_is_emitted_and_counted() {
    let server = LookupServer::start();
    let outcome = looked_up(&server, ["x", "a b/ü?", "", "y"]).run();
    assert_eq!(
        said(&outcome),
        ["known: x", "known: a%20b%2F%C3%BC%3F", "known: y"]
    );
    let counted = &outcome.report().0["Metrics"]["by_response_code"];
    assert_eq!(counted["200"], 3);
}

#[test]
fn the_answer_says_what_becomes_of_a_line() {
    let server = LookupServer::start();
    let lines = [
        "a",
        "status-404",
        "b",
        "status-500",
        "status-429",
        "status-302",
        "close",
        "break",
        "garbage",
        "huge",
        "c",
    ];
    let case = looked_up(&server, lines).set("concurrency", 3);
    let outcome = case.check(
        "
        exit 1
        retry|corrupted: loaded 11, processed 3, corrupted 3, retried 5
        out/corruption/a.txt: status-404,status-302,huge
          2 corrupt: the server answered 404
          6 corrupt: the server answered 302, and redirects are not followed
          10 corrupt: the answer has more than 16777216 bytes
        out/destination/a.txt: known: a,known: b,known: c
        out/retry/a-retry01.txt: status-500,status-429,close,break,garbage
          4 retry: the server answered 500
          5 retry: the server answered 429
          7 retry: the connection broke
          8 retry: the answer broke off
          9 retry: the server does not speak HTTP
        ",
    );
    let counted = &outcome.report().0["Metrics"]["by_response_code"];
    for (code, n) in [
        ("200", 3),
        ("404", 1),
        ("500", 1),
        ("429", 1),
        ("302", 1),
        ("error", 4),
    ] {
        assert_eq!(counted[code], n, "{code}: {counted}");
    }
}

#[test]
fn a_server_that_refuses_or_hangs_means_retry() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let gone = gone.expect("there is a free port");
    let server = LookupServer::start();
    let grants = format!(
        r#"[{}, {{"host": "127.0.0.1", "port": {}, "plain": true, "private": true}}]"#,
        server.grant(""),
        gone.port()
    );
    let case = Case::new("url-lookup").set("grants.http", &grants);
    case.clone()
        .setting("base_url", &format!("http://{gone}/"))
        .input_lines("a.txt", ["x"])
        .check(
            "
        exit 1
        retry: loaded 1, retried 1
        out/retry/a-retry01.txt: x
          1 retry: connection refused
        ",
        );
    let outcome = Case::new("url-lookup")
        .set("grants.http", &grants)
        .set("grants.http_first_byte_ms_max", 300)
        .set("grants.http_between_bytes_ms_max", 300)
        .setting("base_url", &server.url("/"))
        .input_lines("a.txt", ["hang", "stall", "x"])
        .check(
            "
        exit 1
        retry: loaded 3, processed 1, retried 2
        out/destination/a.txt: known: x
        out/retry/a-retry01.txt: hang,stall
          1,2 retry: no answer in time
        ",
        );
    for why in [
        "grants.http_first_byte_ms_max",
        "grants.http_between_bytes_ms_max",
    ] {
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
    }
    assert_eq!(
        outcome.report().0["Metrics"]["by_response_code"]["timeout"],
        2
    );
    // What was given up on is closed.
    server.wait(|counts| counts.open == 0);
}

#[test]
fn the_time_out_of_a_plugin_holds() {
    let server = LookupServer::start();
    let outcome = looked_up(&server, ["hang"])
        .setting("timeout_ms", "100")
        .run();
    assert_eq!(
        outcome.report().0["Metrics"]["by_response_code"]["timeout"],
        1
    );
}

#[test]
fn a_deadline_cuts_lookups_off_and_their_lines_are_retried() {
    let server = LookupServer::start();
    let lines = std::iter::once("x")
        .chain(["hang", "trickle", "stall"])
        .chain(std::iter::repeat_n("y", 50));
    let case = looked_up(&server, lines)
        .set("grants.http_first_byte_ms_max", 60_000)
        .set("grants.http_between_bytes_ms_max", 60_000);
    let outcome = timed(case, 4000).set("concurrency", 4).run();
    check_in_time(&outcome, 4000);
    let report = outcome.report();
    assert_eq!(
        (report.count("Processed"), report.count("RetryErrors")),
        (51, 3),
        "{}",
        report.0
    );
    assert_eq!(
        outcome.lines("out/retry/a-retry01.txt"),
        ["hang", "trickle", "stall"]
    );
    server.wait(|counts| counts.open == 0);
}

#[test]
fn a_batch_that_is_out_of_time_ends_its_lookups() {
    let server = LookupServer::start();
    let case = looked_up(&server, ["hang", "x"]).set("batch_ms_max", 500);
    let outcome = case.set("batch_lines", 2).run();
    assert_eq!(outcome.lines("out/retry/a-retry01.txt"), ["hang"]);
    assert_eq!(outcome.lines("out/destination/a.txt"), ["known: x"]);
    server.wait(|counts| counts.open == 0);
}

#[test]
fn a_hundred_instances_wait_at_once() {
    let server = LookupServer::start();
    let lines: Vec<_> = (0..300)
        .map(|n| {
            if n < 100 {
                "meet-100".to_owned()
            } else {
                format!("{n}")
            }
        })
        .collect();
    let outcome = looked_up(&server, &lines).set("concurrency", 100).run();
    let said = said(&outcome);
    assert_eq!(said[0], "all are here");
    assert_eq!(said[299], "known: 299");
    let counts = server.counts();
    assert_eq!(counts.waiting_max, 100);
    assert_eq!(counts.connections, 100, "they are used again");
}

#[test]
fn lines_that_need_no_lookup_do_not_make_the_others_wait_for_each_other() {
    let server = LookupServer::start();
    // Blank ones are fast, so batches grow.
    let lines = std::iter::repeat_n("", 20_000).chain(std::iter::repeat_n("meet-8", 8000));
    let outcome = looked_up(&server, lines).set("concurrency", 8).run();
    assert_eq!(said(&outcome).len(), 8000);
    assert_eq!(server.counts().waiting_max, 8);
}

#[test]
fn connections_are_used_again_and_no_more_than_allowed() {
    let server = LookupServer::start();
    let case = looked_up(&server, (0..200).map(|n| n.to_string()));
    case.set("concurrency", 8)
        .set("grants.http_connections_per_host_max", 2)
        .run();
    let counts = server.counts();
    assert_eq!(counts.requests, 200);
    assert!(
        counts.connections <= 2 && counts.waiting_max <= 2,
        "{counts:?}"
    );
}

#[test]
fn requests_of_a_server_share_connections() {
    let server = LookupServer::start();
    let base = format!("base_url={}", server.url("/v1/"));
    let grants = format!("grants.http=[{}]", server.grant(""));
    let case = Served::case("url-lookup").args([
        "--setting",
        &base,
        "--set",
        &grants,
        "--concurrency",
        "1",
    ]);
    let served = Served::start(case);
    for n in 0..5 {
        let answer = served.lines("", format!("{n}\n"));
        assert_eq!(
            (answer.status, answer.text()),
            (200, format!("known: {n}\n").as_str())
        );
    }
    let counts = server.counts();
    assert_eq!((counts.requests, counts.connections), (5, 1));
}

#[test]
fn answers_and_requests_are_limited() {
    let server = LookupServer::start();
    let asked =
        ["huge", "endless", "say"].map(|name| format!("GET {}", server.url(&format!("/{name}"))));
    let post = |bytes| format!("POST {} {bytes}", server.url("/say"));
    let head = format!("HEAD {}", server.url("/x"));
    let lines = asked
        .into_iter()
        .chain([post(1000), post(1001), post(200_000), head]);
    let grant = server.grant(r#", "methods": ["GET", "POST", "HEAD"]"#);
    let outcome = probed(&grant, lines)
        .set("grants.http_response_bytes_max", "64k")
        .set("grants.http_request_bytes_max", 1000)
        .run();
    check_said(
        &outcome,
        &[
            "failed: TooLarge: the answer has more than 65536 bytes",
            "failed: TooLarge: the answer has more than 65536 bytes",
            "200 GET /say 0",
            "200 POST /say 1000",
            "failed: TooLarge: the request has more than 1000 bytes",
            "failed: TooLarge: the request has more than 1000 bytes",
            "200",
        ],
    );
    for why in [
        "grants.http_response_bytes_max = 65536",
        "grants.http_request_bytes_max = 1000",
    ] {
        assert!(outcome.stderr.contains(why), "{}", outcome.stderr);
    }
}

#[test]
fn nothing_beyond_the_grant_is_asked() {
    let (server, other) = (LookupServer::start(), LookupServer::start());
    let port = server.address.port();
    let denied: Vec<String> = [
        format!("POST {}", server.url("/v1/x")),
        format!("get {}", server.url("/v1/x")),
        format!("GET {}", server.url("/")),
        format!("GET {}", server.url("/v1")),
        format!("GET {}", server.url("/v2/x")),
        format!("GET {}", server.url("/v1/../v2/x")),
        format!("GET {}", server.url("/v1/./../v2/x")),
        format!("GET {}", server.url("/v1/%2e%2e/v2/x")),
        format!("GET {}", server.url("/v1/%2E%2e%2fv2/x")),
        format!("GET {}", server.url("/v1/..%5cv2/x")),
        format!("GET {}", server.url("/v1/%252e%252e/v2/x")),
        format!("GET {}", server.url("//v1/x")),
        format!("GET {}", server.url("/v1/x/../../v1/x")),
        format!("GET https://127.0.0.1:{port}/v1/x"),
        format!("GET {}", other.url("/v1/x")),
        "GET http://127.0.0.1/v1/x".to_owned(),
        format!("GET http://localhost:{port}/v1/x"),
        format!("GET http://[::ffff:127.0.0.1]:{port}/v1/x"),
    ]
    .to_vec();
    let expected = vec!["failed: Denied: the request is not granted (grants.http)"; denied.len()];
    let outcome = probed(&server.grant(r#", "path": "/v1/""#), &denied).run();
    check_said(&outcome, &expected);
    let told = outcome.stderr.matches("grants.http grants").count();
    assert_eq!(told, denied.len(), "each is in the log: {}", outcome.stderr);
    let user = format!("GET http://user:secret@127.0.0.1:{port}/v1/x?token=secret");
    let outcome = probed(&server.grant(r#", "path": "/v1/""#), [user]).run();
    assert!(
        said(&outcome)[0].starts_with("failed: Invalid"),
        "{:?}",
        said(&outcome)
    );
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
    assert_eq!(
        (server.counts().requests, other.counts().connections),
        (0, 0)
    );
}

#[test]
fn spellings_of_what_is_granted_are_the_same() {
    let server = LookupServer::start();
    let port = server.address.port();
    let lines = [
        format!("GET http://2130706433:{port}/v1/x"),
        format!("GET http://0x7f.1:{port}/v1/x"),
        format!("GET http://127.0.0.1:0{port}/v1/x"),
        format!("GET {}", server.url("/v1/a%2Fb")),
        format!("GET {}", server.url("/v1/say?a=../b&c=%2e%2e#d")),
        format!("HEAD {}", server.url("/v1/x")),
    ];
    let outcome = probed(&server.grant(r#", "path": "/v1/""#), lines).run();
    check_said(
        &outcome,
        &[
            "200 known: x",
            "200 known: x",
            "200 known: x",
            "200 known: a%2Fb",
            "200 GET /v1/say?a=../b&c=%2e%2e 0",
            "200",
        ],
    );
}

#[test]
fn addresses_that_are_not_public_are_not_connected_to() {
    let server = LookupServer::start();
    let port = server.address.port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "fd00:ec2::254",
    ];
    let grants =
        hosts.map(|host| format!(r#"{{"host": "{host}", "port": {port}, "plain": true}}"#));
    let lines = hosts.map(|host| match host.contains(':') {
        true => format!("GET http://[{host}]:{port}/x"),
        false => format!("GET http://{host}:{port}/x"),
    });
    let outcome = probed(&grants.join(","), &lines).run();
    check_said(
        &outcome,
        &["failed: Denied: the server's address is not public"; 8],
    );
    let told = outcome.stderr.matches("set `private = true`").count();
    assert_eq!(told, lines.len(), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("localhost is "),
        "{}",
        outcome.stderr
    );
    assert_eq!(server.counts().connections, 0);

    let granted =
        format!(r#"{{"host": "localhost", "port": {port}, "plain": true, "private": true}}"#);
    let outcome = probed(&granted, [&lines[1], &lines[2]]).run();
    check_said(&outcome, &["200 known: x", "200 known: x"]);
}

#[test]
fn redirects_are_answers() {
    let (server, other) = (LookupServer::start(), LookupServer::start());
    let to = |url: String| {
        format!(
            "head GET {} location",
            server.url(&format!(
                "/to-{}",
                url.replace('/', "%2F").replace(':', "%3A")
            ))
        )
    };
    let lines = [
        to(other.url("/x")),
        to("http://169.254.169.254/latest".to_owned()),
        to(server.url("/secret")),
    ];
    let outcome = probed(&server.grant(""), lines).run();
    check_said(
        &outcome,
        &[
            &format!("302 {}", other.url("/x")),
            "302 http://169.254.169.254/latest",
            &format!("302 {}", server.url("/secret")),
        ],
    );
    assert_eq!(
        (server.counts().requests, other.counts().connections),
        (3, 0)
    );
}

#[test]
fn what_stands_in_the_environment_leads_nowhere_else() {
    let (server, proxy) = (LookupServer::start(), LookupServer::start());
    let case = probed(&server.grant(""), [format!("GET {}", server.url("/x"))]);
    let outcome = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"]
        .iter()
        .fold(case, |case, name| case.env(name, &proxy.url("")))
        .run();
    check_said(&outcome, &["200 known: x"]);
    assert_eq!(proxy.counts().connections, 0);
}

#[test]
fn what_is_not_granted_stops_the_request() {
    let server = LookupServer::start();
    let case = looked_up(&server, ["a", "b"]).set("concurrency", 1);
    let outcome = case.setting("base_url", &server.url("/v2/")).run();
    assert_eq!(outcome.report().status(), "retry|stopped");
    assert_eq!(outcome.lines("out/retry/a-retry01.txt")[0], "a");
    assert_eq!(server.counts().connections, 0);
}

#[test]
fn without_a_grant_a_plugin_that_asks_is_refused() {
    let outcome = Case::new("url-lookup").input_lines("a.txt", ["x"]).run();
    assert_eq!(outcome.exit, Some(2));
    for word in [
        "wasi:http/outgoing-handler",
        "not granted",
        "[[grants.http]]",
    ] {
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }
}

#[test]
fn names_that_are_not_there_mean_retry() {
    let start = Instant::now();
    let grant = r#"{"host": "no-such-host.invalid"}"#;
    let outcome = probed(grant, ["GET https://no-such-host.invalid/"]).run();
    let said = said(&outcome);
    assert!(
        said[0].starts_with("failed: Connection") || said[0].starts_with("failed: Timeout"),
        "{said:?}"
    );
    assert!(start.elapsed().as_secs() < 30);
}

#[test]
fn a_server_without_encryption_is_not_taken_for_one_with() {
    let server = LookupServer::start();
    let port = server.address.port();
    let grant = format!(r#"{{"host": "127.0.0.1", "port": {port}, "private": true}}"#);
    let outcome = probed(&grant, [format!("GET https://127.0.0.1:{port}/x")]).run();
    check_said(
        &outcome,
        &["failed: Connection: the server does not speak TLS"],
    );
    assert_eq!(server.counts().requests, 0);
}

#[test]
fn a_version_that_runs_along_only_reads() {
    let server = LookupServer::start();
    let grants = server.grant(r#", "methods": ["GET", "POST"]"#);
    let case = Case::command(["serve", "--listen", "127.0.0.1:0", "--out", "out"])
        .args(["--plugin", "plugin.wasm", "--set", "plugin_poll_ms=20"])
        .args(["--set", "shadow=only", "--set", "batch_lines=2"])
        .set("grants.http", format!("[{grants}]"));
    let put = |name: &str| {
        std::fs::copy(plugin(name), case.dir().join("new.wasm")).expect("it can be copied");
        std::fs::rename(case.dir().join("new.wasm"), case.dir().join("plugin.wasm"))
            .expect("it can be renamed");
    };
    put("unruly");
    let served = Served::start(case.clone());
    put("prober");
    let lines = format!("POST {0} 3\nGET {0}\n", server.url("/x"));
    let start = Instant::now();
    while server.counts().requests == 0 {
        assert_eq!(
            served.lines("", &lines).text(),
            lines,
            "the other one answers"
        );
        assert!(start.elapsed().as_secs() < 60, "it does not run along");
    }
    let counts = server.counts();
    assert!(
        counts.asked.contains("GET /x") && counts.asked.len() == 1,
        "{counts:?}"
    );
}

#[test]
fn a_request_that_was_abandoned_never_looks_whole() {
    let server = LookupServer::start();
    let grant = server.grant(r#", "methods": ["POST"]"#);
    let lines = vec![format!("abandon {}", server.url("/hear")); 30];
    let outcome = probed(&grant, lines).set("batch_lines", 1).run();
    let report = outcome.report();
    assert_eq!(report.count("CorruptionErrors"), 30, "{}", report.0);
    let counts = server.wait(|counts| counts.open == 0);
    assert_eq!((counts.requests, counts.ended), (30, 0));
}

#[test]
fn requests_that_never_end_count_as_connections() {
    let server = LookupServer::start();
    let grant = server.grant(r#", "methods": ["POST"]"#);
    let lines = vec![format!("linger {}", server.url("/hear")); 4];
    let outcome = probed(&grant, lines)
        .set("concurrency", 1)
        .set("grants.http_connect_ms_max", 200)
        .set("grants.http_connections_per_host_max", 2)
        .run();
    let busy = "failed: ErrorCode::ConnectionLimitReached";
    check_said(&outcome, &["200", "200", busy, busy]);
    let counts = server.wait(|counts| counts.open == 0);
    assert_eq!((counts.connections, counts.ended), (2, 0));
}

#[test]
fn headers_of_answers_are_limited() {
    let server = LookupServer::start();
    let asked = ["headers-60000", "headers-80000", "x"];
    let lines = asked.map(|name| format!("GET {}", server.url(&format!("/{name}"))));
    let outcome = probed(&server.grant(""), lines).run();
    check_said(
        &outcome,
        &["200 after all", "failed: Connection", "200 known: x"],
    );
    assert!(
        outcome.stderr.contains("more than 65536 bytes"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_is_hoarded_is_little() {
    for what in ["hoard-headers", "hoard-bodies"] {
        let case = probed(r#"{"host": "nobody.invalid"}"#, [what]).set("concurrency", 1);
        let mut running = case.start();
        let peak = running.peak_kib();
        let outcome = running.finish();
        assert_eq!(
            outcome.report().count("CorruptionErrors"),
            1,
            "{}",
            outcome.stderr
        );
        assert!(peak < 400 * 1024, "{what}: {peak} KiB");
    }
}
