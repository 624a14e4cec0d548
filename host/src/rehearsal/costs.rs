//! What lines cost: fuel and time of each, measured in calls of their own, and what the call did.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::deadline::Deadline;
use crate::outcome::{Failure, FaultKind, Outcome, Trap, TrapKind};
use crate::runtime::{Call, GuestContext, Instance, Plugin};

/// Runs lines one call after the other, with the limits of the configuration, in an instance that is kept as long as
/// a worker would keep it: until it traps or breaks the contract. It has to be driven on the plugin's own threads
/// ([`Plugin::compute`]).
pub struct Meter {
    plugin: Plugin,
    config: Arc<Config>,
    guest: Arc<GuestContext>,
    cut: CancellationToken,
    instance: Option<Instance>,
    /// The most linear memory that an instance had, in bytes.
    pub memory_bytes: usize,
    /// Fuel that `pre` used.
    pub pre_fuel: u64,
}

/// What one call cost, and what it did.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// Fuel used.
    pub fuel: u64,
    /// Time in the plugin; without that of making an instance.
    pub time: Duration,
    /// What came of it.
    pub did: Did,
}

/// What came of a call with one line.
#[derive(Debug, Clone, PartialEq)]
pub enum Did {
    /// The line was processed; what was emitted, by route, in order.
    Processed(Vec<(String, Vec<u8>)>),
    /// The data are at fault.
    Corrupt(String),
    /// To be run again.
    Retry(String),
    /// The call failed as a whole.
    Failed(Failure),
    /// It trapped.
    Trapped(Trap),
    /// It returned what the contract does not allow.
    Broke(String),
}

impl Did {
    /// Whether the line was processed.
    pub fn is_processed(&self) -> bool {
        matches!(self, Did::Processed(_))
    }

    /// Whether it did not come to its end because it was stopped from outside.
    pub fn is_cut(&self) -> bool {
        matches!(self, Did::Trapped(trap) if trap.kind == TrapKind::Cut)
    }
}

impl Meter {
    /// Runs `pre`. `source` is what the plugin is told the lines come from; calls are cut off when `cut` is cancelled.
    /// What the plugin logs goes nowhere where `quiet`.
    ///
    /// # Errors
    /// `pre` fails or traps, or there is no instance.
    pub async fn open(
        plugin: &Plugin,
        config: &Arc<Config>,
        source: &str,
        cut: CancellationToken,
        quiet: bool,
    ) -> Result<Self> {
        let mut meter = Meter {
            plugin: plugin.clone(),
            config: config.clone(),
            guest: guest(plugin, config, source, quiet),
            cut,
            instance: None,
            memory_bytes: 0,
            pre_fuel: 0,
        };
        meter.pre().await?;
        Ok(meter)
    }

    async fn pre(&mut self) -> Result<()> {
        let call = self.call(self.config.call_fuel, self.config.call_ms_max);
        let mut instance = self.start(&call).await.map_err(|trap| anyhow!("{trap}"))?;
        let returned = instance.pre(&self.guest, &call).await;
        let context = returned.map_err(|trap| anyhow!("pre: {trap}"))?;
        let context = context.map_err(|failure| anyhow!("pre failed: {failure}"))?;
        self.pre_fuel = instance.fuel_used(&call);
        self.guest.open(context, self.pre_fuel);
        Ok(())
    }

    /// The next call gets an instance of its own.
    pub fn renew(&mut self) {
        self.instance = None;
    }

    /// Makes the instance of the next call now, so that its start is in nobody's time.
    ///
    /// # Errors
    /// It does not start.
    pub async fn warm(&mut self) -> Result<(), Trap> {
        if self.instance.is_none() {
            let call = self.batch_call(0);
            self.instance = Some(self.start(&call).await?);
        }
        Ok(())
    }

    /// Runs one line, with or without its end.
    pub async fn line(&mut self, number: u64, line: &[u8]) -> Cost {
        let (cost, outcome) = self.lines(number, line, 1).await;
        let Some(mut outcome) = outcome else {
            return cost;
        };
        let did = match outcome.faults.pop() {
            Some(fault) if fault.kind == FaultKind::Corrupt => {
                Did::Corrupt(fault.reason.to_string())
            }
            Some(fault) => Did::Retry(fault.reason.to_string()),
            None if outcome.attempted == Some(0) => {
                Did::Retry("the plugin handed the line back without attempting any".to_owned())
            }
            None => Did::Processed(
                outcome
                    .outputs
                    .into_iter()
                    .map(|output| (output.route, output.data))
                    .collect(),
            ),
        };
        Cost { did, ..cost }
    }

    /// Runs a batch of so many lines; [`Did::Processed`] says only that the call returned what the contract allows.
    pub async fn batch(&mut self, first_line: u64, lines: &[u8], count: usize) -> Cost {
        self.lines(first_line, lines, count).await.0
    }

    async fn lines(&mut self, first: u64, lines: &[u8], count: usize) -> (Cost, Option<Outcome>) {
        let call = self.batch_call(lines.len());
        if let Err(trap) = self.warm().await {
            return (Cost::of(&trap), None);
        }
        let mut instance = self.instance.take().expect("it was made just now");
        let start = Instant::now();
        let returned = instance.process(first, lines, &call).await;
        let time = start.elapsed();
        self.memory_bytes = self.memory_bytes.max(instance.memory_bytes());
        let fuel = instance.fuel_used(&call);
        let cost = |did| Cost { fuel, time, did };
        match returned {
            Err(trap) => (cost(Did::Trapped(trap)), None),
            Ok(Err(failure)) => {
                self.instance = Some(instance);
                (cost(Did::Failed(failure)), None)
            }
            Ok(Ok(outcome)) => match outcome.checked(count, call.output_bytes_max) {
                Err(broken) => (cost(Did::Broke(broken)), None),
                Ok(outcome) => {
                    self.instance = Some(instance);
                    (cost(Did::Processed(Vec::new())), Some(outcome))
                }
            },
        }
    }

    async fn start(&mut self, call: &Call) -> Result<Instance, Trap> {
        let instance = Instance::start(&self.plugin, &self.guest, call).await?;
        self.memory_bytes = self.memory_bytes.max(instance.memory_bytes());
        Ok(instance)
    }

    fn call(&self, fuel: u64, ms_max: u64) -> Call {
        let until = Instant::now() + Duration::from_millis(ms_max);
        Call {
            fuel,
            until,
            // Later than any limit, so that a call that takes too long is said to do so.
            cut_at: until + Duration::from_secs(1),
            cut: self.cut.clone(),
            output_bytes_max: self.config.output_bytes_max,
        }
    }

    fn batch_call(&self, bytes: usize) -> Call {
        let config = &self.config;
        let fuel = config.fuel_per_byte.saturating_mul(bytes as u64);
        self.call(config.fuel_base.saturating_add(fuel), config.batch_ms_max)
    }
}

impl Cost {
    fn of(trap: &Trap) -> Self {
        Cost {
            fuel: trap.fuel,
            time: Duration::ZERO,
            did: Did::Trapped(trap.clone()),
        }
    }
}

fn guest(plugin: &Plugin, config: &Config, source: &str, quiet: bool) -> Arc<GuestContext> {
    let deadline = Deadline::new(Instant::now(), None, None);
    let events_max = if quiet { 0 } else { config.log_events_max };
    let mut guest = GuestContext::new(&plugin.id.name, deadline, events_max, config.log_bytes_max);
    guest.id = "sample".to_owned();
    guest.source = source.to_owned();
    guest.settings = Arc::new(config.settings.clone());
    Arc::new(guest)
}
