//! Why and how a request stops before its source has ended.

use std::sync::Mutex;

use tokio_util::sync::CancellationToken;

/// Why a request stopped early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The plugin said that no batch can succeed now.
    Fatal(String),
    /// Too many lines trapped: the plugin is at fault, not the lines.
    Systemic(String),
    /// Whoever runs the request wants it to end: it is as if its deadline had come.
    Interrupted,
}

/// Tells every stage of a request to stop.
#[derive(Debug, Default)]
pub struct Stop {
    reason: Mutex<Option<Reason>>,
    drain: CancellationToken,
    cut: CancellationToken,
    abandoned: CancellationToken,
}

impl Stop {
    /// Stops for `reason`; the first one counts. Running calls end normally after [`Reason::Fatal`] and
    /// [`Reason::Systemic`]; otherwise they are cut off.
    pub fn stop(&self, reason: Reason) {
        let cut = reason == Reason::Interrupted;
        self.reason
            .lock()
            .expect("nothing panics while it is held")
            .get_or_insert(reason);
        self.drain.cancel();
        if cut {
            self.cut.cancel();
        }
    }

    /// Work has come to its end: running calls are cut off.
    pub fn cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }

    /// Whoever asked for the request is gone: it ends in an error, unless it has begun to become visible.
    pub fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Cancelled when nobody waits for the request any more.
    pub fn abandoned(&self) -> &CancellationToken {
        &self.abandoned
    }

    /// Why it stopped, if it did.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// Cancelled when no further batch is to be read or started.
    pub fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when running calls are to be cut off.
    pub fn cutting(&self) -> &CancellationToken {
        &self.cut
    }
}
