//! `linemill faults`: why lines were not processed, grouped and counted.

use std::fmt::Write as _;

use serde_json::Value;

use crate::support::{Case, Outcome, gzip, zstd};

fn faults() -> Case {
    Case::command(["faults"])
}

fn row(line: u64, kind: &str, reason: &str) -> String {
    let reason = serde_json::to_string(reason).unwrap();
    format!(
        "{{\"line\":{line},\"offset\":{},\"kind\":\"{kind}\",\"reason\":{reason},\"attempt\":{},\"plugin\":\"sha256:00112233445566778899\"}}\n",
        line * 10,
        line % 2
    )
}

/// Two objects and their faults files.
fn two() -> Case {
    let a = [
        row(3, "corrupt", "bad number \"17x\""),
        row(8, "corrupt", "no such key"),
        row(9, "corrupt", "bad number \"abc\""),
    ];
    let b = [
        row(2, "retry", "HTTP 503"),
        row(5, "failed", "HTTP 500"),
        row(7, "retry", "HTTP 500"),
    ];
    faults()
        .file("c/a.csv", "17x,1\n\u{1b}[31mred\t\nabc,2\n")
        .file("c/a.csv.faults.ndjson", a.concat())
        .file(
            "c/b-retry01.csv.gz",
            gzip(format!("one\n{}\nthree\nnever run\n", "y".repeat(500))),
        )
        .file("c/b-retry01.csv.gz.faults.ndjson", b.concat())
}

#[track_caller]
fn check(case: Case, exit: i32, expected: &str) -> Outcome {
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(exit), "{}", outcome.stderr);
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let undented: String = expected
        .lines()
        .map(|line| format!("{}\n", line.strip_prefix("        ").unwrap_or(line)))
        .collect();
    assert_eq!(text.trim(), undented.trim(), "\n{text}");
    outcome
}

#[test]
fn groups_with_counts_and_samples() {
    let expected = format!(
        "
        6 lines, in 2 faults files

        2 corrupt: bad number \"…\"
          such as: bad number \"17x\"
          lines 3 to 9, attempt 1: c/a.csv.faults.ndjson
          plugin sha256:001122334455
                 3 | 17x,1
                 9 | abc,2

        2 retry: HTTP #
          such as: HTTP 503
          lines 2 to 7, attempts 0 to 1: c/b-retry01.csv.gz.faults.ndjson
          plugin sha256:001122334455
                 2 | one
                 7 | three

        1 corrupt: no such key
          line 8, attempt 0: c/a.csv.faults.ndjson
          plugin sha256:001122334455
                 8 | \\u{{1b}}[31mred\\t

        1 failed: HTTP #
          such as: HTTP 500
          line 5, attempt 1: c/b-retry01.csv.gz.faults.ndjson
          plugin sha256:001122334455
                 5 | {}…

        1 line without a row: never run
        ",
        "y".repeat(200)
    );
    for sources in [
        &["c/"][..],
        &["c/*"],
        &["c/*.faults.ndjson"],
        &["c/a.csv", "c/b-retry01.csv.gz"],
        &[
            "c/a.csv.faults.ndjson",
            "c/b-retry01.csv.gz.faults.ndjson",
            "c/a.csv",
        ],
    ] {
        let case = sources
            .iter()
            .fold(two(), |case, source| case.source(source));
        check(case, 0, &expected);
    }
}

#[test]
fn fewer_of_them() {
    let table: [(&[&str], &str); 5] = [
        (&["--kind", "failed", "--samples", "0"], "1 line of 6"),
        (
            &["--reason", "/^HTTP/", "--kind", "retry", "--samples", "0"],
            "2 lines of 6",
        ),
        (
            &["--reason", "HTTP #", "--exact", "--samples", "0"],
            "3 lines of 6",
        ),
        (
            &["--reason", "bad number \"…\"", "--reason", "no such"],
            "3 lines of 6",
        ),
        (&["--reason", "unheard of"], "0 lines of 6"),
    ];
    for (flags, expected) in table {
        let case = flags
            .iter()
            .fold(two().source("c/"), |case, flag| case.args([flag]));
        let outcome = case.run();
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert!(
            text.starts_with(&format!("{expected}, in 2 faults files\n")),
            "{flags:?}: {text}"
        );
    }
    let outcome = two()
        .args(["--exact", "--top", "1", "--json"])
        .source("c/")
        .run();
    let json: Value = serde_json::from_slice(&outcome.stdout).expect("one JSON object");
    assert_eq!(json["Groups"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&json["MoreGroups"], &json["Others"], &json["Unread"]),
        (&5.into(), &5.into(), &1.into())
    );
    assert_eq!(json["AtLeast"], false);
}

#[test]
fn rows_on_standard_input_and_packed() {
    let rows = row(3, "corrupt", "r");
    let expected = |file: &str| {
        format!(
            "
        1 line, in 1 faults file

        1 corrupt: r
          line 3, attempt 1: {file}
          plugin sha256:001122334455
        "
        )
    };
    check(
        faults().source("-").standard_input(&rows),
        0,
        &expected("-"),
    );
    for (suffix, packed) in [("gz", gzip(&rows)), ("zst", zstd(&rows))] {
        let name = format!("a.faults.ndjson.{suffix}");
        let case = faults().file(&name, packed).source(&name);
        let outcome = check(case, 0, &expected(&name));
        assert!(
            outcome.stderr.contains("stands alone"),
            "{}",
            outcome.stderr
        );
    }
    check(
        faults().source("-").standard_input(""),
        0,
        "0 lines, in 1 faults file",
    );
}

#[test]
fn what_is_damaged_is_named_and_the_rest_is_counted() {
    let rows = [
        row(1, "corrupt", "r"),
        "no row\n".to_owned(),
        row(3, "corrupt", "r"),
    ]
    .concat();
    let whole = || {
        faults()
            .args(["--samples", "1"])
            .file("a", "one\ntwo\nthree\n")
    };
    check(
        whole().file("a.faults.ndjson", &rows).source("a"),
        1,
        "
        2 lines, in 1 faults file

        2 corrupt: r
          lines 1 to 3, attempt 1: a.faults.ndjson
          plugin sha256:001122334455
                 1 | one

        problem: a.faults.ndjson, row 2: expected ident at line 1 column 2
        ",
    );
    let table = [
        // Cut off.
        (
            "one\ntwo\nthree\n",
            rows[..rows.len() - 20].to_owned(),
            "row 3: EOF while parsing a string",
        ),
        // Fewer lines than rows.
        (
            "one\n",
            row(1, "corrupt", "r") + &row(2, "corrupt", "r"),
            "fewer lines than there are rows",
        ),
        (
            "",
            row(1, "corrupt", "r"),
            "fewer lines than there are rows",
        ),
        ("one\n", row(0, "corrupt", "r"), "row 1: line is 0"),
        (
            "one\n",
            format!("{{\"line\":1,\"x\":\"{}\"}}\n", "x".repeat(2 << 20)),
            "row 1: it is longer than",
        ),
        ("one\n", "\0\0\0\n\n[]\n".to_owned(), "row 3: "),
        ("one\n", "x\n".repeat(1000), "and 981 more problems"),
    ];
    for (lines, rows, expected) in table {
        let case = faults()
            .file("a", lines)
            .file("a.faults.ndjson", rows)
            .source("a");
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(1), "{expected}");
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // An object that is damaged, and a faults file that is.
    let torn = |bytes: Vec<u8>| bytes[..bytes.len() - 9].to_vec();
    let lines: String = (0..9999).map(|n| format!("{}\n", n * 7919)).collect();
    let rows: String = (1..=9999).map(|n| row(n, "corrupt", "r")).collect();
    let case = faults()
        .file("a.gz", torn(gzip(&lines)))
        .file("a.gz.faults.ndjson", &rows)
        .source("a.gz");
    let outcome = case.run();
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert!(
        text.starts_with("9999 lines") && text.contains("problem: a.gz is corrupt"),
        "{text}"
    );
    let case = faults()
        .file("a.faults.ndjson.gz", torn(gzip(&rows)))
        .source("a.faults.ndjson.gz")
        .run();
    assert_eq!(case.exit, Some(1));
}

#[test]
fn what_is_not_there_is_an_error() {
    for (source, expected) in [
        ("gone", "gone does not exist"),
        ("gone/", "gone/"),
        ("a.resume.json", "`linemill run` runs them"),
        ("*.x", "no lines are there"),
    ] {
        let outcome = faults().file("a.txt", "a\n").source(source).run();
        assert_eq!(outcome.exit, Some(2), "{source}");
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
    let outcome = faults().file("a.txt", "a\n").source("a.txt").run();
    assert_eq!(outcome.exit, Some(1));
    assert!(
        String::from_utf8_lossy(&outcome.stdout).contains("a.txt: no faults file stands beside it")
    );
}

/// Rows come as a stream, and each has a reason of its own: what is kept of them is bounded.
#[test]
fn memory_does_not_grow_with_the_rows() {
    let rows = |count: u64| {
        let mut text = String::new();
        for n in 0..count {
            // Letters, so that no pattern makes them one.
            let own: String = n
                .to_string()
                .bytes()
                .map(|digit| char::from(digit - b'0' + b'a'))
                .collect();
            let _ = write!(
                text,
                "{}",
                row(n + 1, "corrupt", &format!("{own} {}", "why ".repeat(60)))
            );
        }
        text
    };
    let peak = |count: u64| {
        let case =
            Case::command(["faults", "--json", "--top", "0", "-"]).standard_input(rows(count));
        let mut running = case.start();
        let peak = running.peak_kib();
        let outcome = running.finish();
        let json: Value = serde_json::from_slice(&outcome.stdout).expect("one JSON object");
        assert_eq!(
            (&json["Lines"], &json["Others"], &json["AtLeast"]),
            (&count.into(), &count.into(), &true.into())
        );
        peak
    };
    let (few, many) = (peak(20_000), peak(200_000));
    assert!(
        many < few + 16 * 1024,
        "{few} KiB for 20 000 rows, {many} KiB for 200 000"
    );
}
