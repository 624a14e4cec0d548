//! `POST /`: events of platforms. The status says whether to send the same again.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use linemill::{Event, EventError};
use serde_json::json;

use super::answer::{self, Refusal};
use super::{Server, incoming, one};
use crate::entry::service::Answer;

/// An event that is larger is taken apart where that holds up no other request.
const QUICK_BYTES_MAX: usize = 64 * 1024;

/// Runs what an event asks for.
pub(super) async fn event(
    State(server): State<Arc<Server>>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let until = one::until(request.headers())?;
    let slot = server.slots.take().ok_or_else(Refusal::busy)?;
    let (parts, body) = request.into_parts();
    let bytes_max = server.config().body_bytes_max;
    let body = incoming::whole(body, bytes_max, server.patience.idle).await?;
    let event = parse(parts.headers, body).await?;
    let event = event.map_err(|error| Refusal::bad(error.to_string()))?;
    let mut client = slot.client();
    let running = tokio::spawn(async move {
        let _in_flight = server.meters.begin();
        let answer = server
            .service
            .run_tasks(&event.tasks, until, &slot.stops)
            .await;
        for report in &answer.reports {
            server
                .meters
                .done("/", report, Duration::from_millis(report.runtime_ms));
        }
        drop(slot);
        (event, answer)
    });
    let done = running.await;
    client.answered();
    Ok(match done {
        Ok((event, answer)) => told(&event, &answer),
        Err(_) => answer::broken(),
    })
}

async fn parse(headers: HeaderMap, body: Bytes) -> Result<Result<Event, EventError>, Refusal> {
    let parse = |headers: &HeaderMap, body: &[u8]| {
        let texts = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        Event::parse_http(texts, body)
    };
    if body.len() <= QUICK_BYTES_MAX {
        return Ok(parse(&headers, &body));
    }
    let parsing = tokio::task::spawn_blocking(move || parse(&headers, &body));
    let broken = |_| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the event could not be taken apart",
        )
    };
    parsing.await.map_err(broken)
}

fn told(event: &Event, answer: &Answer) -> Response {
    let refused = event
        .refused
        .iter()
        .map(|refused| json!({ "record": refused.record, "error": refused.error.to_string() }));
    let mut body = json!({
        "reports": answer.reports,
        "refused": refused.collect::<Vec<_>>(),
        "skipped": event.skipped,
    });
    if event.kind.takes_failures() {
        let failures = event.batch_item_failures(&answer.safe);
        let failures = failures
            .into_iter()
            .map(|id| json!({ "itemIdentifier": id }));
        body["batchItemFailures"] = failures.collect();
    }
    let status = verdict(event, answer);
    if !status.is_success() {
        let errors = answer.reports.iter().filter(|report| report.is_error());
        let first = errors.filter_map(|report| report.errors.first()).next();
        let refused = event
            .refused
            .first()
            .map(|refused| refused.error.to_string());
        let stopped = "the server is closing: send it again";
        body["error"] = json!(
            first
                .map(str::to_owned)
                .or(refused)
                .unwrap_or(stopped.to_owned())
        );
    }
    answer::json(status, &body)
}

/// 2xx when everything was made safe; 5xx when something was not, and sending it again may help; 4xx when it cannot.
fn verdict(event: &Event, answer: &Answer) -> StatusCode {
    let errors = answer.reports.iter().filter(|report| report.is_error());
    let errors: Vec<_> = errors.map(answer::status).collect();
    let again = errors.iter().find(|status| status.is_server_error());
    if let Some(status) = again.or(errors.first()) {
        return *status;
    }
    match answer.safe.iter().all(|safe| *safe) {
        // They were not begun, as the server is closing.
        false => StatusCode::SERVICE_UNAVAILABLE,
        true if !event.refused.is_empty() => StatusCode::BAD_REQUEST,
        true => StatusCode::OK,
    }
}
