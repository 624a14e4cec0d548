//! What is measured: the whole pipeline in rounds, lines one by one, batches of several sizes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::{Bytes, BytesMut};
use linemill::{Config, Meter, Plugin, Rehearsal, Sample, Stop};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::cost::{self, Costs};

/// Bytes of one round at most: they and the output are in memory.
const ROUND_BYTES_MAX: usize = 256 << 20;
/// Sizes of batches that are tried, in bytes.
const SIZES: [usize; 6] = [16 << 10, 64 << 10, 256 << 10, 512 << 10, 2 << 20, 8 << 20];
/// Of each size so many batches at least, where the data suffice: what a first batch costs besides is not all.
const SIZE_BATCHES: usize = 4;
/// Each size is run so often, in turn with the others; the fastest run counts, which is the least disturbed.
const SIZE_PASSES: usize = 3;
/// A size that is nearly as fast as the fastest is as good.
const AS_FAST: f64 = 0.95;

/// What is measured, and on what.
pub(super) struct Bench {
    pub(super) plugin: Plugin,
    pub(super) config: Arc<Config>,
    pub(super) sample: Sample,
}

/// The whole pipeline.
#[derive(Debug, Serialize)]
pub(super) struct Throughput {
    pub(super) concurrency: usize,
    pub(super) lines_per_second: Spread,
    pub(super) bytes_per_second: Spread,
    pub(super) rounds: Vec<Round>,
    /// Bytes of one round; those of the sample over and over, or the first of them.
    pub(super) round_bytes: usize,
    pub(super) round_lines: usize,
    pub(super) status: String,
    /// The first error, where lines were not processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) batches: u64,
    pub(super) traps: u64,
    /// Fuel of one round, `pre` and `post` included.
    pub(super) fuel: u64,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Round {
    pub(super) seconds: f64,
    pub(super) lines: u64,
    pub(super) processed: u64,
    pub(super) corrupted: u64,
    pub(super) retried: u64,
    pub(super) bytes: u64,
}

/// Of the rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

/// Batches of one size, one after the other.
#[derive(Debug, Clone, Serialize)]
pub(super) struct SizeRun {
    pub(super) batch_bytes: usize,
    pub(super) batches: u64,
    pub(super) lines_per_second: f64,
    pub(super) bytes_per_second: f64,
    pub(super) fuel_per_line: f64,
    /// Of one batch, the median.
    pub(super) batch_ms: f64,
    /// Linear memory of an instance that ran such a batch.
    pub(super) memory_bytes: usize,
}

/// The batch size to take.
#[derive(Debug, Serialize)]
pub(super) struct Recommended {
    /// Name of the setting.
    pub(super) setting: &'static str,
    pub(super) value: usize,
    /// What one core does with it.
    pub(super) bytes_per_second: f64,
    pub(super) lines_per_second: f64,
    pub(super) memory_bytes: usize,
    pub(super) batch_ms: f64,
}

impl Bench {
    pub(super) fn new(plugin: Plugin, config: Config, sample: Sample) -> Self {
        Bench {
            plugin,
            config: Arc::new(config),
            sample,
        }
    }

    /// Lines that take about as long as a round is to take: the sample again and again, or its beginning.
    pub(super) async fn data(&self, round: Duration) -> Result<Bytes> {
        let whole = &self.sample.bytes;
        if round.is_zero() {
            return Ok(whole.clone());
        }
        // A short run tells about how fast it is; a second one how fast it is once it is warm.
        let few = cycle(whole, 64 << 10);
        let mut speed = self.speed(&few, &self.config).await?;
        let some = cycle(whole, bytes_in(speed, round / 10));
        speed = speed.max(self.speed(&some, &self.config).await?);
        Ok(cycle(whole, bytes_in(speed, round)))
    }

    /// Bytes a second.
    async fn speed(&self, data: &Bytes, config: &Config) -> Result<f64> {
        let run = self.run(data, config).await?;
        Ok(run.report.bytes as f64 / run.time.as_secs_f64().max(1e-6))
    }

    async fn run(&self, data: &Bytes, config: &Config) -> Result<Rehearsal> {
        let name = &self.sample.name;
        let stop = Arc::<Stop>::default();
        let run = Rehearsal::run(&self.plugin, config, name, data.clone(), stop).await?;
        if run.report.is_error() {
            let why = run.report.errors.first().unwrap_or("it ended in an error");
            bail!("the lines cannot be run: {why}");
        }
        Ok(run)
    }

    /// Rounds of the whole pipeline.
    pub(super) async fn throughput(
        &self,
        data: &Bytes,
        rounds: usize,
        begin: impl Fn(usize),
    ) -> Result<Throughput> {
        let mut all = Vec::with_capacity(rounds);
        let mut last = None;
        for round in 1..=rounds {
            begin(round);
            let run = self.run(data, &self.config).await?;
            all.push(Round::of(&run));
            last = Some(run.report);
        }
        let report = last.expect("there is at least one round");
        let per_second = |of: fn(&Round) -> u64| {
            Spread::of(all.iter().map(|round| of(round) as f64 / round.seconds))
        };
        Ok(Throughput {
            concurrency: self.config.concurrency,
            lines_per_second: per_second(|round| round.lines),
            bytes_per_second: per_second(|round| round.bytes),
            rounds: all,
            round_bytes: data.len(),
            round_lines: data.split_inclusive(|&byte| byte == b'\n').count(),
            error: report.errors.first().map(str::to_owned),
            status: report.status,
            batches: report.batches,
            traps: report.traps,
            fuel: report.fuel,
        })
    }

    /// Lines one by one.
    pub(super) async fn costs(&self) -> Result<Costs> {
        let sample = self.sample.clone();
        let (plugin, config) = (self.plugin.clone(), self.config.clone());
        let measuring = async move {
            let cut = CancellationToken::new();
            let mut meter = Meter::open(&plugin, &config, &sample.name, cut, true).await?;
            anyhow::Ok(cost::measure(&mut meter, &sample).await)
        };
        self.plugin.compute().spawn(measuring).await?
    }

    /// Batches of several sizes, one at a time.
    pub(super) async fn sizes(&self, data: &Bytes, begin: impl Fn(usize)) -> Result<Vec<SizeRun>> {
        // Where there is too little for it, a larger size would be measured as this one.
        let sizes = SIZES.iter().enumerate();
        let sizes = sizes.filter(|(at, size)| *at == 0 || **size <= data.len());
        let sizes: Vec<usize> = sizes.map(|(_, size)| *size).collect();
        let mut runs: Vec<SizeRun> = Vec::new();
        for pass in 0..SIZE_PASSES {
            for (at, &size) in sizes.iter().enumerate() {
                begin(size);
                let run = self.size(data, size).await?;
                match pass {
                    0 => runs.push(run),
                    _ if run.bytes_per_second > runs[at].bytes_per_second => runs[at] = run,
                    _ => {}
                }
            }
        }
        Ok(runs)
    }

    async fn size(&self, data: &Bytes, size: usize) -> Result<SizeRun> {
        let mut config = Config::clone(&self.config);
        config.concurrency = 1;
        config.batch_lines = None;
        config.batch_bytes = Some(size);
        let enough = beginning(data, (data.len() / 8).max(size * SIZE_BATCHES));
        let run = self.run(&enough, &config).await?;
        let round = Round::of(&run);
        let latency = serde_json::to_value(&run.report.latency)?;
        Ok(SizeRun {
            batch_bytes: size,
            batches: run.report.batches,
            lines_per_second: round.lines as f64 / round.seconds,
            bytes_per_second: round.bytes as f64 / round.seconds,
            fuel_per_line: run.report.fuel as f64 / round.lines.max(1) as f64,
            batch_ms: latency["P50"].as_f64().unwrap_or(0.0),
            memory_bytes: self.memory(beginning(data, size)).await?,
        })
    }

    /// Linear memory of an instance that has run a batch.
    async fn memory(&self, batch: Bytes) -> Result<usize> {
        let (plugin, config) = (self.plugin.clone(), self.config.clone());
        let measuring = async move {
            let cut = CancellationToken::new();
            let mut meter = Meter::open(&plugin, &config, "sample", cut, true).await?;
            let count = batch.split_inclusive(|&byte| byte == b'\n').count();
            meter.batch(1, &batch, count).await;
            anyhow::Ok(meter.memory_bytes)
        };
        self.plugin.compute().spawn(measuring).await?
    }
}

impl Round {
    fn of(run: &Rehearsal) -> Self {
        let counts = &run.report.counts;
        Round {
            seconds: run.time.as_secs_f64().max(1e-6),
            lines: counts.loaded,
            processed: counts.processed,
            corrupted: counts.corrupted,
            retried: counts.retried + counts.failed,
            bytes: run.report.bytes,
        }
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Spread {
            median,
            min: values[0],
            max: values[values.len() - 1],
        }
    }
}

/// The smallest that is nearly as fast as the fastest: what waits in memory, and for how long, grows with the size.
/// None, where nothing was run.
pub(super) fn recommended(runs: &[SizeRun]) -> Option<Recommended> {
    let fastest = runs
        .iter()
        .map(|run| run.bytes_per_second)
        .fold(0.0, f64::max);
    let good = |run: &&SizeRun| fastest > 0.0 && run.bytes_per_second >= AS_FAST * fastest;
    runs.iter().find(good).map(|run| Recommended {
        setting: "batch_bytes_max",
        value: run.batch_bytes,
        bytes_per_second: run.bytes_per_second,
        lines_per_second: run.lines_per_second,
        memory_bytes: run.memory_bytes,
        batch_ms: run.batch_ms,
    })
}

fn bytes_in(speed: f64, time: Duration) -> usize {
    ((speed * time.as_secs_f64()) as usize).min(ROUND_BYTES_MAX)
}

/// Whole lines of about so many bytes; at least one.
fn beginning(lines: &Bytes, bytes: usize) -> Bytes {
    if bytes >= lines.len() {
        return lines.clone();
    }
    let end = |at: usize| memchr::memchr(b'\n', &lines[at..]).map(|end| at + end + 1);
    let fits = lines[..bytes].iter().rposition(|&byte| byte == b'\n');
    let end = fits.map(|at| at + 1).or_else(|| end(bytes));
    lines.slice(..end.unwrap_or(lines.len()))
}

/// The lines again and again, whole lines of about so many bytes.
fn cycle(lines: &Bytes, bytes: usize) -> Bytes {
    if bytes <= lines.len() {
        return beginning(lines, bytes);
    }
    let mut all = BytesMut::with_capacity(bytes + lines.len() + 1);
    let mut room = bytes;
    while room > 0 {
        let more = beginning(lines, room);
        all.extend_from_slice(&more);
        if !all.ends_with(b"\n") {
            all.extend_from_slice(b"\n");
        }
        room = match more.len() < lines.len() {
            true => 0,
            false => bytes.saturating_sub(all.len()),
        };
    }
    all.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_of_about_so_many_bytes() {
        // Lines, bytes; the beginning of them, and they again and again.
        let table = [
            ("a\nb\nc", 0, "a\n", "a\n"),
            ("a\nb\nc", 1, "a\n", "a\n"),
            ("a\nb\nc", 3, "a\n", "a\n"),
            ("a\nb\nc", 4, "a\nb\n", "a\nb\n"),
            ("a\nb\nc", 5, "a\nb\nc", "a\nb\nc"),
            ("a\nb\nc", 9, "a\nb\nc", "a\nb\nc\na\n"),
            ("abc", 1, "abc", "abc"),
            ("abc", 9, "abc", "abc\nabc\nabc\n"),
        ];
        for (lines, bytes, first, again) in table {
            let lines = Bytes::from_static(lines.as_bytes());
            assert_eq!(beginning(&lines, bytes), first, "{lines:?} {bytes}");
            assert_eq!(cycle(&lines, bytes), again, "{lines:?} {bytes}");
        }
    }

    #[test]
    fn spreads() {
        let table: [(&[f64], [f64; 3]); 3] = [
            (&[2.0], [2.0, 2.0, 2.0]),
            (&[3.0, 1.0], [2.0, 1.0, 3.0]),
            (&[9.0, 1.0, 2.0], [2.0, 1.0, 9.0]),
        ];
        for (values, [median, min, max]) in table {
            let want = Spread { median, min, max };
            assert_eq!(Spread::of(values.iter().copied()), want);
        }
    }

    #[test]
    fn the_smallest_that_is_fast() {
        let run = |(batch_bytes, bytes_per_second): &(usize, f64)| SizeRun {
            batch_bytes: *batch_bytes,
            batches: 1,
            lines_per_second: 1.0,
            bytes_per_second: *bytes_per_second,
            fuel_per_line: 1.0,
            batch_ms: 1.0,
            memory_bytes: 1,
        };
        type Runs = &'static [(usize, f64)];
        let table: [(Runs, Option<usize>); 4] = [
            (&[], None),
            (&[(1, 0.0)], None),
            (&[(1, 50.0), (2, 98.0), (3, 100.0), (4, 90.0)], Some(2)),
            (&[(1, 50.0)], Some(1)),
        ];
        for (runs, want) in table {
            let runs: Vec<SizeRun> = runs.iter().map(run).collect();
            assert_eq!(recommended(&runs).map(|found| found.value), want);
        }
    }
}
