//! `linemill replay`: what it tells, what it refuses, fixes that are tried, capsules that are made smaller.

use serde_json::Value;

use super::capsules::CORRUPT;
use super::faults::unruly;
use super::support::{Case, Outcome, plugin};

/// A run that left one capsule.
#[track_caller]
fn one(line: &str) -> Outcome {
    let outcome = unruly(["good", line, "fine"])
        .set("capsules", "faults")
        .run();
    assert_eq!(
        outcome.lines(CORRUPT).len(),
        1,
        "{}",
        outcome.stderr_start()
    );
    outcome
}

#[track_caller]
fn replay<const N: usize>(case: &Case, words: [&str; N]) -> Outcome {
    case.command_here(["replay"]).args(words).run()
}

fn with(name: &str) -> String {
    plugin(name).display().to_string()
}

/// Another component that does the same: its digest differs.
fn other_build(case: &Case, name: &str) -> String {
    let mut bytes = std::fs::read(plugin(name)).expect("it is there");
    // A custom section: its id, its size, the size of its name, its name.
    bytes.extend(b"\0\x04\x03new");
    std::fs::write(case.dir().join("other.wasm"), bytes).expect("it can be written");
    "other.wasm".to_owned()
}

#[test]
fn tells_what_happened() {
    let outcome = one("!panic went wrong\tthere");
    let replayed = replay(&outcome.case, ["-p", &with("unruly"), CORRUPT]);
    assert_eq!(replayed.exit, Some(0), "{}", replayed.stderr);
    let told = String::from_utf8(replayed.stdout.clone()).expect("it is text");
    for part in [
        "capsule 1 of 1 in out/corruption/a.txt.capsules.ndjson\n",
        "  of         line 2 of a.txt, attempt 0\n",
        "  plugin     unruly sha256:",
        "  batch      1 line(s), 24 bytes, from line 2\n",
        "  text       !panic went wrong\\tthere\n",
        "  expected   trap: panicked at tests/guests/unruly/src/commands.rs:",
        ": went wrong\\tthere (fuel ",
        "  verdict    reproduced: the same, at the same fuel\n",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert_eq!(
        told.matches("went wrong\\tthere (fuel ").count(),
        2,
        "{told}"
    );
}

#[test]
fn shows_without_the_plugin() {
    let outcome = one("!trap");
    for words in [vec!["--show"], vec!["--show", "--json"]] {
        let case = outcome.case.command_here(["replay", CORRUPT]);
        let shown = words
            .iter()
            .fold(case, |case, word| case.args([*word]))
            .run();
        assert_eq!(shown.exit, Some(0), "{}", shown.stderr);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("unreachable"));
    }
}

#[test]
fn the_plugin_has_to_be_the_one_that_failed() {
    let outcome = one("!trap");
    let none = replay(&outcome.case, [CORRUPT]);
    assert_eq!(none.exit, Some(2));
    assert!(
        none.stderr.contains("which plugin? It ran unruly (sha256:"),
        "{}",
        none.stderr
    );

    // That of the configuration is not meant to be another one.
    let set = |path: &str| format!("plugin = {path:?}\n");
    let case = outcome
        .case
        .command_here(["replay", "-c", "c.toml", CORRUPT]);
    let same = case.clone().file("c.toml", set(&with("unruly"))).run();
    assert_eq!(same.exit, Some(0), "{}", same.stderr);
    let other = case.file("c.toml", set(&with("sum"))).run();
    assert_eq!(other.exit, Some(2));
    let digests = other.stderr.matches("sha256:").count();
    assert!(
        digests == 2 && other.stderr.contains("--plugin"),
        "{}",
        other.stderr
    );
}

#[test]
fn another_plugin_is_tried() {
    // What failed, with which plugin it is tried -> exit code, verdict.
    let table = [
        ("!panic at `x`", "other.wasm", 1, "fails-the-same"),
        ("!corrupt 7", "other.wasm", 1, "fails-the-same"),
        ("!panic at x", "sum", 0, "handled"),
        ("!corrupt c", "sum", 3, "fails-otherwise"),
    ];
    for (line, name, exit, verdict) in table {
        let outcome = one(line);
        let path = match name {
            "other.wasm" => other_build(&outcome.case, "unruly"),
            name => with(name),
        };
        let tried = replay(&outcome.case, ["--json", "--plugin", &path, CORRUPT]);
        let told: Value = serde_json::from_slice(&tried.stdout).expect("it is JSON");
        assert_eq!(
            (tried.exit, told["Verdict"].as_str()),
            (Some(exit), Some(verdict)),
            "{line} {name}: {told} {}",
            tried.stderr
        );
    }
    // What is no number to one is text to the other.
    let outcome = Case::new("sum")
        .input_lines("a.txt", ["1", "one"])
        .set("capsules", "faults")
        .run();
    let tried = replay(&outcome.case, ["--plugin", &with("unruly"), CORRUPT]);
    let told = String::from_utf8_lossy(&tried.stdout).into_owned();
    assert_eq!(tried.exit, Some(0), "{}", tried.stderr);
    assert!(told.contains("fixed: it does not fail any more"), "{told}");
}

#[test]
fn a_plugin_that_passes_now_has_not_reproduced_it() {
    // The setting made it fail, and is hidden; here it has another value.
    let outcome = unruly(["!tell setting a_token"])
        .setting("a_token", "x")
        .set("capsules", "traps")
        .run();
    let object = CORRUPT;
    let replayed = replay(&outcome.case, ["-p", &with("unruly"), object]);
    assert_eq!(replayed.exit, Some(1), "{}", replayed.stderr);
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(
        told.contains("masked     settings.a_token; a replay may differ"),
        "{told}"
    );
    assert!(told.contains("NOT reproduced"), "{told}");
    // Whoever knows the value can say it.
    let words = ["-p", &with("unruly"), "-s", "a_token=x", object];
    assert_eq!(replay(&outcome.case, words).exit, Some(0));
}

#[test]
fn what_is_no_capsule_is_refused() {
    let outcome = one("!trap");
    let line = outcome.text(CORRUPT);
    let short = &line[..line.len() / 2];
    let faults = "out/corruption/a.txt.faults.ndjson";
    let edited = line.replace("\"line\":2,\"first_line\":2", "\"line\":3,\"first_line\":3");
    let edited_text = "was edited: its checksum does not fit";
    let newer = line.replacen("{\"capsule\":1", "{\"capsule\":2", 1);
    let huge = line.replace(
        "\"memory_bytes_max\":268435456",
        "\"memory_bytes_max\":1e18",
    );
    let table: &[(&str, &[u8], &str)] = &[
        (
            "short",
            short.as_bytes(),
            "is cut short: capsule 1 of it breaks off",
        ),
        ("empty", b"", "is empty: it holds no capsule"),
        ("edited", edited.as_bytes(), edited_text),
        ("newer", newer.as_bytes(), "is of format 2"),
        ("limits", huge.as_bytes(), "capsule 1 of it is not valid"),
        (
            "lines",
            b"a,b\nc,d\n",
            "is not a list of capsules: document 1 of it is no JSON",
        ),
        ("binary", b"\x7fELF\0\xff", "is not a list of capsules"),
        (
            "other",
            b"{\"line\":5}",
            "document 1 of it is something else",
        ),
        ("deep", &[b'['; 100_000], "is not a list of capsules"),
    ];
    for (name, bytes, why) in table {
        let case = outcome.case.again().file(name, bytes);
        let refused = replay(&case, ["-p", &with("unruly"), name]);
        assert_eq!(refused.exit, Some(2), "{name}: {}", refused.stderr);
        assert!(refused.stderr.contains(why), "{name}: {}", refused.stderr);
    }
    let refused = replay(&outcome.case, ["-p", &with("unruly"), faults]);
    assert!(
        refused.stderr.contains("is something else"),
        "{}",
        refused.stderr
    );
    let missing = replay(&outcome.case, ["-p", &with("unruly"), "not-there"]);
    assert_eq!(missing.exit, Some(2));
    assert!(missing.stderr.contains("not-there"), "{}", missing.stderr);
    // Whoever edited it knows what they do.
    let forced = replay(&outcome.case, ["--force", "-p", &with("unruly"), "edited"]);
    assert_eq!(forced.exit, Some(0), "{}", forced.stderr);
    assert!(String::from_utf8_lossy(&forced.stdout).contains("EDITED"));
}

#[test]
fn capsules_before_one_that_is_cut_short_are_run() {
    let outcome = unruly(["!panic a", "good", "!panic b"])
        .set("capsules", "traps")
        .run();
    let text = outcome.text(CORRUPT);
    let case = outcome.case.again().file("cut", &text[..text.len() - 20]);
    let replayed = replay(&case, ["-p", &with("unruly"), "cut"]);
    assert_eq!(replayed.exit, Some(2));
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert_eq!(told.matches("reproduced:").count(), 1, "{told}");
    assert!(
        replayed.stderr.contains("capsule 2 of it breaks off"),
        "{}",
        replayed.stderr
    );
}

#[test]
fn one_line_of_many() {
    let outcome = unruly(["!panic a", "good", "!panic b"])
        .set("capsules", "traps")
        .run();
    let unruly = with("unruly");
    let one = replay(&outcome.case, ["--line", "3", "-p", &unruly, CORRUPT]);
    let told = String::from_utf8_lossy(&one.stdout).into_owned();
    assert_eq!(one.exit, Some(0), "{}", one.stderr);
    assert!(
        told.contains("!panic b") && !told.contains("!panic a"),
        "{told}"
    );
    let none = replay(&outcome.case, ["--line", "2", "-p", &unruly, CORRUPT]);
    assert_eq!(none.exit, Some(2));
    let why = "has no capsule of line 2: it has those of lines 1, 3";
    assert!(none.stderr.contains(why), "{}", none.stderr);
}

#[test]
fn standard_input_is_a_source_of_capsules() {
    let outcome = one("!trap");
    let case = outcome
        .case
        .command_here(["replay", "-p", &with("unruly"), "-"]);
    let replayed = case.standard_input(outcome.text(CORRUPT)).run();
    assert_eq!(replayed.exit, Some(0), "{}", replayed.stderr);
}

#[test]
fn a_gigantic_line_is_cut_where_it_is_shown() {
    let outcome = unruly([format!("!panic {}", "é".repeat(500_000))])
        .set("capsules", "traps")
        .run();
    let replayed = replay(&outcome.case, ["-p", &with("unruly"), CORRUPT]);
    assert_eq!(replayed.exit, Some(0), "{}", replayed.stderr);
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(told.contains("… (1000007 bytes)"), "{:.2000}", told);
    assert!(told.len() < 20_000, "{} bytes", told.len());
}

/// Runs, makes the one capsule smaller, and replays that.
#[track_caller]
fn check_minimised(case: Case, expected: &[u8]) {
    let outcome = case.set("capsules", "faults").run();
    let unruly = with("unruly");
    let words = ["--minimise", "--to", "small", "-p", &unruly, CORRUPT];
    let minimised = replay(&outcome.case, words);
    assert_eq!(minimised.exit, Some(0), "{}", minimised.stderr);
    let capsule: Value = serde_json::from_str(&minimised.text("small")).expect("it is JSON");
    let batch = capsule["batch"].as_str().expect("it is text");
    assert_eq!(
        batch,
        base64(expected),
        "{}",
        String::from_utf8_lossy(&minimised.stdout)
    );
    assert!(capsule["minimised_from"].as_u64() > Some(expected.len() as u64));
    let again = replay(&outcome.case, ["-p", &unruly, "small"]);
    assert_eq!(
        again.exit,
        Some(0),
        "{}",
        String::from_utf8_lossy(&again.stdout)
    );
    // It is not written over.
    let twice = replay(&outcome.case, words);
    assert_eq!(twice.exit, Some(2));
    assert!(
        twice.stderr.contains("could not write small"),
        "{}",
        twice.stderr
    );
}

#[test]
fn made_smaller() {
    check_minimised(unruly(["!panic a long story"]), b"!panic");
    check_minimised(unruly(["!corrupt 1234567"]), b"!corrupt 1");
    // Seven of eight lines are too many, six are not.
    let hoard = unruly(["!hoard 2"; 8])
        .set("memory_bytes_max", "16MiB")
        .set("batch_lines", 8)
        .set("concurrency", 1);
    let outcome = hoard.clone().set("capsules", "traps").run();
    let words = ["--minimise", "-p", &with("unruly"), CORRUPT];
    let minimised = replay(&outcome.case, words);
    assert_eq!(minimised.exit, Some(0), "{}", minimised.stderr);
    // Without --to it is printed, and can be piped on.
    assert!(
        minimised.stderr.contains("minimised  to "),
        "{}",
        minimised.stderr
    );
    let piped = outcome
        .case
        .command_here(["replay", "-p", &with("unruly"), "-"]);
    let piped = piped.standard_input(&minimised.stdout).run();
    assert_eq!(piped.exit, Some(0), "{}", piped.stderr);
}

/// A secret that is said at replay does not get into the smaller capsule.
#[test]
fn what_is_hidden_stays_hidden_when_made_smaller() {
    let outcome = unruly(["!panic a long story"])
        .setting("a_token", "swordfish")
        .set("capsules", "traps")
        .run();
    let unruly = with("unruly");
    let words = [
        "--minimise",
        "-s",
        "a_token=swordfish",
        "-p",
        &unruly,
        CORRUPT,
    ];
    let minimised = replay(&outcome.case, words);
    assert_eq!(minimised.exit, Some(0), "{}", minimised.stderr);
    let capsule = String::from_utf8_lossy(&minimised.stdout).into_owned();
    assert!(capsule.contains("\"a_token\":\"***\""), "{capsule}");
    assert!(!capsule.contains("swordfish"), "{capsule}");
}

#[test]
fn what_does_not_fail_cannot_be_made_smaller() {
    let outcome = unruly(["!tell setting a_token"])
        .setting("a_token", "x")
        .set("capsules", "traps")
        .set("capsule_redact", "line")
        .run();
    let words = [
        "--minimise",
        "--to",
        "small",
        "-p",
        &with("unruly"),
        CORRUPT,
    ];
    let minimised = replay(&outcome.case, words);
    assert_eq!(minimised.exit, Some(1), "{}", minimised.stderr);
    assert!(String::from_utf8_lossy(&minimised.stdout).contains("not possible"));
    assert!(!minimised.after.contains_key("small"));
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 3];
        word[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, word[0], word[1], word[2]]);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() {
                letter as char
            } else {
                '='
            });
        }
    }
    text
}
