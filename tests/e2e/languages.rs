//! Plugins in other languages than Rust: the same results as their twins, the same promises of their SDKs, and
//! errors in their own words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::plugins::{Noise, twins};
use super::support::{Case, Outcome, other_language};

/// All files, and why lines are in them, without the digest of the plugin that ran.
fn told(outcome: &Outcome) -> BTreeMap<String, String> {
    let told = |name: &str| {
        let bytes = outcome.bytes(name);
        let Some(faults) = name
            .ends_with(".faults.ndjson")
            .then(|| String::from_utf8_lossy(&bytes))
        else {
            return bytes.escape_ascii().to_string();
        };
        let faults = faults.lines().map(|line| {
            let mut fault: Value = serde_json::from_str(line).expect("a fault is JSON");
            fault["plugin"] = Value::Null;
            fault.to_string() + "\n"
        });
        faults.collect()
    };
    let names = outcome.new_files().into_iter();
    names.map(|name| (name.to_owned(), told(name))).collect()
}

/// Runs the bytes with each of the twins: all they write and say is the same.
fn check_twins(twins: &[PathBuf], bytes: &[u8]) {
    check_twins_in_batches(twins, bytes, &[1, 50, 100_000]);
}

fn check_twins_in_batches(twins: &[PathBuf], bytes: &[u8], batches: &[usize]) {
    for &batch_lines in batches {
        let [first, others @ ..] = twins else {
            panic!("there is at least one")
        };
        let first = all_of(first, batch_lines, bytes);
        for twin in others {
            let other = all_of(twin, batch_lines, bytes);
            for (name, text) in &first {
                let empty = String::new();
                let lines = text.lines().zip(other.get(name).unwrap_or(&empty).lines());
                for (a, b) in lines {
                    assert_eq!(a, b, "{name}: {}, {batch_lines}", twin.display());
                }
            }
            assert!(first == other, "{}, {batch_lines}", twin.display());
        }
    }
}

/// Runs the bytes with a plugin: all it writes, counts and says.
fn all_of(plugin: &Path, batch_lines: usize, bytes: &[u8]) -> BTreeMap<String, String> {
    let outcome = Case::with_plugin(plugin)
        .set("batch_lines", batch_lines)
        .set("concurrency", 1)
        .set("fuel_base", 5_000_000_000_u64) // lines that fail cost an interpreter much
        .input("lines", bytes)
        .run();
    let report = outcome.report();
    assert_eq!(report.count("Traps"), 0, "{}", outcome.stderr);
    let mut all = told(&outcome);
    all.insert("status".to_owned(), report.status().to_owned());
    for name in [
        "Errors",
        "Metrics",
        "Processed",
        "CorruptionErrors",
        "RetryErrors",
    ] {
        let name_of_plugin = report.0["Plugin"]["Name"].as_str().expect("a name");
        let text = report.0[name].to_string();
        let said = format!("plugin {name_of_plugin}:");
        all.insert(name.to_owned(), text.replace(&said, "plugin PLUGIN:"));
    }
    all
}

/// Lines made at random of these pieces.
fn at_random(pieces: &[&[u8]], lines: usize, seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed);
    let mut bytes = Vec::new();
    for _ in 0..lines {
        for _ in 0..noise.below(8) {
            bytes.extend_from_slice(pieces[noise.below(pieces.len() as u64) as usize]);
        }
        bytes.extend_from_slice(if noise.below(5) == 0 { b"\r\n" } else { b"\n" });
    }
    bytes
}

#[test]
fn sums_are_the_same_in_every_language() {
    let twins = twins("sum", ["sum-py", "sum-c", "sum-zig"]);
    let hard: &[&[u8]] = &[
        b"1\n2\r\n\n \n\t3\x0c\n\x0b4\n5\x0b\n1_000\n+6\n-7\n+-8\n--9\n+\n-\n- 1\n1 2\n1\r2\n0x10\n1.0\n1e3\n",
        "٣\n１\n\u{a0}1\n\u{feff}1\n\u{2028}\né\n".as_bytes(),
        b"\xff\n\xc3\n\"quo'ted\\\"\n\x00\n1\x00\n\x7f\nsomething that is longer than forty bytes, as it happens\n",
        b"12\r",
        b"\r",
        b"\n",
        b" ",
        b"last line without an end",
    ];
    for bytes in hard {
        check_twins(&twins, bytes);
    }
    let long = [
        &b"0".repeat(1 << 20)[..],
        b"7\n",
        &b"9".repeat(1 << 20),
        b"\n1\n",
    ]
    .concat();
    check_twins(&twins, &long);
    let pieces: &[&[u8]] = &[
        b"1",
        b"23",
        b"-",
        b"+",
        b" ",
        b"\t",
        b"\r",
        b"\x0b",
        b"_",
        b"99999999999999999999",
        b"456",
        b"7890",
        b"0",
        b"\xff",
        b"x",
    ];
    for seed in 0..3 {
        check_twins(&twins, &at_random(pieces, 2000, seed));
    }
}

#[test]
fn csv_becomes_the_same_json_in_every_language() {
    let twins = twins("csv-to-json", ["csv-to-json-js"]);
    let hard: &[&[u8]] = &[
        b"1,us,\"1,2,3\"\n-2,eu,7\r\n3,,\n\"4\",\"\",\"\"\n5,\"a \"\"b\"\", c\",\"1, 2\"\n0,a,0\n-0,a,-0\n00,a,01\n+1,a,+2\n",
        b"1,us\n1,us,1,2\nx\n,,,,\n,,\nx,us,1\n1,us,\"1,x\"\n1,us,\"1,2\n99999999999999999999,us,1\n-99999999999999999999,us,1\n",
        b"99999999999999999999x,us,1\n922337203685477580x,us,1\n9223372036854775807,a,-9223372036854775808\n-,a,1\n+,a,1\n --1,a,1\n",
        b"1,a\"b,1\n1,\"a\"b,1\n1,\"a\"\"\n1,\"a\" ,1\n1, \"a\",1\n1,a,\"1\"2\n1,a,\"\"\"1\"\n1,\"a\nb\",1\n1,a,1,\n1,a,,1\n1,a,\",\"\n",
        b"1,\xff,1\n1,\xc3,1\n1,\xe2\x82,1\n1,\xe2\x82x,1\n1,\xf0\x9f\x92,1\n1,\xed\xa0\x80,1\n1,\xf5,1\n1,a\xc0\xaf,1\n\xff,b,1\n1,b,\xff\n1,\xe2\n",
        "1,é,1\n2,😀,2\n3,\u{2028}\u{2029},3\n4,\u{7f}\u{80},4\n\u{feff}5,a,5\n6,\u{feff}b,6\n７,a,7\n".as_bytes(),
        b"1,\x00\x01\x1f,1\n1,\\,1\n1,a\tb,1\n1,\x08\x0c,1\n 1 ,a, 2 \n\x0b1,a,1\n1,$1$&,1\n1,$`,1\n",
        b"{\"ID\":,\"Region\":\"\",\"SegmentIDS\":[]}\n1,a,1\n{\"ID\":,\"Region\":\"\",\"SegmentIDS\":[]}2,b,2\nx\n3,c,3",
        b"\xef\xbb\xbf1,a,1\n\xef\xbb\n",
        b"1,a,1\r",
        b"1,a,\"1\"\r",
        b"\r",
        b" \t\n\n\r\n\x0c\n\x0b\n",
    ];
    for bytes in hard {
        check_twins(&twins, bytes);
    }
    let region = [&b"1,"[..], &b"r".repeat(1 << 20), b",1\n2,b,2\n"].concat();
    check_twins(&twins, &region);
    let pieces: &[&[u8]] = &[
        b"1",
        b"23",
        b",",
        b",",
        b",",
        b"\"",
        b"\"",
        b"a",
        b"eu,",
        b" ",
        b"\r",
        b"-",
        b"0",
        "é".as_bytes(),
        b"\xff",
        b"\\",
    ];
    for seed in 0..3 {
        check_twins(&twins, &at_random(pieces, 3000, seed));
        // The same without what keeps a batch from being text.
        let text: Vec<_> = pieces
            .iter()
            .filter(|piece| piece[0] < 0xf0)
            .copied()
            .collect();
        check_twins(&twins, &at_random(&text, 3000, seed));
    }
}

#[test]
fn short_and_faulty_lines_have_enough_fuel_in_javascript() {
    let Some(path) = other_language("csv-to-json-js") else {
        return;
    };
    let project = Case::command(["new", "--lang", "js", "made"]).run();
    let toml = project.text("made/linemill.toml");
    let fuel_base = toml.lines().find_map(|line| {
        let value = line.strip_prefix("fuel_base = ")?;
        value.split('#').next()
    });
    // As many in a batch as a worker takes in 10 ms on a fast machine, ten times over.
    let lines: Vec<&str> = ["", "1", "1,a,1", "x"].repeat(250);
    let outcome = Case::with_plugin(path)
        .set("fuel_base", fuel_base.expect("it has one").trim())
        .set("batch_lines", lines.len())
        .input_lines("a.txt", &lines)
        .run();
    let report = outcome.report();
    let counted = ["Traps", "Batches", "CorruptionErrors"].map(|name| report.count(name));
    assert_eq!(counted, [0, 1, 500], "{}", outcome.stderr);
}

/// The guests whose lines tell them what to do, as far as they are built.
fn guests() -> impl Iterator<Item = (&'static str, Case)> {
    let names = ["unruly-js", "unruly-py", "unruly-c"].into_iter();
    names.filter_map(|name| Some((name, Case::with_plugin(other_language(name)?))))
}

#[test]
fn sdks_keep_the_same_promises() {
    for (name, _) in guests() {
        for batch_lines in [1, 2, 100] {
            let path = other_language(name).expect("it was there");
            let outcome = Case::with_plugin(path)
                .args(["--route", "more=out/more"])
                .setting("post", "emit")
                .setting("context", "sent")
                .setting("known", "value")
                .set("batch_lines", batch_lines)
                .input_lines(
                    "a.txt",
                    [
                        "echo",
                        "!corrupt bad é",
                        "!partial a",
                        "!retry later",
                        "!rest left over",
                        "!route more routed é",
                        "!count lines  1",
                        "!count lines  2",
                        "!count by key 9000000000",
                        "!sample ms 1.5",
                        "!setting known",
                        "!setting unknown",
                        "!context",
                        "!partial b",
                        "!text ééé",
                        "",
                    ],
                )
                .check(
                    "
                    exit 1
                    retry|corrupted: loaded 16, processed 13, corrupted 1, retried 2, partial 1
                    out/corruption/a.txt: !corrupt bad é
                      2 corrupt: bad é
                    out/destination/a.txt: echo,value,(not set),0 sent,3,,post: 16 13 1 2 a,b,
                    out/more/a.txt: routed é
                    out/retry/a-retry01.txt: !retry later,left over
                      4 retry: later
                      5 partial: part of the line is done
                    ",
                );
            let metrics = &outcome.report().0["Metrics"];
            assert_eq!(metrics["lines"], 3, "{name}: {metrics}");
            assert_eq!(metrics["by"]["key"], 9_000_000_000_u64, "{name}");
            assert_eq!(metrics["ms"]["Mean"], 1.5, "{name}");
            assert_eq!(
                metrics["never"],
                Value::Null,
                "{name}: a failed line counts nothing"
            );
        }
    }
}

#[test]
fn lines_reach_every_language_as_they_are() {
    let long = "é".repeat(1 << 19);
    let bytes = [
        b"\xff\xfe\r\n\n\r\n \r\r\nx\r",
        long.as_bytes(),
        b"\n!number\nlast",
    ]
    .concat();
    let want = [b"\xff\xfe\n\n\n \r\nx\r", long.as_bytes(), b"\n6 5\nlast\n"].concat();
    for (name, case) in guests() {
        let outcome = case.set("batch_lines", 100).input("a.txt", &bytes).run();
        assert_eq!(outcome.exit, Some(0), "{name}: {}", outcome.stderr_start());
        assert!(outcome.bytes("out/destination/a.txt") == want, "{name}");
    }
}

#[test]
fn text_that_is_none_is_corrupt() {
    for (name, case) in guests().filter(|(name, _)| *name != "unruly-c") {
        let outcome = case.input("a.txt", b"a\n!text \xff\nb\n").run();
        assert_eq!(outcome.text("out/destination/a.txt"), "a\nb\n");
        assert_eq!(outcome.report().count("CorruptionErrors"), 1, "{name}");
    }
}

#[test]
fn a_fatal_error_stops_the_request_in_every_language() {
    for (name, case) in guests() {
        let case = case.set("batch_lines", 3);
        let outcome = case.input_lines("a.txt", ["a", "!fatal quota", "b"]).run();
        let report = outcome.report();
        assert_eq!(report.status(), "retry|stopped", "{name}");
        assert_eq!(report.errors()[0].0, "quota", "{name}");
        assert_eq!(report.count("Processed"), 0, "{name}");
    }
}

/// Between good lines, `line` is not processed; gives back the only fault.
fn fault_of(name: &str, line: &str) -> Option<(String, String)> {
    let case = Case::with_plugin(other_language(name)?);
    let outcome = case
        .set("memory_bytes_max", "64MiB")
        .set("fuel_base", 2_000_000_000_u64)
        .input_lines("a.txt", ["before", line, "after"])
        .run();
    assert_eq!(outcome.text("out/destination/a.txt"), "before\nafter\n");
    let sidecars = ["out/corruption/a.txt", "out/retry/a-retry01.txt"];
    let faults = sidecars.map(|path| outcome.lines(&format!("{path}.faults.ndjson")));
    let [fault] = &faults.concat()[..] else {
        panic!("{name}: one fault is expected: {faults:?}")
    };
    let fault: Value = serde_json::from_str(fault).expect("a fault is JSON");
    let text = |name: &str| fault[name].as_str().expect("it is text").to_owned();
    Some((text("kind"), text("reason")))
}

#[test]
fn errors_come_in_the_words_of_the_language() {
    // What is thrown by mistake, and what goes past the SDK: the file, the line, the message.
    let table: [(&str, &str, &str, &[&str]); 12] = [
        (
            "unruly-js",
            "!bug x",
            "retry",
            &[
                "TypeError: can't access property \"x\" of undefined\n",
                "tests/languages/unruly-js/plugin.js:",
            ],
        ),
        (
            "unruly-js",
            "!recurse",
            "retry",
            &["InternalError: too much recursion\nrecurse@tests/languages/unruly-js/plugin.js:"],
        ),
        (
            "unruly-js",
            "!escape",
            "corrupt",
            &["trap: TypeError: can't access property \"escape\" of undefined"],
        ),
        (
            "unruly-py",
            "!bug x",
            "retry",
            &[
                "Traceback (most recent call last):\n",
                "File \"plugin.py\", line ",
                "in tell_what_is_none\nTypeError: 'NoneType' object is not subscriptable",
            ],
        ),
        (
            "unruly-py",
            "!no such command",
            "retry",
            &["AttributeError: 'Unruly' object has no attribute 'no'"],
        ),
        (
            "unruly-py",
            "!escape",
            "corrupt",
            &[
                "trap: Traceback (most recent call last):\n",
                "plugin.py\", line ",
                "TypeError: 'NoneType' object is not subscriptable",
            ],
        ),
        (
            "unruly-py",
            "!recurse",
            "corrupt",
            &["trap: wasm trap: call stack exhausted"],
        ),
        (
            "unruly-py",
            "!abort",
            "corrupt",
            &["trap: wasm trap: wasm `unreachable` instruction executed"],
        ),
        (
            "unruly-c",
            "!bug",
            "corrupt",
            &["trap: Assertion failed: name[0] == 'c' (tests/languages/unruly-c/plugin.c: never: "],
        ),
        (
            "unruly-c",
            "!abort",
            "corrupt",
            &["trap: wasm trap: wasm `unreachable` instruction executed"],
        ),
        (
            "unruly-c",
            "!recurse",
            "corrupt",
            &["trap: wasm trap: out of bounds memory access"],
        ),
        (
            "unruly-c",
            "!escape",
            "corrupt",
            &["exit: the plugin ended itself with code 1"],
        ),
    ];
    for (name, line, kind, words) in table {
        let Some((found, reason)) = fault_of(name, line) else {
            continue;
        };
        assert_eq!(found, kind, "{name} {line}: {reason}");
        for word in words {
            assert!(
                reason.contains(word),
                "{name} {line}: no {word:?} in {reason}"
            );
        }
        assert!(
            reason.len() <= 4096 && !reason.contains("mozalloc") && !reason.contains("panicked"),
            "{reason}"
        );
    }
}

#[test]
fn an_interpreter_that_takes_all_memory_or_time_costs_one_line() {
    for (name, last_words) in [
        ("unruly-js", "Error: out of memory"),
        ("unruly-py", "MemoryError"),
        ("unruly-c", "no more memory"),
    ] {
        let Some((kind, reason)) = fault_of(name, "!grow") else {
            continue;
        };
        let limit = "out of memory: memory is limited to memory_bytes_max = 67108864: ";
        assert_eq!(kind, "corrupt", "{name}: {reason}");
        assert!(
            reason.starts_with(limit) && reason.contains(last_words),
            "{name}: {reason}"
        );
        let (kind, reason) = fault_of(name, "!spin").expect("it was there");
        assert_eq!(kind, "corrupt", "{name}: {reason}");
        assert!(
            reason.starts_with("out of fuel: all of its "),
            "{name}: {reason}"
        );
    }
}

#[test]
fn many_instances_of_an_interpreter_fit_at_once() {
    for (name, _) in guests() {
        let path = other_language(name).expect("it was there");
        let lines: Vec<String> = (0..600).map(|n| format!("line {n}")).collect();
        let mut case = Case::with_plugin(path)
            .set("concurrency", 50)
            .set("batch_lines", 2)
            .args(["--parallel", "3"]);
        for source in ["a.txt", "b.txt", "c.txt"] {
            case = case.input_lines(source, &lines);
        }
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(0), "{name}: {}", outcome.stderr_start());
        assert_eq!(outcome.stderr, "", "{name}: all of them come from the pool");
        for source in ["a.txt", "b.txt", "c.txt"] {
            assert_eq!(
                outcome.lines(&format!("out/destination/{source}")),
                lines,
                "{name}"
            );
        }
    }
}

#[test]
fn a_component_for_another_contract_is_refused_in_every_language() {
    for name in ["csv-to-json-js", "sum-py", "sum-c", "sum-zig"] {
        let Some(path) = other_language(name) else {
            continue;
        };
        let mut bytes = std::fs::read(path).expect("the plugin can be read");
        let ours: Vec<usize> = (0..bytes.len())
            .filter(|&at| bytes[at..].starts_with(b"linemill:plugin/"))
            .collect();
        for at in ours {
            let end = bytes.len().min(at + 40);
            let name = &mut bytes[at..end];
            if let Some(version) = name.windows(6).position(|part| part == b"@0.1.0") {
                name[version + 3] = b'2';
            }
        }
        let outcome = Case::command(["check", "plugin.wasm"])
            .file("plugin.wasm", &bytes)
            .run();
        assert_eq!(outcome.exit, Some(2), "{name}: {}", outcome.stderr);
        for word in [
            "linemill:plugin/processor@0.2.0",
            "build it against the contract of this linemill",
        ] {
            assert!(outcome.stderr.contains(word), "{name}: {}", outcome.stderr);
        }
    }
}
