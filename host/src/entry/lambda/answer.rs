//! What Lambda is answered with.

use lambda_runtime::Diagnostic;
use linemill::Event;
use serde::Serialize;

use super::http::HttpAnswer;
use super::summary::Summary;
use crate::entry::service;

/// The answer to an event, as its sender expects it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Answer {
    /// Names the records that are to come again.
    Failures(Failures),
    /// Says what became of all of it.
    Summary(Box<Summary>),
    /// Goes back to a caller over HTTP.
    Http(HttpAnswer),
}

/// A partial batch response.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failures {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Failures {
    pub(super) fn of(event: &Event, safe: &[bool]) -> Self {
        let records = event.batch_item_failures(safe).into_iter();
        let failures = records.map(|item_identifier| Failure { item_identifier });
        Failures {
            batch_item_failures: failures.collect(),
        }
    }
}

/// An asynchronous event of which nothing is safe has failed, so that the platform tries it again and in the end
/// sends it to the on-failure destination; one of which anything is safe has not, since that would be done twice.
pub(super) fn nothing_safe(event: &Event, answer: &service::Answer) -> Option<Diagnostic> {
    let asked = event.tasks.len() + event.refused.len();
    if asked == 0 || answer.safe.iter().any(|safe| *safe) {
        return None;
    }
    let failed = answer.reports.iter().find_map(|report| {
        let why = report.errors.first()?;
        Some(format!("{}: {why}", report.source_url))
    });
    let refused = || {
        event
            .refused
            .first()
            .map(|refused| refused.error.to_string())
    };
    let why = failed.or_else(refused);
    let why = why.unwrap_or_else(|| "nothing was begun, since the process was to end".to_owned());
    let message = match asked {
        1 => why,
        _ => format!("nothing of {asked} requests is safe; the first: {why}"),
    };
    Some(failure("Linemill.NothingSafe", message))
}

/// A function error.
pub(super) fn failure(kind: &str, message: String) -> Diagnostic {
    Diagnostic {
        error_type: kind.to_owned(),
        error_message: message,
    }
}
