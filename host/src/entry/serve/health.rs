//! `GET /health` and `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Server, answer, gate};

/// Whether it serves, and with what. Those without the token are told the version only.
pub(super) async fn health(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let closing = server.closing.is_cancelled();
    let (status, said) = match closing {
        false => (StatusCode::OK, "ready"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "closing"),
    };
    let plugin = server.service.registry.status();
    let mut body = json!({
        "status": said,
        "plugin": { "digest": plugin.stable.digest, "version": plugin.stable.version },
        "requests": server.slots.taken(),
    });
    if gate::is_trusted(&server, &headers) {
        body["registry"] = serde_json::to_value(&plugin).expect("it is plain data");
    }
    answer::json(status, &body)
}

/// All metrics.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let text = server.meters.render(&server.service.registry.status());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
