//! Lines that trap: found wherever they are in a batch, as long as they are few; a plugin that traps on most is at fault.

use super::faults::unruly;

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
