//! What differs between what a case expects and what a plugin did, for a person. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use similar::{ChangeTag, TextDiff};

use super::Case;
use super::entry;
use super::faults::Faults;
use super::measures::Metrics;
use super::observed::Observed;
use super::section::Kind;
use super::text::escape;

/// Equal lines that are shown around what differs.
const CONTEXT: usize = 2;
/// So many lines of a difference are shown.
const LINES_MAX: usize = 80;
/// So much of a line is shown.
const CHARS_MAX: usize = 300;
/// A diff that takes longer is coarser.
const TIME_MAX: Duration = Duration::from_secs(1);

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The section of the case that says what is expected.
    pub section: String,
    /// The line of the case file on which it begins; `None`: it says nothing of it.
    pub line: Option<usize>,
    /// Line by line.
    pub lines: Vec<DiffLine>,
}

/// One line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffLine {
    /// Which of both it is in.
    pub sign: Sign,
    /// The line; nothing in it stays hidden, and nothing in it is a command to a terminal.
    pub text: String,
}

/// In which of both a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// In both.
    Both,
    /// Only in what is expected.
    Expected,
    /// Only in what the plugin did.
    Actual,
    /// In neither: lines are left out here.
    Skipped,
}

/// What differs from what the case expects.
pub(super) fn differences(case: &Case, observed: &Observed) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut add = |kind: Kind, lines: Vec<DiffLine>| {
        found.push(Difference {
            section: kind.title(),
            line: case.section(&kind).map(|section| section.line),
            lines,
        });
    };
    let error = observed.error.as_deref();
    if !error_fits(case, error) {
        let expected = case
            .section(&Kind::Error)
            .map_or_else(String::new, |section| {
                section
                    .lines(&case.text)
                    .fold(String::new(), |all, (_, line)| all + line + "\n")
            });
        let actual = line_of(error);
        add(
            Kind::Error,
            diff(expected.as_bytes(), actual.as_bytes(), true),
        );
    }
    for (route, expected, actual) in outputs(case, observed) {
        if expected != actual {
            add(Kind::Output(route), diff(expected, actual, false));
        }
    }
    if !entry::fit(&case.faults, &observed.faults) {
        let (expected, actual) = entry::texts(&case.faults, &observed.faults);
        add(
            Kind::Faults,
            diff(expected.as_bytes(), actual.as_bytes(), true),
        );
    }
    if !entry::fit(&case.metrics, &observed.metrics) {
        let (expected, actual) = entry::texts(&case.metrics, &observed.metrics);
        add(
            Kind::Metrics,
            diff(expected.as_bytes(), actual.as_bytes(), true),
        );
    }
    found
}

fn line_of(error: Option<&str>) -> String {
    error.map_or_else(String::new, |error| {
        format!("{}\n", escape(error.as_bytes()))
    })
}

/// Whether the request failed as expected.
pub(super) fn error_fits(case: &Case, error: Option<&str>) -> bool {
    match (&case.error, error) {
        (None, None) => true,
        (Some(expected), Some(error)) => expected.fits(error),
        _ => false,
    }
}

/// What is expected of each route and what was emitted for it.
pub(super) fn outputs<'a>(
    case: &'a Case,
    observed: &'a Observed,
) -> impl Iterator<Item = (String, &'a [u8], &'a [u8])> {
    let routes: BTreeSet<&String> = case.outputs.keys().chain(observed.outputs.keys()).collect();
    routes.into_iter().map(|route| {
        let of = |outputs: &'a BTreeMap<String, Bytes>| {
            outputs.get(route).map_or(&[][..], |data| &data[..])
        };
        (route.clone(), of(&case.outputs), of(&observed.outputs))
    })
}

/// What differs when the same lines come in other batches; the first is called expected. How far a request came that
/// failed, or was stopped, depends on them; only why it did must be the same.
pub(super) fn between(one: &Observed, other: &Observed) -> Vec<Difference> {
    let both_failed = one.error.is_some() && other.error.is_some();
    let (one, other) = (parts(one), parts(other));
    let kinds: BTreeSet<&Kind> = one.keys().chain(other.keys()).collect();
    kinds
        .into_iter()
        .filter(|kind| !both_failed || **kind == Kind::Error)
        .map(|kind| {
            let of = |parts: &BTreeMap<Kind, Vec<u8>>| parts.get(kind).cloned().unwrap_or_default();
            (kind, of(&one), of(&other))
        })
        .filter(|(_, one, other)| one != other)
        .map(|(kind, one, other)| Difference {
            section: kind.title(),
            line: None,
            lines: diff(&one, &other, !matches!(kind, Kind::Output(_))),
        })
        .collect()
}

/// All that was done, as the sections of a case would say it.
fn parts(observed: &Observed) -> BTreeMap<Kind, Vec<u8>> {
    let outputs = observed.outputs.iter();
    let outputs = outputs.map(|(route, data)| (Kind::Output(route.clone()), data.to_vec()));
    let (_, faults) = entry::texts(&Faults::default(), &observed.faults);
    let (_, metrics) = entry::texts(&Metrics::default(), &observed.metrics);
    let entries = [
        (Kind::Error, line_of(observed.error.as_deref())),
        (Kind::Faults, faults),
        (Kind::Metrics, metrics),
    ];
    let entries = entries.map(|(kind, text)| (kind, text.into_bytes()));
    outputs.chain(entries).collect()
}

/// Line by line; what is `plain` has been escaped already.
fn diff(expected: &[u8], actual: &[u8], plain: bool) -> Vec<DiffLine> {
    let (expected, actual) = (shown(expected, plain), shown(actual, plain));
    let (old, new) = (slices(&expected), slices(&actual));
    let diff = TextDiff::configure()
        .timeout(TIME_MAX)
        .diff_slices(&old, &new);
    let mut lines = Vec::new();
    let skipped = |text: String| DiffLine {
        sign: Sign::Skipped,
        text,
    };
    for group in diff.grouped_ops(CONTEXT) {
        let first = group.first().map_or(0, |op| op.new_range().start);
        if !lines.is_empty() || first > 0 {
            lines.push(skipped(format!("line {}", first + 1)));
        }
        let changes = group.iter().flat_map(|op| diff.iter_changes(op));
        lines.extend(changes.map(|change| DiffLine {
            sign: match change.tag() {
                ChangeTag::Equal => Sign::Both,
                ChangeTag::Delete => Sign::Expected,
                ChangeTag::Insert => Sign::Actual,
            },
            text: change.value().to_owned(),
        }));
    }
    apart(&mut lines);
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(skipped(format!("{more} more lines")));
    }
    lines
}

fn slices(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

/// Lines so that nothing in them stays hidden; the last says when it has no end.
fn shown(bytes: &[u8], plain: bool) -> Vec<String> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| match line.strip_suffix(b"\n") {
            Some(line) if plain => without_commands(&String::from_utf8_lossy(line)),
            Some(line) => escape_some(line),
            None => format!("{} (without a line end)", escape_some(line)),
        })
        .collect()
}

/// What an author wrote may hold anything too.
fn without_commands(line: &str) -> String {
    line.replace(|char: char| char.is_control() && char != '\t', "\u{fffd}")
}

/// Backslashes stay single: this is for the eye.
fn escape_some(line: &[u8]) -> String {
    escape(line).replace("\\\\", "\\")
}

/// Cuts long lines, so that what differs in two that stand beside each other is still seen.
fn apart(lines: &mut [DiffLine]) {
    let runs = |lines: &[DiffLine], sign: Sign| -> Vec<usize> {
        (0..lines.len())
            .filter(|&at| lines[at].sign == sign)
            .collect()
    };
    let (old, new) = (runs(lines, Sign::Expected), runs(lines, Sign::Actual));
    let mut from = vec![0; lines.len()];
    for (&one, &other) in old.iter().zip(&new) {
        let chars = lines[one].text.chars().zip(lines[other].text.chars());
        let same = chars.take_while(|(one, other)| one == other).count();
        let start = same.saturating_sub(CHARS_MAX / 2);
        (from[one], from[other]) = (start, start);
    }
    for (line, from) in lines.iter_mut().zip(from) {
        let length = line.text.chars().count();
        if length > CHARS_MAX {
            let before = if from > 0 { "…" } else { "" };
            let after = if from + CHARS_MAX < length { "…" } else { "" };
            let kept: String = line.text.chars().skip(from).take(CHARS_MAX).collect();
            line.text = format!("{before}{kept}{after} ({length} characters)");
        }
    }
}
