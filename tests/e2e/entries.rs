//! The same plugin, configuration and input through every entry: the same output, byte for byte, for the same fuel.

use serde_json::{Value, json};

use crate::support::lambda::Package;
use crate::support::{Case, Outcome, Served};

const SETTINGS: [(&str, &str); 2] = [("concurrency", "1"), ("batch_lines", "7")];
const WRITTEN: [&str; 5] = [
    "destination/in/a.txt",
    "corruption/in/a.txt",
    "corruption/in/a.txt.faults.ndjson",
    "retry/in/a-retry01.txt",
    "retry/in/a-retry01.txt.faults.ndjson",
];

fn input() -> String {
    "a\n!corrupt c\n!retry r\n\n!sum 4\nü!trap\n".repeat(50)
}

fn set(case: Case) -> Case {
    let case = case.file("in/a.txt", input());
    let set = |case: Case, (name, value): &(&str, &str)| case.set(name, value);
    SETTINGS.iter().fold(case, set)
}

/// What a run does is what the others are held against.
fn run() -> Outcome {
    set(Case::new("unruly").source("in/a.txt")).run()
}

#[track_caller]
fn check_report(run: &Outcome, other: &Value) {
    for name in [
        "Fuel",
        "Status",
        "Errors",
        "Loaded",
        "Processed",
        "CorruptionErrors",
        "RetryErrors",
        "Batches",
        "Traps",
        "Metrics",
    ] {
        assert_eq!(run.report().0[name], other[name], "{name}");
    }
}

#[track_caller]
fn check_written(run: &Outcome, out: &std::path::Path) {
    for name in WRITTEN {
        let written = std::fs::read(out.join(name)).unwrap();
        assert!(run.bytes(&format!("out/{name}")) == written, "{name}");
    }
}

#[test]
fn a_function_does_what_a_run_does() {
    let run = run();
    let package = Package::new("unruly").file("in/a.txt", input());
    let set = |package: Package, (name, value): &(&str, &str)| package.set(name, value);
    let mut function = SETTINGS.iter().fold(package, set).start();
    let answer = function.invoke(&json!({ "source": "in/a.txt" }));
    check_report(&run, &answer.content["Reports"][0]);
    check_written(&run, &function.path("out"));
}

#[test]
fn a_server_does_what_a_run_does() {
    let run = run();
    let case = set(Served::case("unruly")).set("allowed_sources", "in");
    let served = Served::start(case);
    let answer = served.ask("POST /run?source=in/a.txt", "", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    check_report(&run, &answer.json());
    check_written(&run, &served.dir().join("out"));
    let event = json!({ "source": "in/a.txt" }).to_string();
    let again = served.ask("POST /", "content-type: application/json\r\n", event);
    assert!(again.text().contains("already exists"), "{}", again.text());
}

#[test]
fn lines_that_are_posted_come_out_as_a_run_writes_them() {
    let run = run();
    let served = Served::start(set(Served::case("unruly")));
    let answer = served.ask("POST /lines?report=last", "", input());
    let (output, report) = answer.output_and_report();
    check_report(&run, &report);
    assert!(run.bytes(&format!("out/{}", WRITTEN[0])) == output.as_bytes());
}
