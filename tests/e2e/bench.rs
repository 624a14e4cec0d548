//! `linemill bench`: what is measured is there, and agrees with what a run says. Nothing here depends on how fast the
//! machine is.

use serde_json::{Value, json};

use crate::support::{Case, Outcome, plugin};

/// `bench PLUGIN sample.txt` over these lines, quickly.
fn bench(name: &str, lines: impl AsRef<[u8]>) -> Case {
    let path = plugin(name).display().to_string();
    let case = Case::command(["bench", "--round-ms", "0", "--rounds", "2"]);
    case.args([&path, "sample.txt"]).file("sample.txt", lines)
}

/// What it measured, as JSON.
#[track_caller]
fn measured(case: Case) -> Value {
    let outcome = case.args(["--json"]).start().end();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert!(outcome.new_files().is_empty(), "all of it stays in memory");
    let stdout = String::from_utf8(outcome.stdout).expect("it is text");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).expect("it is JSON")
}

fn refused(case: Case) -> Outcome {
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, b"");
    outcome
}

#[test]
fn all_is_measured() {
    let lines: String = (0..5000).map(|n| format!("{n}\n")).collect();
    let all = measured(bench("sum", &lines).args(["--concurrency", "2"]));
    assert_eq!(
        all["sample"],
        json!({ "lines": 5000, "bytes": lines.len(), "cut": false })
    );
    assert!(
        all["plugin"]["digest"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("sha256:"))
    );
    let throughput = &all["throughput"];
    assert_eq!(
        (&throughput["concurrency"], &throughput["status"]),
        (&json!(2), &json!("ok"))
    );
    let rounds = throughput["rounds"].as_array().expect("rounds");
    assert_eq!(rounds.len(), 2);
    assert!(
        rounds
            .iter()
            .all(|round| round["lines"] == 5000 && round["processed"] == 5000)
    );
    for what in ["lines_per_second", "bytes_per_second"] {
        let of = |name: &str| throughput[what][name].as_f64().expect("a number");
        assert!(
            0.0 < of("min") && of("min") <= of("median") && of("median") <= of("max"),
            "{throughput}"
        );
    }
    assert_eq!(
        (&all["lines"]["measured"], &all["lines"]["processed"]),
        (&json!(5000), &json!(5000))
    );
    for what in ["fuel", "nanos"] {
        let of = |name: &str| all["lines"][what][name].as_u64().expect("a number");
        let order = [
            of("min"),
            of("p50"),
            of("p95"),
            of("p99"),
            of("max"),
            of("total"),
        ];
        assert!(order[0] > 0 && order.is_sorted(), "{what}: {order:?}");
    }
    let batches = all["batches"].as_array().expect("batches");
    assert!(
        batches
            .iter()
            .all(|batch| batch["memory_bytes"].as_u64() >= Some(65_536)),
        "{batches:?}"
    );
    assert_eq!(all["recommended"]["setting"], "batch_bytes_max");
    let sizes: Vec<_> = batches.iter().map(|batch| &batch["batch_bytes"]).collect();
    assert!(sizes.contains(&&all["recommended"]["value"]), "{all}");
    assert!(
        all["memory"]["instance_bytes"].as_u64() >= Some(65_536),
        "{all}"
    );
    if cfg!(target_os = "linux") {
        assert!(
            all["memory"]["process_bytes"].as_u64() >= Some(1 << 20),
            "{all}"
        );
    }
}

#[test]
fn fuel_is_that_of_a_run() {
    let lines: String = (0..700).map(|n| format!("{}\n", n * n)).collect();
    let alike = ["--set", "batch_lines=1", "--concurrency", "1"];
    let all = measured(bench("sum", &lines).args(alike));
    let run = Case::new("sum")
        .input("sample.txt", &lines)
        .args(alike)
        .run();
    let fuel = run.report().0["Fuel"]
        .as_u64()
        .expect("a run says its fuel");
    assert_eq!(all["throughput"]["fuel"].as_u64(), Some(fuel));

    // What is left beside the lines is `pre`, folding and `post`.
    let lines_fuel = all["lines"]["fuel"]["total"].as_u64().expect("a number");
    let pre = all["lines"]["pre_fuel"].as_u64().expect("a number");
    let others = fuel.checked_sub(lines_fuel + pre);
    assert!(
        others.is_some_and(|others| others < fuel / 2),
        "{fuel} {lines_fuel} {pre}"
    );

    let unruly = measured(bench("unruly", "a\nbb\nccc\n".repeat(50)).args(alike));
    let of = |value: &Value| value.as_u64().expect("a number");
    let beside = of(&unruly["throughput"]["fuel"])
        .checked_sub(of(&unruly["lines"]["fuel"]["total"]) + of(&unruly["lines"]["pre_fuel"]));
    assert!(
        beside.is_some_and(|post| post < 100_000),
        "only `post` is left: {beside:?}"
    );
}

#[test]
fn a_line_that_costs_much_is_found() {
    let lines = (1..=400).map(|n| match n {
        137 => "!flood 2000000\n".to_owned(),
        _ => format!("line {n}\n"),
    });
    let all = measured(bench("unruly", lines.collect::<String>()));
    let worst = &all["lines"]["most_fuel"][0];
    assert_eq!(
        (&worst["line"], &worst["text"]),
        (&json!(137), &json!("!flood 2000000"))
    );
    assert_eq!(worst["fuel"], all["lines"]["fuel"]["max"]);
    let fuel = |name: &str| all["lines"]["fuel"][name].as_u64().expect("a number");
    assert!(fuel("max") > 10 * fuel("p99"), "{}", all["lines"]["fuel"]);
    assert_eq!(all["lines"]["most_time"].as_array().map(Vec::len), Some(5));
}

#[test]
fn lines_may_trap_and_fault() {
    let lines = "ok\nok\nok\nok\nok\n!trap\n!corrupt c\n!retry r\n!fault-twice\n!fail-corrupt f\n";
    let all = measured(bench("unruly", lines).args(["--set", "trap_ratio_max=1"]));
    let count = |name: &str| all["lines"][name].as_u64().expect("a number");
    let kinds = [
        "processed",
        "corrupt",
        "retry",
        "failed",
        "trapped",
        "measured",
    ];
    assert_eq!(kinds.map(count), [5, 1, 1, 1, 2, 10]);
    assert_eq!(all["throughput"]["rounds"][0]["lines"], 10);
    assert!(
        all["throughput"]["traps"].as_u64() >= Some(2),
        "{}",
        all["throughput"]
    );
    assert!(all["recommended"]["value"].as_u64().is_some(), "{all}");

    let text = bench("unruly", lines).run();
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.contains("% of the lines were not processed"), "{said}");

    let all = measured(bench("unruly", "!trap\n".repeat(100)));
    assert!(
        all["throughput"]["status"]
            .as_str()
            .is_some_and(|status| status.contains("stopped"))
    );
    assert_eq!(
        (
            &all["lines"]["trapped"],
            &all["recommended"],
            &all["lambda"]
        ),
        (&json!(100), &Value::Null, &Value::Null)
    );
}

#[test]
fn a_person_reads_a_table() {
    let case = bench("sum", "1\n22\n333\n".repeat(100));
    let outcome = case
        .args(["--volume", "5e9 lines/month", "--lambda-mb", "3538"])
        .run();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Some(0), ""));
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    for part in [
        "plugin      sum",
        "sample      sample.txt: 300 lines, 900 B",
        " lines/s (",
        "median of 2 rounds of 300 lines",
        "for a line ",
        "most fuel ",
        "most time ",
        "batches of ",
        "recommended batch_bytes_max = ",
        "lambda      15.0 GB a month with 3538 MB (2.00 vCPU)",
        "at $0.0000166667 a GB-second",
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
}

#[test]
fn an_estimate_follows_from_its_figures() {
    let words = [
        "--volume",
        "1GB/hour",
        "--lambda-mb",
        "1024",
        "--lambda-request-bytes",
        "1000000",
    ];
    let case = bench("sum", "1\n".repeat(1000)).args(words);
    let all = measured(case.args([
        "--price-gb-second",
        "0.001",
        "--price-million-requests",
        "1",
    ]));
    let lambda = &all["lambda"];
    let of = |name: &str| lambda[name].as_f64().expect("a number");
    assert_eq!(
        (of("bytes"), of("requests"), of("memory_mb")),
        (1e9, 1000.0, 1024.0)
    );
    let near = |one: f64, other: f64| (one - other).abs() <= 1e-9 * one.abs().max(other.abs());
    let speed = all["recommended"]["bytes_per_second"]
        .as_f64()
        .expect("a number");
    assert!(
        near(of("bytes_per_second"), speed * 1024.0 / 1769.0),
        "{lambda}"
    );
    assert!(
        near(of("seconds"), 1e9 / of("bytes_per_second")),
        "{lambda}"
    );
    assert!(near(of("gb_seconds"), of("seconds")), "{lambda}");
    assert!(
        near(of("dollars"), of("gb_seconds") * 0.001 + 0.001),
        "{lambda}"
    );
    assert!(near(of("dollars_month"), of("dollars") * 720.0), "{lambda}");
}

#[test]
fn a_part_of_the_source_may_be_taken() {
    let all = measured(bench("sum", "1\n2\n3\n4\n").args(["--lines", "2"]));
    assert_eq!(
        all["sample"],
        json!({ "lines": 2, "bytes": 4, "cut": true })
    );
    let all = measured(bench("sum", "1\n2\n3\n4").args(["--bytes", "5"]));
    assert_eq!(
        all["sample"],
        json!({ "lines": 2, "bytes": 4, "cut": true })
    );
    // A round is about as long as was asked for: here the lines are repeated.
    let path = plugin("sum").display().to_string();
    let again = Case::command(["bench", "--round-ms", "5", "--rounds", "1"]);
    let all = measured(again.args([&path, "two.txt"]).file("two.txt", "1\n2"));
    let lines = &all["throughput"]["round_lines"];
    assert!(lines.as_u64() > Some(2), "{lines}");
    let stdin = Case::command(["bench", "--round-ms", "0", "--rounds", "1"]).args([&path, "-"]);
    assert_eq!(measured(stdin.standard_input("7\n"))["sample"]["lines"], 1);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let table = [
        (
            bench("sum", ""),
            "linemill: source sample.txt: it has no lines\n",
        ),
        (
            bench("sum", "1\n").args(["--volume", "much"]),
            "error: invalid value 'much' for '--volume <VOLUME>': a volume is bytes or lines",
        ),
        (
            bench("sum", "1\n").args(["--price-gb-second", "nan"]),
            "error: invalid value 'nan'",
        ),
        (
            bench("sum", "1\n").args(["--lambda-mb", "64"]),
            "error: invalid value '64'",
        ),
        (
            bench("unruly", "1\n").setting("pre", "fail-corrupt"),
            "linemill: the lines cannot be run: ",
        ),
        (
            bench("unruly", "!route nowhere x\n"),
            "linemill: the lines cannot be run: ",
        ),
        (bench("hungry", "1\n"), "linemill: plugin "),
        (
            bench("sum", "123456\n").args(["--bytes", "3"]),
            "linemill: source sample.txt: its first line has more than 3 bytes, raise --bytes\n",
        ),
        (
            Case::command(["bench", "none.wasm", "none.txt"]),
            "linemill: none.txt does not exist\n",
        ),
        (
            Case::command(["bench", "none.wasm", "sample.txt"]).file("sample.txt", "1\n"),
            "linemill: the plugin none.wasm is not there: build it, ",
        ),
    ];
    for (case, why) in table {
        let outcome = refused(case);
        assert!(outcome.stderr.starts_with(why), "{why}: {}", outcome.stderr);
    }
}

#[test]
fn prices_are_said_to_be_checked() {
    let help = Case::command(["bench", "--help"]).run();
    let said = String::from_utf8_lossy(&help.stdout);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("check them at https://aws.amazon.com/lambda/pricing/"),
        "{said}"
    );
}
