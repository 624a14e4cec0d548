//! Every way in which a plugin can misbehave: what it costs is the line that made it, never another, never the host.

use super::support::{Case, Outcome};

/// Lines in `a.txt`, run by the plugin that does what they say.
pub(crate) fn unruly<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Case {
    Case::new("unruly").input_lines("a.txt", lines)
}

/// Between two good lines, `line` alone is corrupt, for `reason`.
fn check_poison(case: Case, line: &str, reason: &str) -> Outcome {
    let outcome = case
        .input_lines("a.txt", ["before", line, "after"])
        .check(&format!(
            "
        exit 1
        corrupted: loaded 3, processed 2, corrupted 1
        out/corruption/a.txt: {line}
          2 corrupt: {reason}
        out/destination/a.txt: before,after
        "
        ));
    assert!(outcome.report().count("Traps") > 0, "{line}");
    outcome
}

#[test]
fn a_line_that_traps_alone_is_corrupt() {
    let table = [
        (
            "!trap",
            "trap: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            "!panic went wrong",
            "trap: panicked at tests/guests/unruly/src/commands.rs:LINE: went wrong",
        ),
        ("!exit 0", "exit: the plugin ended itself with code 0"),
        ("!exit 1", "exit: the plugin ended itself with code 1"),
        ("!spin", "out of fuel: all of its 100060000 fuel was used"),
        ("!recurse", "trap: wasm trap: out of bounds memory access"),
        (
            "!fault-range",
            "contract violated: the plugin reports a fault at index 1000000 of 1 lines",
        ),
        (
            "!fault-twice",
            "contract violated: the plugin reports two faults at index 0",
        ),
        (
            "!attempted-beyond",
            "contract violated: the plugin says it attempted 2 lines of a batch of 1",
        ),
        (
            "!metric-name",
            "contract violated: the plugin's metric name \"not a name!\" is not valid: letters, digits and _, not a digit first, at most 64",
        ),
        (
            "!metric 1st key 1",
            "contract violated: the plugin's metric name \"1st\" is not valid: letters, digits and _, not a digit first, at most 64",
        ),
        (
            "!sample load NaN",
            "contract violated: a sample of the plugin's metric load is not a finite number",
        ),
    ];
    for (line, reason) in table {
        check_poison(Case::new("unruly"), line, reason);
        // The batch may be of one line, so that nothing is halved.
        check_poison(Case::new("unruly").set("batch_lines", 1), line, reason);
    }
}

#[test]
fn the_reason_of_a_panic_says_where_it_was() {
    let outcome = unruly(["!panic of this kind"]).run();
    let rows = outcome.lines("out/corruption/a.txt.faults.ndjson");
    let (_, place) = rows[0].split_once("commands.rs:").expect("a file");
    let place: Vec<_> = place.splitn(3, ':').collect();
    assert!(
        place[0].parse::<u32>().is_ok_and(|line| line > 0),
        "{rows:?}"
    );
    assert!(
        place[1].parse::<u32>().is_ok_and(|column| column > 0),
        "{rows:?}"
    );
    assert!(place[2].starts_with(" of this kind (fuel "), "{rows:?}");
    assert!(
        outcome.stderr.contains("of this kind"),
        "the panic is in the log too"
    );
}

#[test]
fn a_reason_is_cut() {
    let long = "long ".repeat(4000);
    let outcome = unruly([format!("!panic {long}"), format!("!corrupt {long}")]).run();
    let rows = outcome.lines("out/corruption/a.txt.faults.ndjson");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!((4000..6000).contains(&row.len()), "{} bytes", row.len());
    }
    for (error, _) in outcome.report().errors() {
        assert_eq!(error.chars().count(), 256);
    }
}

#[test]
fn memory_is_limited() {
    let case = || Case::new("unruly").set("memory_bytes_max", "16MiB");
    check_poison(
        case(),
        "!grow",
        "out of memory: memory is limited to memory_bytes_max = 16777216: memory allocation of 1048576 bytes failed",
    );
    let outcome = case()
        .set("memory_bytes_max", "64KiB")
        .input_lines("a.txt", ["1"])
        .run();
    assert_eq!(outcome.exit, Some(2));
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("memory_bytes_max"),
        "{}",
        outcome.stderr
    );
    assert!(
        !outcome.stderr.contains("not a valid component"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn what_takes_too_long_is_retried() {
    // Time depends on the machine, so it is not the line that is blamed.
    for line in ["!sleep 100000", "!fill"] {
        let outcome = unruly(["before", line, "after"])
            .set("batch_ms_max", 1000)
            .set("fuel_base", 1_000_000_000_000u64)
            .check(&format!(
                "
                exit 1
                retry: loaded 3, processed 2, retried 1
                out/destination/a.txt: before,after
                out/retry/a-retry01.txt: {line}
                  2 retry: out of time: the call took longer than its limit (batch_ms_max, or call_ms_max)
                "
            ));
        assert!(outcome.report().count("Traps") > 0, "{line}");
    }
}

#[test]
fn a_plugin_that_fills_memory_for_ever_runs_out_of_time_or_fuel() {
    let outcome = unruly(["before", "!fill", "after"])
        .set("batch_ms_max", 2000)
        .run();
    assert_eq!(outcome.lines("out/destination/a.txt"), ["before", "after"]);
    let report = outcome.report();
    assert_eq!(
        report.count("CorruptionErrors") + report.count("RetryErrors"),
        1
    );
}

/// The lines of stderr that are log events of the plugin.
fn logged(outcome: &Outcome) -> Vec<&str> {
    outcome
        .stderr
        .lines()
        .filter(|line| line.contains(" plugin: "))
        .collect()
}

#[test]
fn a_plugin_cannot_flood_the_log() {
    // What is said, and how often it is said at most: a thousand times by default.
    for line in ["!log 5000", "!stdout 5000", "!stderr 5000"] {
        let outcome = unruly(["before", line, "after"])
            .set("fuel_base", 100_000_000_000u64)
            .check(&format!(
                "
                exit 0
                ok: loaded 3, processed 3
                WARN linemill::pipeline: 4000 log events of the plugin were dropped (log_events_max) request=ID
                out/destination/a.txt: before,{line},after
                "
            ));
        assert_eq!(logged(&outcome).len(), 1000, "{line}");
        assert!(
            outcome.stderr.len() < 400_000,
            "{} bytes",
            outcome.stderr.len()
        );
        assert!(outcome.stdout.is_empty(), "what it prints is a log event");
    }
}

#[test]
fn limits_of_the_log_can_be_set() {
    let outcome = unruly(["!log 5", "!biglog 100"])
        .set("log_events_max", 3)
        .set("batch_lines", 1)
        .set("concurrency", 1)
        .run();
    let logged = logged(&outcome);
    assert_eq!(logged.len(), 3);
    for (n, line) in logged.iter().enumerate() {
        assert!(line.contains(&format!("message {n}")), "{line}");
        let id = outcome.report().text("RequestId").expect("an id");
        assert!(line.contains("unruly") && line.contains(id), "{line}");
    }
    let outcome = unruly(["!log 5"]).set("log_events_max", 0).run();
    assert!(!outcome.stderr.contains("message"), "{}", outcome.stderr);
}

#[test]
fn a_log_message_is_cut() {
    let outcome = unruly(["!biglog 1000000"])
        .set("fuel_base", 10_000_000_000u64)
        .run();
    let logged = logged(&outcome);
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].matches('x').count(), 4096);
    let outcome = unruly(["!biglog 1000"]).set("log_bytes_max", 10).run();
    assert!(outcome.stderr.contains("xxxxxxxxxx"));
    assert!(!outcome.stderr.contains("xxxxxxxxxxx"));
}

#[test]
fn output_is_limited() {
    check_poison(
        Case::new("unruly").set("output_bytes_max", 1000),
        "!flood 2000",
        "contract violated: the plugin emitted 2000 bytes for one batch, more than output_bytes_max = 1000",
    );
    check_poison(
        Case::new("unruly").set("fuel_base", 100_000_000_000u64),
        "!flood 80000000",
        "contract violated: the plugin returned more than output_bytes_max allows",
    );
}

#[test]
fn lines_whose_output_is_too_much_together_are_run_apart() {
    let outcome = unruly(["!flood 400"; 20])
        .set("output_bytes_max", 1000)
        .set("batch_lines", 20)
        .run();
    assert_eq!((outcome.exit, outcome.report().status()), (Some(0), "ok"));
    assert_eq!(outcome.report().count("Processed"), 20);
    assert_eq!(outcome.bytes("out/destination/a.txt").len(), 20 * 400);
}

#[test]
fn a_plugin_may_hand_lines_back() {
    // All lines from one on, and again, until it takes them.
    let outcome = unruly(["1", "!attempted", "2", "!attempted", "!attempted", "3"])
        .set("batch_lines", 6)
        .check(
            "
            exit 0
            ok: loaded 6, processed 6
            out/destination/a.txt: 1,!attempted,2,!attempted,!attempted,3
            ",
        );
    assert_eq!(
        (
            outcome.report().count("Traps"),
            outcome.report().count("Batches")
        ),
        (0, 1)
    );
    // None of them.
    unruly(["!attempted-none", "!attempted-none", "2"])
        .set("batch_lines", 1)
        .check(
            "
            exit 1
            retry: loaded 3, processed 1, retried 2
            out/destination/a.txt: 2
            out/retry/a-retry01.txt: !attempted-none,!attempted-none
              1,2 retry: the plugin handed the line back without attempting any
            ",
        );
}

#[test]
fn a_call_that_fails_takes_its_batch_with_it() {
    let lines = |command: &str| {
        [
            "1".to_owned(),
            command.to_owned(),
            "3".to_owned(),
            "4".to_owned(),
        ]
    };
    let case = |command| unruly(lines(command)).set("batch_lines", 2);
    case("!fail-retry later").check(
        "
        exit 1
        retry: loaded 4, processed 2, retried 2
        out/destination/a.txt: 3,4
        out/retry/a-retry01.txt: 1,!fail-retry later
          1,2 retry: later
        ",
    );
    case("!fail-corrupt bad").check(
        "
        exit 1
        corrupted: loaded 4, processed 2, corrupted 2
        out/corruption/a.txt: 1,!fail-corrupt bad
          1,2 corrupt: bad
        out/destination/a.txt: 3,4
        ",
    );
}

#[test]
fn nothing_of_a_call_that_fails_is_committed() {
    let effects = [
        "text",
        "!route more text",
        "!metric lines  1",
        "!partial p",
        "!corrupt c",
    ];
    for last in ["!fail-retry later", "!retry later"] {
        let outcome = unruly(effects.iter().copied().chain([last]))
            .args(["--route", "more=out/more"])
            .setting("post", "emit")
            .set("batch_lines", 6)
            .run();
        let all = last == "!retry later";
        let lines = outcome.lines("out/destination/a.txt");
        assert_eq!(lines.len(), if all { 2 } else { 1 }, "{lines:?}");
        assert_eq!(outcome.lines("out/more/a.txt").len(), usize::from(all));
        assert_eq!(
            outcome.lines("out/corruption/a.txt").len(),
            usize::from(all)
        );
        let metrics = outcome.report().0["Metrics"].as_object().expect("metrics");
        assert_eq!(metrics.len(), usize::from(all));
        let told = lines.last().expect("post's line");
        assert_eq!(told.ends_with("partials=p,"), all, "{told}");
    }
}

#[test]
fn a_fatal_failure_stops_the_request() {
    let mut lines = vec!["1".to_owned(), "!fatal the table is gone".to_owned()];
    lines.extend((3..=200).map(|n| n.to_string()));
    let case = unruly(&lines).set("batch_lines", 1).set("concurrency", 1);
    let outcome = case.check(
        "
        exit 1
        retry|stopped: loaded 2, processed 1, retried 1, unread 198
        out/destination/a.txt: 1
        out/retry/a-retry01.txt: !fatal the table is gone
          2 retry: the table is gone
        out/retry/a-retry01.txt.resume.json: a.txt from byte 27, line 3, attempt 1
        ",
    );
    assert_eq!(outcome.report().errors()[0].0, "the table is gone");
    let rest = case
        .again()
        .source("out/retry/a-retry01.txt.resume.json")
        .run();
    assert_eq!((rest.exit, rest.report().status()), (Some(0), "ok"));
    assert_eq!(rest.report().count("Processed"), 198);
}

#[test]
fn a_fatal_failure_ends_every_worker() {
    let lines: Vec<String> = (0..3000)
        .map(|n| {
            if n % 10 == 9 {
                "!fatal no".to_owned()
            } else {
                n.to_string()
            }
        })
        .collect();
    let outcome = unruly(lines)
        .set("batch_lines", 10)
        .set("concurrency", 8)
        .run();
    let report = outcome.report();
    assert_eq!((outcome.exit, report.status()), (Some(1), "retry|stopped"));
    assert_eq!(report.count("Processed"), 0);
    assert!(report.count("RetryErrors") > 0);
}

#[test]
fn routes() {
    let lines = ["!route more a", "b", "!route other c", "!route more d"];
    unruly(lines)
        .args([
            "--route",
            "more=out/more",
            "--route",
            "other=out/other/$SourceName.gz",
        ])
        .check(
            "
            exit 0
            ok: loaded 4, processed 4
            out/destination/a.txt: b
            out/more/a.txt: a,d
            out/other/a.txt.gz: c
            ",
        );
    unruly(lines).args(["--route", "more=out/more"]).set("batch_lines", 4).check(
        "
        exit 2
        error: loaded 4, processed 4
        error: the plugin emits output for the route \"other\", which is not configured: add other = \"URL\" under [routes]
        ",
    );
}

#[test]
fn output_needs_a_destination() {
    let case = |lines: &[&str]| {
        Case::new("unruly")
            .without_out()
            .args(["--retry", "r", "--failed", "f", "--corruption", "c"])
            .input_lines("a.txt", lines)
    };
    case(&["1"]).check(
        "
        exit 2
        error: loaded 1, processed 1
        error: the plugin emits output, but destination_url is not set: set it, or out_url
        ",
    );
    case(&["!metric lines  1"]).check(
        "
        exit 0
        ok: loaded 1, processed 1
        ",
    );
    case(&["!metric lines  1"]).setting("post", "emit").check(
        "
        exit 2
        error: loaded 1, processed 1
        error: the plugin emits output, but destination_url is not set: set it, or out_url
        ",
    );
}

#[test]
fn remainders() {
    unruly(["!rest the rest", "!rest ", "3"]).check(
        "
        exit 1
        retry: loaded 3, processed 1, retried 2, partial 2
        out/destination/a.txt: 3
        out/retry/a-retry01.txt: the rest,
          1,2 partial: part is done
        ",
    );
    unruly(["!rest the rest", "2"]).set("max_retries", 0).check(
        "
        exit 1
        failed: loaded 2, processed 1, failed 1, partial 1
        out/destination/a.txt: 2
        out/failed/a-retry01.txt: the rest
          1 failed: part is done
        ",
    );
}

#[test]
fn pre_and_post_that_trap() {
    let table = [
        (
            "trap",
            "trap: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            "panic",
            "trap: panicked at tests/guests/unruly/src/misbehave.rs:LINE: STAGE panics as it was told",
        ),
        ("spin", "out of fuel: all of its 10000000 fuel was used"),
        (
            "sleep:100000",
            "out of time: the call took longer than its limit (batch_ms_max, or call_ms_max)",
        ),
    ];
    for (how, reason) in table {
        for (stage, counters) in [("pre", ""), ("post", ": loaded 2, processed 1, retried 1")] {
            let case = unruly(["1", "!retry 2"])
                .setting(stage, how)
                .set("completion", "delete")
                .set("call_fuel", 10_000_000)
                .set("call_ms_max", 1000);
            let status = if stage == "pre" {
                "error"
            } else {
                "retry|error"
            };
            let later = if stage == "pre" { "" } else { "error: 2" };
            case.check(&format!(
                "
                exit 2
                {status}{counters}
                error: plugin unruly: {stage} failed: {}
                {later}
                ",
                reason.replace("STAGE", stage)
            ));
        }
    }
}

#[test]
fn post_writes_to_routes_too() {
    unruly(["1", "!partial a", "!corrupt c"])
        .setting("post-route", "more")
        .args(["--route", "more=out/more"])
        .set("batch_lines", 1)
        .check(
            "
            exit 1
            corrupted: loaded 3, processed 2, corrupted 1
            out/corruption/a.txt: !corrupt c
              3 corrupt: c
            out/destination/a.txt: 1
            out/more/a.txt: post: loaded=3 processed=2 corrupted=1 retried=0 partials=a,
            ",
        );
    unruly(["1"]).setting("post-route", "nowhere").check(
        "
        exit 2
        error: loaded 1, processed 1
        error: the plugin emits output for the route \"nowhere\", which is not configured: add nowhere = \"URL\" under [routes]
        ",
    );
}
