//! Asks HTTP servers, as far as the configuration grants them (`grants.http`). Needs the feature `http`.
//!
//! A request waits for its whole answer. While it does, other instances go on: to ask for many lines at once, let
//! many of them work (`concurrency`). Connections are the host's, and shared by all instances. Redirects are answers
//! like any other.
//!
//! ```no_run
//! # use linemill_sdk::{Result, corrupt};
//! use linemill_sdk::http;
//!
//! fn look_up(name: &str) -> Result<String> {
//!     let url = format!("https://api.example.com/v1/{}", http::encode(name));
//!     let answer = http::get(&url)?; // no answer: again, later
//!     if answer.status != 200 {
//!         return Err(corrupt!("{name}: status {}", answer.status));
//!     }
//!     Ok(answer.text()?.to_owned())
//! }
//! ```
//!
//! In native tests, [`testing::Run::http`](crate::testing::Run::http) answers.

#[cfg(target_arch = "wasm32")]
mod component;

/// What wit-bindgen makes of `wit/`.
#[cfg(target_arch = "wasm32")]
#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]
mod bindings {
    wit_bindgen::generate!({ world: "linemill:sdk/http-client", path: "wit", generate_all });
}

use std::fmt::{self, Write};
use std::str::Utf8Error;

/// Asks for a URL, and waits for the whole answer.
///
/// # Errors
/// There is no answer, or not the whole of it.
pub fn get(url: &str) -> Result<Response, Failure> {
    Request::get(url).send()
}

/// `text` as one segment of a path, or one value of a query: everything but letters, digits and `-._~` is encoded.
pub fn encode(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut encoded = String::with_capacity(text.len());
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}"); // a String takes everything
        }
    }
    encoded
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// In capitals.
    pub method: String,
    /// The whole URL.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// What is sent along.
    pub body: Vec<u8>,
    /// How long to wait for the head of the answer, and for each further piece of it; the host's limits hold besides.
    pub timeout_ms: Option<u64>,
}

impl Request {
    /// A request for a URL, by any method.
    pub fn new(method: &str, url: &str) -> Self {
        Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// Asks for what is there.
    pub fn get(url: &str) -> Self {
        Request::new("GET", url)
    }

    /// Hands something over.
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        Request::new("POST", url).body(body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sends this along.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits no longer than this for the head of the answer, and for each further piece of it.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.timeout_ms = Some(ms);
        self
    }

    /// Asks, and waits for the whole answer.
    ///
    /// # Errors
    /// There is no answer, or not the whole of it.
    pub fn send(&self) -> Result<Response, Failure> {
        backend::send(self)
    }

    /// The URL taken apart: scheme, host with port, path with query.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    fn parts(&self) -> Result<(&str, &str, String), Failure> {
        let url = self.url.split('#').next().unwrap_or_default();
        let parts = url.split_once("://").and_then(|(scheme, rest)| {
            let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let slash = if path.starts_with('/') { "" } else { "/" };
            (!host.is_empty()).then(|| (scheme, host, format!("{slash}{path}")))
        });
        let known = parts.filter(|(scheme, ..)| matches!(*scheme, "http" | "https"));
        known.ok_or_else(|| {
            let why = format!("`{}` is no http or https URL", self.url);
            Failure::new(FailureKind::Invalid, why)
        })
    }
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// 200 and the like.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers, for tests.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }

    /// The body as text.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.body)
    }
}

/// Why there is no answer. With `?` it means that running the line again may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: FailureKind,
    why: String,
}

/// What there is to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The configuration does not grant it: the operator's to change.
    Denied,
    /// It could not be asked: the URL, a header or the method is wrong.
    Invalid,
    /// The request or the answer is larger than allowed.
    TooLarge,
    /// No answer in time.
    Timeout,
    /// No connection, or it broke.
    Connection,
}

impl Failure {
    /// A failure, for tests too.
    pub fn new(kind: FailureKind, why: impl Into<String>) -> Self {
        let why = why.into();
        Failure { kind, why }
    }

    /// What there is to do about it.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

#[cfg(target_arch = "wasm32")]
use component as backend;

#[cfg(not(target_arch = "wasm32"))]
mod backend {
    pub(super) use crate::testing::fake::send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_free_in_a_url_stays() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encode("ä /?#%&\r"), "%C3%A4%20%2F%3F%23%25%26%0D");
    }

    #[test]
    fn urls_are_taken_apart() {
        for (url, expected) in [
            ("http://a", Some(("http", "a", "/"))),
            (
                "https://a:8443/b/c?d=/e#f",
                Some(("https", "a:8443", "/b/c?d=/e")),
            ),
            ("https://a?b", Some(("https", "a", "/?b"))),
            ("http://[::1]:80/", Some(("http", "[::1]:80", "/"))),
            ("ftp://a/b", None),
            ("a/b", None),
            ("http:///b", None),
        ] {
            let request = Request::get(url);
            let parts = request.parts().ok();
            let parts = parts
                .as_ref()
                .map(|(scheme, host, path)| (*scheme, *host, path.as_str()));
            assert_eq!(parts, expected, "{url}");
        }
    }
}
