//! Signals: requests under way hand over what is left, and no further one begins.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use linemill::{Reason, Stop};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::say;

/// The exit code after a second signal.
pub(crate) const QUIT: i32 = 130;

/// Ctrl-C and SIGTERM, as they come.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on they do not end the process by themselves.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The requests under way, which Ctrl-C or SIGTERM stops. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Stops(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    interrupted: bool,
    stops: Vec<Arc<Stop>>,
}

impl Stops {
    /// From here on a signal ends the run in order.
    pub(crate) fn listen() -> Result<Self> {
        let running = Stops::default();
        let interrupted = running.clone();
        let mut signals = Signals::listen()?;
        tokio::spawn(async move {
            signals.next().await;
            say("linemill: interrupted, handing over what is left (again to quit at once)");
            interrupted.interrupt();
            signals.next().await;
            std::process::exit(QUIT);
        });
        Ok(running)
    }

    /// Ends all requests as at their deadline; no further one begins.
    pub(crate) fn interrupt(&self) {
        self.end_all(|stop| stop.stop(Reason::Interrupted));
    }

    /// Nobody waits for these requests any more; no further one begins.
    pub(crate) fn abandon(&self) {
        self.end_all(Stop::abandon);
    }

    fn end_all(&self, end: impl Fn(&Stop)) {
        let mut running = self.0.lock().expect("nothing panics while it is held");
        running.interrupted = true;
        running.stops.iter().for_each(|stop| end(stop));
    }

    /// Something to stop a request by; `None`: no further request is to begin.
    pub(crate) fn begin(&self) -> Option<Arc<Stop>> {
        let mut running = self.0.lock().expect("nothing panics while it is held");
        if running.interrupted {
            return None;
        }
        let stop = Arc::new(Stop::default());
        running.stops.push(stop.clone());
        Some(stop)
    }

    pub(crate) fn end(&self, stop: &Arc<Stop>) {
        let mut running = self.0.lock().expect("nothing panics while it is held");
        running.stops.retain(|other| !Arc::ptr_eq(stop, other));
    }
}
