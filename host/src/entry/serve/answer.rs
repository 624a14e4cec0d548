//! Answers: what a report or an error is in terms of HTTP, so that its status tells whether to send again.

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use linemill::{Remedy, Report};
use serde::Serialize;
use serde_json::json;

/// Seconds after which something may be tried again that there is no room or no time for now.
const RETRY_SECONDS: &str = "1";

/// A request that is not run.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
}

impl Refusal {
    /// With the reason.
    pub(super) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Refusal {
            status,
            error: error.into(),
        }
    }

    /// The request itself is wrong.
    pub(super) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// There is no room for it.
    pub(super) fn busy() -> Self {
        let why =
            "as many requests as there is room for are under way (requests_max): try again later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, why)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &json!({ "error": self.error }))
    }
}

/// An answer of JSON, with the headers that go with its status.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut body = serde_json::to_vec(body).expect("it is plain data");
    body.push(b'\n');
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
    response
}

/// 200 when every line is accounted for, handed over or not; 4xx when to send the same again is of no use; 5xx when
/// it may be.
pub(super) fn status(report: &Report) -> StatusCode {
    match report.remedy {
        _ if !report.is_error() => StatusCode::OK,
        Some(Remedy::AskOtherwise) => StatusCode::BAD_REQUEST,
        Some(Remedy::AskForWhatIsThere) => StatusCode::NOT_FOUND,
        Some(Remedy::AskForWhatIsAllowed) => StatusCode::FORBIDDEN,
        Some(Remedy::MendData) => StatusCode::UNPROCESSABLE_ENTITY,
        Some(Remedy::Nothing) => StatusCode::CONFLICT,
        Some(Remedy::AskAgain) => StatusCode::SERVICE_UNAVAILABLE,
        Some(Remedy::MendHost) | None => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to what nobody waits for, or to a bug.
pub(super) fn broken() -> Response {
    let why = "the request failed, which is a bug of linemill";
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
}

pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    let known = "POST /lines, /run and /, GET /health and /metrics";
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("there is no {}: there are {known}", uri.path()),
    )
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Response {
    let allowed = match uri.path() {
        "/health" | "/metrics" | "/admin/plugin" => "GET, HEAD",
        _ => "POST",
    };
    let why = format!("{} takes {allowed}, not {method}", uri.path());
    let mut response = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, why).into_response();
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}
