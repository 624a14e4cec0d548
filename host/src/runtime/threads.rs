//! The threads that plugins run on, one for each core, apart from those that read, write and keep time.
//!
//! A plugin that does not yield holds up neither timers nor uploads. Each thread has its own tasks: work is spread by
//! turns rather than stolen, so that two workers always use two cores.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Ends its threads when it is dropped, without waiting for plugins that spin.
pub(super) struct Threads {
    handles: Vec<Handle>,
    turn: AtomicUsize,
    end: CancellationToken,
}

impl Threads {
    /// One thread for each core.
    pub(super) fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let end = CancellationToken::new();
        let handles = (0..cores).map(|_| start_one(end.clone()));
        let handles = handles.collect::<Result<_>>();
        Ok(Threads {
            handles: handles.context("could not start threads for plugins")?,
            turn: AtomicUsize::new(0),
            end,
        })
    }

    /// One after the other.
    pub(super) fn next(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn start_one(end: CancellationToken) -> Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        // A plugin may run for milliseconds before it yields: time is looked at each time it does.
        .event_interval(1)
        .build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name("linemill-plugin".to_owned());
    thread.spawn(move || runtime.block_on(end.cancelled()))?;
    Ok(handle)
}
