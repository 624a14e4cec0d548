//! Where the answers to a plugin's HTTP requests come from: the network, or whatever stands in for it.
//!
//! All HTTP of all plugins passes [`Answers::answer`]. Grants and limits are on the network's side of it: who records
//! answers wraps one and sees what the plugin sees, refusals too; who replays them is one, and asks nobody.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use serde::{Deserialize, Serialize};

/// A source of answers, shared by all who ask.
pub trait Answers: Send + Sync + 'static {
    /// Answers a question. Dropping what comes back gives up on it.
    fn answer(&self, question: Question) -> Answering;
}

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = Result<Answer, HttpFailure>> + Send>>;

/// A head, and a body as it arrives.
pub type Answer = http::Response<Body>;

/// A body as it arrives.
pub type Body = UnsyncBoxBody<Bytes, HttpFailure>;

/// What a plugin asks: an absolute URL, as it spelled it, and how long it is willing to wait.
pub struct Question {
    /// Method, URL, headers and body.
    pub request: http::Request<Body>,
    /// The plugin's own time-outs.
    pub patience: Patience,
    /// The call into the plugin ends here at the latest.
    pub until: Instant,
}

/// Time-outs that a plugin set; `None`: it did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Option<Duration>,
    /// For the head of the answer.
    pub first_byte: Option<Duration>,
    /// Between two pieces of its body.
    pub between_bytes: Option<Duration>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct HttpFailure {
    /// What the plugin is told.
    pub kind: HttpFailureKind,
    /// What the log is told.
    pub why: String,
}

/// What a plugin is told of a failure, each as an `error-code` of `wasi:http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HttpFailureKind {
    /// No grant covers it.
    Denied,
    /// It leads to an address that is not public.
    AddressProhibited,
    /// It is no URL that can be asked.
    UrlInvalid,
    /// The body of the request is larger than this.
    RequestTooLarge(u64),
    /// The body of the answer is larger than this.
    ResponseTooLarge(u64),
    /// There is no such name.
    NameNotFound,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unavailable,
    /// No connection in time.
    ConnectTimeout,
    /// All connections that there may be are in use.
    Busy,
    /// No answer in time, or no more of it.
    ReadTimeout,
    /// The connection broke before the answer.
    Terminated,
    /// The connection broke within the answer.
    Incomplete,
    /// No agreement on how to encrypt.
    Tls,
    /// The server is not who it should be.
    Certificate,
    /// It is no HTTP.
    Protocol,
    /// linemill could not ask.
    Internal,
}

impl HttpFailure {
    pub(super) fn new(kind: HttpFailureKind, why: impl Into<String>) -> Self {
        let why = why.into();
        HttpFailure { kind, why }
    }
}
