//! Answers from the network: what is granted, over connections that all instances and requests of the process share.

mod arriving;
mod failures;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::{Host, Url};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use super::answers::{
    Answer, Answering, Answers, Body, HttpFailure, HttpFailureKind, Patience, Question,
};
use crate::config::Grants;
use crate::grants::{self, Origin, Server};
use arriving::Arriving;

/// Names that are looked up at once; looking up blocks a thread.
const LOOKUPS_MAX: usize = 16;
/// What the headers of an answer may take up, in bytes: an instance may hold many.
const HEADERS_BYTES_MAX: usize = 64 << 10;
/// How long a connection is kept that nobody uses: less than most servers keep it.
const IDLE: Duration = Duration::from_secs(30);

/// The servers that are granted, and the connections to them.
pub(super) struct Network {
    servers: Vec<Server>,
    /// Requests that may be under way, by server.
    rooms: HashMap<Origin, Arc<Semaphore>>,
    limits: Limits,
    /// What asks, started by the first question.
    asker: OnceLock<Result<Asker, String>>,
}

#[derive(Clone, Copy)]
struct Limits {
    request_bytes_max: usize,
    response_bytes_max: usize,
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
    connections: usize,
}

/// A thread that connections live on, and what keeps them.
struct Asker {
    handle: Handle,
    /// Connects to public addresses only.
    public: Client,
    /// Connects to any address.
    any: Client,
    _end: DropGuard,
}

/// A question that is granted.
struct Granted {
    url: Url,
    server: Origin,
    private: bool,
    room: Arc<Semaphore>,
}

impl Network {
    pub(super) fn new(grants: &Grants) -> Result<Self, String> {
        let servers = grants.http.iter().map(Server::new);
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let connections = grants.http_connections_per_host_max;
        let room = |server: &Server| (server.origin.clone(), Arc::new(Semaphore::new(connections)));
        Ok(Network {
            rooms: servers.iter().map(room).collect(),
            servers,
            limits: Limits {
                request_bytes_max: grants.http_request_bytes_max,
                response_bytes_max: grants.http_response_bytes_max,
                connect: Duration::from_millis(grants.http_connect_ms_max),
                first_byte: Duration::from_millis(grants.http_first_byte_ms_max),
                between_bytes: Duration::from_millis(grants.http_between_bytes_ms_max),
                connections,
            },
            asker: OnceLock::new(),
        })
    }

    /// Whether this may be asked, and where it leads.
    fn grant(&self, request: &http::Request<Body>) -> Result<Granted, HttpFailure> {
        let invalid = |why: &str| HttpFailure::new(HttpFailureKind::UrlInvalid, why);
        let url = Url::parse(&request.uri().to_string());
        let mut url = url.map_err(|error| invalid(&format!("it is no URL: {error}")))?;
        let user = request
            .uri()
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'));
        if user || !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "it names a user before the host: send an authorization header",
            ));
        }
        // As the plugin spelled it too: reading it has followed `..` already.
        let found = grants::find(&self.servers, request.method().as_str(), &url);
        let server = found.and_then(|server| {
            let spelled = server.allows_spelling(request.uri().path());
            spelled.map(|()| server)
        });
        let server = server.map_err(|why| HttpFailure::new(HttpFailureKind::Denied, why))?;
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
            _ => None,
        };
        if let Some(address) =
            address.filter(|address| !server.private && !grants::is_public(*address))
        {
            return Err(prohibited(&address.to_string()));
        }
        if let Some(host) = url
            .host_str()
            .and_then(|host| host.strip_suffix('.'))
            .map(str::to_owned)
        {
            url.set_host(Some(&host))
                .map_err(|_| invalid("it has no host"))?;
        }
        Ok(Granted {
            url,
            server: server.origin.clone(),
            private: server.private,
            room: self.rooms[&server.origin].clone(),
        })
    }

    fn asker(&self) -> Result<&Asker, HttpFailure> {
        let started = self.asker.get_or_init(|| Asker::start(self.limits));
        started
            .as_ref()
            .map_err(|why| HttpFailure::new(HttpFailureKind::Internal, why))
    }

    fn ask(
        &self,
        question: Question,
    ) -> Result<AbortOnDropJoinHandle<Result<Answer, HttpFailure>>, HttpFailure> {
        let granted = self.grant(&question.request)?;
        let asker = self.asker()?;
        let client = if granted.private {
            &asker.any
        } else {
            &asker.public
        };
        let asking = ask(client.clone(), granted, question, self.limits);
        Ok(asker.handle.spawn(asking).into())
    }
}

impl Answers for Network {
    fn answer(&self, question: Question) -> Answering {
        let asking = self.ask(question);
        Box::pin(async move { asking?.await })
    }
}

impl Asker {
    fn start(limits: Limits) -> Result<Self, String> {
        let (public, any) = (client(limits, false)?, client(limits, true)?);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS_MAX)
            .build()
            .map_err(|error| format!("could not start a thread for HTTP: {error}"))?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone();
        std::thread::Builder::new()
            .name("linemill-http".to_owned())
            .spawn(move || runtime.block_on(ended.cancelled()))
            .map_err(|error| format!("could not start a thread for HTTP: {error}"))?;
        Ok(Asker {
            handle,
            public,
            any,
            _end: end.drop_guard(),
        })
    }
}

/// Redirects are the plugin's business, and no proxy of the environment sees what it asks.
fn client(limits: Limits, private: bool) -> Result<Client, String> {
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(limits.connect)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(limits.connections)
        .tcp_nodelay(true)
        .dns_resolver(Names { private })
        .build();
    client.map_err(|error| format!("could not set HTTP up: {error}"))
}

async fn ask(
    client: Client,
    granted: Granted,
    question: Question,
    limits: Limits,
) -> Result<Answer, HttpFailure> {
    let Question {
        request,
        patience,
        until,
    } = question;
    let Patience {
        connect,
        first_byte,
        between_bytes,
    } = patience;
    let shorter = |own: Option<Duration>, limit: Duration| own.map_or(limit, |own| own.min(limit));
    let start = Instant::now();
    let by = |time: Duration| tokio::time::Instant::from((start + time).min(until));

    let connect = shorter(connect, limits.connect);
    let free = tokio::time::timeout_at(by(connect), granted.room.clone().acquire_owned());
    let room = free.await.map_err(|_| {
        let why = format!(
            "all {} connections to {} were in use for {connect:?} (grants.http_connections_per_host_max)",
            limits.connections, granted.server
        );
        HttpFailure::new(HttpFailureKind::Busy, why)
    })?;
    // A connection is in use until both bodies have passed: a server may answer a request that has not ended.
    let room = Arc::new(room.expect("the semaphore is never closed"));

    let first_byte = shorter(first_byte, limits.first_byte);
    let request = sent(request, granted.url, limits.request_bytes_max, room.clone());
    let asking = client.execute(request);
    let head = tokio::time::timeout_at(by(first_byte), asking).await;
    let head = head.map_err(|_| {
        let why = format!(
            "{} did not answer in {:?} (grants.http_first_byte_ms_max, the plugin's own limit, or the end of its call)",
            granted.server,
            start.elapsed()
        );
        HttpFailure::new(HttpFailureKind::ReadTimeout, why)
    })?;
    let answer = http::Response::from(
        head.map_err(|error| failures::before_answer(error, &granted.server))?,
    );
    let headers = answer.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers > HEADERS_BYTES_MAX {
        let why = format!(
            "the headers of the answer of {} have more than {HEADERS_BYTES_MAX} bytes",
            granted.server
        );
        return Err(HttpFailure::new(HttpFailureKind::Protocol, why));
    }
    let between_bytes = shorter(between_bytes, limits.between_bytes);
    let arriving = |body| {
        Arriving::new(
            body,
            granted.server,
            limits.response_bytes_max,
            between_bytes,
            room,
        )
    };
    Ok(answer.map(|body| arriving(body).boxed_unsync()))
}

fn sent(
    request: http::Request<Body>,
    url: Url,
    bytes_max: usize,
    room: Arc<OwnedSemaphorePermit>,
) -> reqwest::Request {
    let (head, body) = request.into_parts();
    let mut request = reqwest::Request::new(head.method, url);
    *request.headers_mut() = head.headers;
    if !http_body::Body::is_end_stream(&body) {
        let sending = Sending {
            body: Mutex::new(body),
            left: bytes_max,
            max: bytes_max,
            _room: room,
        };
        *request.body_mut() = Some(reqwest::Body::wrap(sending));
    }
    request
}

/// The body of a request, limited.
struct Sending {
    /// Never locked: it makes something that only one can use at once fit to be handed to anybody.
    body: Mutex<Body>,
    left: usize,
    max: usize,
    _room: Arc<OwnedSemaphorePermit>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = HttpFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, HttpFailure>>> {
        let body = self.body.get_mut().expect("it is never locked");
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len()) {
                Some(left) => self.left = left,
                None => {
                    let why = format!(
                        "the request has more than grants.http_request_bytes_max = {} bytes",
                        self.max
                    );
                    let kind = HttpFailureKind::RequestTooLarge(self.max as u64);
                    return Poll::Ready(Some(Err(HttpFailure::new(kind, why))));
                }
            }
        }
        polled
    }
}

/// Looks names up, and leaves out the addresses that may not be connected to.
struct Names {
    private: bool,
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found
                .map_err(|error| no_name(&name, &error.to_string()))?
                .collect();
            let allowed = found
                .iter()
                .filter(|address| private || grants::is_public(address.ip()));
            let allowed: Vec<SocketAddr> = allowed.copied().collect();
            match (allowed.is_empty(), found.first()) {
                (false, _) => Ok(Box::new(allowed.into_iter()) as Addrs),
                (true, Some(address)) => {
                    Err(prohibited(&format!("{} is {}, which", name.as_str(), address.ip())).into())
                }
                (true, None) => Err(no_name(&name, "it has no address").into()),
            }
        })
    }
}

fn no_name(name: &Name, why: &str) -> HttpFailure {
    let why = format!("the name {} was not found: {why}", name.as_str());
    HttpFailure::new(HttpFailureKind::NameNotFound, why)
}

fn prohibited(what: &str) -> HttpFailure {
    let why = format!(
        "{what} is no public address: set `private = true` in this entry of grants.http to allow it"
    );
    HttpFailure::new(HttpFailureKind::AddressProhibited, why)
}
