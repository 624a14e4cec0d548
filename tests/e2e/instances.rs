//! What an instance of a plugin is given and what not, and what becomes of its partials; the same each time.

use super::faults::unruly;
use super::support::Case;

/// Each batch, or every second, gets an instance that nobody has called.
#[test]
fn an_instance_gets_so_many_batches() {
    for (batches, said) in [(1, "1,1,1,1,1"), (2, "1,2,1,2,1"), (9, "1,2,3,4,5")] {
        let case = Case::new("unruly")
            .set("batch_lines", 1)
            .set("concurrency", 1)
            .set("instance_batches_max", batches);
        let outcome = case.input_lines("a.txt", ["!state"; 5]).run();
        assert_eq!(outcome.lines("out/destination/a.txt").join(","), said);
    }
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
