//! `linemill redrive`: lines that were not processed are run again; none is lost, none is run twice.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kill::Random;
use crate::support::{Case, Outcome, gzip, unpack, zstd};

const ROWS: &str = ".faults.ndjson";

/// Two good records, two that no plugin takes for what they are not, one that a newer plugin would take, one that it
/// wants to try later.
const RECORDS: &str = "1,us,2\n!corrupt still 7\nx17,eu,3\n!retry later\n2,eu,\"4\"\nabc,eu,5\n";

/// Records of which four are corrupt to `csv-to-json`, and its outcome.
fn corrupted(name: &str) -> Case {
    let bytes = match name.rsplit_once('.') {
        Some((_, "gz")) => gzip(RECORDS),
        Some((_, "zst")) => zstd(RECORDS),
        _ => RECORDS.as_bytes().to_vec(),
    };
    let case = Case::new("csv-to-json").input(name, bytes);
    let outcome = case.run();
    assert_eq!(outcome.report().count("CorruptionErrors"), 4);
    case
}

fn row(outcome: &Outcome, object: &str, index: usize) -> Value {
    let rows = outcome.lines(&format!("{object}{ROWS}"));
    serde_json::from_str(&rows[index]).expect("a row is JSON")
}

#[test]
fn what_succeeds_is_done_with_and_what_fails_is_written_on() {
    let case = corrupted("a.csv")
        .redrive("unruly")
        .args(["--completion", "delete"]);
    let outcome = case.clone().source("out/corruption/a.csv").check(
        "
        exit 1
        retry|corrupted: loaded 4, processed 2, corrupted 1, retried 1
        removed out/corruption/a.csv
        removed out/corruption/a.csv.faults.ndjson
        out/corruption/a-retry01.csv: !corrupt still 7
          2 corrupt: still 7
        out/destination/out/corruption/a-retry01.csv: x17,eu,3,abc,eu,5
        out/retry/out/corruption/a-retry02.csv: !retry later
          4 retry: later
        ",
    );
    // Lines are told by where they are in the source, and this was an attempt.
    assert_eq!(outcome.report().count("Attempt"), 1);
    let corrupt = row(&outcome, "out/corruption/a-retry01.csv", 0);
    assert_eq!(
        (&corrupt["offset"], &corrupt["attempt"]),
        (&7.into(), &1.into())
    );

    // Once more, by either name: the place in the source stays.
    let sources = [
        "out/corruption/a-retry01.csv.faults.ndjson",
        "out/retry/out/corruption/a-retry02.csv",
    ];
    let outcome = sources
        .into_iter()
        .fold(case, |case, source| case.source(source))
        .check(
            "
            exit 1
            out/corruption/a-retry01.csv: corrupted: loaded 1, corrupted 1
            out/retry/out/corruption/a-retry02.csv: retry: loaded 1, retried 1
            removed out/corruption/a-retry01.csv
            removed out/corruption/a-retry01.csv.faults.ndjson
            removed out/retry/out/corruption/a-retry02.csv
            removed out/retry/out/corruption/a-retry02.csv.faults.ndjson
            out/corruption/a-retry02.csv: !corrupt still 7
              2 corrupt: still 7
            out/retry/out/corruption/a-retry03.csv: !retry later
              4 retry: later
            ",
        );
    for object in [
        "out/corruption/a-retry02.csv",
        "out/retry/out/corruption/a-retry03.csv",
    ] {
        assert_eq!(row(&outcome, object, 0)["attempt"], 2, "{object}");
    }
}

#[test]
fn chosen_lines_are_run_and_the_rest_stays_as_it_is() {
    for name in ["a.csv", "a.csv.gz", "a.csv.zst"] {
        let case = corrupted(name)
            .redrive("unruly")
            .args(["--completion", "delete"]);
        let (stem, suffix) = name.split_once('.').unwrap();
        let object = format!("out/corruption/{name}");
        let before = case.clone().source(&object).args(["--dry-run"]).run();
        let old = (
            before.lines(&object),
            before.lines(&format!("{object}{ROWS}")),
        );
        // The pattern as `faults` shows it.
        let reason = "column ID, \"…\": invalid digit";
        let chosen = case.clone().args(["--reason", reason]).source(&object);
        let outcome = chosen.run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
        let report = outcome.report();
        assert_eq!((report.status(), report.count("Loaded")), ("ok", 2));
        let rest = format!("out/corruption/{stem}-rest1.{suffix}");
        assert_eq!(report.text("RestURL"), Some(rest.as_str()));
        assert_eq!(outcome.lines(&rest), [&*old.0[0], &*old.0[2]]);
        assert_eq!(
            outcome.lines(&format!("{rest}{ROWS}")),
            [&*old.1[0], &*old.1[2]]
        );
        // What is left of the rest has the next name.
        let outcome = case
            .clone()
            .args(["--reason", "/still/"])
            .source(&rest)
            .run();
        assert_eq!(outcome.reports.len(), 0, "that is the line, not the reason");
        let outcome = case
            .args(["--kind", "corrupt", "--reason", "/./"])
            .source(&rest)
            .run();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
        assert_eq!(
            outcome.lines(&format!("out/corruption/{stem}-rest1-retry01.{suffix}")),
            [&*old.0[0]]
        );
        assert!(!outcome.after.contains_key(&rest));
    }
}

#[test]
fn nothing_chosen_is_nothing_done() {
    let case = corrupted("a.csv")
        .redrive("unruly")
        .args(["--completion", "delete"]);
    for flags in [
        ["--reason", "unheard of"],
        ["--kind", "failed"],
        ["--reason", "/^ID/"],
    ] {
        for dry in [false, true] {
            let mut case = case.clone().args(flags).source("out/corruption/");
            if dry {
                case = case.args(["--dry-run"]);
            }
            let outcome = case.run();
            assert_eq!(outcome.exit, Some(0));
            assert!(outcome.reports.is_empty());
            assert_eq!(outcome.after, outcome.before);
        }
    }
    let loud = Case::command(["redrive", "--reason", "unheard of"]);
    let plugin = crate::support::plugin("unruly");
    let loud = loud.args(["--plugin", plugin.to_str().unwrap(), "--out", "out"]);
    let loud = loud.file("c/a", "x\n").file(
        "c/a.faults.ndjson",
        "{\"line\":1,\"offset\":0,\"kind\":\"corrupt\",\"reason\":\"r\",\"attempt\":0,\"plugin\":\"p\"}\n",
    );
    let outcome = loud.source("c/").run();
    assert_eq!(
        outcome.stderr,
        "no line was chosen: nothing was run, all is as it was\n"
    );
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let case = corrupted("a.csv").redrive("unruly");
    let outcome = case
        .args(["--dry-run", "--reason", "column ID"])
        .source("out/corruption/*.csv")
        .run();
    assert_eq!(outcome.exit, Some(0));
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        "out/corruption/a.csv: 2 of 4 lines would be run again\n2 lines in all\n"
    );
    assert_eq!(outcome.after, outcome.before);
}

#[test]
fn a_second_redrive_doubles_nothing() {
    // Kept, the old object is still there: what is written for it is there too, and is not written again.
    for first in [&[][..], &["--reason", "column ID"]] {
        for second in [&[][..], &["--reason", "column ID"], &["--kind", "corrupt"]] {
            let with = |flags: &[&str], case: Case| {
                flags.iter().fold(case, |case, flag| case.args([flag]))
            };
            let case = corrupted("a.csv")
                .redrive("unruly")
                .source("out/corruption/a.csv");
            let outcome = with(first, case.clone()).run();
            assert_ne!(outcome.exit, Some(2), "{}", outcome.stderr);
            let outcome = with(second, case).run();
            assert_eq!(outcome.exit, Some(2), "{first:?} {second:?}");
            assert_eq!(outcome.after, outcome.before, "{first:?} {second:?}");
            let errors = outcome.report().errors();
            let (error, _) = &errors[0];
            let again = |(error, _): &(String, u64)| error.contains("may have been killed");
            let told = error.contains("already exists") && errors.iter().any(again)
                || error.contains("a-rest1.csv holds what was not run");
            assert!(told, "{error}");
        }
    }
}

#[test]
fn the_object_goes_with_its_faults_file() {
    let table: [(&[&str], &[&str]); 3] = [
        (
            &["keep"],
            &["out/corruption/a.csv", "out/corruption/a.csv.faults.ndjson"],
        ),
        (&["delete"], &[]),
        (
            &["move"],
            &[
                "done/out/corruption/a-retry01.csv",
                "done/out/corruption/a-retry01.csv.faults.ndjson",
            ],
        ),
    ];
    for (completion, there) in table {
        let case = corrupted("a.csv")
            .redrive("unruly")
            .source("out/corruption/a.csv");
        let outcome = case
            .args(["--move-to", "done", "--completion", completion[0]])
            .run();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
        let is_old =
            |file: &&String| file.starts_with("done/") || file.starts_with("out/corruption/a.csv");
        let old: Vec<_> = outcome.after.keys().filter(is_old).collect();
        assert_eq!(old, there);
        for file in there {
            let from = file.replace("done/", "").replace("-retry01", "");
            assert_eq!(outcome.after[*file], outcome.before[&from], "{file}");
        }
    }
}

/// Failures that a fix did not mend can still be replayed.
#[test]
fn capsules_of_what_still_fails_stay() {
    let case = Case::new("unruly")
        .set("capsules", "traps")
        .input("a.txt", "a\n!trap b\n");
    case.run();
    let redrive = case
        .redrive("unruly")
        .args(["--completion", "delete", "--set", "capsules=off"]);
    let outcome = redrive.source("out/corruption/a.txt").run();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    let capsules = "out/corruption/a.txt.capsules.ndjson";
    assert_eq!(outcome.lines(capsules).len(), 1);
    assert!(!outcome.after.contains_key("out/corruption/a.txt"));
}

#[test]
fn a_run_over_a_retry_object_takes_its_faults_file_along() {
    let case = Case::new("unruly").input("a.txt", "a\n!retry b\n");
    case.run();
    for (completion, there) in [("delete", false), ("move", true)] {
        case.again().file("out/retry/a-retry01.txt", "!retry b\n");
        let rows = "out/retry/a-retry01.txt.faults.ndjson";
        case.again().file(rows, "{}\n");
        let out = format!("out-{completion}");
        let run = case.again().out(&out).source("out/retry/a-retry01.txt");
        let outcome = run
            .args(["--move-to", "done", "--completion", completion])
            .run();
        assert_eq!(outcome.exit, Some(1));
        assert!(!outcome.after.contains_key("out/retry/a-retry01.txt"));
        assert!(!outcome.after.contains_key(rows));
        assert_eq!(outcome.after.contains_key(&format!("done/{rows}")), there);
    }
    // Any other source has no faults file: what has such a name is somebody else's.
    let run = case.again().out("other").source("b.txt");
    let run = run
        .file("b.txt", "a\n")
        .file("b.txt.faults.ndjson", "mine\n");
    let outcome = run.args(["--completion", "delete"]).run();
    assert!(!outcome.after.contains_key("b.txt"));
    assert!(outcome.after.contains_key("b.txt.faults.ndjson"));
}

#[test]
fn remainders_and_failed_lines() {
    let case = Case::new("unruly").input("a.txt", "a\n!rest what is left\n!retry b\nc\n");
    case.run();
    let redrive = case.redrive("unruly").args(["--completion", "delete"]);
    redrive
        .clone()
        .args(["--kind", "partial"])
        .source("out/retry/")
        .check(
            "
        exit 0
        ok: loaded 1, processed 1
        removed out/retry/a-retry01.txt
        removed out/retry/a-retry01.txt.faults.ndjson
        out/destination/out/retry/a-retry01.txt: what is left
        out/retry/a-rest01-1-retry01.txt: !retry b
          3 retry: b
        ",
        );
    // No attempt is left: it has failed, and that can be run again as often as anybody likes.
    let given_up = redrive.clone().args(["--max-retries", "1"]);
    given_up.source("out/retry/a-rest01-1-retry01.txt").check(
        "
        exit 1
        failed: loaded 1, failed 1
        removed out/retry/a-rest01-1-retry01.txt
        removed out/retry/a-rest01-1-retry01.txt.faults.ndjson
        out/failed/out/retry/a-rest01-1-retry02.txt: !retry b
          3 failed: b
        ",
    );
    let sum = case
        .redrive("csv-to-json")
        .args(["--completion", "delete", "--max-retries", "2"]);
    sum.source("out/failed/").check(
        "
        exit 1
        corrupted: loaded 1, corrupted 1
        removed out/failed/out/retry/a-rest01-1-retry02.txt
        removed out/failed/out/retry/a-rest01-1-retry02.txt.faults.ndjson
        out/corruption/out/failed/out/retry/a-rest01-1-retry02.txt: !retry b
          3 corrupt: the record has 1 columns, not 3
        ",
    );
}

/// An object of three lines and its faults file.
fn made(rows: &str) -> Case {
    let case = Case::new("unruly")
        .redrive("unruly")
        .args(["--completion", "delete"]);
    case.file("c/a-retry01.txt", "one\ntwo\nthree\n")
        .file("c/a-retry01.txt.faults.ndjson", rows)
}

fn made_row(line: u64, kind: &str, more: &str) -> String {
    format!(
        "{{\"line\":{line},\"offset\":{},\"kind\":\"{kind}\",\"reason\":\"r{line}\",\"attempt\":0,\"plugin\":\"p\"{more}}}\n",
        line * 10
    )
}

#[test]
fn a_remainder_of_several_lines_stays_together() {
    let rows = made_row(7, "partial", ",\"lines\":2") + &made_row(9, "retry", "");
    let outcome = made(&rows).args(["--kind", "retry"]).source("c/").run();
    assert_eq!(outcome.lines("out/destination/c/a-retry01.txt"), ["three"]);
    assert_eq!(outcome.lines("c/a-rest01-1-retry01.txt"), ["one", "two"]);
    assert_eq!(
        outcome.text("c/a-rest01-1-retry01.txt.faults.ndjson"),
        made_row(7, "partial", ",\"lines\":2")
    );

    let outcome = made(&rows).args(["--kind", "partial"]).source("c/").run();
    assert_eq!(
        outcome.lines("out/destination/c/a-retry01.txt"),
        ["one", "two"]
    );
    assert_eq!(outcome.lines("c/a-rest01-1-retry01.txt"), ["three"]);
}

#[test]
fn lines_without_a_row_were_never_run() {
    let rows = made_row(7, "retry", "");
    let outcome = made(&rows)
        .args(["--kind", "unread"])
        .source("c/a-retry01.txt")
        .run();
    assert_eq!(
        outcome.lines("out/destination/c/a-retry01.txt"),
        ["two", "three"]
    );
    assert_eq!(outcome.lines("c/a-rest01-1-retry01.txt"), ["one"]);
    assert_eq!(outcome.text("c/a-rest01-1-retry01.txt.faults.ndjson"), rows);

    // The rest of a rest that has no rows.
    let case = made(&rows)
        .args(["--kind", "retry"])
        .source("c/a-retry01.txt");
    let outcome = case.run();
    assert_eq!(outcome.lines("c/a-rest01-1-retry01.txt"), ["two", "three"]);
    assert!(
        !outcome
            .after
            .contains_key("c/a-rest01-1-retry01.txt.faults.ndjson")
    );
    let rest = "c/a-rest01-1-retry01.txt";
    let outcome = case.again().out("more").source(rest).run();
    assert_eq!(
        outcome.lines("more/destination/c/a-rest01-1-retry01.txt"),
        Vec::<String>::new()
    );
    let outcome = case.redrive("unruly").out("all").source(rest).run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let three = |kind: &str| -> String { (1..4).map(|line| made_row(line, kind, "")).collect() };
    let two: String = (1..3).map(|line| made_row(line, "corrupt", "")).collect();
    let table = [
        (
            three("corrupt") + &made_row(4, "corrupt", ""),
            "it has 3 lines, and the faults file beside it is about 4",
        ),
        (
            two,
            "it has 3 lines, and the faults file beside it is about 2",
        ),
        (made_row(1, "retry", ",\"lines\":4"), "is about 4"),
        (
            made_row(1, "retry", ",\"lines\":4000000000"),
            "is about 4000000000",
        ),
        (
            made_row(1, "retry", ",\"lines\":99999999999"),
            "row 1: no row is about 99999999999 lines",
        ),
        (
            made_row(1, "retry", "") + "no row\n",
            "row 2: expected ident",
        ),
        (
            made_row(1, "retry", "") + "\n",
            "row 2: EOF while parsing a value",
        ),
        (
            three("retry").trim_end_matches("\"}\n").to_owned(),
            "row 3: EOF while parsing a string",
        ),
        (made_row(1, "odd", ""), "row 1: unknown variant `odd`"),
        (
            format!("{}\n", "x".repeat(3 << 20)),
            "row 1: it is longer than 1048576 bytes",
        ),
    ];
    for (rows, expected) in table {
        let outcome = made(&rows).source("c/a-retry01.txt").run();
        assert_eq!(outcome.exit, Some(2), "{expected}");
        let (error, _) = &outcome.report().errors()[0];
        assert!(error.contains(expected), "{error}");
        assert_eq!(outcome.after, outcome.before, "{expected}");
    }
}

#[test]
fn what_cannot_be_run_again() {
    let case = || {
        made(&made_row(1, "retry", ""))
            .file("plain.txt", "a\n")
            .file("p.txt.resume.json", "{}")
    };
    for (source, expected) in [
        ("-", "lines are run again from objects"),
        ("gone.txt", "gone.txt does not exist"),
        ("gone.txt.faults.ndjson", "whose objects are gone"),
        ("p.txt.resume.json", "`linemill run` runs them"),
        ("nowhere/", "nowhere/"),
        ("*.csv", "no lines are there that were not processed"),
        ("c", "is a folder"),
        (
            "plain.txt",
            "no faults file stands beside it: `linemill run` runs all of it",
        ),
    ] {
        let outcome = case().source(source).run();
        assert_eq!(outcome.exit, Some(2), "{source}");
        let errors = outcome.reports.iter().flat_map(|report| report.errors());
        let said = errors.fold(outcome.stderr.clone(), |said, (error, _)| said + &error);
        assert!(said.contains(expected), "{source}: {said}");
        assert_eq!(outcome.after, outcome.before);
    }
    let outcome = case().args(["--kind", "odd"]).source("c/").run();
    assert!(
        outcome
            .stderr
            .contains("corrupt, retry, partial, failed, unread"),
        "{}",
        outcome.stderr
    );
    let outcome = case().args(["--reason", "/(/"]).source("c/").run();
    assert_eq!(outcome.exit, Some(2));
}

#[test]
fn a_prefix_names_objects_alone() {
    let case = Case::new("unruly")
        .redrive("unruly")
        .args(["--completion", "delete"]);
    let case = case
        .file("c/a.txt", "a\n")
        .file("c/a.txt.faults.ndjson", made_row(1, "corrupt", ""))
        .file("c/a.txt.capsules.ndjson", "{}\n")
        .file("c/b-retry01.txt", "b\n")
        .file("c/b-retry01.txt.resume.json", "{}")
        .file("c/b-retry01.txt.capsules.ndjson", "{}\n")
        .file("c/gone.txt.faults.ndjson", made_row(1, "corrupt", ""))
        .file("c/other.txt", "somebody else's\n");
    let outcome = case.source("c/").run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.reports.len(), 1);
    // The output of a retry has such a name too.
    for told in [
        "c/gone.txt.faults.ndjson stands alone",
        "1 object in c/ left out, which no faults file stands beside, such as c/b-retry01.txt",
    ] {
        assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
    }
    let left: Vec<_> = outcome.after.keys().map(String::as_str).collect();
    assert_eq!(
        left,
        [
            "c/b-retry01.txt",
            "c/b-retry01.txt.capsules.ndjson",
            "c/b-retry01.txt.resume.json",
            "c/gone.txt.faults.ndjson",
            "c/other.txt",
            "out/destination/c/a-retry01.txt",
        ]
    );
}

/// What is left of a first attempt, what fails again of that, and what is left of the second one, all of one source.
#[test]
fn rests_and_retries_have_names_of_their_own() {
    let case = Case::new("unruly").input("a.txt", "!corrupt a 1\n!corrupt a 2\n!corrupt b\n");
    case.run();
    let redrive = |reason: &str, name: &str| {
        let again = case.redrive("unruly").args(["--reason", reason]);
        again.source(&format!("out/corruption/{name}")).run()
    };
    redrive("a", "a.txt");
    redrive("b", "a-rest1.txt");
    let outcome = redrive("1", "a-retry01.txt");
    assert_eq!(outcome.report().count("Loaded"), 1, "{}", outcome.stderr);
    for (name, lines) in [
        ("a-rest1", vec!["!corrupt b"]),
        ("a-rest1-retry01", vec!["!corrupt b"]),
        ("a-rest01-1-retry01", vec!["!corrupt a 2"]),
        ("a-retry02", vec!["!corrupt a 1"]),
    ] {
        let object = format!("out/corruption/{name}.txt");
        assert_eq!(outcome.lines(&object), lines, "{name}");
    }
}

/// The output of a run over retried lines is named as those are: a prefix that holds all of them never runs it.
#[test]
fn outputs_are_not_run_again() {
    let case = Case::new("unruly").input("a.txt", "!rest what is left\nc\n");
    case.run();
    let done = case.redrive("unruly").source("out/retry/").run();
    let output = done.lines("out/destination/out/retry/a-retry01.txt");
    assert_eq!(output, ["what is left"]);
    let outcome = case.redrive("unruly").out("other").source("out/").run();
    let sources = outcome.reports.iter();
    let sources: Vec<_> = sources.map(|report| report.text("SourceURL")).collect();
    assert_eq!(sources, [Some("out/retry/a-retry01.txt")]);
}

#[test]
fn very_long_lines_pass_through() {
    let long = "x".repeat(300_000);
    let case = Case::new("unruly").input("a.txt", format!("{long}1\nshort\n{long}2\n{long}3"));
    let case = case.set("line_bytes_max", 1000);
    case.run();
    // Two of them are still too long; where they are in the source is still told.
    let longer = case
        .redrive("unruly")
        .args(["--completion", "delete"])
        .source("out/corruption/a.txt");
    let outcome = longer.clone().run();
    assert_eq!(outcome.report().count("CorruptionErrors"), 3);
    let last = row(&outcome, "out/corruption/a-retry01.txt", 2);
    assert_eq!(
        (&last["line"], &last["offset"]),
        (&4.into(), &600_010.into())
    );
    let again = case.redrive("unruly").set("line_bytes_max", 1_000_000);
    let outcome = again.source("out/corruption/a-retry01.txt").run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let done = outcome.lines("out/destination/out/corruption/a-retry02.txt");
    assert_eq!(
        done,
        [1, 3, 4].map(|n| format!("{long}{}", if n == 1 { 1 } else { n - 1 }))
    );
}

#[test]
fn a_plugin_at_fault_changes_nothing() {
    let lines = |line: &str| (0..200).map(|_| format!("{line}\n")).collect::<String>();
    for (line, expected) in [("!trap", "trap"), ("!fatal no table", "no table")] {
        let case = Case::new("csv-to-json").input("a.csv", lines(line));
        assert_eq!(case.run().report().count("CorruptionErrors"), 200);
        let redrive = case.redrive("unruly").args(["--completion", "delete"]);
        let outcome = redrive.source("out/corruption/a.csv").run();
        assert_eq!(outcome.exit, Some(2), "{line}");
        assert!(outcome.report().is("stopped"), "{}", outcome.report().0);
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.contains(expected) && error.contains("all lines are as they were"),
            "{error}"
        );
        assert_eq!(outcome.after, outcome.before, "{line}");
    }
}

/// Lines that trap are most of those that are run again: who knows that they are at fault says so.
#[test]
fn poison_can_be_run_again() {
    let lines: String = (0..40)
        .map(|n| if n < 5 { "fine\n" } else { "!trap\n" })
        .collect();
    let case = Case::new("csv-to-json").input("a.csv", lines);
    case.run();
    let redrive = case.redrive("unruly").source("out/corruption/a.csv");
    let outcome = redrive.run();
    let (error, _) = &outcome.report().errors()[0];
    assert!(error.ends_with("set trap_ratio_max = 1"), "{error}");
    let outcome = redrive.set("trap_ratio_max", 1).run();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    let report = outcome.report();
    assert_eq!(
        (report.count("Processed"), report.count("CorruptionErrors")),
        (5, 35)
    );
}

#[test]
fn without_time_all_is_as_it_was() {
    let case = corrupted("a.csv")
        .redrive("unruly")
        .args(["--completion", "delete"]);
    let outcome = case.without_time().source("out/corruption/a.csv").run();
    assert_eq!(outcome.exit, Some(2));
    let (error, _) = &outcome.report().errors()[0];
    assert_eq!(error, "timed out: run a line again; all is as it was");
    assert_eq!(outcome.after, outcome.before);
}

#[test]
fn what_there_was_no_time_for_is_in_the_rest() {
    let hang = "!sleep 100000";
    let line = |n: usize| match n {
        0 => "!log 1".to_owned(),
        5 => hang.to_owned(),
        n => format!("line {n}"),
    };
    let lines: Vec<String> = (0..20_000).map(line).collect();
    for name in ["a.csv", "a.csv.gz"] {
        let text = lines.join("\n") + "\n";
        let bytes = if name.ends_with(".gz") {
            gzip(text)
        } else {
            text.into_bytes()
        };
        let case = Case::new("csv-to-json").input(name, bytes);
        case.run();
        let redrive = case
            .redrive("unruly")
            .args(["--completion", "delete", "--concurrency", "2"]);
        let redrive = redrive
            .set("batch_lines", 1)
            .source(&format!("out/corruption/{name}"));
        let mut running = redrive.start();
        running.wait_for_stderr("message 0");
        running.signal("INT");
        let outcome = running.finish();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
        let report = outcome.report();
        assert_eq!(report.status(), "retry", "{}", report.0);
        assert_eq!(
            report.unread(),
            report.0["Rest"].as_u64(),
            "all were chosen"
        );
        // Each line is in one of the three objects.
        let mut all: Vec<String> = Vec::new();
        for name in ["DestinationURL", "RetryURL", "RestURL"] {
            all.extend(
                report
                    .text(name)
                    .map_or(Vec::new(), |url| outcome.lines(url)),
            );
        }
        let mut expected = lines.clone();
        all.sort();
        expected.sort();
        assert!(all == expected, "{} of {}", all.len(), expected.len());
        assert!(
            !outcome
                .after
                .contains_key(&format!("out/corruption/{name}"))
        );
    }
}

#[test]
fn the_same_bytes_however_it_is_run() {
    let line = |n: usize| match n % 10 {
        1 => format!("!corrupt c{n}\n"),
        2 => format!("!retry r{n}\n"),
        3 => "!trap\n".to_owned(),
        _ => format!("line {n}\n"),
    };
    let lines: String = (0..3000).map(line).collect();
    let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
    for (concurrency, batch, ordered) in [(1, 1, true), (4, 7, true), (4, 100, true), (4, 3, false)]
    {
        let case = Case::new("csv-to-json").input("a.csv", &lines);
        case.run();
        let redrive = case
            .redrive("unruly")
            .set("concurrency", concurrency)
            .set("batch_lines", batch)
            .set("ordered", ordered);
        let outcome = redrive.source("out/corruption/a.csv").run();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
        // Each row is beside its line.
        for object in [
            "out/corruption/a-retry01.csv",
            "out/retry/out/corruption/a-retry02.csv",
        ] {
            for (at, text) in outcome.lines(object).iter().enumerate() {
                let number = row(&outcome, object, at)["line"].as_u64().unwrap() as usize;
                assert_eq!(format!("{text}\n"), line(number - 1), "{object} {at}");
            }
        }
        let mut files = outcome.after;
        for (name, bytes) in &mut files {
            let text = String::from_utf8(unpack(name, bytes)).unwrap();
            let without = |line: &str| line.split(" (fuel ").next().unwrap_or_default().to_owned();
            let mut lines: Vec<_> = text.lines().map(without).collect();
            if !ordered {
                lines.sort();
            }
            *bytes = lines.join("\n").into_bytes();
        }
        match &first {
            None => first = Some(files),
            Some(first) if ordered => assert!(*first == files, "{concurrency} {batch}"),
            Some(first) => assert!(first.keys().eq(files.keys())),
        }
    }
}

/// Killed at any moment: the old object is there, or all that was made of it is.
#[test]
fn killed_at_random_moments() {
    let line = |n: usize| match n % 50 {
        1 => format!("!corrupt c{n}\n"),
        2 => format!("!retry r{n}\n"),
        3 => "!sleep 1\n".to_owned(),
        4 => format!("x{n},y,5\n"),
        _ => format!("line {n}\n"),
    };
    let lines: String = (0..3000).map(line).collect();
    let before = Case::new("csv-to-json").input("a.csv", &lines);
    before.run();
    let object = "out/corruption/a.csv";
    let prepared = || {
        let case = before.redrive("unruly").source(object);
        let fresh = Case::new("unruly").redrive("unruly").source(object);
        let fresh = ["", ROWS].iter().fold(fresh, |fresh, suffix| {
            let name = format!("{object}{suffix}");
            let bytes = std::fs::read(case.dir().join(&name)).unwrap();
            fresh.file(&name, bytes)
        });
        fresh.set("batch_lines", 50).args([
            "--concurrency",
            "2",
            "--completion",
            "delete",
            "--reason",
            "the record has",
        ])
    };
    let start = std::time::Instant::now();
    let whole = prepared().run();
    let took = start.elapsed();
    assert_eq!(whole.exit, Some(1), "{}", whole.stderr);
    let mut random = Random(0xdead);
    for round in 0..40 {
        let running = prepared().start();
        std::thread::sleep(took.mul_f64(random.fraction() * 1.2));
        let outcome = running.kill();
        let kept = outcome.after.contains_key(object);
        for (file, bytes) in &outcome.after {
            let expected = outcome.before.get(file).or(whole.after.get(file));
            assert!(expected == Some(bytes), "{round}: {file} is not complete");
        }
        let all = whole
            .after
            .keys()
            .all(|file| outcome.after.contains_key(file));
        assert!(kept || all, "{round}: {:?}", outcome.after.keys());
        assert!(
            !kept || outcome.after.contains_key(&format!("{object}{ROWS}")),
            "{round}"
        );
        // Once more: it is done whole, or refused and nothing is done.
        let visible = outcome.new_files().len();
        let again = outcome.case.start().end();
        match kept && visible == 0 {
            true => assert_eq!(again.after, whole.after, "{round}"),
            false => {
                assert_eq!(again.exit, Some(2), "{round}");
                assert_eq!(again.after, outcome.after, "{round}");
            }
        }
    }
}
