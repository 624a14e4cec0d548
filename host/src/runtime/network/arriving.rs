//! The body of an answer as it arrives: limited in size, and in how long it may stop.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::super::answers::{HttpFailure, HttpFailureKind};
use super::failures;
use crate::grants::Origin;

/// Nothing comes after an error or the end.
pub(super) struct Arriving {
    body: reqwest::Body,
    server: Origin,
    bytes_max: u64,
    left: u64,
    between_bytes: Duration,
    /// Runs while somebody waits for the next piece, not while the plugin works on the last one.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Given back when nothing more is to come.
    room: Option<Arc<OwnedSemaphorePermit>>,
}

impl Arriving {
    pub(super) fn new(
        body: reqwest::Body,
        server: Origin,
        bytes_max: usize,
        between_bytes: Duration,
        room: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        let bytes_max = bytes_max as u64;
        Arriving {
            body,
            server,
            bytes_max,
            left: bytes_max,
            between_bytes,
            waiting: None,
            room: Some(room),
        }
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, HttpFailure> {
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| self.too_large())?;
        Ok(frame)
    }

    fn too_large(&self) -> HttpFailure {
        let why = format!(
            "the answer of {} has more than grants.http_response_bytes_max = {} bytes",
            self.server, self.bytes_max
        );
        HttpFailure::new(HttpFailureKind::ResponseTooLarge(self.bytes_max), why)
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<HttpFailure> {
        let between_bytes = self.between_bytes;
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(between_bytes)));
        waiting.as_mut().poll(cx).map(|()| {
            let why = format!(
                "the answer of {} stopped for {between_bytes:?} (grants.http_between_bytes_ms_max, or the plugin's own limit)",
                self.server
            );
            HttpFailure::new(HttpFailureKind::ReadTimeout, why)
        })
    }

    fn end(&mut self) {
        self.body = reqwest::Body::default();
        self.room = None;
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = HttpFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpFailure>>> {
        // What is too large by its own word need not be read.
        let next = match self.body.size_hint().lower() > self.left {
            true => Poll::Ready(Some(Err(self.too_large()))),
            false => match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.take(frame))),
                Poll::Ready(Some(Err(error))) => {
                    Poll::Ready(Some(Err(failures::within_answer(error, &self.server))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => self.wait(cx).map(|failure| Some(Err(failure))),
            },
        };
        match &next {
            Poll::Ready(Some(Ok(_))) => self.waiting = None,
            Poll::Ready(_) => self.end(),
            Poll::Pending => {}
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
