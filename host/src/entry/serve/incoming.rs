//! The body of a request while it arrives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};
use tokio_util::io::StreamReader;

use super::answer::Refusal;

/// So long the rest of a small body is waited for, so that it need not be treated as a stream.
const SOON: Duration = Duration::from_millis(20);

/// A body that has come to its end, or as far as it has come.
pub(super) enum Arrived {
    /// All of it.
    Whole(Bytes),
    /// What has come, and what still comes.
    Part(Bytes, Arriving),
}

/// Pieces of a body; silence for too long is an error.
pub(super) struct Arriving {
    pieces: BodyDataStream,
    idle: Duration,
    silence: Pin<Box<Sleep>>,
    /// Whether the sleep is to start over with the next wait.
    heard: bool,
    late: Late,
}

/// Whether the client has been silent for too long.
#[derive(Debug, Clone, Default)]
pub(super) struct Late(Arc<AtomicBool>);

impl Late {
    /// Whether it has.
    pub(super) fn is_late(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl Arriving {
    /// What arrives of `body`, with no silence longer than `idle`.
    pub(super) fn new(body: Body, idle: Duration, late: &Late) -> Self {
        Arriving {
            pieces: body.into_data_stream(),
            idle,
            silence: Box::pin(tokio::time::sleep(idle)),
            heard: false,
            late: late.clone(),
        }
    }

    /// Waits for a body of so few bytes for a moment.
    pub(super) async fn soon(mut self, bytes: usize) -> io::Result<Arrived> {
        let mut arrived = BytesMut::new();
        let until = Instant::now() + SOON;
        loop {
            match tokio::time::timeout_at(until, self.next()).await {
                // The first piece of a small body is nearly always all of it.
                Ok(Some(piece)) if arrived.is_empty() => {
                    let piece = piece?;
                    if piece.len() == bytes {
                        return Ok(Arrived::Whole(piece));
                    }
                    arrived.extend_from_slice(&piece);
                }
                Ok(Some(piece)) => arrived.extend_from_slice(&piece?),
                Ok(None) => return Ok(Arrived::Whole(arrived.freeze())),
                Err(_) => return Ok(Arrived::Part(arrived.freeze(), self)),
            }
        }
    }

    /// Reads what has come before, and then what comes.
    pub(super) fn reader(self, before: Bytes) -> impl tokio::io::AsyncRead + Send + 'static {
        let before = (!before.is_empty()).then_some(Ok(before));
        StreamReader::new(futures::stream::iter(before).chain(self))
    }
}

impl Stream for Arriving {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.pieces.poll_next_unpin(cx) {
            Poll::Ready(piece) => {
                self.heard = true;
                Poll::Ready(piece.map(|piece| piece.map_err(broke_off)))
            }
            Poll::Pending => {
                if std::mem::take(&mut self.heard) {
                    let end = Instant::now() + self.idle;
                    self.silence.as_mut().reset(end);
                }
                ready!(self.silence.as_mut().poll(cx));
                self.late.0.store(true, Relaxed);
                let why = format!("the client sent nothing for {:?} (idle_ms_max)", self.idle);
                Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, why))))
            }
        }
    }
}

fn broke_off(error: axum::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}

/// The whole body, of so many bytes at most, if it comes in time.
pub(super) async fn whole(body: Body, bytes_max: usize, time: Duration) -> Result<Bytes, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    let reading = async {
        while let Some(piece) = pieces.next().await {
            let broken = |error| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body broke off: {error}"),
                )
            };
            let piece = piece.map_err(broken)?;
            if whole.len() + piece.len() > bytes_max {
                let why = format!("the body has more than {bytes_max} bytes (body_bytes_max)");
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    };
    tokio::time::timeout(time, reading)
        .await
        .unwrap_or_else(|_| {
            let why = format!("the body did not arrive in {time:?} (idle_ms_max)");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, why))
        })
}
