//! `wasi:http` as a plugin sees it: its requests become questions, what came of them its answers or error codes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::WasiView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, IoError};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use super::answers::{Answer, Answers, HttpFailure, HttpFailureKind, Patience, Question};
use super::state::{GuestContext, Level, State};

/// What the headers of one request may take up, in bytes: an instance may hold many.
const HEADERS_BYTES_MAX: usize = 64 << 10;
/// What of a request's body is taken from the plugin at once; an instance may hold many of these too.
const BODY_PIECE_MAX: usize = 64 << 10;

/// What an instance's requests go through. It is dropped before the handles of the instance are.
pub(super) struct Http {
    ctx: WasiHttpCtx,
    asking: Asking,
}

struct Asking {
    answers: Arc<dyn Answers>,
    guest: Arc<GuestContext>,
    until: Instant,
    /// Whether the instance is gone.
    gone: Arc<AtomicBool>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
    }
}

impl Http {
    pub(super) fn new(answers: Arc<dyn Answers>, guest: Arc<GuestContext>) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(HEADERS_BYTES_MAX);
        Http {
            ctx,
            asking: Asking {
                answers,
                guest,
                until: Instant::now(),
                gone: Arc::default(),
            },
        }
    }

    /// A call begins, which ends at `until` at the latest.
    pub(super) fn begin(&mut self, until: Instant) {
        self.asking.until = until;
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (http, table) = self.http_and_table();
        WasiHttpCtxView {
            hooks: &mut http.asking,
            table,
            ctx: &mut http.ctx,
        }
    }
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Asking {
    /// It follows from the URL that was checked.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_MAX
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Done,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send> {
        let options = options.unwrap_or_default();
        let aborted = |error: Error| {
            HttpFailure::new(
                HttpFailureKind::Protocol,
                format!("the plugin gave up on the body of its request: {error}"),
            )
        };
        let asked = format!("{} {}", request.method(), shown(request.uri()));
        let question = Question {
            request: request.map(|body| {
                let gone = self.gone.clone();
                let body = Whole { body, gone };
                body.map_err(aborted).boxed_unsync()
            }),
            patience: Patience {
                connect: options.connect_timeout,
                first_byte: options.first_byte_timeout,
                between_bytes: options.between_bytes_timeout,
            },
            until: self.until,
        };
        let answering = match self.guest.reads_only && !question.request.method().is_safe() {
            true => Box::pin(async { Err(not_twice()) }),
            false => self.answers.answer(question),
        };
        let guest = self.guest.clone();
        Box::new(async move {
            let tell = move |failure: HttpFailure| {
                let message = format!("{asked}: {}", failure.why);
                guest.log(Level::Warn, "http", &message);
                Error::from(failure.kind)
            };
            match answering.await {
                Ok(answer) => Ok((arriving(answer, tell), Box::new(async { Ok(()) }) as Done)),
                Err(failure) => Err(tell(failure)),
            }
        })
    }
}

/// The body of a request. That of an instance which is gone (a trap, a cut) breaks off: it must not look as if it had
/// ended where the plugin was.
struct Whole {
    body: WasiBody,
    gone: Arc<AtomicBool>,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        match next {
            Poll::Ready(None) if self.gone.load(Ordering::Acquire) => {
                Poll::Ready(Some(Err(Error::HttpProtocolError)))
            }
            next => next,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

fn not_twice() -> HttpFailure {
    let why = "a version that runs beside another one may only read";
    HttpFailure::new(HttpFailureKind::Denied, why)
}

fn arriving(
    answer: Answer,
    tell: impl Fn(HttpFailure) -> Error + Send + 'static,
) -> http::Response<WasiBody> {
    answer.map(|body| body.map_err(tell).boxed_unsync())
}

/// The interface in which the engine defines HTTP.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Tells plugins why the body of an answer ended: what the engine defines for it does not know its own errors.
pub(super) fn tell_body_errors(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let told = linker.instance(TYPES)?.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, State>, (error,): (Resource<IoError>,)| {
            let error = store.data_mut().ctx().table.get(&error)?;
            Ok((error.downcast_ref::<Error>().map(code),))
        },
    );
    linker.allow_shadowing(false);
    told
}

/// What can go wrong once an answer has begun.
fn code(error: &Error) -> ErrorCode {
    match error {
        Error::HttpResponseBodySize(max) => ErrorCode::HttpResponseBodySize(*max),
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpProtocolError => ErrorCode::HttpProtocolError,
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}

/// A URL for the log: without its query and its user, which may be secret.
fn shown(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let host = url.authority().map_or("", |authority| {
        let authority = authority.as_str();
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    });
    format!("{scheme}://{host}{}", url.path())
}

impl From<HttpFailureKind> for Error {
    fn from(kind: HttpFailureKind) -> Self {
        match kind {
            HttpFailureKind::Denied => Error::HttpRequestDenied,
            HttpFailureKind::AddressProhibited => Error::DestinationIpProhibited,
            HttpFailureKind::UrlInvalid => Error::HttpRequestUriInvalid,
            HttpFailureKind::RequestTooLarge(max) => Error::HttpRequestBodySize(Some(max)),
            HttpFailureKind::ResponseTooLarge(max) => Error::HttpResponseBodySize(Some(max)),
            HttpFailureKind::NameNotFound => Error::DnsError {
                rcode: None,
                info_code: None,
            },
            HttpFailureKind::Refused => Error::ConnectionRefused,
            HttpFailureKind::Unavailable => Error::DestinationUnavailable,
            HttpFailureKind::ConnectTimeout => Error::ConnectionTimeout,
            HttpFailureKind::Busy => Error::ConnectionLimitReached,
            HttpFailureKind::ReadTimeout => Error::ConnectionReadTimeout,
            HttpFailureKind::Terminated => Error::ConnectionTerminated,
            HttpFailureKind::Incomplete => Error::HttpResponseIncomplete,
            HttpFailureKind::Tls => Error::TlsProtocolError,
            HttpFailureKind::Certificate => Error::TlsCertificateError,
            HttpFailureKind::Protocol => Error::HttpProtocolError,
            HttpFailureKind::Internal => Error::InternalError(None),
        }
    }
}
