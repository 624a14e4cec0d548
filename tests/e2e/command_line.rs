//! The command line: exit codes, reports, several sources, ranges.

use serde_json::Value;

use super::support::{Case, Outcome, plugin};

#[test]
fn exit_codes() {
    // The worst of all sources counts.
    let good = |case: Case| case.input("good.txt", "1\n");
    let bad = |case: Case| case.input("bad.txt", "x\n");
    let none = |case: Case| case.source("none.txt");
    let case = || Case::new("sum");
    assert_eq!(good(case()).run().exit, Some(0));
    assert_eq!(bad(case()).run().exit, Some(1));
    assert_eq!(none(case()).run().exit, Some(2));
    assert_eq!(bad(good(case())).run().exit, Some(1));
    assert_eq!(good(bad(case())).run().exit, Some(1));
    good(bad(none(case()))).check(
        "
        exit 2
        none.txt: error
        error: none.txt does not exist
        bad.txt: corrupted: loaded 1, corrupted 1
        good.txt: ok: loaded 1, processed 1
        out/corruption/bad.txt: x
          1 corrupt: not a valid integer: `x`
        out/destination/bad.txt: 0
        out/destination/good.txt: 1
        ",
    );
}

#[test]
fn what_is_no_command_is_refused() {
    for (words, said) in [
        (&[][..], "Usage: linemill <COMMAND>"),
        (&["frob"], "unrecognized subcommand 'frob'"),
        (&["run"], "<SOURCE>"),
        (&["run", "--frob", "a.txt"], "unexpected argument '--frob'"),
        (&["run", "--parallel", "0", "a.txt"], "0 is not in 1..=256"),
        (
            &["run", "--out", "out", "a.txt"],
            "`plugin` is not set: set it to the path or URL of a component",
        ),
        (
            &["run", "--setting", "x", "a.txt"],
            "--setting x: NAME=VALUE is expected",
        ),
        (
            &["run", "--route", "x", "a.txt"],
            "--route x: NAME=VALUE is expected",
        ),
        (&["check"], "<PLUGIN>"),
        (&["check", "a.wasm", "b.wasm"], "b.wasm"),
        (&["config", "x"], "'x'"),
    ] {
        let mut case = Case::command([]).file("a.txt", "1\n");
        for word in words {
            case = case.args([word]);
        }
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(2), "{words:?}");
        assert!(
            outcome.stderr.contains(said),
            "{words:?}: {}",
            outcome.stderr
        );
        assert!(outcome.stdout.is_empty() && outcome.new_files().is_empty());
    }
}

#[test]
fn help_and_version_are_printed() {
    for words in [
        &["--help"][..],
        &["run", "--help"],
        &["check", "-h"],
        &["config", "--help"],
        &["--version"],
    ] {
        let mut case = Case::command([]);
        for word in words {
            case = case.args([word]);
        }
        let outcome = case.run();
        assert_eq!(
            (outcome.exit, outcome.stderr.as_str()),
            (Some(0), ""),
            "{words:?}"
        );
        assert!(
            outcome.stdout.starts_with(b"linemill 0.") || outcome.stdout.len() > 200,
            "{words:?}"
        );
    }
    let help = Case::command(["run", "--help"]).run();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(
        help.contains("Exit codes: 0 all lines processed; 1 some lines"),
        "{help}"
    );
}

/// Without `--quiet`.
fn loud(name: &str) -> Case {
    let plugin = plugin(name);
    Case::command(["run"]).args(["--plugin", &plugin.to_string_lossy(), "--out", "out"])
}

#[test]
fn a_summary_is_printed_for_people() {
    let outcome = loud("unruly")
        .input_lines(
            "x/a.txt",
            ["1", "!corrupt bad", "!retry later", "!route more m"],
        )
        .args(["--route", "more=out/more"])
        .run();
    assert_eq!(
        outcome.reports.len(),
        1,
        "the report is on stdout all the same"
    );
    let said = outcome.stderr.as_str();
    let mut lines = said.lines();
    let first = lines.next().expect("a summary");
    assert!(
        first.starts_with("x/a.txt: retry|corrupted; 4 lines in "),
        "{said}"
    );
    assert!(
        first.ends_with(" s: 2 processed, 1 corrupted, 1 retried, 0 failed"),
        "{said}"
    );
    for place in [
        "out/destination/x/a.txt",
        "out/corruption/x/a.txt",
        "out/retry/x/a-retry01.txt",
        "route more: out/more/x/a.txt",
        "bad",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

#[test]
fn reports_are_one_line_each() {
    let outcome = Case::new("sum")
        .input("a.txt", "1\n")
        .input("b.txt", "2\nx\n")
        .args(["--report", "reports.ndjson"])
        .run();
    let written = outcome.lines("reports.ndjson");
    assert_eq!((outcome.reports.len(), written.len()), (2, 2));
    for (line, report) in written.iter().zip(&outcome.reports) {
        let written: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(written, report.0, "the same on stdout and in the file");
    }
    assert!(outcome.stdout.is_empty(), "nothing else is on stdout");
    let ids: Vec<_> = outcome
        .reports
        .iter()
        .map(|report| report.text("RequestId"))
        .collect();
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_begins() {
    Case::new("sum")
        .input("a.txt", "1\n")
        .args(["--report", "no/report"])
        .check(
            "
        exit 2
        linemill: could not write the report no/report: No such file or directory (os error 2)
        ",
        );
}

#[test]
fn output_on_stdout_is_nothing_but_output() {
    let case = || {
        Case::new("unruly")
            .standard_input("a\n!corrupt c\n!stdout 3\nb")
            .source("-")
            .args(["--destination", "-"])
    };
    let check = |outcome: &Outcome| {
        assert_eq!(outcome.stdout, b"a\n!stdout 3\nb\n");
        let report = outcome.report();
        assert_eq!((outcome.exit, report.status()), (Some(1), "corrupted"));
        assert_eq!(report.text("SourceURL"), Some("-"));
        assert_eq!(outcome.lines("out/corruption/stdin"), ["!corrupt c"]);
    };
    // The report is on stderr then, or where it is wanted.
    check(&case().run());
    let outcome = case().args(["--report", "report.json"]).run();
    assert!(
        !outcome.stderr.contains("RequestId"),
        "it is in the file only"
    );
    check(&outcome);
}

#[test]
fn standard_input_and_files_go_together() {
    Case::new("unruly")
        .standard_input("from stdin\n")
        .input("a.txt", "from a file\n")
        .source("-")
        .check(
            "
            exit 0
            a.txt: ok: loaded 1, processed 1
            -: ok: loaded 1, processed 1
            out/destination/a.txt: from a file
            out/destination/stdin: from stdin
            ",
        );
}

#[test]
fn sources_may_be_run_at_the_same_time() {
    let case = |parallel: &str| {
        let mut case = Case::new("sum").args(["--parallel", parallel]);
        for n in 0..12 {
            let lines: String = (0..n * 100).map(|number| format!("{number}\n")).collect();
            case = case.input(&format!("in/{n:02}.txt"), lines + "x\n");
        }
        case
    };
    let one = case("1").run();
    for parallel in ["3", "12", "256"] {
        let outcome = case(parallel).run();
        assert!(one.after == outcome.after, "{parallel}");
        let sources = |outcome: &Outcome| -> Vec<String> {
            let url = |report: &super::support::Report| {
                report.text("SourceURL").unwrap_or_default().to_owned()
            };
            outcome.reports.iter().map(url).collect()
        };
        assert_eq!(
            sources(&one),
            sources(&outcome),
            "reports are in the order of the sources"
        );
    }
    assert_eq!(one.reports.len(), 12);
}

#[test]
fn folders_and_patterns_together() {
    let case = || {
        Case::new("sum")
            .file("in/b.csv", "2\n")
            .file("in/a.csv", "1\n")
            .file("in/deep/c.csv", "3\n")
            .file("in/d.txt", "4\n")
    };
    let sources = |case: Case| -> Vec<String> {
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
        let url = |report: &super::support::Report| {
            report.text("SourceURL").unwrap_or_default().to_owned()
        };
        outcome.reports.iter().map(url).collect()
    };
    assert_eq!(
        sources(case().source("in/")),
        ["in/a.csv", "in/b.csv", "in/d.txt", "in/deep/c.csv"]
    );
    assert_eq!(sources(case().source("in/*.csv")), ["in/a.csv", "in/b.csv"]);
    assert_eq!(
        sources(case().source("in/d.txt").source("in/**/*.csv")),
        ["in/d.txt", "in/a.csv", "in/b.csv", "in/deep/c.csv"]
    );
    for nothing in ["in/*.json", "nowhere/", "nowhere/*"] {
        let outcome = case().source(nothing).run();
        assert_eq!((outcome.exit, outcome.reports.len()), (Some(2), 0));
        assert!(
            outcome
                .stderr
                .starts_with(&format!("linemill: source {nothing}: ")),
            "{}",
            outcome.stderr
        );
    }
}

/// The ranges that these offsets cut `len` bytes into.
fn ranges(cuts: &[u64]) -> Vec<(u64, Option<u64>)> {
    let mut ranges = Vec::new();
    for (n, &offset) in cuts.iter().enumerate() {
        ranges.push((offset, cuts.get(n + 1).map(|next| next - offset)));
    }
    ranges
}

#[test]
fn ranges_of_a_source_make_the_whole() {
    let lines: Vec<String> = (0..400)
        .map(|n| format!("{n} {}", "x".repeat(n * 7 % 83)))
        .collect();
    let text = lines.join("\n");
    let len = text.len() as u64;
    let cuts = [
        vec![0],
        vec![0, 1, 2, 3, 4, 5],
        vec![0, len / 2, len - 1, len, len + 100],
        (0..20).map(|n| n * len / 20).collect(),
        (0..10).map(|n| n * 1000).collect(),
        vec![0, 100, 100, 101],
    ];
    for cuts in cuts {
        let mut seen = Vec::new();
        for (offset, length) in ranges(&cuts) {
            let outcome = Case::new("unruly")
                .input("x/a.csv", &text)
                .range(offset, length)
                .run();
            assert_eq!((outcome.exit, outcome.report().status()), (Some(0), "ok"));
            seen.extend(outcome.lines(&format!("out/destination/x/a-at{offset}.csv")));
        }
        assert!(seen == lines, "{cuts:?}");
    }
}

#[test]
fn what_is_written_for_a_range_is_named_after_it() {
    Case::new("unruly")
        .input_lines("x/a-retry02.csv.gz", Vec::<&str>::new())
        .file(
            "x/a-retry02.csv.gz",
            super::support::gzip("1\n!retry r\n!corrupt c\n4\n"),
        )
        .range(2, Some(20))
        .check(
            "
            exit 1
            retry|corrupted: loaded 2, corrupted 1, retried 1
            out/corruption/x/a-at2-retry02.csv.gz: !corrupt c
              2 corrupt: c
            out/retry/x/a-at2-retry03.csv.gz: !retry r
              1 retry: r
            ",
        );
}

#[test]
fn a_range_goes_with_one_source() {
    Case::new("sum")
        .input("a.txt", "1\n")
        .input("b.txt", "1\n")
        .range(0, Some(1))
        .check("exit 2\nlinemill: --offset and --length go with one source, not with 2");
    let outcome = Case::new("sum")
        .file("a.txt", "1\n2\n")
        .file(
            "a-retry01.txt.resume.json",
            r#"{"source":"a.txt","offset":2,"length":null,"etag":null,"first_line":2,"attempt":1}"#,
        )
        .source("a-retry01.txt.resume.json")
        .range(0, None)
        .run();
    assert_eq!(outcome.exit, Some(2));
    let (error, _) = &outcome.report().errors()[0];
    assert!(
        error.contains("is a pointer, which names its range itself"),
        "{error}"
    );
}

#[test]
fn how_much_is_logged_can_be_set() {
    let logged = |filter: &str| {
        let case = Case::new("unruly").input_lines("a.txt", ["!log 1", "!stderr 1"]);
        let outcome = case.env("LINEMILL_LOG", filter).run();
        assert_eq!(outcome.exit, Some(0));
        (
            outcome.stderr.contains("message 0"),
            outcome.stderr.contains("ffff"),
        )
    };
    assert_eq!(logged("plugin=info"), (true, true));
    assert_eq!(
        logged("plugin=warn"),
        (false, true),
        "what is printed to stderr is a warning"
    );
    assert_eq!(logged("error"), (false, false));
    assert_eq!(logged("off"), (false, false));
}

#[test]
fn several_sources_may_go_to_stdout() {
    let outcome = Case::new("unruly")
        .input_lines("a.txt", (0..1000).map(|n| n.to_string()))
        .input("b.txt", "!corrupt c\nlast")
        .args(["--destination", "-"])
        .run();
    let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        expected + "last\n"
    );
    assert_eq!((outcome.exit, outcome.reports.len()), (Some(1), 2));
}
