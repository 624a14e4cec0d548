//! Hot swap under load: every request is run once, and wholly by one version.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::admin::upload;
use crate::support::{Case, Served};

const CLIENTS: usize = 64;
const SWAP: Duration = Duration::from_millis(200);
/// For so long, unless `LINEMILL_TEST_SWAP_SECONDS` says otherwise.
const SECONDS: u64 = 5;
/// The output of one version is its input, that of the other is cut down to three fields.
const VERSIONS: [&str; 2] = ["unruly", "ndjson-filter"];

#[test]
fn no_request_is_lost_or_mixed_while_the_plugin_is_swapped() {
    let seconds = std::env::var("LINEMILL_TEST_SWAP_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| {
        seconds.parse().expect("a number of seconds")
    });
    let case = Case::command(["serve", "--listen", "127.0.0.1:0", "--out", "out"])
        .args(["--plugin", "plugin.wasm", "--set", "plugin_poll_ms=20"])
        .args(["--max-requests", "64"]);
    upload(case.dir(), VERSIONS[0]);
    let served = Served::start(case);
    let over = AtomicBool::new(false);
    let mut runs = BTreeMap::new();
    let mut requests = 0;
    std::thread::scope(|scope| {
        let (served, over) = (&served, &over);
        let clients: Vec<_> = (0..CLIENTS)
            .map(|at| scope.spawn(move || client(served, at, over)))
            .collect();
        let end = Instant::now() + Duration::from_secs(seconds);
        for version in VERSIONS.iter().cycle().skip(1) {
            std::thread::sleep(SWAP);
            if Instant::now() >= end {
                break;
            }
            upload(served.dir(), version);
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            let (answered, digests) = client.join().expect("no client has failed");
            requests += answered;
            for (digest, n) in digests {
                *runs.entry(digest).or_insert(0) += n;
            }
        }
    });
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert_eq!(runs.values().sum::<u64>(), requests);
    let metrics = served.ask("GET /metrics", "", "");
    let counted = |name: &str| {
        let line = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|n| n.parse::<u64>().ok())
            .unwrap_or_else(|| panic!("{name}: {}", metrics.text()))
    };
    assert_eq!(
        counted("linemill_requests_total{route=\"/lines\",status=\"200\"}"),
        requests
    );
    assert_eq!(
        counted("linemill_lines_total{fate=\"processed\"}"),
        requests * 3
    );
    let swaps = counted("linemill_plugin_swaps_total");
    assert!(swaps >= seconds, "{swaps} swaps in {seconds} s");
    println!("{requests} requests and {swaps} swaps in {seconds} s: {runs:?}");
    let outcome = served.stop();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
}

/// Sends one request after the other, and checks each answer. Gives back how many, and which versions ran them.
fn client(served: &Served, at: usize, over: &AtomicBool) -> (u64, BTreeMap<String, u64>) {
    let mut connection = served.connect();
    let mut digests = BTreeMap::new();
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        let events: Vec<String> = (0..3)
            .map(|line| format!(r#""ts":{n},"user":"{at}-{line}","status":200"#))
            .collect();
        let whole: String = events
            .iter()
            .map(|event| format!("{{{event},\"more\":1}}\n"))
            .collect();
        let cut: String = events
            .iter()
            .map(|event| format!("{{{event}}}\n"))
            .collect();
        let answer = connection
            .ask("POST /lines", "", &whole)
            .expect("it is answered");
        let digest = answer.header("linemill-plugin-digest").expect("it is told");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(
            answer.text() == whole || answer.text() == cut,
            "{whole}{}",
            answer.text()
        );
        let version = format!(
            "{digest} {}",
            if answer.text() == whole {
                "whole"
            } else {
                "cut"
            }
        );
        *digests.entry(version).or_insert(0) += 1;
        n += 1;
    }
    (n, digests)
}
