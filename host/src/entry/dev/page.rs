//! The page over HTTP: static files, the state as JSON, and a stream that says when it has changed. It is for browsers
//! on this machine alone: whoever comes by another name (DNS rebinding) or from another page is turned away.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use tokio::sync::Semaphore;

use super::board::Board;

/// Pages that are open at the same time.
const PAGES_MAX: usize = 64;
/// How often an idle stream is heard of.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Everything comes from here, nothing from elsewhere, and nothing runs but the page's own script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

#[derive(Clone)]
struct Shared {
    board: Board,
    pages: Arc<Semaphore>,
}

/// The paths of the page.
pub(super) fn app(board: Board) -> Router {
    let shared = Shared {
        board,
        pages: Arc::new(Semaphore::new(PAGES_MAX)),
    };
    Router::new()
        .route(
            "/",
            get(|| file("text/html", include_str!("page/index.html"))),
        )
        .route(
            "/page.css",
            get(|| file("text/css", include_str!("page/page.css"))),
        )
        .route(
            "/page.js",
            get(|| file("text/javascript", include_str!("page/page.js"))),
        )
        .route(
            "/icon.svg",
            get(|| file("image/svg+xml", include_str!("page/icon.svg"))),
        )
        .route("/state", get(state))
        .route("/changes", get(changes))
        .layer(axum::middleware::from_fn(gate))
        .with_state(shared)
}

async fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, format!("{kind}; charset=utf-8"))],
        text,
    )
}

async fn state(State(shared): State<Shared>) -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, shared.board.json())
}

/// The version of the state, at once and whenever it has changed.
async fn changes(State(shared): State<Shared>) -> Response {
    let Ok(page) = shared.pages.try_acquire_owned() else {
        let why = format!("{PAGES_MAX} pages are open, close some\n");
        return (StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let mut watch = shared.board.watch();
    watch.mark_changed();
    let stream = versions(shared.board, watch, page);
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Sse::new(stream).keep_alive(heartbeat).into_response()
}

fn versions(
    board: Board,
    watch: tokio::sync::watch::Receiver<u64>,
    page: tokio::sync::OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold((board, watch, page), async |(board, mut watch, page)| {
        watch.changed().await.ok()?;
        watch.mark_unchanged();
        let event = Event::default().data(board.version());
        Some((Ok(event), (board, watch, page)))
    })
}

async fn gate(request: Request, next: Next) -> Response {
    let mut response = match is_own(request.headers(), request.uri()) {
        true => next.run(request).await,
        false => {
            let why = "this page is for browsers on this machine, as http://127.0.0.1 or http://localhost\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
    };
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// Whether it was asked for by a name of this machine, and by no other site.
fn is_own(headers: &HeaderMap, uri: &Uri) -> bool {
    let one = |name: HeaderName| {
        let mut all = headers.get_all(name).iter();
        match (all.next(), all.next()) {
            (Some(value), None) => Ok(value.to_str().ok()),
            (None, None) => Err(()),
            (_, Some(_)) => Ok(None),
        }
    };
    let Ok(Some(host)) = one(header::HOST) else {
        return false;
    };
    let origin = match one(header::ORIGIN) {
        Err(()) => true,
        Ok(origin) => origin.and_then(|origin| origin.strip_prefix("http://")) == Some(host),
    };
    let site = match one(HeaderName::from_static("sec-fetch-site")) {
        Err(()) => true,
        Ok(site) => matches!(site, Some("same-origin" | "none")),
    };
    is_local(host) && uri.authority().is_none_or(|name| name.as_str() == host) && origin && site
}

/// The port may be another one, as with a tunnel; the name says who is meant.
fn is_local(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let number = |port: &str| port.parse::<u16>().is_ok();
    let known = ["127.0.0.1", "[::1]"].contains(&name) || name.eq_ignore_ascii_case("localhost");
    known && port.is_none_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_browsers_on_this_machine() {
        // Host, Origin, Sec-Fetch-Site; whether they are let in.
        let table = [
            ("127.0.0.1:8088", "", "", true),
            ("localhost:9000", "", "none", true),
            ("LOCALHOST", "", "", true),
            ("[::1]:8088", "", "", true),
            ("[::1]", "", "", true),
            ("localhost:9", "http://localhost:9", "same-origin", true),
            ("localhost:9", "http://localhost:8", "", false),
            ("localhost:9", "https://localhost:9", "", false),
            ("localhost:9", "null", "", false),
            ("localhost:9", "http://evil.example", "", false),
            ("localhost:9", "", "cross-site", false),
            ("localhost:9", "", "same-site", false),
            ("evil.example", "", "", false),
            (
                "evil.example:8088",
                "http://evil.example:8088",
                "same-origin",
                false,
            ),
            ("127.0.0.1.evil.example", "", "", false),
            ("localhost.evil.example:8088", "", "", false),
            ("127.0.0.1:8088:1", "", "", false),
            ("localhost:x", "", "", false),
            ("localhost@evil.example", "", "", false),
            ("", "", "", false),
        ];
        for (host, origin, site, own) in table {
            let mut headers = HeaderMap::new();
            for (name, value) in [("host", host), ("origin", origin), ("sec-fetch-site", site)] {
                if !value.is_empty() {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(
                is_own(&headers, &Uri::from_static("/")),
                own,
                "{host} {origin} {site}"
            );
        }
        let mut two = HeaderMap::new();
        two.append("host", HeaderValue::from_static("localhost"));
        two.append("host", HeaderValue::from_static("localhost"));
        assert!(!is_own(&two, &Uri::from_static("/")));
        let host = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]);
        assert!(!is_own(&host, &Uri::from_static("http://evil.example/")));
    }
}
