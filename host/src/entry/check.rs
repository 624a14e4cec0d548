//! `linemill check`: what a component is, whether it fits, and what the lines of a sample cost.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use linemill::{Config, Did, Extern, Inspection, Meter, Plugin, Sample, Storage};
use tokio_util::sync::CancellationToken;

use super::project::Project;
use super::settings::Settings;
use super::shown;

/// Prints a line; whoever reads may have seen enough.
macro_rules! outln {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// So much of a sample is run.
const SAMPLE_BYTES: usize = 1024 * 1024;
/// So many lines are shown one by one.
const SHOWN_LINES: usize = 10;
/// How often the sample is run for its time.
const ROUNDS: usize = 5;
/// So much of a line or an output is shown.
const SHOWN_BYTES: usize = 80;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path or URL of the component, a project's folder, or its linemill.toml, which names the component
    #[arg(value_name = "PLUGIN")]
    component: String,
    /// Run lines of this file and tell what they cost (at most 1 MiB of it)
    #[arg(long, value_name = "FILE")]
    sample: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// Tells it; the exit code is 2 when the component does not fit.
pub(crate) async fn check(args: Args) -> Result<ExitCode> {
    let config = Project::new(&args.component, args.settings)?.config()?;
    Project::check_built(&config)?;
    let component = config.plugin.clone().unwrap_or_default();
    let runtime = super::engine(&config, 1)?;
    let storage = Storage::new();
    let bytes = linemill::fetch_plugin(&storage, &component, &config).await?;
    // First, so that it is seen whether its code was compiled before.
    let plugin = Plugin::load(&runtime, &component, &bytes);
    let inspection = Inspection::of(&runtime, &component, &bytes)?;
    outln!("component  {} ({} bytes)", component, bytes.len());
    outln!("digest     {}", inspection.digest);
    if let Ok(plugin) = &plugin {
        let how = if plugin.cached {
            "compiled before, loaded"
        } else {
            "compiled"
        };
        outln!("version    {}", plugin.id.version.as_deref().unwrap_or("-"));
        outln!("code       {how} in {:.1} ms", millis(plugin.compile_time));
    }
    print_externs("exports", &inspection.exports, "not used by linemill");
    print_externs("imports", &inspection.imports, "NOT GRANTED");
    let plugin = plugin?;
    outln!(
        "merges     {}",
        if plugin.reduces() {
            "yes: partials are folded as they come"
        } else {
            "no"
        }
    );
    outln!("fits       yes");
    if let Some(sample) = &args.sample {
        let read = Sample::read(&storage, sample, usize::MAX, SAMPLE_BYTES).await;
        let sample = read.with_context(|| format!("could not read the sample {sample}"))?;
        let (compute, config) = (plugin.compute().clone(), Arc::new(config));
        compute
            .spawn(async move { try_sample(&plugin, &config, &sample).await })
            .await??;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_externs(what: &str, externs: &[Extern], unknown: &str) {
    for (index, item) in externs.iter().enumerate() {
        let what = if index == 0 { what } else { "" };
        outln!(
            "{what:10} {}{}",
            item.name,
            if item.known {
                String::new()
            } else {
                format!("  <- {unknown}")
            }
        );
    }
}

async fn try_sample(plugin: &Plugin, config: &Arc<Config>, sample: &Sample) -> Result<()> {
    let cut = CancellationToken::new();
    let mut meter = Meter::open(plugin, config, "sample", cut, false).await?;
    let (lines, count) = (&sample.bytes[..], sample.count);
    outln!("\nsample     {count} lines, {} bytes", lines.len());
    if count == 0 {
        return Ok(());
    }
    cost(&mut meter, lines, count).await;
    outln!();
    for (number, line) in (1..).zip(sample.lines().take(SHOWN_LINES)) {
        // What a line does, in an instance of its own.
        meter.renew();
        outln!("{number:>6}  {}", said(meter.line(number, line).await.did));
    }
    Ok(())
}

/// Fuel and time of the whole sample as one batch; the median of a few rounds.
async fn cost(meter: &mut Meter, lines: &[u8], count: usize) {
    let mut times = Vec::new();
    let mut fuel = 0;
    for _ in 0..ROUNDS {
        let cost = meter.batch(1, lines, count).await;
        match cost.did {
            Did::Trapped(trap) => {
                return outln!("cost       the sample traps as a batch: {trap}");
            }
            Did::Broke(broken) => {
                return outln!("cost       the sample breaks the contract as a batch: {broken}");
            }
            _ => {}
        }
        times.push(cost.time);
        fuel = cost.fuel;
    }
    times.sort();
    let time = times[times.len() / 2];
    outln!(
        "fuel       {:.1} a line, {:.2} a byte",
        fuel as f64 / count as f64,
        fuel as f64 / lines.len() as f64
    );
    outln!(
        "time       {:.3} µs a line, {:.1} MB/s on one core",
        time.as_secs_f64() * 1e6 / count as f64,
        lines.len() as f64 / time.as_secs_f64() / 1e6
    );
}

fn said(did: Did) -> String {
    match did {
        Did::Trapped(trap) => format!("traps: {trap}"),
        Did::Failed(failure) => format!("fails: {failure}"),
        Did::Broke(broken) => format!("breaks the contract: {broken}"),
        Did::Corrupt(reason) => format!("corrupt: {reason}"),
        Did::Retry(reason) => format!("retry: {reason}"),
        Did::Processed(outputs) => {
            let output: Vec<u8> = outputs.into_iter().flat_map(|(_, data)| data).collect();
            match shown::text(output.trim_ascii_end(), SHOWN_BYTES) {
                shown if shown.text.is_empty() => "processed".to_owned(),
                shown => format!("processed -> {shown}"),
            }
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
