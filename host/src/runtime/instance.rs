//! One running instance of a plugin: calls with a budget of fuel and time, and what became of them.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_util::sync::CancellationToken;
use wasmtime::component::Instance as Component;
use wasmtime::{Store, Trap as WasmTrap};
use wasmtime_wasi::I32Exit;

use super::contract::{Plugin as Bindings, types};
use super::engine::YIELD_FUEL;
use super::plugin::Plugin;
use super::said::last_words;
pub use super::state::GuestContext;
use super::state::State;
use crate::capsule::{Recorded, Tape};
use crate::deadline::Deadline;
use crate::outcome::{Failure, Outcome, Trap, TrapKind, reason};
use crate::report::Counts;

/// What a call may carry besides its outputs: names, reasons, records.
const RECORDS_BYTES_MAX: usize = 16 << 20;

/// What a call into a plugin ends in: it returns (a failure included), or it traps.
pub type Returned<T> = Result<Result<T, Failure>, Trap>;

/// The budget of one call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Fuel it may use.
    pub fuel: u64,
    /// It is out of time from here on.
    pub until: Instant,
    /// It is cut off from here on: the deadline.
    pub cut_at: Instant,
    /// It is cut off when this is cancelled.
    pub cut: CancellationToken,
    /// Bytes that its outputs may have.
    pub output_bytes_max: usize,
}

/// An instance of a plugin, for one request. After a trap it must not be called again.
pub struct Instance {
    store: Store<State>,
    component: Component,
    bindings: Bindings,
    plugin: Plugin,
}

impl Instance {
    /// Makes a fresh instance.
    ///
    /// # Errors
    /// When its start-up code traps, or its memory does not fit into the limits.
    pub async fn start(
        plugin: &Plugin,
        guest: &Arc<GuestContext>,
        call: &Call,
    ) -> Result<Self, Trap> {
        let state = State::new(guest, &plugin.runtime).map_err(|message| Trap {
            kind: TrapKind::Trap,
            message,
            fuel: 0,
        })?;
        let mut store = Store::new(&plugin.runtime.engine, state);
        store.limiter(|state| &mut state.growth);
        refuel(&mut store, call);
        let started = bounded(plugin.linked.instantiate_async(&mut store), call).await;
        let loaded = match started {
            Ok(Ok(component)) => plugin
                .processor
                .load(&mut store, &component)
                .map(|bindings| (component, bindings)),
            Ok(Err(error)) => Err(error),
            Err(kind) => return Err(cut_off(kind, &store, call)),
        };
        match loaded {
            Ok((component, bindings)) => Ok(Instance {
                store,
                component,
                bindings,
                plugin: plugin.clone(),
            }),
            Err(error) => {
                let trap = trapped(error, &mut store, call);
                Err(Trap {
                    message: format!("an instance does not start: {}", trap.message),
                    ..trap
                })
            }
        }
    }

    /// Makes an instance only to see that it starts and that its exports have the types of the contract, which
    /// shows at no other time. Blocks.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn check(plugin: &Plugin) -> Result<(), String> {
        let plugin = plugin.clone();
        let (done, result) = std::sync::mpsc::channel();
        plugin.compute().clone().spawn(async move {
            // Nobody waits any more once it has taken too long.
            let _ = done.send(Self::try_out(&plugin).await);
        });
        let late = |_| Err(format!("an instance does not start in {CHECK_TIME:?}"));
        result.recv_timeout(CHECK_TIME).unwrap_or_else(late)
    }

    /// [`Instance::check`], here and now.
    pub(super) async fn try_out(plugin: &Plugin) -> Result<(), String> {
        let until = Instant::now() + CHECK_TIME;
        let call = Call {
            fuel: CHECK_FUEL,
            until,
            cut_at: until,
            cut: CancellationToken::new(),
            output_bytes_max: 0,
        };
        let deadline = Deadline::new(Instant::now(), None, None);
        let mut guest = GuestContext::new(&plugin.id.name, deadline, 0, 0);
        // Nobody asked for anything yet.
        guest.reads_only = true;
        let started = Self::start(plugin, &Arc::new(guest), &call).await;
        let mut instance = started.map_err(|trap| trap.message)?;
        match &plugin.reducer {
            Some(reducer) => match reducer.load(&mut instance.store, &instance.component) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{error:#}")),
            },
            None => Ok(()),
        }
    }

    /// What the host answered since the instance was started, or since this was asked, where that is kept.
    pub fn take_answers(&self) -> Recorded {
        let tape = self.store.data().tape.as_ref();
        tape.map(Tape::take).unwrap_or_default()
    }

    /// How its questions to the host differ from those that are played back.
    pub fn divergence(&self) -> Option<String> {
        let tape = self.store.data().tape.as_ref();
        tape.and_then(Tape::divergence)
    }

    /// Fuel that the last call used of its budget.
    pub fn fuel_used(&self, call: &Call) -> u64 {
        call.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0))
    }

    /// Linear memory that it has, in bytes; which is the most that it had, as memory never shrinks.
    pub fn memory_bytes(&self) -> usize {
        self.store.data().growth.memory_bytes
    }

    /// Runs `pre`; gives back the context for all instances.
    pub async fn pre(&mut self, guest: &GuestContext, call: &Call) -> Returned<Vec<u8>> {
        refuel(&mut self.store, call);
        let request = guest.request();
        let processor = self.bindings.linemill_plugin_processor();
        let returned = bounded(processor.call_pre(&mut self.store, &request), call).await;
        self.settle(returned, call)
    }

    /// Runs a batch; gives back its outcome, unchecked.
    pub async fn process(
        &mut self,
        first_line: u64,
        lines: &[u8],
        call: &Call,
    ) -> Returned<Outcome> {
        refuel(&mut self.store, call);
        let processor = self.bindings.linemill_plugin_processor();
        let returned = bounded(
            processor.call_process(&mut self.store, first_line, lines),
            call,
        )
        .await;
        Ok(self.settle(returned, call)?.map(Outcome::from))
    }

    /// Folds partials into one.
    pub async fn merge(&mut self, partials: &[Vec<u8>], call: &Call) -> Returned<Vec<u8>> {
        refuel(&mut self.store, call);
        let reducer = self
            .plugin
            .reducer
            .clone()
            .expect("merge is called of plugins that reduce only");
        let loaded = reducer.load(&mut self.store, &self.component);
        let returned = match &loaded {
            Ok(bindings) => {
                let reducer = bindings.linemill_plugin_reducer();
                bounded(reducer.call_merge(&mut self.store, partials), call).await
            }
            Err(error) => Ok(Err(wasmtime::Error::msg(error.to_string()))),
        };
        self.settle(returned, call)
    }

    /// Runs `post`; gives back what it adds.
    pub async fn post(
        &mut self,
        guest: &GuestContext,
        counts: &Counts,
        partials: &[Vec<u8>],
        call: &Call,
    ) -> Returned<Outcome> {
        refuel(&mut self.store, call);
        let counts = types::Counts {
            loaded: counts.loaded,
            processed: counts.processed,
            corrupted: counts.corrupted,
            retried: counts.retried + counts.failed,
        };
        let request = guest.request();
        let processor = self.bindings.linemill_plugin_processor();
        let returned = bounded(
            processor.call_post(&mut self.store, &request, counts, partials),
            call,
        )
        .await;
        Ok(self.settle(returned, call)?.map(Outcome::from))
    }

    fn settle<T>(
        &mut self,
        returned: Bounded<Result<T, types::Failure>>,
        call: &Call,
    ) -> Returned<T> {
        match returned {
            Ok(Ok(result)) => Ok(result.map_err(Failure::from)),
            Ok(Err(error)) => Err(trapped(error, &mut self.store, call)),
            Err(kind) => Err(cut_off(kind, &self.store, call)),
        }
    }
}

/// The budget of an instance that is only tried out.
const CHECK_TIME: Duration = Duration::from_secs(10);
const CHECK_FUEL: u64 = 10_000_000_000;

type Bounded<T> = Result<wasmtime::Result<T>, TrapKind>;

/// Polls a call until it ends or its time has come. Each poll runs for at most one interval of fuel.
async fn bounded<T>(call: impl Future<Output = wasmtime::Result<T>>, limits: &Call) -> Bounded<T> {
    let end = limits.until.min(limits.cut_at);
    let kind = if limits.cut_at <= limits.until {
        TrapKind::Cut
    } else {
        TrapKind::Time
    };
    let mut call = pin!(call);
    let mut timer = pin!(tokio::time::sleep_until(end.into()));
    let mut cancelled = pin!(limits.cut.cancelled());
    std::future::poll_fn(|cx| {
        if limits.cut.is_cancelled() {
            return Poll::Ready(Err(TrapKind::Cut));
        }
        if Instant::now() >= end {
            return Poll::Ready(Err(kind));
        }
        if let Poll::Ready(returned) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(returned));
        }
        // A plugin that waits is woken by these; one that spins has woken itself.
        let _ = timer.as_mut().poll(cx);
        let _ = cancelled.as_mut().poll(cx);
        Poll::Pending
    })
    .await
}

fn refuel(store: &mut Store<State>, call: &Call) {
    store.data_mut().http.begin(call.until.min(call.cut_at));
    let fueled = store
        .set_fuel(call.fuel)
        .and_then(|()| store.fuel_async_yield_interval(Some(YIELD_FUEL)));
    fueled.expect("the engine counts fuel");
    store.set_hostcall_fuel(call.output_bytes_max.saturating_add(RECORDS_BYTES_MAX));
}

fn cut_off(kind: TrapKind, store: &Store<State>, call: &Call) -> Trap {
    let message = match kind {
        TrapKind::Time => "the call took longer than its limit (batch_ms_max, or call_ms_max)",
        _ => "work stopped before the batch was done",
    };
    Trap {
        kind,
        message: message.to_owned(),
        fuel: call.fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
    }
}

/// What went wrong, told from the error, from what was denied, and from what the plugin printed last.
fn trapped(error: wasmtime::Error, store: &mut Store<State>, call: &Call) -> Trap {
    let fuel = call.fuel.saturating_sub(store.get_fuel().unwrap_or(0));
    let said = last_words(&store.data().stderr.take_tail());
    let denied = store.data_mut().growth.denied.take();
    let code = error.downcast_ref::<WasmTrap>().copied();
    let cause = error
        .chain()
        .last()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (kind, what) = match (code, error.downcast_ref::<I32Exit>(), denied) {
        (Some(WasmTrap::OutOfFuel), ..) => (
            TrapKind::Fuel,
            format!("all of its {} fuel was used", call.fuel),
        ),
        (_, Some(exit), _) => (
            TrapKind::Exit,
            format!("the plugin ended itself with code {}", exit.0),
        ),
        (_, _, Some(denied)) => (TrapKind::Memory, denied),
        (Some(_), ..) => (TrapKind::Trap, cause),
        (None, None, None)
            if cause.contains("too much data")
                || cause.contains("fuel allocated for hostcalls") =>
        {
            (
                TrapKind::Contract,
                "the plugin returned more than output_bytes_max allows".to_owned(),
            )
        }
        (None, None, None) => (TrapKind::Trap, cause),
    };
    let message = match (kind, said.is_empty()) {
        (_, true) | (TrapKind::Fuel, _) => what,
        (TrapKind::Trap, false) => said,
        (_, false) => format!("{what}: {said}"),
    };
    Trap {
        kind,
        message: reason(&message).to_string(),
        fuel,
    }
}
