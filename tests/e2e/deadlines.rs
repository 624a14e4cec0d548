//! Deadlines: a run ends in time, and all runs together have every line once.

use std::collections::BTreeMap;

use crate::support::{Case, Outcome, gzip};

/// More fuel than a run can burn: what ends a spinning plugin is time.
pub(crate) const ENDLESS: u64 = 1 << 60;
/// A run may take so much longer than it was given, on a machine with much else to do.
const LATE_MS: u64 = 1000;

/// With so much time, and two seconds of it kept back: a busy disk takes its time to make sure of what is handed over.
pub(crate) fn timed(case: Case, ms: u64) -> Case {
    case.args(["--max-exec-time-ms", &ms.to_string(), "--concurrency", "2"])
        .set("fuel_base", ENDLESS)
        .set("deadline_reduction_ms", 2000)
}

#[track_caller]
pub(crate) fn check_in_time(outcome: &Outcome, ms: u64) {
    let took = outcome.report().count("RuntimeMs");
    assert!(took < ms + LATE_MS, "{took} ms: {}", outcome.report().0);
}

#[test]
fn a_plugin_that_does_not_return_is_cut_off_in_time() {
    for line in ["!spin", "!sleep 100000", "!fill", "!flood 8000000"] {
        for unread in ["pointer", "copy"] {
            let lines = ["a", "b"].into_iter().chain(std::iter::repeat_n(line, 98));
            let case = Case::new("unruly").input_lines("a.txt", lines);
            let case = timed(case, 3000).args(["--unread", unread]);
            let outcome = case.args(["--completion", "delete"]).run();
            check_in_time(&outcome, 3000);
            let report = outcome.report();
            let seen = format!("{line}, {unread}: {}", report.0);
            assert_eq!(report.count("CorruptionErrors"), 0, "{seen}");
            assert!(!report.is("error"), "{seen}");
            // A flood may be over in time.
            assert!(
                outcome.exit == Some(1) || line.starts_with("!flood"),
                "{seen}"
            );
            let left = report.text("ResumeURL").is_some();
            assert!(!left || outcome.after.contains_key("a.txt"), "{seen}");
        }
    }
}

#[test]
fn lines_that_hang_do_not_take_the_others_with_them() {
    let lines = (0..2000).map(|n| match n {
        700 => "!spin".to_owned(),
        _ => format!("line {n}"),
    });
    let case = Case::new("unruly").input_lines("a.txt", lines);
    let outcome = timed(case, 3000).run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(1));
    let done = outcome.lines("out/destination/a.txt");
    assert!(done.len() >= 256, "{} lines were done", done.len());
    assert!(done.contains(&"line 0".to_owned()));
    assert!(!done.contains(&"!spin".to_owned()));
}

#[test]
fn without_time_all_is_handed_over() {
    let case = Case::new("unruly").input("in/a.txt", "a\nb\nc");
    let case = case.args(["--completion", "delete"]);
    case.clone().without_time().check(
        "
        exit 1
        retry: unread 3
        out/retry/in/a-retry01.txt.resume.json: in/a.txt from byte 0, line 1, attempt 1
        ",
    );
    case.again()
        .source("out/retry/in/a-retry01.txt.resume.json")
        .check(
            "
            exit 0
            ok: loaded 3, processed 3
            removed in/a.txt
            removed out/retry/in/a-retry01.txt.resume.json
            out/destination/out/retry/in/a-at0-retry01.txt: a,b,c
            ",
        );
}

#[test]
fn without_time_all_is_copied_where_that_is_wanted() {
    let case = Case::new("unruly")
        .input("a.txt.gz", gzip("a\r\n\nb"))
        .args(["--unread", "copy", "--completion", "delete"]);
    case.clone().without_time().check(
        "
        exit 1
        retry: unread 3
        removed a.txt.gz
        out/retry/a-retry01.txt.gz: a\\r,,b
        ",
    );
    case.again().source("out/retry/a-retry01.txt.gz").check(
        "
        exit 0
        ok: loaded 3, processed 3
        removed out/retry/a-retry01.txt.gz
        out/destination/out/retry/a-retry01.txt.gz: a,,b
        ",
    );
}

/// Runs a source, then all that was left of it, and so on until nothing is. Gives back all outcomes.
#[track_caller]
fn run_until_done(case: &Case) -> Vec<Outcome> {
    let mut outcomes = vec![case.run()];
    let mut next = 0;
    while let Some(outcome) = outcomes.get(next) {
        next += 1;
        for url in left(outcome) {
            assert!(outcomes.len() < 300, "there is no end to it: {url}");
            outcomes.push(case.again().source(&url).run());
        }
    }
    outcomes
}

/// What a run left to be run again.
#[track_caller]
fn left(outcome: &Outcome) -> Vec<String> {
    let report = outcome.report();
    assert!(!report.is("error"), "{}\n{}", report.0, outcome.stderr);
    let mark = format!("-retry{:02}", report.count("Attempt") + 1);
    let urls = ["RetryURL", "ResumeURL"].map(|kind| report.text(kind).map(str::to_owned));
    let urls: Vec<_> = urls.into_iter().flatten().collect();
    assert!(
        urls.iter().all(|url| url.contains(&mark)),
        "{urls:?}: {}",
        report.0
    );
    urls
}

/// How often each line is in the files below `out/destination`.
fn output(outcomes: &[Outcome]) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    let last = outcomes.last().unwrap();
    let names = last
        .after
        .keys()
        .filter(|name| name.starts_with("out/destination/"));
    for line in names.flat_map(|name| last.lines(name)) {
        *lines.entry(line).or_default() += 1;
    }
    lines
}

/// Thousands of lines, of which some take their time.
fn slow_lines() -> Vec<String> {
    let line = |n: usize| match n % 20 {
        7 => format!("!sleep {}", 10 + n % 3),
        _ => format!("line {n}"),
    };
    (0..5000).map(line).collect()
}

#[track_caller]
fn check_all_lines_once(outcomes: &[Outcome]) {
    let mut expected = BTreeMap::new();
    for line in slow_lines() {
        *expected.entry(line).or_insert(0) += 1;
    }
    let seen = output(outcomes);
    for (line, times) in &expected {
        assert_eq!(
            seen.get(line),
            Some(times),
            "{line:?}, after {} runs",
            outcomes.len()
        );
    }
    assert_eq!(seen.len(), expected.len());
}

fn slow(name: &str) -> Case {
    let plain = slow_lines().join("\n");
    let packed = match name.ends_with(".gz") {
        true => gzip(plain),
        false => plain.into_bytes(),
    };
    timed(Case::new("unruly").input(name, packed), 2700)
        .set("max_retries", 1000)
        .args(["--completion", "delete"])
}

/// What was read to its end was deleted: the source, retry objects, pointers.
#[track_caller]
fn check_nothing_is_left(outcomes: &[Outcome]) {
    let after = outcomes.last().unwrap().after.keys();
    let kept = |name: &&String| name.starts_with("out/destination/") || name.ends_with(".ndjson");
    let left: Vec<_> = after.filter(|name| !kept(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn runs_by_pointer_have_every_line_once() {
    for (name, ordered) in [("in/a.txt", false), ("in/a.txt.gz", true)] {
        let outcomes = run_until_done(&slow(name).set("ordered", ordered));
        assert!(outcomes.len() > 2, "{} runs", outcomes.len());
        check_all_lines_once(&outcomes);
        check_nothing_is_left(&outcomes);
    }
}

#[test]
fn runs_by_copy_have_every_line_once() {
    for (name, ordered) in [("in/a.txt", true), ("in/a.txt.gz", false)] {
        let case = slow(name)
            .args(["--unread", "copy"])
            .set("ordered", ordered);
        let outcomes = run_until_done(&case);
        assert!(outcomes.len() > 2, "{} runs", outcomes.len());
        check_all_lines_once(&outcomes);
        check_nothing_is_left(&outcomes);
    }
}

#[test]
fn what_is_left_when_attempts_are_used_up_has_failed() {
    let case = Case::new("unruly").input("a-retry03.txt", "a\nb\n");
    let case = case.args(["--max-retries", "3"]);
    case.clone().without_time().check(
        "
        exit 1
        retry: unread 2
        out/failed/a-retry04.txt.resume.json: a-retry03.txt from byte 0, line 1, attempt 4
        ",
    );
    let case = timed(
        Case::new("unruly").input_lines("a-retry10.txt", ["!spin"; 40]),
        3000,
    );
    let outcome = case.run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(1), "{}", outcome.report().0);
    assert!(outcome.report().is("failed"), "{}", outcome.report().0);
    assert!(
        outcome
            .new_files()
            .iter()
            .all(|name| name.starts_with("out/failed/a-retry11"))
    );
}

#[test]
fn what_goes_before_and_behind_the_lines_ends_in_time_too() {
    for how in ["spin", "sleep:100000"] {
        for stage in ["pre", "post"] {
            let case = Case::new("unruly").input("a.txt", "a\nb\n");
            let case = timed(case, 3000)
                .setting(stage, how)
                .set("call_fuel", ENDLESS);
            let outcome = case.args(["--completion", "delete"]).run();
            check_in_time(&outcome, 3000);
            assert_ne!(outcome.exit, Some(0), "{stage} {how}");
            assert!(outcome.after.contains_key("a.txt"), "{stage} {how}");
            let visible = outcome
                .after
                .keys()
                .any(|name| name.starts_with("out/destination/"));
            assert!(!visible, "{stage} {how}: {}", outcome.report().0);
        }
    }
}

#[test]
fn a_destination_that_takes_nothing_does_not_keep_a_run() {
    let case = timed(
        Case::new("unruly").input_lines("a.txt", ["a", "!route hold x"]),
        3000,
    );
    let case = case.args([
        "--route",
        "hold=pipes/$SourceName",
        "--completion",
        "delete",
    ]);
    let _pipe = case.pipe("pipes/a.txt");
    let outcome = case.run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    assert_eq!(outcome.after, outcome.before);
}

#[test]
fn a_stream_that_does_not_end_is_left_to_its_writer() {
    let case = Case::new("unruly")
        .open_input("a\n!retry r\nb\nthe beginning of")
        .source("-");
    let outcome = timed(case, 3000).run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(1), "{}", outcome.report().0);
    assert_eq!(outcome.lines("out/destination/stdin"), ["a", "b"]);
    assert_eq!(
        outcome.lines("out/retry/stdin-retry01"),
        ["!retry r", "the beginning of"]
    );
    let (error, _) = outcome.report().errors().pop().unwrap();
    assert!(
        error.starts_with("the source did not end in time"),
        "{error}"
    );
}

/// Lines of which the second is too long, and does not end.
pub(crate) fn without_end() -> Vec<u8> {
    [b"a\n", &[b'x'; 200_000][..]].concat()
}

#[test]
fn the_beginning_of_a_long_line_is_not_lost() {
    let case = Case::new("unruly").open_input(without_end()).source("-");
    let outcome = timed(case, 3000).set("line_bytes_max", 1000).run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(1), "{}", outcome.report().0);
    assert_eq!(outcome.lines("out/destination/stdin"), ["a"]);
    let left = outcome.lines("out/retry/stdin-retry01");
    assert!(left == ["x".repeat(200_000)]);
}

#[test]
fn a_long_line_that_breaks_off_does_not_cut_off_what_still_has_time() {
    // Reading stops before work does, so the first line ends in time.
    let input = [b"!sleep 800\n", &[b'x'; 200_000][..]].concat();
    let case = Case::new("unruly").open_input(input).source("-");
    let case = timed(case, 3000).set("line_bytes_max", 1000);
    let outcome = case.set("ordered", false).run();
    check_in_time(&outcome, 3000);
    let report = outcome.report();
    assert_eq!(report.count("Processed"), 1, "{}", report.0);
    assert_eq!(report.count("RetryErrors"), 0, "{}", report.0);
    let left = outcome.lines("out/retry/stdin-retry01");
    assert!(left == ["x".repeat(200_000)]);
}
