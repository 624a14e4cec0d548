//! An outcome as text, which expectations are compared with.

use std::fmt::Write;

use serde_json::Value;

use super::books::{CAPSULES, SIDECAR, reasons};
use super::files::{lines_of, unpack};
use super::outcome::Outcome;
use super::pointer::{self, Pointer};
use super::report::{COUNTERS, Report};
use super::tools::plugins;

/// Files with more lines, and lines with more characters, are only counted.
const SHOWN_MAX: usize = 40;
const SHOWN_CHARS: usize = 200;

pub(super) fn render(outcome: &Outcome) -> String {
    let mut text = match outcome.exit {
        Some(code) => format!("exit {code}\n"),
        None => "killed\n".to_owned(),
    };
    for report in &outcome.reports {
        render_report(outcome, report, &mut text);
    }
    if !outcome.stdout.is_empty() {
        let _ = writeln!(text, "stdout: {}", content(&outcome.stdout));
    }
    let ours = |line: &&str| !line.contains(" plugin: ");
    for line in outcome.stderr.lines().filter(ours) {
        let line = without_time(line);
        let _ = writeln!(text, "{}", normal(outcome, &line));
    }
    for name in outcome.before.keys() {
        match outcome.after.get(name) {
            None => text.push_str(&format!("removed {name}\n")),
            Some(bytes) if *bytes != outcome.before[name] => {
                text.push_str(&format!("changed {name}\n"));
            }
            Some(_) => {}
        }
    }
    for name in outcome.new_files() {
        render_file(outcome, name, &mut text);
    }
    text.trim_end().to_owned()
}

fn render_report(outcome: &Outcome, report: &Report, text: &mut String) {
    if outcome.reports.len() > 1 {
        let source = report.text("SourceURL").unwrap_or_default();
        let _ = write!(text, "{}: ", outcome.local(source));
    }
    text.push_str(report.status());
    let counters = COUNTERS.map(|(name, shown)| (shown, Some(report.count(name))));
    let unread = [("unread", report.unread())];
    let mut separator = ": ";
    for (shown, count) in counters.into_iter().chain(unread) {
        match count {
            Some(0) => continue,
            Some(count) => text.push_str(&format!("{separator}{shown} {count}")),
            None => text.push_str(&format!("{separator}{shown} ?")),
        }
        separator = ", ";
    }
    text.push('\n');
    let known = reasons(outcome, report);
    for (error, count) in report.errors() {
        if known.get(&error) != Some(&count) {
            let times = match count {
                1 => String::new(),
                times => format!(" ({times} times)"),
            };
            let _ = writeln!(text, "error{times}: {}", normal(outcome, &error));
        }
    }
}

fn render_file(outcome: &Outcome, name: &str, text: &mut String) {
    if let Some(object) = name.strip_suffix(SIDECAR)
        && outcome.after.contains_key(object)
    {
        return;
    }
    let bytes = &outcome.after[name];
    if name.ends_with(CAPSULES) {
        let line = |capsule: &[u8]| {
            let capsule: Value = serde_json::from_slice(capsule).expect("a capsule is JSON");
            capsule["line"].to_string()
        };
        let numbers: Vec<_> = lines_of(bytes).into_iter().map(line).collect();
        let _ = writeln!(text, "{name}: lines {}", numbers.join(","));
        return;
    }
    if name.ends_with(pointer::SUFFIX) {
        let pointer = Pointer::parse(bytes);
        let length = pointer
            .length
            .map_or(String::new(), |length| format!("{length} bytes "));
        let _ = writeln!(
            text,
            "{name}: {} {length}from byte {}, line {}, attempt {}",
            outcome.local(&pointer.source),
            pointer.offset,
            pointer.first_line,
            pointer.attempt
        );
        return;
    }
    let _ = writeln!(text, "{name}: {}", content(&unpack(name, bytes)));
    if let Some(rows) = outcome.after.get(&format!("{name}{SIDECAR}")) {
        render_rows(outcome, rows, text);
    }
}

/// Rows with the same kind and reason are shown as one, with all their lines.
fn render_rows(outcome: &Outcome, rows: &[u8], text: &mut String) {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for row in lines_of(rows) {
        let row: Value = serde_json::from_slice(row).expect("a row is JSON");
        let reason = row["reason"].as_str().unwrap_or_default();
        let what = format!(
            "{}: {}",
            row["kind"].as_str().unwrap_or("(no kind)"),
            shown(normal(outcome, reason).as_bytes())
        );
        let line = row["line"].to_string();
        match groups.iter_mut().find(|(known, _)| *known == what) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((what, vec![line])),
        }
    }
    for (what, lines) in groups {
        let _ = writeln!(text, "  {} {what}", lines.join(","));
    }
}

/// The lines of a file on one line.
pub(super) fn content(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "(empty)".to_owned();
    }
    let lines = lines_of(bytes);
    let end = match bytes.last() {
        Some(b'\n') => "",
        _ => " (not ended)",
    };
    if lines.len() > SHOWN_MAX {
        return format!("({} lines){end}", lines.len());
    }
    let lines: Vec<_> = lines.into_iter().map(shown).collect();
    format!("{}{end}", lines.join(","))
}

fn shown(line: &[u8]) -> String {
    if line.len() > SHOWN_CHARS {
        return format!("({} bytes)", line.len());
    }
    match std::str::from_utf8(line) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        Ok(text) => text.escape_default().to_string(),
        Err(_) => line.escape_ascii().to_string(),
    }
}

/// Text without what differs from run to run and from machine to machine.
fn normal(outcome: &Outcome, text: &str) -> String {
    let dir = format!("{}/", outcome.case.dir().display());
    let plugins = format!("{}/", plugins().display());
    let text = text.replace(&dir, "").replace(&plugins, "PLUGINS/");
    let id = outcome
        .reports
        .iter()
        .filter_map(|report| report.text("RequestId"))
        .fold(text, |text, id| text.replace(id, "ID"));
    without_places(&without_fuel(&id))
}

/// `lib.rs:5:9` is `lib.rs:LINE`: a plugin may be edited.
fn without_places(text: &str) -> String {
    let mut parts = text.split(".rs:");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
        let colon = if part.len() - rest.len() > 1 && part[..part.len() - rest.len()].ends_with(':')
        {
            ":"
        } else {
            ""
        };
        kept = format!("{kept}.rs:LINE{colon}{rest}");
    }
    kept
}

fn without_fuel(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(" (fuel ") {
        kept.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    kept + rest
}

/// A log event without its time: `2025-01-01T00:00:00Z  WARN linemill: text` is `WARN linemill: text`.
fn without_time(line: &str) -> String {
    match line.split_once(char::is_whitespace) {
        Some((time, event)) if time.len() > 19 && time.as_bytes()[10] == b'T' => {
            event.trim_start().to_owned()
        }
        _ => line.to_owned(),
    }
}

/// `text` without the indentation that all its lines have, and without blank lines around it.
pub(super) fn undent(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let indent = lines
        .iter()
        .map(|line| line.len() - line.trim_start().len())
        .min();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| &line[indent.unwrap_or(0)..])
        .collect();
    lines.join("\n").trim_end().to_owned()
}
