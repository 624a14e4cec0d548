//! What holds for every outcome: each line is accounted for exactly once, and says where it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::files::{lines_of, unpack};
use super::outcome::Outcome;
use super::pointer::{self, Pointer};
use super::report::Report;

pub(super) const SIDECAR: &str = ".faults.ndjson";
pub(super) const CAPSULES: &str = ".capsules.ndjson";
/// Reports keep so much of an error, and so many of them.
const ERROR_CHARS: usize = 256;
const ERRORS: usize = 20;

/// Objects of lines: the report's name for the object, and the counters that say how many lines it has.
const OBJECTS: [(&str, &str); 3] = [
    ("RetryURL", "RetryErrors"),
    ("FailedURL", "Failed"),
    ("CorruptionURL", "CorruptionErrors"),
];

/// The lines of a source that a request is about.
struct Wanted {
    /// Its plain bytes.
    bytes: Vec<u8>,
    /// Where in them each wanted line begins, and its number.
    lines: BTreeMap<u64, u64>,
}

#[track_caller]
pub(super) fn check(outcome: &Outcome) {
    for (index, report) in outcome.reports.iter().enumerate() {
        let context = format!("{}\n{}", report.0, outcome.stderr_start());
        check_counters(outcome, report, &context);
        if report.is("error") {
            check_nothing_written(report, &context);
        } else {
            check_objects(outcome, report, wanted(outcome, index).as_ref(), &context);
            check_rest(outcome, report, &context);
        }
    }
    check_all_named(outcome);
    let worst = outcome.reports.iter().map(|report| match report.status() {
        "ok" => 0,
        _ if report.is("error") => 2,
        _ => 1,
    });
    if let (Some(exit), Some(worst)) = (outcome.exit, worst.max()) {
        assert!(exit >= worst, "exit {exit}, but a report says {worst}");
    }
}

#[track_caller]
fn check_counters(outcome: &Outcome, report: &Report, context: &str) {
    let count = |name| report.count(name);
    let accounted =
        count("Processed") + count("CorruptionErrors") + count("RetryErrors") + count("Failed");
    assert_eq!(
        count("Loaded"),
        accounted,
        "loaded is accounted for: {context}"
    );
    assert!(
        count("PartialRetries") <= count("RetryErrors") + count("Failed"),
        "{context}"
    );
    let left = report.unread() != Some(0);
    for (flag, applies) in [
        ("retry", count("RetryErrors") > 0 || left),
        ("failed", count("Failed") > 0),
        ("corrupted", count("CorruptionErrors") > 0),
    ] {
        // A request that failed may not know what would have been left.
        let known = !(report.is("error") && flag == "retry");
        assert!(
            !known || report.is(flag) == applies,
            "status {flag}: {context}"
        );
    }
    let explained: u64 = reasons(outcome, report).values().sum();
    let told: u64 = report.errors().iter().map(|(_, count)| count).sum();
    assert!(
        told >= explained,
        "every fault is among the errors: {context}"
    );
    assert!(report.errors().len() <= ERRORS + 1, "{context}");
}

#[track_caller]
fn check_nothing_written(report: &Report, context: &str) {
    let names = OBJECTS.map(|(name, _)| name);
    for name in names
        .iter()
        .chain(&["DestinationURL", "ResumeURL", "Routes"])
    {
        assert!(report.0.get(*name).is_none(), "{name}: {context}");
    }
}

#[track_caller]
fn check_objects(outcome: &Outcome, report: &Report, wanted: Option<&Wanted>, context: &str) {
    let mut numbers = BTreeSet::new();
    let mut copied = 0;
    // What is in a bucket is for the case to look into.
    let pointer = report.text("ResumeURL");
    let mut elsewhere = pointer.is_some_and(|url| url.contains("://"));
    for (name, counter) in OBJECTS {
        let count = report.count(counter);
        let Some(path) = report.text(name).map(|url| outcome.local(url)) else {
            assert_eq!(count, 0, "{name} is missing: {context}");
            continue;
        };
        if path.contains("://") {
            elsewhere = true;
            continue;
        }
        let object = outcome.bytes(&path);
        let lines = lines_of(&object);
        assert_eq!(object.last(), Some(&b'\n'), "{path} ends in a line end");
        let rows = rows(outcome, &path);
        assert_eq!(rows.len() as u64, count, "rows beside {path}: {context}");
        assert!(lines.len() >= rows.len(), "lines in {path}: {context}");
        copied += (lines.len() - rows.len()) as u64;
        for (row, line) in rows.iter().zip(&lines) {
            check_row(report, row, line, wanted, context);
            let number = row["line"].as_u64().expect("a line number");
            assert!(
                numbers.insert(number),
                "line {number} is there twice: {context}"
            );
        }
    }
    if let Some(wanted) = wanted.filter(|_| !elsewhere) {
        check_unread(outcome, report, wanted, copied, context);
    }
    if let Some(path) = report.text("DestinationURL").map(|url| outcome.local(url))
        && path != "-"
        && !path.contains("://")
    {
        assert!(!outcome.bytes(&path).is_empty(), "{path} is empty");
    }
}

#[track_caller]
fn check_row(report: &Report, row: &Value, line: &[u8], wanted: Option<&Wanted>, context: &str) {
    assert_eq!(row["attempt"], report.0["Attempt"], "{row}: {context}");
    assert_eq!(
        row["plugin"], report.0["Plugin"]["Digest"],
        "{row}: {context}"
    );
    assert!(
        row["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{row}"
    );
    let Some(wanted) = wanted else { return };
    let offset = row["offset"].as_u64().expect("an offset");
    assert_eq!(
        wanted.lines.get(&offset).copied(),
        row["line"].as_u64(),
        "the line at that offset: {row}: {context}"
    );
    let partial = row["kind"] == "partial" || report.count("PartialRetries") > 0;
    if !partial {
        let source = lines_of(&wanted.bytes[offset as usize..])[0];
        assert!(
            source == line,
            "the line is that of the source: {row}: {context}"
        );
    }
}

/// Lines that were not loaded are handed over by pointer or copied: with those that were, they are all.
#[track_caller]
fn check_unread(outcome: &Outcome, report: &Report, wanted: &Wanted, copied: u64, context: &str) {
    let loaded = report.count("Loaded");
    let handed_over = match report.text("ResumeURL") {
        Some(url) => {
            let pointer = Pointer::parse(&outcome.bytes(&outcome.local(url)));
            assert_eq!(copied, 0, "copied and pointed at: {context}");
            assert_eq!(pointer.attempt, report.count("Attempt") + 1, "{context}");
            assert_eq!(
                wanted.lines.get(&pointer.offset),
                Some(&pointer.first_line),
                "the pointer points at a line: {pointer:?}: {context}"
            );
            wanted.lines.range(pointer.offset..).count() as u64
        }
        None => copied,
    };
    let lines = wanted.lines.len() as u64;
    assert_eq!(
        lines,
        loaded + handed_over,
        "lines are conserved: {context}"
    );
    if let Some(unread) = report.unread() {
        assert_eq!(unread, handed_over, "unread: {context}");
    }
}

/// Every file below `out` is an object that a report names, or stands beside one.
#[track_caller]
fn check_all_named(outcome: &Outcome) {
    if outcome.exit.is_none() {
        return;
    }
    let named: BTreeSet<String> = outcome
        .reports
        .iter()
        .flat_map(|report| {
            let object = report.0.as_object().into_iter().flatten();
            let urls = object.filter(|(name, _)| name.ends_with("URL"));
            let routes = report.0["Routes"].as_object().into_iter().flatten();
            urls.chain(routes).filter_map(|(_, url)| url.as_str())
        })
        .map(|url| outcome.local(url))
        .collect();
    for file in outcome.new_files() {
        // A batch may trap without a line of it being at fault: capsules can stand alone.
        if file.ends_with(CAPSULES) {
            continue;
        }
        let object = file.strip_suffix(SIDECAR).unwrap_or(file);
        assert!(
            !file.starts_with("out/") || named.contains(object),
            "{file} is named by no report: {named:?}"
        );
    }
}

/// Why lines are in the objects of a report, as reports shorten it, with how many lines that is.
pub(super) fn reasons(outcome: &Outcome, report: &Report) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for (name, _) in OBJECTS {
        let path = report.text(name).map(|url| outcome.local(url));
        for row in path.into_iter().flat_map(|path| rows(outcome, &path)) {
            let reason = row["reason"].as_str().unwrap_or_default();
            let short: String = reason.chars().take(ERROR_CHARS).collect();
            *reasons.entry(short).or_default() += 1;
        }
    }
    reasons
}

fn rows(outcome: &Outcome, path: &str) -> Vec<Value> {
    let rows = outcome.after.get(&format!("{path}{SIDECAR}"));
    let parse = |row| serde_json::from_slice(row).expect("a row is JSON");
    rows.map_or(Vec::new(), |rows| {
        lines_of(rows).into_iter().map(parse).collect()
    })
}

/// Of an object that was run again, each line was loaded or is in the rest, with its row as it was.
#[track_caller]
fn check_rest(outcome: &Outcome, report: &Report, context: &str) {
    let rest = report.text("RestURL").map(|url| outcome.local(url));
    if !outcome.case.is_redrive() {
        assert_eq!(rest, None, "{context}");
        return;
    }
    let object = outcome.local(report.text("SourceURL").unwrap_or_default());
    let before = |path: &str| outcome.before.get(path).map(|bytes| unpack(path, bytes));
    let Some(lines) = before(&object) else { return };
    let old = lines_of(&lines);
    let left = rest.as_ref().map(|rest| outcome.bytes(rest));
    let left = left.unwrap_or_default();
    let left = lines_of(&left);
    assert_eq!(
        report.0["Rest"].as_u64().unwrap_or(0),
        left.len() as u64,
        "lines in the rest: {context}"
    );
    assert_eq!(
        old.len() as u64,
        report.count("Loaded") + left.len() as u64,
        "lines are conserved: {context}"
    );
    let old_rows = before(&format!("{object}{SIDECAR}")).unwrap_or_default();
    let old_rows = lines_of(&old_rows);
    let rows = rest.map(|rest| outcome.after.get(&format!("{rest}{SIDECAR}")).cloned());
    let rows = rows.flatten().unwrap_or_default();
    let rows = lines_of(&rows);
    assert!(rows.len() <= left.len(), "rows of the rest: {context}");
    if old_rows.iter().any(|row| holds(row, b"\"lines\":")) {
        return;
    }
    // Each is one of the old ones, in their order, beside the same line.
    let old_rows = old_rows.iter().map(Some).chain(std::iter::repeat(None));
    let mut from = old.iter().zip(old_rows);
    for (at, line) in left.iter().enumerate() {
        let row = rows.get(at);
        assert!(
            from.any(|(old, old_row)| old == line && old_row == row),
            "line {at} of the rest is as it was: {context}"
        );
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// The lines that the report at `index` is about, where the case knows them.
fn wanted(outcome: &Outcome, index: usize) -> Option<Wanted> {
    if outcome.case.is_redrive() {
        return None;
    }
    let report = &outcome.reports[index];
    let url = report.text("SourceURL")?;
    if url == "-" {
        return Some(Wanted::of(outcome.case.stdin()?.to_vec(), 0, None, 1));
    }
    let path = outcome.local(url);
    let bytes = unpack(&path, outcome.before.get(&path)?);
    let argument = outcome
        .case
        .sources()
        .get(index)
        .map(|from| outcome.local(from));
    if let Some(argument) = argument.filter(|argument| argument.ends_with(pointer::SUFFIX)) {
        let pointer = Pointer::parse(outcome.before.get(&argument)?);
        let Pointer {
            offset,
            length,
            first_line,
            ..
        } = pointer;
        return Some(Wanted::of(bytes, offset, length, first_line));
    }
    let (offset, length) = outcome.case.ranged();
    Some(Wanted::of(bytes, offset.unwrap_or(0), length, 1))
}

impl Wanted {
    /// The lines that start in the range; the first of them has the number `first_line`.
    fn of(bytes: Vec<u8>, offset: u64, length: Option<u64>, first_line: u64) -> Wanted {
        let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        let mut lines = BTreeMap::new();
        let mut start = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if (offset..end).contains(&start) {
                lines.insert(start, first_line + lines.len() as u64);
            }
            start += line.len() as u64;
        }
        Wanted { bytes, lines }
    }
}
