//! The answer to a body of lines: as long as nothing of it was sent an error has a status of its own; from then on it
//! resets the connection, so that nobody takes half for the whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_TYPE, TRAILER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use hyper::body::Frame;
use linemill::Report;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::answer;
use super::connection::Hangup;
use super::incoming::Late;
use super::slots::Client;

/// So much output is held back, and so long: what ends meanwhile is answered whole, with the status that it deserves.
const HELD_BYTES_MAX: usize = 64 * 1024;
const HELD_TIME: Duration = Duration::from_millis(20);
/// A report that is longer goes without the plugin's metrics: clients have little room for headers.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
const REPORT: &str = "linemill-report";

/// How the client wants the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportAs {
    Nothing,
    Trailer,
    LastLine,
}

/// Output on its way to the client.
pub(super) struct Outgoing {
    /// What was held back.
    held: BytesMut,
    pieces: mpsc::Receiver<Bytes>,
    report: oneshot::Receiver<Report>,
    report_as: ReportAs,
    /// What was sent ends with a line's end.
    whole_line: bool,
    client: Client,
    hangup: Hangup,
    over: bool,
}

impl Outgoing {
    pub(super) fn new(
        pieces: mpsc::Receiver<Bytes>,
        report: oneshot::Receiver<Report>,
        report_as: ReportAs,
        client: Client,
        hangup: Hangup,
    ) -> Self {
        Outgoing {
            held: BytesMut::new(),
            pieces,
            report,
            report_as,
            whole_line: true,
            client,
            hangup,
            over: false,
        }
    }

    /// Waits until it is known how the answer begins.
    pub(super) async fn answer(mut self, late: &Late) -> Response {
        if !self.hold().await {
            return self.streamed();
        }
        let Ok(report) = (&mut self.report).await else {
            return answer::broken();
        };
        self.client.answered();
        if report.is_error() {
            let status = match late.is_late() {
                true => StatusCode::REQUEST_TIMEOUT,
                false => answer::status(&report),
            };
            let error = report.errors.first().unwrap_or_default();
            return answer::json(status, &json!({ "error": error, "report": report }));
        }
        if self.report_as == ReportAs::Trailer {
            let (done, again) = oneshot::channel();
            let _ = done.send(report);
            self.report = again;
            return self.streamed();
        }
        let mut whole = self.take_held().unwrap_or_default();
        if self.report_as == ReportAs::LastLine {
            whole = [whole, self.last_line(&report)].concat().into();
        }
        self.with_headers(Body::from(whole))
    }

    /// Collects output, for a moment. True: that was all.
    async fn hold(&mut self) -> bool {
        let Some(first) = self.pieces.recv().await else {
            return true;
        };
        self.held.extend_from_slice(&first);
        let hold = tokio::time::sleep(HELD_TIME);
        tokio::pin!(hold);
        while self.held.len() < HELD_BYTES_MAX {
            tokio::select! {
                biased;
                piece = self.pieces.recv() => match piece {
                    Some(piece) => self.held.extend_from_slice(&piece),
                    None => return true,
                },
                () = &mut hold => return false,
            }
        }
        false
    }

    fn streamed(self) -> Response {
        let trailer = self.report_as == ReportAs::Trailer;
        let mut response = self.with_headers_of();
        *response.body_mut() = Body::new(self);
        if trailer {
            response
                .headers_mut()
                .insert(TRAILER, HeaderValue::from_static(REPORT));
        }
        response
    }

    fn with_headers_of(&self) -> Response {
        self.with_headers(Body::empty())
    }

    fn with_headers(&self, body: Body) -> Response {
        let kind = match self.report_as {
            ReportAs::LastLine => "application/x-ndjson; report=last",
            ReportAs::Trailer | ReportAs::Nothing => "application/octet-stream",
        };
        ([(CONTENT_TYPE, kind)], body).into_response()
    }

    fn take_held(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        self.note_end(&held);
        (!held.is_empty()).then(|| held.freeze())
    }

    fn note_end(&mut self, piece: &[u8]) {
        if let Some(last) = piece.last() {
            self.whole_line = *last == b'\n';
        }
    }

    /// The report as a line of its own.
    fn last_line(&self, report: &Report) -> Bytes {
        let mut line = match self.whole_line {
            true => Vec::new(),
            false => vec![b'\n'],
        };
        serde_json::to_writer(&mut line, report).expect("a report is plain data");
        line.push(b'\n');
        line.into()
    }

    fn end(&mut self, report: &Report) -> Option<Frame<Bytes>> {
        match self.report_as {
            ReportAs::Nothing => None,
            ReportAs::LastLine => Some(Frame::data(self.last_line(report))),
            ReportAs::Trailer => {
                let mut trailers = HeaderMap::new();
                trailers.insert(HeaderName::from_static(REPORT), trailer(report));
                Some(Frame::trailers(trailers))
            }
        }
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(held) = self.take_held() {
            return Poll::Ready(Some(Ok(Frame::data(held))));
        }
        if let Some(piece) = ready!(self.pieces.poll_recv(cx)) {
            self.note_end(&piece);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let report = ready!(Pin::new(&mut self.report).poll(cx));
        self.over = true;
        self.client.answered();
        match report {
            Ok(report) if !report.is_error() => Poll::Ready(self.end(&report).map(Ok)),
            _ => {
                self.hangup.reset();
                let why = "the request failed after some of its output was sent";
                Poll::Ready(Some(Err(std::io::Error::other(why))))
            }
        }
    }
}

/// A header's value is ASCII, and JSON can be written so.
fn trailer(report: &Report) -> HeaderValue {
    let mut value = serde_json::to_value(report).expect("a report is plain data");
    let mut text = ascii(&value.to_string());
    if text.len() > TRAILER_BYTES_MAX {
        value["Metrics"] = json!("left out, they are too long for a trailer: ask for report=last");
        text = ascii(&value.to_string());
    }
    HeaderValue::try_from(text).expect("it is visible ASCII")
}

fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            ' '..='~' => text.push(c),
            _ => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).iter();
                text.extend(units.map(|unit| format!("\\u{unit:04x}")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_in_ascii_means_the_same() {
        let json = json!({ "é": "a\n\u{7f}\u{1F600} ~", "b": [1, null] });
        let text = ascii(&json.to_string());
        assert!(
            text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            json
        );
    }
}
