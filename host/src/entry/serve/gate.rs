//! What every request passes: the token, and being counted.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::Server;
use super::answer::Refusal;

/// Lets a request through whose token is right.
pub(super) async fn pass(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let route = route_of(request.uri().path());
    let response = match check(&server, route, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    server.meters.answered(route, response.status());
    response
}

/// The route as metrics name it: there are few of them, whatever clients ask for.
fn route_of(path: &str) -> &'static str {
    match path {
        "/" => "/",
        "/run" => "/run",
        "/lines" => "/lines",
        "/health" => "/health",
        "/metrics" => "/metrics",
        _ if path == "/admin" || path.starts_with("/admin/") => "/admin",
        _ => "other",
    }
}

fn check(server: &Server, route: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let config = server.config();
    let token = match (route, &config.admin_token) {
        ("/admin", None) => {
            let why = "/admin is closed: set admin_token to open it";
            return Err(Refusal::new(StatusCode::FORBIDDEN, why));
        }
        ("/admin", token) => token,
        ("/health", _) => return Ok(()),
        _ => &config.token,
    };
    match token {
        Some(token) if !bears(headers, token) => {
            let why = "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`";
            Err(Refusal::new(StatusCode::UNAUTHORIZED, why))
        }
        _ => Ok(()),
    }
}

/// Whether the request may see what only those see who have the token, where there is one.
pub(super) fn is_trusted(server: &Server, headers: &HeaderMap) -> bool {
    let config = server.config();
    let known = |token: &Option<String>| token.as_ref().is_some_and(|token| bears(headers, token));
    config.token.is_none() || known(&config.token) || known(&config.admin_token)
}

/// How long it takes tells nothing of the token but its length.
fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let Some((scheme, given)) = given.and_then(|given| given.split_at_checked("Bearer ".len()))
    else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && given.trim_ascii().ct_eq(token.as_bytes()).into()
}
