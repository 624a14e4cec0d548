//! HTTP answers kept on a tape, or played back from it without asking anybody.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};

use super::answers::{Answer, Answering, Answers, Body, HttpFailure, HttpFailureKind, Question};
use crate::capsule::{Asked, Exchange, Piece, Slot, Tape};

/// What a header takes up besides its bytes.
const HEADER_BYTES: usize = 16;

/// Answers of one instance.
pub(super) struct TapedAnswers {
    live: Arc<dyn Answers>,
    tape: Tape,
}

impl TapedAnswers {
    pub(super) fn new(live: Arc<dyn Answers>, tape: Tape) -> Self {
        TapedAnswers { live, tape }
    }
}

impl Answers for TapedAnswers {
    fn answer(&self, question: Question) -> Answering {
        let request = &question.request;
        let (method, url) = (request.method().to_string(), request.uri().to_string());
        match self.tape.ask(&method, &url) {
            Asked::Live(slot) => kept(self.live.answer(question), self.tape.clone(), slot),
            Asked::Earlier(exchange) => {
                drain(question);
                earlier(exchange)
            }
            Asked::Unknown => {
                drain(question);
                let why = format!("the capsule has no answer to {method} {url}");
                let failure = HttpFailure::new(HttpFailureKind::Internal, why);
                Box::pin(std::future::ready(Err(failure)))
            }
        }
    }
}

/// A plugin may wait until the body of its request was taken.
fn drain(question: Question) {
    let mut body = question.request.into_body();
    tokio::spawn(async move { while let Some(Ok(_)) = body.frame().await {} });
}

/// Keeps what comes, as the plugin takes it.
fn kept(answering: Answering, tape: Tape, slot: Slot) -> Answering {
    Box::pin(async move {
        match answering.await {
            Ok(answer) => {
                keep_head(&answer, &tape, slot);
                let body = |body| Kept { body, tape, slot }.boxed_unsync();
                Ok(answer.map(body))
            }
            Err(failure) => {
                let told = failure.clone();
                tape.fill(slot, 0, |exchange| exchange.failure = Some(told));
                Err(failure)
            }
        }
    })
}

fn keep_head(answer: &Answer, tape: &Tape, slot: Slot) {
    let headers = answer.headers().iter();
    let bytes = headers.map(|(name, value)| name.as_str().len() + value.len() + HEADER_BYTES);
    tape.fill(slot, bytes.sum(), |exchange| {
        exchange.status = Some(answer.status().as_u16());
        exchange.ended = answer.body().is_end_stream();
        for (name, value) in answer.headers() {
            exchange.add_header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
    });
}

/// A body that is kept as it is read.
struct Kept {
    body: Body,
    tape: Tape,
    slot: Slot,
}

impl Kept {
    fn keep(&self, next: Option<&Result<Frame<Bytes>, HttpFailure>>) {
        match next {
            None => self
                .tape
                .fill(self.slot, 0, |exchange| exchange.ended = true),
            Some(Err(failure)) => {
                let told = failure.clone();
                self.tape
                    .fill(self.slot, 0, |exchange| exchange.failure = Some(told));
            }
            Some(Ok(frame)) => {
                let ended = self.body.is_end_stream();
                let data = frame.data_ref().cloned().unwrap_or_default();
                self.tape
                    .fill(self.slot, data.len() + HEADER_BYTES, |exchange| {
                        exchange.body.push(Piece(data.to_vec()));
                        exchange.ended = ended;
                    });
            }
        }
    }
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = HttpFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpFailure>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(next) = &next {
            self.keep(next.as_ref());
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What came before, at once. What the plugin did not wait for then does not come now either.
fn earlier(exchange: Exchange) -> Answering {
    Box::pin(async move {
        let mut head = http::Response::builder();
        match (exchange.status, &exchange.failure) {
            (Some(status), _) => head = head.status(status),
            (None, Some(failure)) => return Err(failure.clone()),
            (None, None) => std::future::pending().await,
        }
        for (name, value) in &exchange.headers {
            head = head.header(name, value);
        }
        let answer = head.body(body(exchange));
        answer.map_err(|error| {
            let why = format!("the capsule's answer is none: {error}");
            HttpFailure::new(HttpFailureKind::Protocol, why)
        })
    })
}

fn body(exchange: Exchange) -> Body {
    let pieces = exchange.body.into_iter();
    let frames = pieces.map(|Piece(bytes)| Ok(Frame::data(Bytes::from(bytes))));
    let cut = || {
        let why = "the capsule holds only the beginning of the answer";
        HttpFailure::new(HttpFailureKind::Incomplete, why)
    };
    let end = exchange.failure.or_else(|| exchange.cut.then(cut));
    let open = end.is_none() && !exchange.ended;
    let end = end.map(Err);
    let frames = stream::iter(frames.chain(end));
    match open {
        true => StreamBody::new(frames.chain(stream::pending())).boxed_unsync(),
        false => StreamBody::new(frames).boxed_unsync(),
    }
}
