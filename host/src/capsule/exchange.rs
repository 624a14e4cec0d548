//! An HTTP request of a plugin and what came of it, as a capsule keeps them. Pure.

use serde::{Deserialize, Serialize};

use super::redact::{redact, redact_text};
use super::{MASK, Secrets, base64_bytes};
use crate::config::{is_secret, mask_secrets};
use crate::runtime::HttpFailure;

/// Headers that are secret whatever they hold.
const SECRET_HEADERS: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];
/// Headers that say how to read a body, and nothing of what is in it.
const PLAIN_HEADERS: [&str; 3] = ["content-type", "content-length", "content-encoding"];

/// One request, and as much of the answer as the plugin waited for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Method of the request. Its headers and body are not kept: the plugin makes them again.
    pub method: String,
    /// URL of the request, what is secret in it masked.
    pub url: String,
    /// The answer's status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The answer's headers, what is secret masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The answer's body, in the pieces in which it arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<Piece>,
    /// The body came to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Why there was no answer, or no more of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<HttpFailure>,
    /// More came than is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Bytes that arrived at once.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Piece(#[serde(with = "base64_bytes")] pub Vec<u8>);

impl Exchange {
    /// A request of which nothing has come yet.
    pub fn begun(method: &str, url: &str) -> Exchange {
        Exchange {
            method: method.to_owned(),
            url: mask_secrets(url),
            status: None,
            headers: Vec::new(),
            body: Vec::new(),
            ended: false,
            failure: None,
            cut: false,
        }
    }

    /// Whether it is the answer to such a request; one that was redacted is to what looks the same.
    pub fn answers(&self, method: &str, url: &str) -> bool {
        let url = mask_secrets(url);
        self.method == method && (self.url == url || self.url == hidden_url(&url))
    }

    /// Adds a header of the answer.
    pub fn add_header(&mut self, name: &str, value: &str) {
        let value = match SECRET_HEADERS.contains(&name) || is_secret(name) {
            true => MASK,
            false => value,
        };
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// The headers that are masked.
    pub fn masked(&self) -> impl Iterator<Item = &str> {
        let masked = self.headers.iter().filter(|(_, value)| value == MASK);
        masked.map(|(name, _)| name.as_str())
    }

    /// Hides what of the URL may be taken from a line.
    pub fn hide_url(&mut self) {
        self.url = hidden_url(&self.url);
    }

    /// Hides what the answer says, but for its status.
    pub fn hide_answer(&mut self) {
        for (name, value) in &mut self.headers {
            if value != MASK && !PLAIN_HEADERS.contains(&name.as_str()) {
                *value = redact_text(value);
            }
        }
        let hidden = redact(&self.whole_body());
        self.replace_body(&hidden);
    }

    /// Hides secret values wherever they stand; `true`: there were some in the answer.
    pub fn hide_secrets(&mut self, secrets: &Secrets) -> bool {
        secrets.hide(&mut self.url);
        let mut hidden = false;
        for (_, value) in &mut self.headers {
            hidden |= secrets.hide(value);
        }
        let mut body = self.whole_body();
        if secrets.blot(&mut body) {
            self.replace_body(&body);
            hidden = true;
        }
        hidden
    }

    fn whole_body(&self) -> Vec<u8> {
        let pieces = self.body.iter().flat_map(|piece| &piece.0);
        pieces.copied().collect()
    }

    /// Puts as many other bytes into the same pieces.
    fn replace_body(&mut self, mut bytes: &[u8]) {
        for Piece(piece) in &mut self.body {
            let (first, rest) = bytes.split_at(piece.len().min(bytes.len()));
            *piece = first.to_vec();
            bytes = rest;
        }
    }
}

/// Path and query hidden; the server stays.
fn hidden_url(url: &str) -> String {
    let server = url.find("://").map_or(0, |at| at + "://".len());
    let path = url[server..]
        .find(['/', '?'])
        .map_or(url.len(), |at| server + at);
    format!("{}{}", &url[..path], redact_text(&url[path..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange() -> Exchange {
        let mut exchange = Exchange::begun("GET", "https://h.org/v1/Jo?id=77&token=abc");
        exchange.status = Some(200);
        exchange.add_header("content-type", "application/json");
        exchange.add_header("x-name", "Jo");
        exchange.add_header("set-cookie", "a=b");
        exchange.add_header("x-api-token", "abc");
        exchange.body = vec![Piece(b"{\"name\":\"J".to_vec()), Piece(b"o\"}".to_vec())];
        exchange
    }

    #[test]
    fn secrets_are_never_kept() {
        let json = serde_json::to_string(&exchange()).expect("it is plain data");
        assert!(!json.contains("abc") && !json.contains("a=b"), "{json}");
        assert_eq!(
            exchange().masked().collect::<Vec<_>>(),
            ["set-cookie", "x-api-token"]
        );
    }

    #[test]
    fn hidden_answers_keep_their_shape() {
        let mut hidden = exchange();
        hidden.hide_url();
        hidden.hide_answer();
        assert_eq!(hidden.url, "https://h.org/x9/Xx?xx=99&xxxxx=***");
        let values: Vec<_> = hidden
            .headers
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, ["application/json", "Xx", MASK, MASK]);
        let pieces: Vec<_> = hidden.body.iter().map(|piece| &piece.0[..]).collect();
        assert_eq!(pieces, [&b"{\"name\":\"X"[..], b"x\"}"]);
    }

    #[test]
    fn which_request_it_answers() {
        let mut hidden = exchange();
        hidden.hide_url();
        // Method, URL -> answered by the plain one, by the hidden one.
        let table = [
            ("GET", "https://h.org/v1/Jo?id=77&token=abc", true, true),
            ("GET", "https://h.org/v1/Jo?id=77&token=other", true, true),
            ("GET", "https://h.org/v1/Al?id=12&token=abc", false, true),
            ("GET", "https://h.org/v1/Joe?id=77&token=abc", false, false),
            (
                "GET",
                "https://other.org/v1/Jo?id=77&token=abc",
                false,
                false,
            ),
            ("PUT", "https://h.org/v1/Jo?id=77&token=abc", false, false),
        ];
        for (method, url, plain, like) in table {
            assert_eq!(exchange().answers(method, url), plain, "{method} {url}");
            assert_eq!(hidden.answers(method, url), like, "{method} {url}");
        }
    }
}
