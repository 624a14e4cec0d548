//! Signals: requests under way hand over what is left, and no further one begins.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use linemill::{Reason, Stop};
use tokio::signal::unix::{SignalKind, signal};

use super::say;

/// The requests under way, which Ctrl-C or SIGTERM stops.
pub(crate) struct Stops(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    interrupted: bool,
    stops: Vec<Arc<Stop>>,
}

impl Stops {
    /// From here on a signal ends the run in order.
    pub(crate) fn listen() -> Result<Self> {
        let running = Arc::new(Mutex::new(Running::default()));
        let interrupted = running.clone();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            let mut signalled = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            signalled().await;
            say("linemill: interrupted, handing over what is left (again to quit at once)");
            {
                let mut running = interrupted.lock().expect("nothing panics while it is held");
                running.interrupted = true;
                let stops = running.stops.iter();
                stops.for_each(|stop| stop.stop(Reason::Interrupted));
            }
            signalled().await;
            std::process::exit(130);
        });
        Ok(Stops(running))
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
