//! What an instance carries: its request, its WASI with what is granted, and the limits of its memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{Deterministic, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::contract::{host, types};
use super::engine::Runtime;
use super::http::Http;
use super::stdio::Printed;
use super::taped::{self, TapedMonotonicClock, TapedWallClock};
use super::taped_http::TapedAnswers;
use crate::capsule::{Memory, Tape};
use crate::deadline::Deadline;
use crate::outcome::cut;

/// Seeds hash maps and the like: the same input gives the same work on every machine.
const SEED: u128 = 0x6c69_6e65_6d69_6c6c_6c69_6e65_6d69_6c6c;
/// Streams, pollables, requests, open files and the like that an instance may hold at once: what is behind them is
/// memory of the host, and files that it has open.
const HANDLES_MAX: usize = 1000;

pub(super) use host::Level;

/// What all instances of one request share and can ask for.
pub struct GuestContext {
    /// Unique for each run of a request.
    pub id: String,
    /// Where the lines come from.
    pub source: String,
    /// How often these data have been tried before.
    pub attempt: u32,
    /// Milliseconds since the Unix epoch.
    pub started_at: u64,
    /// What the event said besides.
    pub attributes: Vec<(String, String)>,
    /// The configuration's `settings`.
    pub settings: Arc<BTreeMap<String, String>>,
    /// When work stops.
    pub deadline: Deadline,
    /// Whether it may only ask servers for what is there: one that runs along must not do things a second time.
    pub reads_only: bool,
    /// Name of the plugin, for its log events.
    pub plugin: String,
    /// Where answers come from that differ from run to run, and whether they are kept.
    pub answers: Memory,
    /// Variables in the place of those that are granted here.
    pub env: Option<Vec<(String, String)>>,
    context: OnceLock<(Vec<u8>, u64)>,
    logs: LogBudget,
}

struct LogBudget {
    events_max: u64,
    bytes_max: usize,
    events: AtomicU64,
}

impl GuestContext {
    /// `events_max` log events for the whole request, each of at most `bytes_max` bytes.
    pub fn new(plugin: &str, deadline: Deadline, events_max: u64, bytes_max: usize) -> Self {
        GuestContext {
            id: String::new(),
            source: String::new(),
            attempt: 0,
            started_at: 0,
            attributes: Vec::new(),
            settings: Arc::default(),
            deadline,
            reads_only: false,
            plugin: plugin.to_owned(),
            answers: Memory::Live,
            env: None,
            context: OnceLock::new(),
            logs: LogBudget {
                events_max,
                bytes_max,
                events: AtomicU64::new(0),
            },
        }
    }

    /// Keeps what `pre` returned, for every instance, and the fuel that it used; the first call counts.
    pub fn open(&self, context: Vec<u8>, fuel: u64) {
        // A second call would mean that `pre` ran twice, which no request does.
        let _ = self.context.set((context, fuel));
    }

    /// Whether `pre` has run.
    pub fn is_open(&self) -> bool {
        self.context.get().is_some()
    }

    /// What `pre` returned; empty until then.
    pub fn context(&self) -> &[u8] {
        self.context.get().map_or(&[], |(context, _)| context)
    }

    /// Fuel that `pre` used.
    pub fn fuel(&self) -> u64 {
        self.context.get().map_or(0, |(_, fuel)| *fuel)
    }

    /// How many log events were dropped because the plugin logged too much.
    pub fn logs_dropped(&self) -> u64 {
        self.logs
            .events
            .load(Ordering::Relaxed)
            .saturating_sub(self.logs.events_max)
    }

    pub(super) fn log_bytes_max(&self) -> usize {
        self.logs.bytes_max
    }

    /// One event in the host's log, unless the request's budget is used up.
    pub(super) fn log(&self, level: Level, stream: &str, message: &str) {
        if message.is_empty()
            || self.logs.events.fetch_add(1, Ordering::Relaxed) >= self.logs.events_max
        {
            return;
        }
        let (plugin, request, message) =
            (&self.plugin, &self.id, cut(message, self.logs.bytes_max));
        match level {
            Level::Trace => {
                tracing::trace!(target: "plugin", %plugin, %request, stream, "{message}")
            }
            Level::Debug => {
                tracing::debug!(target: "plugin", %plugin, %request, stream, "{message}")
            }
            Level::Info => tracing::info!(target: "plugin", %plugin, %request, stream, "{message}"),
            Level::Warn => tracing::warn!(target: "plugin", %plugin, %request, stream, "{message}"),
            Level::Error => {
                tracing::error!(target: "plugin", %plugin, %request, stream, "{message}")
            }
        }
    }

    pub(super) fn request(&self) -> types::Request {
        types::Request {
            id: self.id.clone(),
            source: self.source.clone(),
            attempt: self.attempt,
            started_at: self.started_at,
            attributes: self.attributes.clone(),
        }
    }
}

/// The data of a store.
pub(super) struct State {
    guest: Arc<GuestContext>,
    wasi: WasiCtx,
    /// Before the handles, since it has to be dropped before them.
    pub(super) http: Http,
    table: ResourceTable,
    pub(super) stderr: Printed,
    pub(super) growth: Growth,
    /// What the host answers, where it is kept or played back.
    pub(super) tape: Option<Tape>,
}

impl State {
    /// # Errors
    /// Something that is granted is gone.
    pub(super) fn new(guest: &Arc<GuestContext>, runtime: &Runtime) -> Result<Self, String> {
        let stderr = Printed::new("stderr", Level::Warn, guest.clone());
        let tape = Tape::new(&guest.answers);
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(Printed::new("stdout", Level::Info, guest.clone()))
            .stderr(stderr.clone())
            .insecure_random_seed(SEED)
            .insecure_random(Deterministic::new(SEED.to_le_bytes().to_vec()))
            .allow_tcp(false)
            .allow_udp(false);
        if let Some(tape) = &tape {
            wasi.wall_clock(TapedWallClock(tape.clone()))
                .monotonic_clock(TapedMonotonicClock::new(tape.clone()));
        }
        runtime.granted.give(&mut wasi, guest.env.as_deref())?;
        let mut answers = runtime.answers.clone();
        if let Some(tape) = &tape {
            answers = Arc::new(TapedAnswers::new(answers, tape.clone()));
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let growth = Growth {
            memory_bytes_max: runtime.limits.memory_bytes_max,
            table_elements_max: runtime.limits.table_elements_max,
            memory_bytes: 0,
            denied: None,
        };
        Ok(State {
            guest: guest.clone(),
            wasi: wasi.build(),
            table,
            http: Http::new(answers, guest.clone()),
            stderr,
            growth,
            tape,
        })
    }

    pub(super) fn http_and_table(&mut self) -> (&mut Http, &mut ResourceTable) {
        (&mut self.http, &mut self.table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn context(&mut self) -> wasmtime::Result<Vec<u8>> {
        Ok(self.guest.context().to_vec())
    }

    fn setting(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.guest.settings.get(&name).cloned())
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let live = || self.guest.deadline.remaining_ms(Instant::now());
        Ok(match &self.tape {
            Some(tape) => taped::remaining_ms(tape, live),
            None => live(),
        })
    }

    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.guest.log(level, "log", &message);
        Ok(())
    }
}

/// Limits the memory and tables of an instance, and remembers that it did.
pub(super) struct Growth {
    memory_bytes_max: usize,
    table_elements_max: usize,
    /// Linear memory so far, of all memories; it never shrinks.
    pub(super) memory_bytes: usize,
    /// Why growth was denied, if it was.
    pub(super) denied: Option<String>,
}

impl ResourceLimiter for Growth {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory_bytes_max;
        if fits {
            self.memory_bytes += desired.saturating_sub(current);
        } else {
            self.denied = Some(format!(
                "memory is limited to memory_bytes_max = {}",
                self.memory_bytes_max
            ));
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.table_elements_max;
        if !fits {
            self.denied = Some(format!(
                "tables are limited to table_elements_max = {}",
                self.table_elements_max
            ));
        }
        Ok(fits)
    }
}
