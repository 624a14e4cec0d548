//! `linemill bench`: how fast a plugin runs lines, what they cost, and what that means for batches and for Lambda.

mod cost;
mod lambda;
mod phases;
mod table;
mod volume;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar};
use linemill::{Config, Sample, Storage};
use serde::Serialize;

use self::cost::{Costs, Memory};
use self::lambda::{Arch, Estimate, Prices};
use self::phases::{Bench, Recommended, SizeRun, Throughput};
use self::volume::Volume;
use super::project::Project;
use super::settings::Settings;
use super::{ALL_PROCESSED, print};

/// No run of a plugin that does not come to an end takes longer.
const RUN_MS_MAX: u64 = 60_000;

/// What `bench` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines per second are those of the whole pipeline with its output in memory; reading the source and \
writing objects is not in them. The estimate for Lambda is of compute alone, and takes a vCPU there for as fast as a \
core here: measure on a machine like it. Each line is run many times; a plugin that is granted servers asks them each \
time.

The default prices are list prices for US East (N. Virginia), first tier, as a copy of AWS's price list has them: \
x86 $0.0000166667 and arm $0.0000133334 a GB-second, $0.20 a million requests. That they hold now is not known, other \
regions have others, and free tiers, discounts and taxes are not in them: check them at \
https://aws.amazon.com/lambda/pricing/ and set yours with --price-gb-second and \
--price-million-requests."
)]
pub(crate) struct Args {
    /// Path or URL of the component, a project's folder, or its linemill.toml, which names the component
    plugin: String,
    /// Path or URL of a source, or - for stdin; lines from its beginning are run
    source: String,
    /// Take at most so many lines of the source
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    lines: u32,
    /// Take at most so many bytes of the source, whole lines
    #[arg(long, value_name = "BYTES", default_value_t = 32 << 20, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    bytes: u32,
    /// How often the whole is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// How long a round is about to take: lines are repeated, or not all taken; 0 for all lines once
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(..=600_000))]
    round_ms: u32,
    /// What is to be run on Lambda: bytes or lines in a time, such as 1TB/day or 5e6 lines/hour
    #[arg(long, value_name = "VOLUME", default_value = "1TB/day")]
    volume: Volume,
    /// Memory of the Lambda function, in MB; each 1769 of them are one vCPU
    #[arg(long, value_name = "MB", default_value_t = 1769, value_parser = clap::value_parser!(u32).range(128..=10_240))]
    lambda_mb: u32,
    /// Processor of the Lambda function, for its price
    #[arg(long, value_name = "ARCH", value_enum, default_value_t = Arch::X86)]
    lambda_arch: Arch,
    /// Bytes of one request (object) there
    #[arg(long, value_name = "BYTES", default_value_t = 64_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    lambda_request_bytes: u64,
    /// Price of a GB-second, in dollars
    #[arg(long, value_name = "USD", value_parser = price)]
    price_gb_second: Option<f64>,
    /// Price of a million requests, in dollars
    #[arg(long, value_name = "USD", value_parser = price, default_value_t = 0.20)]
    price_million_requests: f64,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse::<f64>().ok();
    let valid = price.filter(|price| price.is_finite() && *price >= 0.0);
    valid.ok_or_else(|| "a price in dollars is expected, such as 0.0000166667".to_owned())
}

/// All that was measured.
#[derive(Debug, Serialize)]
struct Measured {
    plugin: Plugin,
    source: String,
    sample: Taken,
    throughput: Throughput,
    lines: Costs,
    batches: Vec<SizeRun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommended: Option<Recommended>,
    memory: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda: Option<Estimate>,
}

#[derive(Debug, Serialize)]
struct Plugin {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    digest: String,
    compile_ms: f64,
    /// Whether compiled code was found on disk.
    cached: bool,
}

/// What was taken of the source.
#[derive(Debug, Serialize)]
struct Taken {
    lines: usize,
    bytes: usize,
    /// The source goes on behind them.
    cut: bool,
}

/// Measures, and prints it.
pub(crate) async fn bench(args: Args, bars: MultiProgress) -> Result<ExitCode> {
    let storage = Storage::new();
    let project = Project::new(&args.plugin, args.settings.clone())?;
    let config = limited(project.config()?);
    let shown = Shown::new(&bars);
    shown.say("reading the source");
    let sample = Sample::read(
        &storage,
        &args.source,
        args.lines as usize,
        args.bytes as usize,
    );
    let sample = sample.await?;
    if sample.count == 0 {
        bail!("source {}: it has no lines", args.source);
    }
    shown.say("compiling");
    let plugin = load(&storage, &config).await?;
    let measured = measure(&args, config, plugin, sample, &shown).await?;
    drop(shown);
    match args.json {
        true => print(&serde_json::to_string(&measured)?)?,
        false => print(table::of(&measured).trim_end())?,
    }
    Ok(ExitCode::from(ALL_PROCESSED))
}

async fn measure(
    args: &Args,
    config: Config,
    plugin: linemill::Plugin,
    sample: Sample,
    shown: &Shown,
) -> Result<Measured> {
    let bench = Bench::new(plugin, config, sample);
    let round = Duration::from_millis(args.round_ms.into());
    shown.say("warming up");
    let data = bench.data(round).await?;
    let throughput = bench
        .throughput(&data, usize::from(args.rounds), |round| {
            shown.say(&format!("round {round} of {}", args.rounds));
        })
        .await?;
    shown.say("lines one by one");
    let lines = bench.costs().await?;
    let batches = bench
        .sizes(&data, |bytes| {
            shown.say(&format!("batches of {} KiB", bytes / 1024))
        })
        .await?;
    // How fast lines trap says nothing of how fast they are run.
    let stopped = throughput.status.contains("stopped");
    let recommended = phases::recommended(&batches).filter(|_| !stopped);
    let instance_bytes = batches.iter().map(|size| size.memory_bytes).max();
    let prices = Prices {
        gb_second: args
            .price_gb_second
            .unwrap_or(args.lambda_arch.price_gb_second()),
        million_requests: args.price_million_requests,
    };
    let one_core = recommended.as_ref().map(|best| best.bytes_per_second);
    let bytes_per_line = bench.sample.bytes.len() as f64 / bench.sample.count as f64;
    let lambda = one_core.filter(|speed| *speed > 0.0).map(|speed| {
        let volume = args.volume.bytes(bytes_per_line);
        lambda::estimate(
            volume,
            args.volume.period,
            args.lambda_mb,
            args.lambda_request_bytes,
            speed,
            prices,
        )
    });
    Ok(Measured {
        plugin: Plugin {
            name: bench.plugin.id.name.clone(),
            version: bench.plugin.id.version.clone(),
            digest: bench.plugin.id.digest.clone(),
            compile_ms: bench.plugin.compile_time.as_secs_f64() * 1e3,
            cached: bench.plugin.cached,
        },
        source: linemill::mask_secrets(&args.source),
        sample: Taken {
            lines: bench.sample.count,
            bytes: bench.sample.bytes.len(),
            cut: bench.sample.cut,
        },
        throughput,
        memory: Memory {
            instance_bytes: instance_bytes.unwrap_or(0).max(lines.memory_bytes),
            process_bytes: cost::process_bytes(),
        },
        lines,
        batches,
        recommended,
        lambda,
    })
}

/// A plugin that does not come to an end must not keep it up for ever.
fn limited(mut config: Config) -> Config {
    let limit = config.max_exec_time_ms.unwrap_or(RUN_MS_MAX);
    config.max_exec_time_ms = Some(limit.min(RUN_MS_MAX));
    config
}

async fn load(storage: &Storage, config: &Config) -> Result<linemill::Plugin> {
    Project::check_built(config)?;
    let name = config.plugin.clone().context("no plugin is named")?;
    let bytes = linemill::fetch_plugin(storage, &name, config).await?;
    let runtime = super::engine(config, 1)?;
    let loading =
        tokio::task::spawn_blocking(move || linemill::Plugin::load(&runtime, &name, &bytes));
    loading.await?
}

/// Says on a terminal what goes on.
struct Shown(Option<ProgressBar>);

impl Shown {
    fn new(bars: &MultiProgress) -> Self {
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| bars.add(ProgressBar::new_spinner()));
        if let Some(bar) = &bar {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Shown(bar)
    }

    fn say(&self, what: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(what.to_owned());
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
