//! What the system whose design this follows was seen to do: every row of it, with files.

use std::io::Write;

use super::support::{Case, Outcome, gzip};

/// As in all rows of the sums.
const TEN: [&str; 10] = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];

/// The lines of `TEN`, to be added up but for one, which does something else.
fn ten_but(number: &str, instead: &str) -> Vec<String> {
    let line = |&n: &&str| match n == number {
        true => instead.to_owned(),
        false => format!("!sum {n}"),
    };
    TEN.iter().map(line).collect()
}

/// The sum of what `post` was told.
fn sum_in(outcome: &Outcome, path: &str) -> i64 {
    let told = outcome.text(path);
    let (_, partials) = told
        .trim_end()
        .split_once("partials=")
        .expect("what post tells");
    let numbers = partials
        .split(['|', ','])
        .filter(|number| !number.is_empty());
    numbers
        .map(|number| number.parse::<i64>().expect("a number"))
        .sum()
}

/// One line a batch, a worker for the line that hangs and one for the others, and little time.
fn with_a_line_that_hangs(name: &str) -> Case {
    Case::new("unruly")
        .setting("post", "emit")
        .set("batch_lines", 1)
        .set("concurrency", 2)
        .set("max_exec_time_ms", 3000)
        .input_lines(name, ten_but("8", "!sleep 600000"))
}

#[test]
fn sums() {
    Case::new("sum")
        .set("concurrency", 5)
        .input("data/numbers.txt", "1\n2\n3\n5\nasd\n373\n23")
        .check(
            "
            exit 1
            corrupted: loaded 7, processed 6, corrupted 1
            out/corruption/data/numbers.txt: asd
              5 corrupt: not a valid integer: `asd`
            out/destination/data/numbers.txt: 407
            ",
        );
    Case::new("sum")
        .set("concurrency", 5)
        .input("numbers.txt", TEN.join("\n"))
        .check(
            "
            exit 0
            ok: loaded 10, processed 10
            out/destination/numbers.txt: 45
            ",
        );
    Case::new("sum").input("numbers.txt", "").check(
        "
        exit 0
        ok
        out/destination/numbers.txt: 0
        ",
    );
}

#[test]
fn a_line_that_outlasts_the_deadline_is_retried() {
    let outcome = with_a_line_that_hangs("sum.txt").check(
        "
        exit 1
        retry: loaded 10, processed 9, retried 1
        out/destination/sum.txt: post: loaded=10 processed=9 corrupted=0 retried=1 partials=1,|2,|3,|4,|5,|6,|7,|9,|0,
        out/retry/sum-retry01.txt: !sleep 600000
          8 retry: cut off: work stopped before the batch was done
        ",
    );
    assert_eq!(sum_in(&outcome, "out/destination/sum.txt"), 37);
}

#[test]
fn a_line_that_outlasts_the_deadline_too_often_has_failed() {
    let outcome = with_a_line_that_hangs("sum-retry05.txt")
        .set("max_retries", 5)
        .check(
            "
            exit 1
            failed: loaded 10, processed 9, failed 1
            out/destination/sum-retry05.txt: post: loaded=10 processed=9 corrupted=0 retried=1 partials=1,|2,|3,|4,|5,|6,|7,|9,|0,
            out/failed/sum-retry06.txt: !sleep 600000
              8 failed: cut off: work stopped before the batch was done
            ",
        );
    assert_eq!(sum_in(&outcome, "out/destination/sum-retry05.txt"), 37);
}

#[test]
fn an_ordinary_error_too_often_has_failed() {
    let outcome = Case::new("unruly")
        .setting("post", "emit")
        .set("max_retries", 5)
        .set("batch_lines", 1)
        .input_lines("sum-retry05.txt", ten_but("3", "!retry not now"))
        .check(
            "
            exit 1
            failed: loaded 10, processed 9, failed 1
            out/destination/sum-retry05.txt: post: loaded=10 processed=9 corrupted=0 retried=1 partials=1,|2,|4,|5,|6,|7,|8,|9,|0,
            out/failed/sum-retry06.txt: !retry not now
              3 failed: not now
            ",
        );
    assert_eq!(sum_in(&outcome, "out/destination/sum-retry05.txt"), 42);
}

#[test]
fn what_times_out_is_retried_or_unread() {
    let lines: Vec<String> = (0..11).map(|n| format!("!sleep 60000{n}")).collect();
    let outcome = Case::new("unruly")
        .set("batch_lines", 1)
        .set("concurrency", 2)
        .set("max_exec_time_ms", 2500)
        .input_lines("sum.txt", &lines)
        .run();
    check_all_left_once(&outcome, &lines);
}

#[test]
fn forty_lines_that_hang_are_left_once_each() {
    let lines: Vec<String> = (0..40).map(|n| format!("!sleep 600{n:03}")).collect();
    let outcome = Case::new("unruly")
        .set("concurrency", 2)
        .set("max_exec_time_ms", 2500)
        .input_lines("hang.txt", &lines)
        .run();
    check_all_left_once(&outcome, &lines);
}

/// Nothing was processed: every line is in the retry object, or behind the pointer, once.
fn check_all_left_once(outcome: &Outcome, lines: &[String]) {
    let report = outcome.report();
    assert_eq!((outcome.exit, report.status()), (Some(1), "retry"));
    assert_eq!(report.count("Processed"), 0);
    assert!(report.count("RetryErrors") > 0, "some were begun");
    let unread = report.unread().expect("it is known");
    assert_eq!(report.count("RetryErrors") + unread, lines.len() as u64);
    let object = report.text("RetryURL").expect("a retry object");
    assert_eq!(
        outcome.lines(object),
        lines[..lines.len() - unread as usize]
    );
}

/// A source of four lines in `x/`, of which two are not processed.
fn kinds(name: &str, lines: [&str; 4], expected: &str) -> Outcome {
    let text = lines.map(|line| format!("{line}\n")).concat();
    let bytes = match name.ends_with(".gz") {
        true => gzip(text),
        false => text.into_bytes(),
    };
    Case::new("unruly")
        .set("max_retries", 3)
        .input(&format!("x/{name}"), bytes)
        .check(expected)
}

#[test]
fn kinds_of_fault() {
    kinds(
        "a.csv",
        ["1", "!retry two", "3", "!retry four"],
        "
        exit 1
        retry: loaded 4, processed 2, retried 2
        out/destination/x/a.csv: 1,3
        out/retry/x/a-retry01.csv: !retry two,!retry four
          2 retry: two
          4 retry: four
        ",
    );
    kinds(
        "a.csv",
        ["1", "!corrupt two", "3", "!corrupt four"],
        "
        exit 1
        corrupted: loaded 4, processed 2, corrupted 2
        out/corruption/x/a.csv: !corrupt two,!corrupt four
          2 corrupt: two
          4 corrupt: four
        out/destination/x/a.csv: 1,3
        ",
    );
    kinds(
        "a.csv",
        ["1", "!rest rest", "3", "!rest rest"],
        "
        exit 1
        retry: loaded 4, processed 2, retried 2, partial 2
        out/destination/x/a.csv: 1,3
        out/retry/x/a-retry01.csv: rest,rest
          2,4 partial: part is done
        ",
    );
}

#[test]
fn kinds_of_fault_in_a_packed_retry() {
    let lines = ["1", "!retry two", "!corrupt three", "4"];
    let outcome = kinds(
        "a-retry01.csv.gz",
        lines,
        "
        exit 1
        retry|corrupted: loaded 4, processed 2, corrupted 1, retried 1
        out/corruption/x/a-retry01.csv.gz: !corrupt three
          3 corrupt: three
        out/destination/x/a-retry01.csv.gz: 1,4
        out/retry/x/a-retry02.csv.gz: !retry two
          2 retry: two
        ",
    );
    check_gzip(&outcome, "out/retry/x/a-retry02.csv.gz");
    let outcome = kinds(
        "a-retry03.csv.gz",
        lines,
        "
        exit 1
        failed|corrupted: loaded 4, processed 2, corrupted 1, failed 1
        out/corruption/x/a-retry03.csv.gz: !corrupt three
          3 corrupt: three
        out/destination/x/a-retry03.csv.gz: 1,4
        out/failed/x/a-retry04.csv.gz: !retry two
          2 failed: two
        ",
    );
    check_gzip(&outcome, "out/failed/x/a-retry04.csv.gz");
}

fn check_gzip(outcome: &Outcome, path: &str) {
    assert_eq!(&outcome.after[path][..2], b"\x1f\x8b", "{path} is gzip");
}

#[test]
fn a_plugin_that_panics_loses_only_the_lines_that_make_it() {
    let outcome = kinds(
        "a.csv",
        ["1", "!panic two is too much", "3", "!panic four is more"],
        "
        exit 1
        corrupted: loaded 4, processed 2, corrupted 2
        out/corruption/x/a.csv: !panic two is too much,!panic four is more
          2 corrupt: trap: panicked at tests/guests/unruly/src/commands.rs:LINE: two is too much
          4 corrupt: trap: panicked at tests/guests/unruly/src/commands.rs:LINE: four is more
        out/destination/x/a.csv: 1,3
        ",
    );
    assert!(outcome.report().count("Traps") >= 2);
}

#[test]
fn names_of_retries() {
    // source, attempt, retry
    let table = [
        ("a.csv", 0, "a-retry01.csv"),
        ("a.csv.gz", 0, "a-retry01.csv.gz"),
        ("a-retry05.csv", 5, "a-retry06.csv"),
        ("a-retry09.csv.gz", 9, "a-retry10.csv.gz"),
        ("a-retry99.csv", 99, "a-retry100.csv"),
        ("a-retry100.csv", 100, "a-retry101.csv"),
        ("noext", 0, "noext-retry01"),
        ("noext-retry03", 3, "noext-retry04"),
        ("a-retryable.csv", 0, "a-retryable-retry01.csv"),
        ("a-retry-1.csv", 0, "a-retry-1-retry01.csv"),
        ("a-retry", 0, "a-retry-retry01"),
        (
            "my.bucket/v1.2/my-retry02/a.csv",
            0,
            "my.bucket/v1.2/my-retry02/a-retry01.csv",
        ),
    ];
    for (source, attempt, retry) in table {
        let bytes = match source.ends_with(".gz") {
            true => gzip("!retry later\n"),
            false => b"!retry later\n".to_vec(),
        };
        let outcome = Case::new("unruly")
            .set("max_retries", 1000)
            .input(source, bytes)
            .check(&format!(
                "
                exit 1
                retry: loaded 1, retried 1
                out/retry/{retry}: !retry later
                  1 retry: later
                "
            ));
        let report = outcome.report();
        assert_eq!(report.count("Attempt"), attempt, "{source}");
        assert_eq!(
            report.text("RetryURL"),
            Some(&*format!("out/retry/{retry}"))
        );
    }
}

#[test]
fn lines() {
    let long = "x".repeat(65_536);
    let longer = "y".repeat(200_000);
    // what is read, and the lines that the plugin sees
    let table: [(Vec<u8>, &[&[u8]]); 14] = [
        (b"".into(), &[]),
        (b"\n".into(), &[b""]),
        (b"1\n2\n".into(), &[b"1", b"2"]),
        (b"1\n2".into(), &[b"1", b"2"]),
        (b"1\n\n2".into(), &[b"1", b"", b"2"]),
        (b"1\r\n2\r\n".into(), &[b"1", b"2"]),
        (b"1\r\r\n2".into(), &[b"1\r", b"2"]),
        (b"1\r2".into(), &[b"1\r2"]),
        (b" 1 \n2".into(), &[b" 1 ", b"2"]),
        (b"\xff\xfe\n\0\n".into(), &[b"\xff\xfe", b"\0"]),
        (b"\xef\xbb\xbf1\n2".into(), &[b"\xef\xbb\xbf1", b"2"]),
        (format!("{long}\n2\n").into(), &[long.as_bytes(), b"2"]),
        (
            format!("1\n{longer}\n2").into(),
            &[b"1", longer.as_bytes(), b"2"],
        ),
        (format!("1\n{longer}").into(), &[b"1", longer.as_bytes()]),
    ];
    for (bytes, lines) in table {
        let outcome = Case::new("unruly").input("a.txt", &bytes).run();
        let report = outcome.report();
        assert_eq!((outcome.exit, report.status()), (Some(0), "ok"));
        assert_eq!(report.count("Loaded"), lines.len() as u64);
        let mut expected = lines.join(&b'\n');
        if lines.is_empty() {
            assert!(outcome.new_files().is_empty());
            continue;
        }
        expected.push(b'\n');
        assert!(
            outcome.bytes("out/destination/a.txt") == expected,
            "{}",
            bytes.escape_ascii()
        );
    }
}

/// Gzip that breaks off in the middle of line 3.
fn torn() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(b"1\n2\n3 is to")
        .expect("memory can be written to");
    encoder.flush().expect("memory can be written to");
    let torn = encoder.get_ref().clone();
    encoder
        .write_all(b"rn\n4\n")
        .expect("memory can be written to");
    drop(encoder);
    torn
}

#[test]
fn a_stream_that_breaks_off_ends_in_error() {
    for completion in ["keep", "delete"] {
        let outcome = Case::new("unruly")
            .set("completion", completion)
            .input("a.txt.gz", torn())
            .run();
        let report = outcome.report();
        assert_eq!((outcome.exit, report.status()), (Some(2), "error"));
        assert!(
            report.count("Loaded") <= 2,
            "the torn line is not processed"
        );
        assert!(outcome.new_files().is_empty(), "nothing is visible");
        assert_eq!(outcome.before, outcome.after, "the source stays");
        let (error, _) = &report.errors()[0];
        assert!(error.starts_with("a.txt.gz is corrupt: "), "{error}");
    }
}

#[test]
fn pre_and_post_that_fail() {
    for stage in ["pre", "post"] {
        for how in ["fail-retry", "fail-corrupt", "fail-fatal"] {
            let outcome = Case::new("unruly")
                .setting(stage, how)
                .set("completion", "delete")
                .input_lines("a.txt", ["1", "!retry x", "!corrupt x", "!route more x"])
                .args(["--route", "more=out/more"])
                .run();
            let report = outcome.report();
            assert_eq!(outcome.exit, Some(2), "{stage} {how}");
            assert!(report.is("error"), "{stage} {how}: {}", report.status());
            assert_eq!(report.count("Loaded"), if stage == "pre" { 0 } else { 4 });
            assert_eq!(
                report.errors()[0],
                (
                    format!("plugin unruly: {stage} failed: {stage} fails as it was told"),
                    1
                )
            );
            assert_eq!(
                outcome.before, outcome.after,
                "nothing is visible, the source stays"
            );
        }
    }
}

#[test]
fn completions() {
    Case::new("sum")
        .set("completion", "delete")
        .input("x/a.txt", "1\n2\n")
        .check(
            "
            exit 0
            ok: loaded 2, processed 2
            removed x/a.txt
            out/destination/x/a.txt: 3
            ",
        );
    Case::new("unruly")
        .set("completion", "delete")
        .input("x/a.txt", "1\n!retry later\n")
        .check(
            "
            exit 1
            retry: loaded 2, processed 1, retried 1
            removed x/a.txt
            out/destination/x/a.txt: 1
            out/retry/x/a-retry01.txt: !retry later
              2 retry: later
            ",
        );
    Case::new("sum")
        .args(["--completion", "move", "--move-to", "done"])
        .input("x/y/a.txt", "1\n2\n")
        .check(
            "
            exit 0
            ok: loaded 2, processed 2
            removed x/y/a.txt
            done/x/y/a.txt: 1,2
            out/destination/x/y/a.txt: 3
            ",
        );
}

#[test]
fn a_source_stays_when_lines_cannot_be_written() {
    Case::new("unruly")
        .set("completion", "delete")
        .args(["--retry", "blocked/retry"])
        .file("blocked", "a file, where a folder is needed")
        .input("a.txt", "1\n!retry later\n")
        .check(
            "
            exit 2
            retry|error: loaded 2, processed 1, retried 1
            error: cannot write blocked/retry/a-retry01.txt: Not a directory (os error 20)
            error: later
            ",
        );
}

#[test]
fn without_a_place_for_retries_nothing_begins() {
    Case::new("sum")
        .without_out()
        .args(["--destination", "d", "--failed", "f", "--corruption", "c"])
        .input("a.txt", "1\n")
        .check(
            "
            exit 2
            linemill: configuration: `retry_url` is not set, lines that need it would have nowhere to go: set `out_url`, or `retry_url`
            ",
        );
}

#[test]
fn with_too_little_time_all_is_handed_over() {
    Case::new("sum")
        .set("max_exec_time_ms", 900)
        .set("deadline_reduction_ms", 1000)
        .set("completion", "delete")
        .input("x/a.txt", "1\n2\n3\n")
        .check(
            "
            exit 1
            retry: unread 3
            out/retry/x/a-retry01.txt.resume.json: x/a.txt from byte 0, line 1, attempt 1
            ",
        );
}
