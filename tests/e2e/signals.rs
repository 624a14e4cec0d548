//! Signals: a run hands over what is left, and quits at the second one.

use crate::deadlines::ENDLESS;
use crate::support::{Case, Outcome, gzip};

/// Signals a run that hangs in a line.
#[track_caller]
fn signalled(case: Case, signal: &str) -> Outcome {
    let mut running = case
        .args(["--concurrency", "2"])
        .set("fuel_base", ENDLESS)
        .start();
    running.wait_for_stderr("message 0");
    running.signal(signal);
    let outcome = running.finish();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("interrupted, handing over"),
        "{}",
        outcome.stderr
    );
    outcome
}

/// Lines of which the second says that work has begun, and a later one hangs.
fn hanging(hang: &str, lines: usize) -> Vec<String> {
    let line = |n: usize| match n {
        1 => "!log 1".to_owned(),
        5 => hang.to_owned(),
        _ => format!("line {n}"),
    };
    (0..lines).map(line).collect()
}

#[test]
fn a_signal_hands_over_what_is_left() {
    for signal in ["INT", "TERM"] {
        for (hang, unread) in [("!spin", "pointer"), ("!sleep 100000", "copy")] {
            for name in ["a.txt", "a.txt.gz"] {
                let plain = hanging(hang, 50_000).join("\n");
                let packed = match name {
                    "a.txt" => plain.into_bytes(),
                    _ => gzip(plain),
                };
                let case = Case::new("unruly").input(name, packed);
                let case = case.args(["--unread", unread, "--completion", "delete"]);
                let outcome = signalled(case, signal);
                let report = outcome.report();
                assert_eq!(
                    report.status(),
                    "retry",
                    "{signal} {hang} {name}: {}",
                    report.0
                );
                let kept = outcome.after.contains_key(name);
                let left = report.text("ResumeURL").is_some();
                assert_eq!(kept, left, "{signal} {hang} {name}: {}", report.0);
                assert!(!left || unread == "pointer", "{}", report.0);
            }
        }
    }
}

#[test]
fn a_signal_during_pre_hands_over_everything() {
    let case = Case::new("unruly").input_lines("a.txt", ["a", "b"]);
    let case = case.set("call_fuel", ENDLESS).setting("pre", "hang");
    let outcome = signalled(case.args(["--completion", "delete"]), "INT");
    outcome.check(
        "
        exit 1
        retry: unread 2
        linemill: interrupted, handing over what is left (again to quit at once)
        out/retry/a-retry01.txt.resume.json: a.txt from byte 0, line 1, attempt 1
        ",
    );
}

#[test]
fn a_signal_ends_a_stream_that_goes_on() {
    let mut lines = hanging("!sleep 100000", 20).join("\n");
    lines.push_str("\nthe beginning of");
    let case = Case::new("unruly").open_input(&lines).source("-");
    let outcome = signalled(case, "INT");
    assert_eq!(outcome.report().status(), "retry");
    let left = outcome.lines("out/retry/stdin-retry01");
    assert_eq!(left.last().unwrap(), "the beginning of");
}

#[test]
fn a_signal_begins_no_further_source() {
    let mut case = Case::new("unruly").input_lines("in/0.txt", hanging("!spin", 100));
    for n in 1..10 {
        case = case.file(&format!("in/{n}.txt"), "a\n");
    }
    for n in 1..10 {
        case = case.source(&format!("in/{n}.txt"));
    }
    let outcome = signalled(case.args(["--completion", "delete"]), "TERM");
    assert_eq!(outcome.report().text("SourceURL"), Some("in/0.txt"));
    for n in 1..10 {
        assert!(outcome.after.contains_key(&format!("in/{n}.txt")));
    }
}

#[test]
fn a_signal_ends_all_sources_under_way() {
    let mut case = Case::new("unruly").args(["--parallel", "3"]);
    for n in 0..3 {
        case = case.input_lines(&format!("{n}.txt"), hanging("!spin", 100));
    }
    let mut running = case
        .set("fuel_base", ENDLESS)
        .args(["--concurrency", "2"])
        .start();
    running.wait_for_stderr("message 0");
    running.signal("INT");
    let outcome = running.finish();
    let reports: Vec<_> = outcome.reports.iter().map(|report| &report.0).collect();
    assert_eq!(outcome.exit, Some(1), "{reports:?}\n{}", outcome.stderr);
    for report in &outcome.reports {
        assert_eq!(report.status(), "retry", "{}", report.0);
    }
}

#[test]
fn a_second_signal_quits_at_once() {
    for signals in [["INT", "INT"], ["TERM", "TERM"], ["TERM", "INT"]] {
        let case = Case::new("unruly")
            .input_lines("a.txt", ["a", "!corrupt c", "!log 1", "!route hold x"]);
        let case = case.args([
            "--route",
            "hold=pipes/$SourceName",
            "--completion",
            "delete",
        ]);
        let _pipe = case.pipe("pipes/a.txt");
        let mut running = case.start();
        running.wait_for_stderr("message 0");
        running.signal(signals[0]);
        running.wait_for_stderr("interrupted, handing over");
        running.signal(signals[1]);
        let outcome = running.end();
        assert_eq!(outcome.exit, Some(130), "{signals:?}: {}", outcome.stderr);
        assert_eq!(outcome.after, outcome.before, "{signals:?}");
    }
}
