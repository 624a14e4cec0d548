//! `linemill serve`: requests over HTTP: lines in and out, events of platforms, and what a server has to tell.

mod admin;
mod answer;
mod connection;
mod events;
mod gate;
mod health;
mod incoming;
mod lines;
mod meters;
mod one;
mod outgoing;
mod patience;
mod slots;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::{get, post};
use linemill::{AllowedSources, Config};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::meters::Meters;
use self::patience::Patience;
use self::slots::Slots;
use super::service::Service;
use super::settings::Settings;
use super::stops::{QUIT, Signals};
use super::{ALL_PROCESSED, SOME_LEFT, say};

/// Where it listens when nobody says so.
const LISTEN: &str = "127.0.0.1:8080";
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// How long accepting pauses when there is no room for another connection in the system.
const BREATH: Duration = Duration::from_millis(100);

/// What `serve` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "POST /lines          lines in, output out while they are processed; the report as trailer or last line
POST /run?source=URL one source, below one of allowed_sources; also offset= and length=
POST /               an event: CloudEvents, Pub/Sub push, S3 notifications, linemill's own requests
GET  /health         whether it serves, and with which version of the plugin
GET  /metrics        for Prometheus
     /admin/plugin   see `linemill plugin`

SIGTERM ends it in order within grace_ms; a second one quits at once."
)]
pub(crate) struct Args {
    /// Address and port to listen on, port 0 for any that is free [default: 127.0.0.1:8080, or all addresses at $PORT]
    #[arg(long, short, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// How many requests run at the same time; further ones are sent away [default: 64]
    #[arg(long, value_name = "N")]
    max_requests: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// What all connections share.
struct Server {
    service: Arc<Service>,
    slots: Slots,
    connections: Arc<Semaphore>,
    meters: Meters,
    patience: Patience,
    /// Cancelled when no further request is taken.
    closing: CancellationToken,
}

impl Server {
    fn config(&self) -> &Config {
        self.service.config()
    }
}

/// Serves until a signal ends it.
pub(crate) async fn serve(mut args: Args) -> Result<ExitCode> {
    args.settings.set("listen", args.listen.take());
    args.settings.set("requests_max", args.max_requests.take());
    let config = Arc::new(args.settings.effective()?.config);
    config.check_for_run()?;
    let mut signals = Signals::listen()?;
    let meters = Meters::install()?;
    let allowed = AllowedSources::new(&config.allowed_sources).map_err(anyhow::Error::msg)?;
    let listener = listen(&config).await?;
    let service = tokio::select! {
        service = Service::guarded(config.clone(), config.requests_max, Some(allowed)) => service?,
        () = signals.next() => return Ok(ExitCode::from(ALL_PROCESSED)),
    };
    let _polling = service.registry.spawn_polling();
    let server = Arc::new(Server {
        service,
        slots: Slots::new(config.requests_max),
        connections: Arc::new(Semaphore::new(config.connections_max)),
        meters,
        patience: Patience::of(&config),
        closing: CancellationToken::new(),
    });
    say(&format!("listening on http://{}", listener.local_addr()?));
    tokio::spawn(accept(server.clone(), listener));
    tokio::spawn(server.meters.clone().keep_up());
    signals.next().await;
    let grace = Duration::from_millis(config.grace_ms);
    say(&format!(
        "linemill: ending within {grace:?}; what is not done by then is handed over (again to quit at once)"
    ));
    server.closing.cancel();
    tokio::select! {
        code = end(&server, grace) => Ok(code),
        () = signals.next() => std::process::exit(QUIT),
    }
}

async fn listen(config: &Config) -> Result<TcpListener> {
    let address = match (&config.listen, std::env::var("PORT")) {
        (Some(address), _) => address.clone(),
        (None, Ok(port)) => format!("0.0.0.0:{port}"),
        (None, Err(_)) => LISTEN.to_owned(),
    };
    let cannot = || format!("cannot listen on {address}, ADDRESS:PORT is expected");
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host(&address)
        .await
        .with_context(cannot)?
        .collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let first = *addresses.first().with_context(cannot)?;
    let bind = || {
        let socket = match first {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(first)?;
        socket.listen(BACKLOG)
    };
    bind().with_context(cannot)
}

/// Accepts connections until the server closes; then nobody listens any more.
async fn accept(server: Arc<Server>, listener: TcpListener) {
    let app = app(&server);
    loop {
        let next = async {
            let room = server.connections.clone().acquire_owned().await;
            (room, listener.accept().await)
        };
        let (room, accepted) = tokio::select! {
            biased;
            () = server.closing.cancelled() => return,
            next = next => next,
        };
        match accepted {
            Ok((stream, _)) => {
                let (server, app) = (server.clone(), app.clone());
                tokio::spawn(async move {
                    connection::serve(&server, app, stream).await;
                    drop(room);
                });
            }
            // A client that is gone already is none of ours; for a lack of files there is no remedy but time.
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

fn app(server: &Arc<Server>) -> Router {
    let admin = Router::new()
        .route("/admin/plugin", get(admin::status))
        .route("/admin/plugin/rollback", post(admin::rollback))
        .route("/admin/plugin/pin", post(admin::pin))
        .route("/admin/plugin/unpin", post(admin::unpin))
        .route("/admin/plugin/check", post(admin::check));
    Router::new()
        .route("/", post(events::event))
        .route("/run", post(one::run))
        .route("/lines", post(lines::lines))
        .route("/health", get(health::health))
        .route("/metrics", get(health::metrics))
        .merge(admin)
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(axum::middleware::from_fn_with_state(
            server.clone(),
            gate::pass,
        ))
        .with_state(server.clone())
}

/// Waits for the requests under way; those that take too long hand over what is left.
async fn end(server: &Server, grace: Duration) -> ExitCode {
    let over = Instant::now() + grace;
    let all_done = async {
        server.slots.all_free().await;
        let connections = server.config().connections_max as u32;
        drop(server.connections.acquire_many(connections).await);
    };
    let handing_over = async {
        tokio::time::sleep_until(over - grace / 4).await;
        server.slots.interrupt();
        tokio::time::sleep_until(over).await;
    };
    tokio::select! {
        biased;
        () = all_done => ExitCode::from(ALL_PROCESSED),
        () = handing_over => {
            let left = server.slots.taken();
            say(&format!("linemill: {left} requests did not end in time; nothing of them is visible"));
            ExitCode::from(if left > 0 { SOME_LEFT } else { ALL_PROCESSED })
        }
    }
}
