//! How long a connection waits for the head of a request: long for the first byte of the next one, short from then on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use linemill::Config;

/// The times that are waited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request to the end of its headers.
    pub(super) header: Duration,
    /// For anything at all.
    pub(super) idle: Duration,
}

impl Patience {
    pub(super) fn of(config: &Config) -> Self {
        Patience {
            header: Duration::from_millis(config.header_ms_max),
            idle: Duration::from_millis(config.idle_ms_max),
        }
    }
}

/// Hyper knows one time limit for the wait for a request and for its headers. This clock, which it waits by, ends the
/// wait earlier once bytes have come.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    pub(super) patience: Patience,
    /// Bytes that the connection has received.
    pub(super) received: Arc<AtomicU64>,
}

struct Wait {
    clock: Clock,
    /// Bytes that were there when the wait began.
    before: u64,
    begun: bool,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl Timer for Clock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let before = self.received.load(Relaxed);
        // Nobody connects to say nothing.
        let begun = before == 0;
        let deadline = match begun {
            true => deadline.min(Instant::now() + self.patience.header),
            false => deadline,
        };
        Box::pin(Wait {
            clock: self.clone(),
            before,
            begun,
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
        })
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.begun && self.clock.received.load(Relaxed) > self.before {
            self.begun = true;
            let end = tokio::time::Instant::now() + self.clock.patience.header;
            if end < self.sleep.deadline() {
                self.sleep.as_mut().reset(end);
            }
        }
        self.sleep.as_mut().poll(cx)
    }
}

impl Sleep for Wait {}
