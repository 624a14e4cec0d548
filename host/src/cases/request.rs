//! What a case says of the plugin's settings, of limits and of its request: TOML. Pure.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Mistake;
use super::section::Section;
use crate::body::Body;
use crate::config::closest;
use crate::request::Request;

/// What a case can set of the configuration. What holds for all cases (memory, which is the engine's) or makes no
/// difference in memory is not among it.
const LIMITS: [&str; 20] = [
    "batch_bytes",
    "batch_bytes_max",
    "batch_lines",
    "batch_ms_max",
    "call_fuel",
    "call_ms_max",
    "concurrency",
    "deadline_reduction_ms",
    "fuel_base",
    "fuel_per_byte",
    "instance_batches_max",
    "line_bytes_max",
    "log_bytes_max",
    "log_events_max",
    "max_exec_time_ms",
    "max_retries",
    "output_bytes_max",
    "partials_bytes_max",
    "trap_lines_min",
    "trap_ratio_max",
];
/// What is the engine's, which all cases share.
const SHARED: [&str; 2] = ["memory_bytes_max", "table_elements_max"];
const ABOUT: [&str; 4] = ["source", "attempt", "started_at", "attributes"];
/// Sources are unpacked by these.
const PACKED: [&str; 2] = [".gz", ".zst"];
/// Every run is like the one before.
const STARTED_AT: &str = "2026-01-01T00:00:00Z";

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// The plugin's settings.
///
/// # Errors
/// What is no TOML, or no text or number.
pub(super) fn settings(section: &Section, text: &str) -> Result<Vec<Setting>, Vec<Mistake>> {
    let setting = |(name, value, line): (String, Value, usize)| {
        let value = scalar(&name, value).map_err(|message| Mistake::new(line, message))?;
        Ok(Setting { name, value, line })
    };
    all(table(section, text)?.into_iter().map(setting))
}

/// The limits.
///
/// # Errors
/// The same, and what is no limit.
pub(super) fn limits(section: &Section, text: &str) -> Result<Vec<Setting>, Vec<Mistake>> {
    let known = |setting: Setting| match LIMITS.contains(&setting.name.as_str()) {
        true => Ok(setting),
        false => Err(Mistake::new(setting.line, unknown(&setting.name, &LIMITS))),
    };
    all(settings(section, text)?.into_iter().map(known))
}

fn unknown(name: &str, known: &[&str]) -> String {
    if SHARED.contains(&name) {
        return format!("`{name}` holds for all cases: set it in linemill.toml, or with --set");
    }
    let name = name.escape_debug();
    match closest(&name.to_string(), known.iter().copied()) {
        Some(meant) => format!("`{name}` cannot be set by a case, did you mean `{meant}`?"),
        None => format!(
            "`{name}` cannot be set by a case; these can: {}",
            known.join(", ")
        ),
    }
}

/// What the plugin is told of the request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct About {
    source: String,
    attempt: u32,
    started_at: DateTime<Utc>,
    attributes: Vec<(String, String)>,
}

impl Default for About {
    fn default() -> Self {
        About {
            source: "case.txt".to_owned(),
            attempt: 0,
            started_at: time(STARTED_AT).expect("it is a time"),
            attributes: Vec::new(),
        }
    }
}

impl About {
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn parse(section: &Section, text: &str) -> Result<Self, Vec<Mistake>> {
        let mut about = About::default();
        let set = |(name, value, line): (String, Value, usize)| {
            about
                .set(&name, value)
                .map_err(|message| Mistake::new(line, message))
        };
        all(table(section, text)?.into_iter().map(set))?;
        Ok(about)
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), String> {
        match (name, value) {
            ("source", Value::String(source)) => self.source = checked_source(source)?,
            ("attempt", value) => {
                let attempt = value.as_u64().and_then(|attempt| attempt.try_into().ok());
                self.attempt = attempt.ok_or("`attempt` must be a whole number")?;
            }
            ("started_at", Value::String(text)) => {
                self.started_at = time(&text)
                    .ok_or("`started_at` must be a time such as \"2026-01-31T23:59:59Z\"")?
            }
            ("attributes", Value::Object(attributes)) => {
                for (name, value) in attributes {
                    let value = scalar(&name, value)?;
                    self.attributes.push((name, value));
                }
            }
            ("source" | "started_at", _) => {
                return Err(format!("`{name}` must be a text, in quotes"));
            }
            ("attributes", _) => {
                return Err(
                    "`attributes` must be a table: `attributes = { name = \"value\" }`".to_owned(),
                );
            }
            _ => return Err(unknown(name, &ABOUT)),
        }
        Ok(())
    }

    /// The request over `body`.
    pub(super) fn request(&self, body: Body) -> Request {
        let mut request = Request::with_body(&self.source, body);
        request.id = "case".to_owned();
        request.attempt = self.attempt;
        request.started_at = self.started_at;
        request.attributes.clone_from(&self.attributes);
        request
    }
}

fn checked_source(source: String) -> Result<String, String> {
    if PACKED.iter().any(|suffix| source.ends_with(suffix)) {
        return Err(
            "`source` names plain lines, so it cannot end in .gz or .zst: leave that away"
                .to_owned(),
        );
    }
    match source.rsplit('/').next().is_some_and(str::is_empty) {
        true => Err("`source` must end in a name, such as \"orders.csv\"".to_owned()),
        false => Ok(source),
    }
}

fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.with_timezone(&Utc))
}

/// The names of a section with their values and lines, in order.
fn table(section: &Section, text: &str) -> Result<Vec<(String, Value, usize)>, Vec<Mistake>> {
    let text = &text[section.body.clone()];
    let line = |at: usize| section.line + 1 + text[..at].matches('\n').count();
    let table: BTreeMap<toml::Spanned<String>, Value> = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(section.line, |span| line(span.start));
        vec![Mistake::new(
            line,
            format!("is no TOML: {}", error.message()),
        )]
    })?;
    let mut rows: Vec<_> = table
        .into_iter()
        .map(|(name, value)| (line(name.span().start), name.into_inner(), value))
        .map(|(line, name, value)| (name, value, line))
        .collect();
    rows.sort_by_key(|(_, _, line)| *line);
    Ok(rows)
}

fn scalar(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(format!(
            "`{}` must be text, a number, true or false",
            name.escape_debug()
        )),
    }
}

fn all<T>(results: impl Iterator<Item = Result<T, Mistake>>) -> Result<Vec<T>, Vec<Mistake>> {
    let (mut kept, mut mistakes) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => kept.push(value),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    match mistakes.is_empty() {
        true => Ok(kept),
        false => Err(mistakes),
    }
}
