//! The threads that plugins run on, one for each core, apart from those that read, write and keep time.
//!
//! A plugin that does not yield holds up neither timers nor uploads. Each thread has its own tasks: work is spread by
//! turns rather than stolen, so that two workers always use two cores.
//!
//! One more thread, started when it is first needed, does what nobody waits for: it compiles and tries out new
//! versions, and yields to everything else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// How far the thread for new versions steps back: as far as it goes.
#[cfg(target_os = "linux")]
const NICE: libc::c_int = 19;

/// Ends its threads when it is dropped, without waiting for plugins that spin.
pub(super) struct Threads {
    handles: Vec<Handle>,
    background: Mutex<Option<Handle>>,
    turn: AtomicUsize,
    end: CancellationToken,
}

impl Threads {
    /// One thread for each core.
    pub(super) fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let end = CancellationToken::new();
        let handles = (0..cores).map(|_| start_one("linemill-plugin", end.clone(), || {}));
        let handles = handles.collect::<Result<_>>();
        Ok(Threads {
            handles: handles.context("could not start threads for plugins")?,
            background: Mutex::default(),
            turn: AtomicUsize::new(0),
            end,
        })
    }

    /// One after the other.
    pub(super) fn next(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.handles[turn % self.handles.len()]
    }

    /// The thread for what nobody waits for.
    pub(super) fn background(&self) -> Result<Handle> {
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = &*background {
            return Ok(handle.clone());
        }
        let started = start_one("linemill-trial", self.end.clone(), yield_to_all);
        let handle = started.context("could not start a thread for new versions")?;
        Ok(background.insert(handle).clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

fn start_one(
    name: &str,
    end: CancellationToken,
    prepare: impl FnOnce() + Send + 'static,
) -> Result<Handle> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        // A plugin may run for milliseconds before it yields: time is looked at each time it does.
        .event_interval(1)
        .build()?;
    let handle = runtime.handle().clone();
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || {
        prepare();
        runtime.block_on(end.cancelled());
    })?;
    Ok(handle)
}

/// Gives this thread the lowest priority, and makes what is compiled on it stay on it: by itself the compiler takes
/// every core, at the priority of requests.
fn yield_to_all() {
    let alone = rayon_core::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread();
    if let Err(error) = alone.build() {
        tracing::warn!("new versions are compiled on all cores: {error}");
    }
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "the standard library knows no priorities")]
    // SAFETY: setpriority takes plain numbers; 0 is the calling thread, which is all that it changes on Linux.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    #[cfg(target_os = "linux")]
    if lowered != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!("new versions are compiled at the priority of requests: {error}");
    }
}
