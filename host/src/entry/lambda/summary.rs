//! What an event came to: totals of its requests, and their reports as far as there is room.

use linemill::{Event, Report};
use serde::Serialize;
use serde_json::Value;

use crate::entry::service::Answer;

/// So much of an answer is reports, which leaves it small enough for a function's destinations (256 KB); all of them
/// are in the log.
const REPORTS_BYTES_MAX: usize = 160 * 1024;
/// So many records that were refused or skipped are told one by one, each cut at so many characters.
const NAMED_MAX: usize = 20;
const REASON_CHARS_MAX: usize = 512;

/// The answer to whoever wants to know what became of an event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summary {
    /// `ok`, or all that the reports say, joined by `|`; `error` for records that were refused, too.
    pub(super) status: String,
    requests: usize,
    /// Requests of which not all lines could be made safe.
    unsafe_requests: usize,
    loaded: u64,
    processed: u64,
    corruption_errors: u64,
    retry_errors: u64,
    failed: u64,
    partial_retries: u64,
    reports: Vec<Value>,
    #[serde(skip_serializing_if = "is_zero")]
    reports_left_out: usize,
    /// Records that could not be understood, and why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    refused_left_out: usize,
    /// What needed nothing done, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    skipped_left_out: usize,
    /// How long it took to set the process up, in the first answer of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) init_ms: Option<f64>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Summary {
    pub(super) fn of(event: &Event, answer: &Answer) -> Self {
        let totals = answer.reports.iter().map(|report| report.counts);
        let totals = totals.reduce(|one, other| one + other).unwrap_or_default();
        let (reports, reports_left_out) = kept(&answer.reports);
        let refused = event.refused.iter();
        let (refused, refused_left_out) = named(refused.map(|refused| match &refused.record {
            Some(record) => format!("{record}: {}", refused.error),
            None => refused.error.to_string(),
        }));
        let (skipped, skipped_left_out) = named(event.skipped.iter().cloned());
        Summary {
            status: status(event, answer),
            requests: event.tasks.len(),
            unsafe_requests: answer.safe.iter().filter(|safe| !**safe).count(),
            loaded: totals.loaded,
            processed: totals.processed,
            corruption_errors: totals.corrupted,
            retry_errors: totals.retried,
            failed: totals.failed,
            partial_retries: totals.partial,
            reports,
            reports_left_out,
            refused,
            refused_left_out,
            skipped,
            skipped_left_out,
            init_ms: None,
        }
    }
}

/// Those in error first, then in the order of the event, while there is room.
fn kept(reports: &[Report]) -> (Vec<Value>, usize) {
    let mut order: Vec<&Report> = reports.iter().collect();
    order.sort_by_key(|report| !report.is_error());
    let (mut room, mut kept) = (REPORTS_BYTES_MAX, Vec::new());
    for report in order {
        let Ok(text) = serde_json::to_string(report) else {
            break;
        };
        let Some(left) = room.checked_sub(text.len()) else {
            break;
        };
        room = left;
        kept.extend(serde_json::from_str::<Value>(&text));
    }
    let left_out = reports.len() - kept.len();
    (kept, left_out)
}

fn named(all: impl ExactSizeIterator<Item = String>) -> (Vec<String>, usize) {
    let left_out = all.len().saturating_sub(NAMED_MAX);
    let cut = |text: String| text.chars().take(REASON_CHARS_MAX).collect();
    (all.take(NAMED_MAX).map(cut).collect(), left_out)
}

fn status(event: &Event, answer: &Answer) -> String {
    let said = |flag: &str| {
        let mut statuses = answer.reports.iter().map(|report| &report.status);
        statuses.any(|status| status.split('|').any(|said| said == flag))
    };
    let lost = !event.refused.is_empty() || answer.safe.iter().any(|safe| !safe);
    let flags = ["retry", "failed", "corrupted", "error", "stopped"];
    let flags = flags.map(|flag| (said(flag) || flag == "error" && lost).then_some(flag));
    let flags: Vec<&str> = flags.into_iter().flatten().collect();
    match flags.is_empty() {
        true => "ok".to_owned(),
        false => flags.join("|"),
    }
}
