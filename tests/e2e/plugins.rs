//! The plugins at their job: some thousands of lines, the same bytes whatever the concurrency and the batches.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::support::{Case, Outcome, other_language, plugin};

/// Numbers that look random and are the same each time.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// How lines are cut into batches: a setting and its value.
const BATCHES: [(&str, &str); 5] = [
    ("batch_lines", "1"),
    ("batch_lines", "7"),
    ("batch_bytes", "1000"),
    ("batch_bytes", "64MiB"),
    ("batch_lines", ""),
];

/// Runs the case with every concurrency and every size of batches: all files are the same, byte for byte, and so are
/// counters and metrics.
fn run_in_all_ways(case: impl Fn() -> Case) -> Outcome {
    let mut first: Option<Outcome> = None;
    for concurrency in [1, 2, 8] {
        for (setting, value) in BATCHES {
            let outcome = case()
                .set("concurrency", concurrency)
                .set(setting, value)
                .run();
            let Some(first) = &first else {
                first = Some(outcome);
                continue;
            };
            let way = format!("concurrency {concurrency}, {setting} {value}");
            assert_eq!(first.new_files(), outcome.new_files(), "{way}");
            assert!(first.after == outcome.after, "files differ: {way}");
            for name in [
                "Status",
                "Loaded",
                "Processed",
                "CorruptionErrors",
                "Metrics",
                "Errors",
                "Plugin",
            ] {
                assert_eq!(
                    first.report().0[name],
                    outcome.report().0[name],
                    "{name}: {way}"
                );
            }
        }
    }
    first.expect("there is more than one way")
}

/// A plugin and its twins in other languages, as far as they are built.
pub(crate) fn twins<const N: usize>(name: &str, others: [&str; N]) -> Vec<PathBuf> {
    let others = others.into_iter().filter_map(other_language);
    std::iter::once(plugin(name)).chain(others).collect()
}

#[test]
fn sum_adds_up() {
    let mut noise = Noise(1);
    let (mut text, mut sum, mut corrupt) = (String::new(), 0, Vec::new());
    for n in 0..5000 {
        if n % 501 == 500 {
            let line = noise.of(&["1.5", "seven", "0x10", "1 2", "99999999999999999999"]);
            corrupt.push(line.to_owned());
            let _ = writeln!(text, "{line}");
            continue;
        }
        let number = noise.below(2_000_000) as i64 - 1_000_000;
        sum += number;
        let _ = write!(
            text,
            "{number}{}",
            noise.of(&["\n", "\n", "\r\n", " \n", "\n\n"])
        );
    }
    let blank = text.lines().filter(|line| line.is_empty()).count() as u64;
    for twin in twins("sum", ["sum-py", "sum-c", "sum-zig"]) {
        let outcome = run_in_all_ways(|| Case::with_plugin(&twin).input("numbers.txt", &text));
        let report = outcome.report();
        assert_eq!((outcome.exit, report.status()), (Some(1), "corrupted"));
        assert_eq!(report.count("Loaded"), 5000 + blank);
        assert_eq!(
            outcome.text("out/destination/numbers.txt"),
            format!("{sum}\n")
        );
        assert_eq!(outcome.lines("out/corruption/numbers.txt"), corrupt);
        assert_eq!(
            report.text("DestinationURL"),
            Some("out/destination/numbers.txt")
        );
    }
}

/// A record and what it becomes; none for one that is broken.
fn record(noise: &mut Noise, id: usize) -> (String, Option<String>) {
    if id % 97 == 96 {
        let broken = ["x,eu,1", "1,eu", "1,eu,1,2", "1,\"eu,1", "1,eu,\"1,y\""];
        return (noise.of(&broken).to_owned(), None);
    }
    let region = noise.of(&["us-east-1", "eu-west-3", "köln", "a \"quoted\", one", ""]);
    let segments: Vec<String> = (0..noise.below(6))
        .map(|_| noise.below(100_000).to_string())
        .collect();
    let segments = segments.join(",");
    let quoted = format!("\"{}\"", region.replace('"', "\"\""));
    let line = format!("{id},{quoted},\"{segments}\"");
    let escaped = region.replace('"', "\\\"");
    let object = format!("{{\"ID\":{id},\"Region\":\"{escaped}\",\"SegmentIDS\":[{segments}]}}\n");
    (line, Some(object))
}

#[test]
fn csv_becomes_json() {
    let mut noise = Noise(2);
    let (mut text, mut json, mut broken) = (String::new(), String::new(), String::new());
    for id in 0..4000 {
        let (line, object) = record(&mut noise, id);
        let end = noise.of(&["\n", "\r\n"]);
        let _ = write!(text, "{line}{end}");
        match object {
            Some(object) => json.push_str(&object),
            None => drop(broken.write_fmt(format_args!("{line}{end}"))),
        }
    }
    for twin in twins("csv-to-json", ["csv-to-json-js"]) {
        let outcome = run_in_all_ways(|| Case::with_plugin(&twin).input("x/segments.csv", &text));
        let report = outcome.report();
        assert_eq!((outcome.exit, report.status()), (Some(1), "corrupted"));
        assert_eq!(
            (report.count("Loaded"), report.count("CorruptionErrors")),
            (4000, 4000 / 97)
        );
        assert!(outcome.text("out/destination/x/segments.csv") == json);
        assert!(outcome.text("out/corruption/x/segments.csv") == broken);
    }
}

/// Events as a web server logs them, and those of them with `status`, cut down.
fn events(status: &str) -> (String, String, BTreeMap<String, u64>) {
    let mut noise = Noise(3);
    let (mut text, mut kept, mut by_status) = (String::new(), String::new(), BTreeMap::new());
    for n in 0..4000 {
        if n % 131 == 130 {
            let _ = writeln!(
                text,
                "{}",
                noise.of(&["{\"ts\":1,\"us", "[]", "null", "{\"ts\":1}"])
            );
            continue;
        }
        let (ts, user) = (1_700_000_000 + n, noise.below(500));
        let code = noise.of(&["200", "200", "200", "204", "404", "500"]);
        let path = noise.of(&["/", "/a?b=c", "/\\u00e9\\\"", "/é"]);
        let _ = writeln!(
            text,
            "{{\"path\":\"{path}\",\"ts\":{ts},\"user\":\"u{user}\",\"status\":{code},\"tags\":[{{\"a\":null}}]}}"
        );
        *by_status.entry(code.to_owned()).or_default() += 1;
        if code == status {
            let _ = writeln!(
                kept,
                "{{\"ts\":{ts},\"user\":\"u{user}\",\"status\":{code}}}"
            );
        }
    }
    (text, kept, by_status)
}

#[test]
fn events_are_filtered_and_counted() {
    let (text, kept, by_status) = events("200");
    let outcome = run_in_all_ways(|| Case::new("ndjson-filter").input("events.ndjson", &text));
    let report = outcome.report();
    assert_eq!((outcome.exit, report.status()), (Some(1), "corrupted"));
    assert_eq!(
        (report.count("Loaded"), report.count("CorruptionErrors")),
        (4000, 4000 / 131)
    );
    assert!(outcome.text("out/destination/events.ndjson") == kept);
    let metrics = &report.0["Metrics"]["by_status"];
    for (status, count) in &by_status {
        assert_eq!(metrics[status], *count, "{metrics}");
    }
    assert_eq!(
        metrics.as_object().map(serde_json::Map::len),
        Some(by_status.len())
    );
}

#[test]
fn settings_reach_the_plugin() {
    let (text, kept, _) = events("404");
    let case = || Case::new("ndjson-filter").input("events.ndjson", &text);
    let outcome = case().setting("value", "404").run();
    assert!(outcome.text("out/destination/events.ndjson") == kept);
    let outcome = case()
        .setting("field", "path")
        .setting("value", "nowhere")
        .run();
    assert_eq!(
        outcome.report().text("DestinationURL"),
        None,
        "nothing is kept"
    );
    case().setting("field", "").check(
        "
        exit 2
        error
        error: plugin ndjson_filter: pre failed: setting `field` is empty
        ",
    );
}

#[test]
fn metrics_add_up() {
    let outcome = Case::new("unruly")
        .set("batch_lines", 2)
        .input_lines(
            "a.txt",
            [
                "!metric bytes in 5",
                "!metric bytes in 7",
                "!metric bytes out -3",
                "!metric lines  1",
                "!metric lines  1",
                "!sample ms 2",
                "!sample ms 4",
                "!sample ms 3",
                "!trap",
            ],
        )
        .check(
            "
            exit 1
            corrupted: loaded 9, processed 8, corrupted 1
            out/corruption/a.txt: !trap
              9 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
            ",
        );
    let metrics = &outcome.report().0["Metrics"];
    assert_eq!(metrics["bytes"]["in"], 12, "{metrics}");
    assert_eq!(metrics["bytes"]["out"], -3, "{metrics}");
    assert_eq!(metrics["lines"], 2, "{metrics}");
    let samples = &metrics["ms"];
    assert_eq!(samples["Count"], 3, "{metrics}");
    let value = |name: &str| samples[name].as_f64().expect("a number");
    assert_eq!((value("Min"), value("Max"), value("Mean")), (2.0, 4.0, 3.0));
    assert!((value("P50") - 3.0).abs() < 0.05, "{metrics}");
    for name in ["P50", "P95", "P99"] {
        assert!(
            value("Min") <= value(name) && value(name) <= value("Max"),
            "{metrics}"
        );
    }
}

#[test]
fn series_of_metrics_are_limited() {
    let run = |keys: usize| {
        let lines = (0..keys).map(|n| format!("!metric m key{n} 1"));
        let outcome = Case::new("unruly").input_lines("a.txt", lines).run();
        assert_eq!(outcome.report().status(), "ok");
        let kept = outcome.report().0["Metrics"]["m"]
            .as_object()
            .map(serde_json::Map::len);
        assert_eq!(kept, Some(1000));
        outcome.stderr
    };
    assert_eq!(run(1000), "");
    let said = run(1200);
    let told = |line: &str| line.contains("metric") && line.contains("200");
    assert!(said.lines().any(told), "how many were left out: {said}");
}
