//! Tests of events: recorded ones as a table of what they come to, wrong ones, and every way to cut them off.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/event/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = fixtures().join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Each event, a fixture's name or JSON, is followed by what it comes to: its kind, and a line for each task, refusal
/// and skipped record.
fn check(table: &str) {
    check_by(table, |input| match input.starts_with(['{', '[']) {
        true => Event::parse(input.as_bytes()),
        false => Event::parse(&fixture(input)),
    });
}

/// As [`check`], of events over HTTP: headers before the body, which a `|` sets apart.
fn check_http(table: &str) {
    check_by(table, |input| {
        let (headers, body) = input.rsplit_once('|').unwrap_or(("", input));
        let headers = headers.split('|').filter_map(|h| h.trim().split_once(": "));
        let body = body.trim();
        match body.starts_with(|c: char| c.is_ascii_alphabetic()) && !body.contains(' ') {
            true => Event::parse_http(headers, &fixture(body)),
            false => Event::parse_http(headers, body.replace("\\n", "\n").as_bytes()),
        }
    });
}

fn check_by(table: &str, parse: impl Fn(&str) -> Result<Event, EventError>) {
    let rows: Vec<&str> = table
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .collect();
    let mut at = 0;
    while at < rows.len() {
        let input = rows[at];
        at += 1;
        let mut expected = String::new();
        while at < rows.len() && rows[at].starts_with("=>") {
            expected += &format!("{}\n", rows[at]);
            at += 1;
        }
        assert_eq!(shown_result(&parse(input)), expected, "{input}");
    }
}

fn shown_result(result: &Result<Event, EventError>) -> String {
    match result {
        Err(error) => format!("=> error: {error}\n"),
        Ok(event) => {
            let mut text = format!("=> {}\n", shown_kind(&event.kind));
            for task in &event.tasks {
                text += &format!("=> {}\n", shown_task(task));
            }
            for refused in &event.refused {
                let record = refused.record.as_deref().unwrap_or("?");
                text += &format!("=> refused {record}: {}\n", refused.error);
            }
            for why in &event.skipped {
                text += &format!("=> skipped {why}\n");
            }
            text
        }
    }
}

fn shown_kind(kind: &EventKind) -> String {
    match kind {
        EventKind::Http(call) => {
            let pairs = |pairs: &[(String, String)]| {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join("&")
            };
            let (query, headers) = (pairs(&call.query), pairs(&call.headers));
            format!("{} {}?{query} {headers}", call.method, call.path)
        }
        kind => format!("{kind:?}"),
    }
}

fn shown_task(task: &Task) -> String {
    let Task {
        request,
        records,
        group,
    } = task;
    let source = &request.source;
    let mut text = source.url.clone();
    if let Some(range) = source.range {
        let _ = write!(text, " @{}+{:?}", range.offset, range.length);
    }
    if let Some(etag) = &source.etag {
        let _ = write!(text, " etag {etag} line {}", source.first_line);
    }
    if request.attempt > 0 {
        let _ = write!(text, " attempt {}", request.attempt);
    }
    for (name, value) in &request.attributes {
        let _ = write!(text, " {name}={value}");
    }
    if !records.is_empty() {
        let _ = write!(text, " of {}", records.join(","));
    }
    if let Some(group) = group {
        let _ = write!(text, " in {group}");
    }
    if let Some(body) = &source.body {
        let bytes = String::from_utf8_lossy(body.as_bytes().expect("it is not streamed"));
        let encoding = body.encoding.as_deref().expect("nothing is guessed");
        let shown = match encoding {
            "identity" => format!("{bytes:?}"),
            other => format!("{other} {} bytes", bytes.chars().count()),
        };
        let _ = write!(text, " {shown}");
    }
    text
}

#[test]
fn show_all() {
    let mut names: Vec<_> = std::fs::read_dir(fixtures())
        .unwrap()
        .flatten()
        .map(|e| e.path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        println!(
            "        {name}\n{}",
            shown_result(&Event::parse(&fixture(&name)))
                .lines()
                .map(|l| format!("        {l}\n"))
                .collect::<String>()
        );
    }
}
