//! Every way in which a plugin can misbehave: what it costs is the line that made it, never another, never the host.

use super::support::{Case, Outcome};

/// Lines in `a.txt`, run by the plugin that does what they say.
fn unruly<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Case {
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

#[test]
fn a_plugin_that_traps_on_most_lines_is_at_fault_itself() {
    // It emits more than it may, on every line, until it may.
    let lines: Vec<String> = (200..400).map(|n| format!("!flood {n}")).collect();
    let case = unruly(&lines)
        .set("batch_lines", 1)
        .set("concurrency", 1)
        .set("output_bytes_max", 100)
        .set("completion", "delete");
    let outcome = case.run();
    let report = outcome.report();
    assert_eq!((outcome.exit, report.status()), (Some(1), "retry|stopped"));
    assert_eq!(
        report.count("Loaded"),
        32,
        "it stops as soon as it is clear"
    );
    assert_eq!(
        (report.count("Processed"), report.count("CorruptionErrors")),
        (0, 0)
    );
    assert!(outcome.after.contains_key("a.txt"), "the source stays");
    let (error, _) = &report.errors()[0];
    assert_eq!(
        error,
        "32 of 32 lines trapped: the plugin is at fault, not the lines"
    );

    let rest = case
        .again()
        .set("output_bytes_max", 10_000)
        .source("out/retry/a-retry01.txt.resume.json")
        .source("out/retry/a-retry01.txt")
        .run();
    assert_eq!(rest.exit, Some(0), "{}", rest.stderr);
    let processed: u64 = rest
        .reports
        .iter()
        .map(|report| report.count("Processed"))
        .sum();
    assert_eq!(processed, 200);
    for done in [
        "a.txt",
        "out/retry/a-retry01.txt",
        "out/retry/a-retry01.txt.resume.json",
    ] {
        assert!(!rest.after.contains_key(done), "{done} is done with");
    }
}

#[test]
fn a_plugin_that_traps_on_most_lines_stops_with_large_batches_too() {
    let lines = |n: usize| (0..n).map(|n| format!("!panic {n}"));
    for (setting, value) in [
        ("batch_lines", "64"),
        ("batch_bytes", "64KiB"),
        ("concurrency", "8"),
    ] {
        let outcome = unruly(lines(2000)).set(setting, value).run();
        let report = outcome.report();
        assert_eq!(
            (outcome.exit, report.status()),
            (Some(1), "retry|stopped"),
            "{setting}"
        );
        assert_eq!(report.count("CorruptionErrors"), 0, "{setting}");
    }
}

#[test]
fn lines_that_trap_are_corrupt_as_long_as_they_are_few() {
    let trapping = |lines: Vec<&str>| {
        unruly(lines)
            .set("batch_lines", 1)
            .set("concurrency", 1)
            .run()
    };
    // Too few to tell.
    let outcome = trapping(vec!["!trap"; 31]);
    assert_eq!(
        (outcome.exit, outcome.report().status()),
        (Some(1), "corrupted")
    );
    // Half of them is not most of them.
    let outcome = trapping(["good", "!trap"].repeat(50));
    assert_eq!(
        (outcome.exit, outcome.report().status()),
        (Some(1), "corrupted")
    );
    assert_eq!(outcome.report().count("CorruptionErrors"), 50);
    // One more is.
    let outcome = trapping([vec!["good"; 16], vec!["!trap"; 30]].concat());
    assert_eq!(
        (outcome.exit, outcome.report().status()),
        (Some(1), "retry|stopped")
    );
    let report = outcome.report();
    assert_eq!(
        (report.count("Processed"), report.count("Loaded")),
        (16, 33)
    );
    // A line that the plugin calls corrupt did not trap, and stays so.
    let outcome = trapping([vec!["!corrupt c"; 10], vec!["!trap"; 30]].concat());
    let report = outcome.report();
    assert_eq!(report.status(), "retry|corrupted|stopped");
    assert_eq!(report.count("CorruptionErrors"), 10);
}

#[test]
fn how_much_is_most_can_be_set() {
    let lines = || ["good", "!trap"].repeat(20);
    let case = || unruly(lines()).set("batch_lines", 1).set("concurrency", 1);
    let outcome = case()
        .set("trap_lines_min", 10)
        .set("trap_ratio_max", 0.2)
        .run();
    assert_eq!(outcome.report().status(), "retry|stopped");
    assert_eq!(outcome.report().count("Loaded"), 10);
    let outcome = unruly(["!trap"; 50]).set("trap_ratio_max", 1).run();
    assert_eq!(outcome.report().status(), "corrupted");
    assert_eq!(outcome.report().count("CorruptionErrors"), 50);
}

/// Batches of `size` lines; in each, the lines of one set trap. All others keep what they did, in order.
fn check_poison_in_batches(size: usize, sets: &[Vec<usize>]) {
    let mut lines = Vec::new();
    for (batch, set) in sets.iter().enumerate() {
        for at in 0..size {
            lines.push(match set.contains(&at) {
                true => format!("!panic {batch}.{at}"),
                false => format!("!partial {batch}.{at}"),
            });
        }
    }
    for concurrency in [1, 4] {
        let outcome = unruly(&lines)
            .set("batch_lines", size)
            .set("concurrency", concurrency)
            .set("trap_ratio_max", 1)
            .setting("post", "emit")
            .run();
        let trap = |line: &&String| line.starts_with("!panic");
        let poison: Vec<_> = lines.iter().filter(trap).cloned().collect();
        let good = lines
            .iter()
            .filter_map(|line| line.strip_prefix("!partial "));
        let good: Vec<_> = good.collect();
        assert_eq!(outcome.lines("out/corruption/a.txt"), poison);
        let told = outcome.text("out/destination/a.txt");
        let (_, partials) = told
            .trim_end()
            .split_once("partials=")
            .expect("post's line");
        let partials: Vec<_> = partials
            .split(['|', ','])
            .filter(|p| !p.is_empty())
            .collect();
        assert_eq!(partials, good);
        assert_eq!(outcome.report().count("Batches"), sets.len() as u64);
    }
}

#[test]
fn poison_at_every_place_of_a_batch() {
    let alone = (0..16).map(|at| vec![at]);
    let several = [
        vec![0, 15],
        vec![0, 1],
        vec![14, 15],
        vec![7, 8],
        vec![0, 7, 8, 15],
        (0..16).collect(),
    ];
    let sets: Vec<_> = alone.chain(several).chain([vec![]]).collect();
    check_poison_in_batches(16, &sets);
}

#[test]
fn poison_in_every_way_in_a_small_batch() {
    let sets: Vec<Vec<usize>> = (0..32)
        .map(|mask: usize| (0..5).filter(|at| mask >> at & 1 == 1).collect())
        .collect();
    check_poison_in_batches(5, &sets);
}

#[test]
fn a_batch_that_traps_leaves_nothing() {
    let outcome = unruly([
        "text",
        "!metric lines  1",
        "!route more r",
        "!partial p",
        "!trap",
    ])
    .args(["--route", "more=out/more"])
    .setting("post", "emit")
    .set("batch_lines", 5)
    .check(
        "
            exit 1
            corrupted: loaded 5, processed 4, corrupted 1
            out/corruption/a.txt: !trap
              5 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
            out/destination/a.txt: text,post: loaded=5 processed=4 corrupted=1 retried=0 partials=p,
            out/more/a.txt: r
            ",
    );
    assert_eq!(
        outcome.report().0["Metrics"]["lines"],
        1,
        "once, not for each try"
    );
}

#[test]
fn an_instance_lives_for_one_request() {
    let case = Case::new("unruly")
        .set("batch_lines", 1)
        .set("concurrency", 1);
    case.input_lines("a.txt", ["!state"; 3])
        .input_lines(
            "b.txt",
            ["!state", "!trap", "!state", "!corrupt c", "!state"],
        )
        .check(
            "
            exit 1
            a.txt: ok: loaded 3, processed 3
            b.txt: corrupted: loaded 5, processed 3, corrupted 2
            out/corruption/b.txt: !trap,!corrupt c
              2 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
              4 corrupt: c
            out/destination/a.txt: 1,2,3
            out/destination/b.txt: 1,1,3
            ",
        );
}

#[test]
fn a_plugin_is_granted_nothing() {
    let outcome = unruly(["!env", "!fs a.txt", "!fs /etc/passwd", "!fs .", "!fs /"])
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .run();
    let lines = outcome.lines("out/destination/a.txt");
    assert_eq!(lines[0], "0", "environment variables");
    assert_eq!(lines.len(), 5);
    for line in &lines[1..] {
        assert!(line.starts_with("fs: ") && line != "fs: opened", "{line}");
    }
}

#[test]
fn what_a_plugin_can_ask_for() {
    let lines = [
        "!context",
        "!setting color",
        "!setting size",
        "!number",
        "!remaining",
        "!number",
    ];
    let case = || {
        unruly(lines)
            .setting("color", "green = \"x\"")
            .set("batch_lines", 2)
    };
    let outcome = case().run();
    let id = outcome.report().text("RequestId").expect("an id");
    assert_eq!(
        outcome.lines("out/destination/a.txt"),
        [
            &format!("context of {id}"),
            "green = \"x\"",
            "(not set)",
            "4",
            "18446744073709551615",
            "6"
        ]
    );
    let outcome = case()
        .setting("context", "")
        .set("max_exec_time_ms", 50_000)
        .run();
    let lines = outcome.lines("out/destination/a.txt");
    assert_eq!(lines[0], "", "a context may be empty");
    let remaining: u64 = lines[4].parse().expect("a number");
    assert!(remaining > 0 && remaining <= 49_500, "{remaining}");
}

#[test]
fn numbers_of_lines_go_on_behind_a_pointer() {
    let lines = ["!number", "!number", "!fatal x", "!number", "!number"];
    let case = unruly(lines).set("batch_lines", 1).set("concurrency", 1);
    let outcome = case.run();
    assert_eq!(outcome.lines("out/destination/a.txt"), ["1", "2"]);
    let rest = case
        .again()
        .source("out/retry/a-retry01.txt.resume.json")
        .run();
    let output = rest.report().text("DestinationURL").expect("an output");
    assert_eq!(rest.lines(output), ["4", "5"]);
}

#[test]
fn partials_are_in_line_order() {
    let lines: Vec<String> = (0..500).map(|n| format!("!partial {n}")).collect();
    let batches: Vec<String> = (0..500)
        .collect::<Vec<_>>()
        .chunks(3)
        .map(|batch| batch.iter().map(|n| format!("{n},")).collect())
        .collect();
    for concurrency in [1, 8] {
        let outcome = unruly(&lines)
            .setting("post", "emit")
            .set("batch_lines", 3)
            .set("concurrency", concurrency)
            .run();
        let told = outcome.text("out/destination/a.txt");
        assert_eq!(
            told,
            format!(
                "post: loaded=500 processed=500 corrupted=0 retried=0 partials={}\n",
                batches.join("|")
            )
        );
    }
}

#[test]
fn partials_are_limited() {
    let long = "p".repeat(100);
    unruly(vec![format!("!partial {long}"); 20])
        .set("partials_bytes_max", 1000)
        .set("batch_lines", 1)
        .set("concurrency", 1)
        .check(
            "
            exit 2
            error: loaded 10, processed 10
            error: the plugin's partials are 1010 bytes, more than partials_bytes_max = 1000: export linemill:plugin/reducer so that they are folded as they come, or raise the limit
            ",
        );
}

#[test]
fn the_same_input_costs_the_same_fuel() {
    let lines: Vec<String> = (0..300)
        .map(|n| match n % 100 {
            17 => "!trap".to_owned(),
            18 => "!random".to_owned(),
            19 => "!retry x".to_owned(),
            _ => format!("line {n}"),
        })
        .collect();
    for (setting, value) in [
        ("batch_lines", 10),
        ("batch_lines", 64),
        ("batch_bytes", 500),
    ] {
        let run = || {
            unruly(&lines)
                .set(setting, value)
                .set("concurrency", 1)
                .run()
        };
        let (one, two) = (run(), run());
        assert!(one.report().count("Fuel") > 0);
        for name in ["Fuel", "Traps", "Batches", "Errors"] {
            assert_eq!(
                one.report().0[name],
                two.report().0[name],
                "{name}, {setting} {value}"
            );
        }
        assert!(one.after == two.after, "{setting} {value}");
    }
}

#[test]
fn chance_is_the_same_each_time() {
    let run = |concurrency| {
        let outcome = unruly(["!random"; 5])
            .set("batch_lines", 5)
            .set("concurrency", concurrency)
            .run();
        outcome.text("out/destination/a.txt")
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_eq!(first, run(8));
}

#[test]
fn a_batch_has_fuel_for_its_size() {
    // What is too much for one line is enough for a longer one.
    let line = |pad: usize| format!("!flood 20000{}", " ".repeat(pad));
    let case = |pad| {
        unruly([line(pad)])
            .set("fuel_base", 1000)
            .set("fuel_per_byte", 1000)
            .run()
    };
    assert_eq!(case(0).report().status(), "corrupted");
    assert_eq!(case(2000).report().status(), "ok");
}

#[test]
fn partials_that_cannot_be_merged_end_the_request() {
    Case::new("sum")
        .set("batch_lines", 1)
        .set("completion", "delete")
        .input("a.txt", format!("{}\n1\n", i64::MAX))
        .check(
            "
            exit 2
            error: loaded 2, processed 2
            error: plugin sum: merge failed: the sum does not fit in 64 bits
            ",
        );
    // In one batch it is the line that does not fit.
    Case::new("sum")
        .set("batch_lines", 2)
        .input("a.txt", format!("{}\n1\n", i64::MAX))
        .check(
            "
            exit 1
            corrupted: loaded 2, processed 1, corrupted 1
            out/corruption/a.txt: 1
              2 corrupt: the sum does not fit in 64 bits
            out/destination/a.txt: 9223372036854775807
            ",
        );
}

#[test]
fn partials_are_merged_however_many_there_are() {
    let lines: Vec<String> = (1..=3000).map(|n| n.to_string()).collect();
    for concurrency in [1, 8] {
        Case::new("sum")
            .set("batch_lines", 1)
            .set("concurrency", concurrency)
            .input_lines("a.txt", &lines)
            .check(
                "
                exit 0
                ok: loaded 3000, processed 3000
                out/destination/a.txt: 4501500
                ",
            );
    }
}
