//! Sources: files and streams, whole, broken, changing, compressed, with lines of every kind.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::support::{Case, Outcome, gzip, numbered, zstd};

/// `bytes` as gzip in members of so many plain bytes each.
fn gzip_members(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes.chunks(size).flat_map(gzip).collect()
}

#[test]
fn what_cannot_be_read_is_an_error() {
    for (source, error) in [
        ("missing.txt", "missing.txt does not exist"),
        (
            "folder",
            "folder: is a folder: end it with / to run all that is in it",
        ),
        (
            "file/below",
            "cannot use file/below: Not a directory (os error 20)",
        ),
        ("dangling", "dangling does not exist"),
    ] {
        let case = Case::new("unruly")
            .file("folder/x", "x\n")
            .file("file", "a\n");
        std::os::unix::fs::symlink("nowhere", case.dir().join("dangling")).unwrap();
        case.args(["--completion", "delete"])
            .source(source)
            .check(&format!("exit 2\nerror\nerror: {error}"));
    }
}

#[test]
fn what_stands_for_nothing_is_an_error() {
    for source in ["folder/", "*.csv", "missing/", "memory://nothing/"] {
        let outcome = Case::new("unruly").source(source).run();
        assert_eq!(outcome.exit, Some(2), "{source}");
        assert!(outcome.stderr.contains(source), "{}", outcome.stderr);
        assert!(outcome.reports.is_empty());
    }
}

#[test]
fn a_source_that_cannot_be_read_keeps_no_other_from_it() {
    Case::new("unruly")
        .input("a.txt", "a\n")
        .source("missing.txt")
        .input("b.txt", "b\n")
        .check(
            "
            exit 2
            a.txt: ok: loaded 1, processed 1
            missing.txt: error
            error: missing.txt does not exist
            b.txt: ok: loaded 1, processed 1
            out/destination/a.txt: a
            out/destination/b.txt: b
            ",
        );
}

#[test]
fn the_same_source_twice_is_written_once() {
    Case::new("unruly")
        .input("a.txt", "a\n")
        .source("a.txt")
        .check(
            "
            exit 2
            a.txt: ok: loaded 1, processed 1
            a.txt: error: loaded 1, processed 1
            error: out/destination/a.txt already exists: remove it, or use $UUID, $RequestId or $SourceBucket in the template
            out/destination/a.txt: a
            ",
        );
}

#[test]
fn lines_of_every_kind() {
    let mib = "m".repeat(1 << 20);
    // what is read, what comes out
    let table: [(&[u8], &[u8]); 17] = [
        (b"a", b"a\n"),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\nb\n"),
        (b"\n", b"\n"),
        (b"\n\n\n", b"\n\n\n"),
        (b"\n\na\n\nb\n\n", b"\n\na\n\nb\n\n"),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\r\r\nb\r", b"a\r\nb\n"),
        (b"\r\n\r\n", b"\n\n"),
        (b"\r\r\n", b"\r\n"),
        (b"a\rb\nc\n", b"a\rb\nc\n"),
        (b"\xff\xfe\nb\x80\n", b"\xff\xfe\nb\x80\n"),
        (b"\0\na\0b\n\0\0\n", b"\0\na\0b\n\0\0\n"),
        (b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa\nb\n"),
        (b"\x1f\x8b not gzip\n", b"\x1f\x8b not gzip\n"),
        (
            "ä\u{2028}b\u{85}c\x0b\x0c\n".as_bytes(),
            "ä\u{2028}b\u{85}c\x0b\x0c\n".as_bytes(),
        ),
        (mib.as_bytes(), &[mib.as_bytes(), b"\n"].concat()),
    ];
    for (bytes, expected) in table {
        for (name, packed) in [
            ("lines", bytes.to_vec()),
            ("lines.gz", gzip(bytes)),
            ("lines.zst", zstd(bytes)),
        ] {
            let outcome = Case::new("unruly").input(name, packed).run();
            let start: String = String::from_utf8_lossy(bytes).chars().take(20).collect();
            assert_eq!(outcome.exit, Some(0), "{name} {start:?}");
            let lines = expected.iter().filter(|&&byte| byte == b'\n').count() as u64;
            assert_eq!(outcome.report().count("Loaded"), lines, "{name} {start:?}");
            let out = format!("out/destination/{name}");
            assert!(outcome.bytes(&out) == expected, "{name} {start:?}");
        }
    }
}

#[test]
fn a_source_without_lines_writes_nothing() {
    for (name, bytes) in [
        ("empty.txt", Vec::new()),
        ("empty.txt.gz", gzip("")),
        ("empty.txt.zst", zstd("")),
        ("empties.txt.gz", [gzip(""), gzip("")].concat()),
    ] {
        Case::new("unruly").input(name, bytes).check("exit 0\nok");
    }
}

#[test]
fn lines_that_come_back_are_as_they_were() {
    let lines = b"!retry a\r\n\xff\n!retry \0\xef\xbb\xbf\xff\r\r\n!corrupt c";
    let outcome = Case::new("unruly").input("a.txt", lines).run();
    let bytes = |path: &str| outcome.bytes(path);
    assert_eq!(
        bytes("out/retry/a-retry01.txt"),
        b"!retry a\r\n!retry \0\xef\xbb\xbf\xff\r\r\n"
    );
    assert_eq!(bytes("out/corruption/a.txt"), b"!corrupt c\n");
    assert_eq!(bytes("out/destination/a.txt"), b"\xff\n");
}

#[test]
fn many_members_are_one_stream() {
    let plain = numbered(20_000);
    for (name, packed) in [
        ("n.txt.gz", gzip_members(plain.as_bytes(), 1)),
        ("n.txt.gz", gzip_members(plain.as_bytes(), 70_001)),
        ("n.txt.gz", [gzip(""), gzip(&plain), gzip("")].concat()),
        (
            "n.txt.zst",
            plain.as_bytes().chunks(70_001).flat_map(zstd).collect(),
        ),
    ] {
        let outcome = Case::new("unruly").input(name, packed).run();
        assert_eq!(outcome.exit, Some(0));
        assert!(outcome.bytes(&format!("out/destination/{name}")) == plain.as_bytes());
    }
}

#[test]
fn a_packed_source_that_breaks_off_is_an_error_and_stays() {
    let plain = numbered(20_000);
    let whole = gzip(&plain);
    let members = gzip_members(plain.as_bytes(), 70_001);
    let framed = zstd(&plain);
    let cut = |bytes: &[u8], at: usize| bytes[..at].to_vec();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 0x55;
    let mut sum = whole.clone();
    sum[whole.len() - 6] ^= 1;
    for (what, name, bytes) in [
        (
            "in the middle of a line",
            "n.txt.gz",
            cut(&whole, whole.len() / 2),
        ),
        (
            "before its checksum",
            "n.txt.gz",
            cut(&whole, whole.len() - 8),
        ),
        (
            "before its last byte",
            "n.txt.gz",
            cut(&whole, whole.len() - 1),
        ),
        ("in its header", "n.txt.gz", cut(&whole, 5)),
        (
            "in a later member",
            "n.txt.gz",
            cut(&members, members.len() - 50),
        ),
        (
            "with garbage behind it",
            "n.txt.gz",
            [&whole[..], b"garbage that is no member"].concat(),
        ),
        ("with a flipped bit", "n.txt.gz", flipped),
        ("with a wrong checksum", "n.txt.gz", sum),
        ("in the middle", "n.txt.zst", cut(&framed, framed.len() / 2)),
        (
            "before its last byte",
            "n.txt.zst",
            cut(&framed, framed.len() - 1),
        ),
        ("plain text", "n.txt.gz", plain.clone().into_bytes()),
        ("plain text", "n.txt.zst", plain.clone().into_bytes()),
        ("gzip", "n.txt.zst", whole.clone()),
    ] {
        for completion in ["keep", "delete"] {
            let outcome = Case::new("unruly")
                .input(name, &bytes)
                .args(["--completion", completion])
                .run();
            let seen = format!("{name} {what}: {}", outcome.report().0);
            assert_eq!(outcome.exit, Some(2), "{seen}");
            assert_eq!(outcome.report().status(), "error", "{seen}");
            let (error, _) = &outcome.report().errors()[0];
            assert!(error.starts_with(&format!("{name} is corrupt: ")), "{seen}");
            assert_eq!(outcome.after, outcome.before, "{seen}");
        }
    }
}

/// Runs lines that hold the run until `change` is done to the file they come from.
fn changed_while_run(case: Case, name: &str, lines: &str, change: fn(&Path)) -> Outcome {
    let packed = match name.ends_with(".gz") {
        true => gzip(lines),
        false => lines.as_bytes().to_vec(),
    };
    let case = case
        .input(name, packed)
        .args(["--route", "hold=pipes/$SourceName", "--concurrency", "2"])
        .set("batch_lines", 1000);
    let pipe = case.pipe(&format!("pipes/{name}"));
    let mut running = case.start();
    running.wait_for_stderr("message 0");
    change(&case.dir().join(name));
    let _released = pipe.release();
    running.finish()
}

type Change = (&'static str, fn(&Path));

const CHANGES: [Change; 5] = [
    ("appended to", |file| {
        let mut file = fs::File::options().append(true).open(file).unwrap();
        file.write_all(b"one more\n").unwrap();
    }),
    ("cut short", |file| {
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_len(10).unwrap();
    }),
    ("emptied", |file| fs::write(file, "").unwrap()),
    ("replaced", |file| {
        let other = file.with_extension("new");
        fs::write(&other, "another\n").unwrap();
        fs::rename(&other, file).unwrap();
    }),
    ("written anew with as many bytes", |file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, bytes.to_ascii_uppercase()).unwrap();
    }),
];

#[test]
fn a_source_that_changes_while_it_is_read_is_an_error_and_stays() {
    let long = format!(
        "!log 1\n!route hold x\n!retry r\n!corrupt c\n{}",
        numbered(100_000)
    );
    // A short one has been read to its end when it changes, but nothing is visible yet.
    for (lines, completion) in [
        (&*long, "keep"),
        (&long, "delete"),
        ("!log 1\n!route hold x\n", "delete"),
    ] {
        for (what, change) in CHANGES {
            for name in ["a.txt", "a.txt.gz"] {
                let case = Case::new("unruly").args(["--completion", completion]);
                let outcome = changed_while_run(case, name, lines, change);
                let seen = format!("{name} {what}, {completion}: {}", outcome.report().0);
                assert_eq!(outcome.exit, Some(2), "{seen}");
                let (error, _) = &outcome.report().errors()[0];
                // What is left of a packed file may break off before anybody sees that it changed.
                let breaks_off = name == "a.txt.gz" && error.contains("is corrupt");
                let changed = *error == format!("{name} changed while it was processed");
                assert!(breaks_off || changed, "{seen}");
                assert!(outcome.after.contains_key(name), "{seen}");
                assert!(outcome.new_files().is_empty(), "{seen}");
            }
        }
    }
}

#[test]
fn a_source_that_is_deleted_while_it_is_read_is_an_error() {
    let case = Case::new("unruly").args(["--completion", "delete"]);
    let outcome = changed_while_run(case, "a.txt", "!log 1\n!route hold x\na\n", |file| {
        fs::remove_file(file).unwrap();
    });
    // Whether the reader sees it or whoever deletes it in the end, and so what was loaded, is chance.
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    let (error, _) = &outcome.report().errors()[0];
    assert_eq!(error, "a.txt does not exist");
    assert!(outcome.new_files().is_empty(), "{:?}", outcome.new_files());
}

/// Lines longer than 1000 bytes at these places among short ones.
fn with_long_lines(lines: usize, long: &[usize]) -> Vec<String> {
    let line = |n: usize| match long.iter().position(|&at| at == n) {
        Some(at) => format!("{n} {}", "x".repeat(1001 + at * 70_000)),
        None => format!("{n}"),
    };
    (0..lines).map(line).collect()
}

#[test]
fn lines_that_are_too_long_are_corrupt_in_full() {
    for long in [
        &[0][..],
        &[5],
        &[9],
        &[0, 1, 2],
        &[4, 5, 6],
        &[7, 8, 9],
        &[0, 2, 4, 6, 8],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ] {
        for (name, ended) in [
            ("a.txt", true),
            ("a.txt", false),
            ("a.txt.gz", true),
            ("a.txt.zst", false),
        ] {
            let lines = with_long_lines(10, long);
            let end = if ended { "\n" } else { "" };
            let plain = lines.join("\n") + end;
            let packed = match name {
                "a.txt.gz" => gzip(plain),
                "a.txt.zst" => zstd(plain),
                _ => plain.into_bytes(),
            };
            let outcome = Case::new("unruly")
                .input(name, packed)
                .set("line_bytes_max", 1000)
                .run();
            let (corrupt, clean): (Vec<_>, Vec<_>) =
                lines.into_iter().partition(|line| line.len() > 1000);
            let seen = format!("{name} {long:?}: {}", outcome.report().0);
            assert_eq!(outcome.exit, Some(1), "{seen}");
            assert!(
                outcome.lines(&format!("out/corruption/{name}")) == corrupt,
                "{seen}"
            );
            assert!(
                outcome.lines(&format!("out/destination/{name}")) == clean,
                "{seen}"
            );
            let error = (
                "the line is longer than line_bytes_max = 1000".to_owned(),
                corrupt.len() as u64,
            );
            assert_eq!(outcome.report().errors(), [error], "{seen}");
        }
    }
}

#[test]
fn the_limit_of_a_line_is_without_its_end() {
    for (length, end, corrupt) in [
        (1000, "\n", 0),
        (1000, "", 0),
        (1001, "\n", 1),
        (1001, "", 1),
    ] {
        let outcome = Case::new("unruly")
            .input("a.txt", format!("a\n{}{end}", "x".repeat(length)))
            .set("line_bytes_max", 1000)
            .run();
        assert_eq!(
            outcome.report().count("CorruptionErrors"),
            corrupt,
            "{length} {end:?}"
        );
    }
}

#[test]
fn a_line_larger_than_the_memory_of_a_plugin_is_streamed() {
    let long = "y".repeat(80 << 20);
    let outcome = Case::new("unruly")
        .input("a.txt", format!("a\n{long}\nb\n"))
        .set("memory_bytes_max", "32MiB")
        .set("line_bytes_max", "1MiB")
        .run();
    assert_eq!(outcome.exit, Some(1));
    assert_eq!(outcome.lines("out/destination/a.txt"), ["a", "b"]);
    assert!(outcome.lines("out/corruption/a.txt") == [long]);
}

#[test]
fn long_lines_between_lines_that_trap_and_retry() {
    let long = "x".repeat(200_000);
    let outcome = Case::new("unruly")
        .input_lines(
            "a.txt",
            [
                "!trap",
                &long,
                "a",
                "!corrupt c",
                &long,
                "!retry r",
                "!panic p",
                &long,
                "b",
            ],
        )
        .set("line_bytes_max", 1000)
        .run();
    assert_eq!(outcome.exit, Some(1));
    assert_eq!(
        outcome.lines("out/corruption/a.txt"),
        ["!trap", &long, "!corrupt c", &long, "!panic p", &long]
    );
    assert_eq!(outcome.lines("out/retry/a-retry01.txt"), ["!retry r"]);
    assert_eq!(outcome.lines("out/destination/a.txt"), ["a", "b"]);
}

/// Two ranges that meet at any byte have every line exactly once.
#[test]
fn ranges_share_the_lines_of_a_source_wherever_they_meet() {
    let plain = "a\n\nbb\r\nccc\n\nd";
    for (name, packed) in [
        ("a.txt", plain.as_bytes().to_vec()),
        ("a.txt.gz", gzip(plain)),
    ] {
        for at in 0..=plain.len() as u64 + 1 {
            let first = Case::new("unruly").input(name, &packed).range(0, Some(at));
            let second = first.again().source(name).range(at, None);
            let mut lines = Vec::new();
            for (case, offset) in [(first, 0), (second, at)] {
                let outcome = case.run();
                assert_eq!(outcome.exit, Some(0), "{name} {at}");
                let out = format!(
                    "out/destination/{}",
                    name.replacen('a', &format!("a-at{offset}"), 1)
                );
                // Where both begin at 0, the second finds the first's objects only if that wrote any.
                lines.extend(outcome.lines(&out));
            }
            assert_eq!(lines, ["a", "", "bb", "ccc", "", "d"], "{name} {at}");
        }
    }
}

#[test]
fn standard_input_is_a_source() {
    Case::new("unruly")
        .standard_input("a\r\n\n!corrupt c\n!retry r")
        .source("-")
        .args(["--completion", "delete"])
        .check(
            "
            exit 1
            retry|corrupted: loaded 4, processed 2, corrupted 1, retried 1
            out/corruption/stdin: !corrupt c
              3 corrupt: c
            out/destination/stdin: a,
            out/retry/stdin-retry01: !retry r
              4 retry: r
            ",
        );
}

#[test]
fn standard_input_may_be_empty_or_large() {
    Case::new("unruly")
        .standard_input("")
        .source("-")
        .check("exit 0\nok");
    let lines = numbered(300_000);
    let outcome = Case::new("unruly").standard_input(&lines).source("-").run();
    assert_eq!(outcome.exit, Some(0));
    assert!(outcome.bytes("out/destination/stdin") == lines.as_bytes());
}

#[test]
fn from_standard_input_to_standard_output() {
    let outcome = Case::new("unruly")
        .standard_input("a\nb")
        .source("-")
        .args(["--destination", "-"])
        .run();
    assert_eq!(outcome.exit, Some(0));
    assert_eq!(outcome.stdout, b"a\nb\n");
}

/// What arrives is worked on, before the source has ended.
#[test]
fn a_named_pipe_is_a_source_line_by_line() {
    let case = Case::new("unruly")
        .source("in/lines.txt")
        .args(["--completion", "delete"]);
    let pipe = case.pipe("in/lines.txt");
    let mut running = case.start();
    let mut writer = pipe.writer();
    writer.write_all(b"a\n!log 1\nthe beginning of a ").unwrap();
    running.wait_for_stderr("message 0");
    writer.write_all(b"line\n!log 2\n").unwrap();
    running.wait_for_stderr("message 1");
    writer.write_all(b"not ended").unwrap();
    drop(writer);
    let outcome = running.finish();
    outcome.check(
        "
        exit 0
        ok: loaded 5, processed 5
        out/destination/in/lines.txt: a,!log 1,the beginning of a line,!log 2,not ended
        ",
    );
}

#[test]
fn a_named_pipe_may_be_packed() {
    let case = Case::new("unruly").source("lines.txt.gz");
    let pipe = case.pipe("lines.txt.gz");
    let running = case.start();
    let packed = gzip(numbered(50_000));
    pipe.writer().write_all(&packed).unwrap();
    let outcome = running.finish();
    assert_eq!(outcome.exit, Some(0));
    assert!(outcome.bytes("out/destination/lines.txt.gz") == numbered(50_000).as_bytes());
}

/// Files beside and below each other, with what linemill writes beside them.
fn folder() -> Case {
    Case::new("unruly")
        .file("in/b.txt", "b\n")
        .file("in/a.txt", "a\n")
        .file("in/a.txt.faults.ndjson", "{}\n")
        .file("in/deep/er/c.csv", "c\n")
        .file("in/deep/er/c.csv.faults.ndjson", "{}\n")
        .file("in/.hidden.txt", "h\n")
        .file("in/.folder/x.txt", "h\n")
        .file("in/[d].txt", "d\n")
}

#[test]
fn a_prefix_stands_for_all_below_it() {
    folder().source("in/").check(
        "
        exit 0
        in/[d].txt: ok: loaded 1, processed 1
        in/a.txt: ok: loaded 1, processed 1
        in/b.txt: ok: loaded 1, processed 1
        in/deep/er/c.csv: ok: loaded 1, processed 1
        out/destination/in/[d].txt: d
        out/destination/in/a.txt: a
        out/destination/in/b.txt: b
        out/destination/in/deep/er/c.csv: c
        ",
    );
}

#[test]
fn a_pattern_stands_for_what_it_matches() {
    for (pattern, found) in [
        ("in/*", &["in/[d].txt", "in/a.txt", "in/b.txt"][..]),
        ("in/?.txt", &["in/a.txt", "in/b.txt"]),
        ("in/[ab].txt", &["in/a.txt", "in/b.txt"]),
        ("in/[d].txt", &["in/[d].txt"]),
        ("in/**/*.csv", &["in/deep/er/c.csv"]),
        ("in/a.txt*", &["in/a.txt"]),
        ("in/.hid*", &["in/.hidden.txt"]),
    ] {
        let outcome = folder().source(pattern).run();
        assert_eq!(outcome.exit, Some(0), "{pattern}");
        let urls = outcome
            .reports
            .iter()
            .map(|report| report.text("SourceURL").unwrap());
        assert_eq!(urls.collect::<Vec<_>>(), found, "{pattern}");
    }
}

#[test]
fn a_name_that_is_not_text_is_an_error() {
    for source in ["in/", "in/*"] {
        let case = folder().source(source);
        let name = std::ffi::OsStr::from_bytes(b"\xff.txt");
        fs::write(case.dir().join("in").join(name), "x\n").unwrap();
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(2), "{source}");
        let error = "has a name that is not UTF-8";
        assert!(outcome.stderr.contains(error), "{}", outcome.stderr);
        assert!(outcome.new_files().is_empty());
    }
}

#[test]
fn what_was_left_is_run_as_a_folder() {
    let case = Case::new("unruly").input_lines("a.txt", ["!retry a", "b", "!retry c"]);
    assert_eq!(case.run().exit, Some(1));
    let again = case.again().source("out/retry/");
    again.check(
        "
        exit 1
        retry: loaded 2, retried 2
        out/retry/a-retry02.txt: !retry a,!retry c
          1 retry: a
          2 retry: c
        ",
    );
}
