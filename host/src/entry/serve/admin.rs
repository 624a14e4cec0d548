//! `/admin/plugin`: which versions of the plugin there are, and which one serves. Only for those with `admin_token`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use linemill::Checked;
use serde_json::json;

use super::Server;
use super::answer::{self, Refusal};

type Shared = State<Arc<Server>>;

/// The versions.
pub(super) async fn status(State(server): Shared) -> Response {
    answer::json(StatusCode::OK, &server.service.registry.status())
}

/// Back to the version before.
pub(super) async fn rollback(State(server): Shared) -> Result<Response, Refusal> {
    let digest = server.service.registry.rollback().map_err(conflict)?;
    Ok(done(&server, &format!("{digest} serves")))
}

/// Only this version is taken from now on.
pub(super) async fn pin(
    State(server): Shared,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, Refusal> {
    let digest = match query.get("digest") {
        Some(digest) if query.len() == 1 => digest,
        _ => {
            return Err(Refusal::bad(
                "say which: POST /admin/plugin/pin?digest=sha256:…",
            ));
        }
    };
    let registry = &server.service.registry;
    let serves = registry.pin(digest).map_err(conflict)?;
    let said = match serves {
        true => format!("{digest} is pinned and serves"),
        false => {
            format!("{digest} is pinned; it serves as soon as it is found at the plugin's URL")
        }
    };
    Ok(done(&server, &said))
}

/// Any version is taken again.
pub(super) async fn unpin(State(server): Shared) -> Result<Response, Refusal> {
    server.service.registry.unpin().map_err(conflict)?;
    Ok(done(&server, "any version is taken"))
}

/// Looks for a newer version now, and waits for what comes of it.
pub(super) async fn check(State(server): Shared) -> Result<Response, Refusal> {
    let said = match server.service.registry.check().await {
        Checked::Unchanged => "nothing new".to_owned(),
        Checked::Taken { digest } => format!("{digest} is taken"),
        Checked::Failed(why) => return Err(Refusal::new(StatusCode::BAD_GATEWAY, why)),
    };
    Ok(done(&server, &said))
}

fn done(server: &Server, said: &str) -> Response {
    let status = server.service.registry.status();
    answer::json(StatusCode::OK, &json!({ "done": said, "registry": status }))
}

fn conflict(error: anyhow::Error) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, format!("{error:#}"))
}
