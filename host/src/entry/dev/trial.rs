//! One run of the sample: the whole life of a request in memory, then its lines one by one for what each costs.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use linemill::{
    Config, Cost, Did, Meter, Plugin, Reason, Rehearsal, Runtime, Sample, Stop, Storage,
};
use tokio_util::sync::CancellationToken;

use super::logs::{self, Logs};
use crate::entry::project::Project;
use crate::entry::shown::{self, Shown};

/// Time of each half of a run, where the configuration does not say less.
const TIME_MS_MAX: u64 = 30_000;
/// So much of a line, an output or a reason is shown.
pub(super) const SHOWN_BYTES: usize = 500;
/// Outputs of one line that are shown.
const OUTPUTS_MAX: usize = 8;

/// What is run, as it is now.
pub(super) struct Setup {
    pub(super) config: Arc<Config>,
    pub(super) component: Bytes,
    pub(super) sample: Arc<Sample>,
}

/// How much of the source is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) lines: usize,
    pub(super) bytes: usize,
}

/// What stops a run.
#[derive(Clone, Default)]
pub(super) struct Brake {
    stop: Arc<Stop>,
    cut: CancellationToken,
}

/// A run that came to its end.
pub(super) struct Trial {
    pub(super) number: u64,
    pub(super) at: DateTime<Utc>,
    pub(super) took: Duration,
    pub(super) plugin: Plugin,
    pub(super) sample: Arc<Sample>,
    pub(super) rehearsal: Rehearsal,
    pub(super) lines: Vec<Line>,
    /// Why the lines were not (all) run one by one.
    pub(super) lines_error: Option<String>,
    pub(super) logs: Logs,
}

/// A line and what it did by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    pub(super) text: Shown,
    pub(super) fuel: u64,
    pub(super) time: Duration,
    /// `processed`, `corrupt`, `retry`, `failed` or `trapped`.
    pub(super) kind: &'static str,
    pub(super) reason: String,
    /// By route.
    pub(super) outputs: Vec<(String, Shown)>,
    /// Outputs that are not shown.
    pub(super) more_outputs: usize,
    /// Of the whole line.
    pub(super) line_hash: u64,
    /// Of all that it did.
    pub(super) did_hash: u64,
}

impl Setup {
    /// Reads all anew.
    ///
    /// # Errors
    /// What cannot be read or is wrong.
    pub(super) async fn read(
        storage: &Storage,
        project: &Project,
        source: &str,
        bounds: Bounds,
    ) -> Result<Self> {
        let mut config = project.config()?;
        let limit = config.max_exec_time_ms.unwrap_or(TIME_MS_MAX);
        config.max_exec_time_ms = Some(limit.min(TIME_MS_MAX));
        Project::check_built(&config)?;
        let name = config.plugin.clone().context("no plugin is named")?;
        let component = linemill::fetch_plugin(storage, &name, &config).await?;
        let sample = Sample::read(storage, source, bounds.lines, bounds.bytes).await?;
        Ok(Setup {
            config: Arc::new(config),
            component,
            sample: Arc::new(sample),
        })
    }

    /// Whether a run would do the same as one with the other.
    pub(super) fn is_same(&self, other: &Setup) -> bool {
        self.config == other.config
            && self.component == other.component
            && self.sample == other.sample
    }

    /// Compiles the component. Blocks.
    pub(super) fn load(&self, runtime: &Arc<Runtime>) -> Result<Plugin> {
        let name = self.config.plugin.as_deref().unwrap_or_default();
        Plugin::load(runtime, name, &self.component)
    }
}

impl Brake {
    /// Calls end within milliseconds.
    pub(super) fn pull(&self) {
        self.stop.stop(Reason::Interrupted);
        self.cut.cancel();
    }

    /// Whether it was pulled.
    pub(super) fn is_pulled(&self) -> bool {
        self.cut.is_cancelled()
    }
}

impl Trial {
    /// Runs the sample.
    ///
    /// # Errors
    /// What was written cannot be read back. What lines and plugin do is no error.
    pub(super) async fn run(
        number: u64,
        setup: &Setup,
        plugin: &Plugin,
        brake: &Brake,
    ) -> Result<Self> {
        let (at, start) = (Utc::now(), Instant::now());
        let (config, sample) = (&setup.config, &setup.sample);
        // What was logged by a run that was stopped belongs to no other.
        logs::take();
        let rehearsal = Rehearsal::run(
            plugin,
            config,
            &sample.name,
            sample.bytes.clone(),
            brake.stop.clone(),
        );
        let rehearsal = rehearsal.await?;
        let logs = logs::take();
        let metering = meter(
            plugin.clone(),
            config.clone(),
            sample.clone(),
            brake.cut.clone(),
        );
        let (lines, lines_error) = plugin.compute().spawn(metering).await?;
        Ok(Trial {
            number,
            at,
            took: start.elapsed(),
            plugin: plugin.clone(),
            sample: sample.clone(),
            rehearsal,
            lines,
            lines_error,
            logs,
        })
    }

    /// Lines that were not processed in the request.
    pub(super) fn faulted(&self) -> u64 {
        let counts = &self.rehearsal.report.counts;
        counts.loaded - counts.processed
    }
}

async fn meter(
    plugin: Plugin,
    config: Arc<Config>,
    sample: Arc<Sample>,
    cut: CancellationToken,
) -> (Vec<Line>, Option<String>) {
    let until = Instant::now() + Duration::from_millis(TIME_MS_MAX);
    let mut meter = match Meter::open(&plugin, &config, &sample.name, cut, true).await {
        Ok(meter) => meter,
        Err(error) => return (Vec::new(), Some(format!("{error:#}"))),
    };
    let mut lines = Vec::with_capacity(sample.count);
    for (number, line) in (1..).zip(sample.lines()) {
        let cost = meter.line(number, line).await;
        if cost.did.is_cut() {
            return (lines, Some("the run was stopped".to_owned()));
        }
        lines.push(Line::of(number, line, cost));
        if Instant::now() >= until && lines.len() < sample.count {
            let why = format!(
                "only {} of {} lines were run one by one: that took longer than {TIME_MS_MAX} ms",
                lines.len(),
                sample.count
            );
            return (lines, Some(why));
        }
    }
    (lines, None)
}

impl Line {
    fn of(number: u64, line: &[u8], cost: Cost) -> Self {
        let (mut outputs, mut more_outputs) = (Vec::new(), 0);
        // How long it took, and the fuel that a trap names, are no part of what it did.
        let (kind, reason, told) = match &cost.did {
            Did::Processed(all) => {
                more_outputs = all.len().saturating_sub(OUTPUTS_MAX);
                let shown = |(route, data): &(String, Vec<u8>)| {
                    let route = shown::text(route.as_bytes(), SHOWN_BYTES).to_string();
                    (route, shown::line(data, SHOWN_BYTES))
                };
                outputs = all.iter().take(OUTPUTS_MAX).map(shown).collect();
                ("processed", String::new(), hash(all))
            }
            Did::Corrupt(reason) => ("corrupt", reason.clone(), hash(reason)),
            Did::Retry(reason) => ("retry", reason.clone(), hash(reason)),
            Did::Failed(failure) => ("failed", failure.to_string(), hash(failure.to_string())),
            Did::Trapped(trap) => ("trapped", trap.to_string(), hash(&trap.message)),
            Did::Broke(broken) => (
                "trapped",
                format!("contract violated: {broken}"),
                hash(broken),
            ),
        };
        Line {
            number,
            text: shown::line(line, SHOWN_BYTES),
            fuel: cost.fuel,
            time: cost.time,
            kind,
            reason: shown::text(reason.as_bytes(), SHOWN_BYTES * 4).to_string(),
            outputs,
            more_outputs,
            line_hash: hash(line),
            did_hash: hash((kind, told)),
        }
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
pub(super) fn hash_for_tests(text: &str) -> u64 {
    hash(text)
}
