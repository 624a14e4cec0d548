//! One connection: its requests one after the other, its time limits, and how it ends.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::Server;
use super::patience::{Clock, Patience};

/// Headers may be so large.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a client is listened to that goes on sending after it was answered, so that it can read the answer: a
/// connection that is closed on unread bytes takes back what was sent.
const LINGER: Duration = Duration::from_millis(1000);
/// The same, when nothing comes.
const LINGER_QUIET: Duration = Duration::from_millis(100);

/// By what the answer to a request ends the connection that it goes to.
#[derive(Debug, Clone, Default)]
pub(super) struct Hangup(Arc<AtomicBool>);

impl Hangup {
    /// Resets the connection, so that nobody takes what was sent for all there is.
    pub(super) fn reset(&self) {
        self.0.store(true, Relaxed);
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(server: &Server, app: Router, stream: TcpStream) {
    // Small answers must not wait for the client to acknowledge what came before.
    let _ = stream.set_nodelay(true);
    let hangup = Hangup::default();
    let received = Arc::new(AtomicU64::new(0));
    let patience = server.patience;
    let io = TokioIo::new(Line {
        stream,
        received: received.clone(),
        hangup: hangup.clone(),
        patience,
        stuck: None,
        lingering: None,
    });
    let app = app.layer(axum::Extension(hangup));
    let connection = http1::Builder::new()
        .timer(Clock { patience, received })
        .header_read_timeout(patience.idle)
        .max_header_size(HEAD_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(io, TowerToHyperService::<Router<()>>::new(app));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.closing.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// A stream that counts what it receives, gives a client up that takes nothing, and ends so that the last answer
/// arrives.
struct Line {
    stream: TcpStream,
    received: Arc<AtomicU64>,
    hangup: Hangup,
    patience: Patience,
    /// Runs while the client takes nothing.
    stuck: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// Since the last answer was sent.
struct Lingering {
    end: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl Line {
    /// An error, once the client has taken nothing for too long.
    fn poll_stuck<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let idle = self.patience.idle;
        let stuck = self
            .stuck
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn unless_stuck<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self.poll_stuck(cx),
            done => {
                self.stuck = None;
                done
            }
        }
    }

    /// Reads and forgets, until the client has closed its side or it was enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 * 1024];
        loop {
            let lingering = self.lingering.get_or_insert_with(|| Lingering {
                end: Instant::now() + LINGER,
                quiet: Box::pin(tokio::time::sleep(LINGER_QUIET)),
            });
            let mut space = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) if !space.filled().is_empty() => {
                    if Instant::now() >= lingering.end {
                        return Poll::Ready(Ok(()));
                    }
                    let quiet = Instant::now() + LINGER_QUIET;
                    lingering.quiet.as_mut().reset(quiet);
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    ready!(lingering.quiet.as_mut().poll(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        self.received.fetch_add(read as u64, Relaxed);
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stuck(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.unless_stuck(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hangup.0.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.poll_linger(cx)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.hangup.0.load(Relaxed) {
            // What is still to be sent is thrown away, and the client sees a reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}
