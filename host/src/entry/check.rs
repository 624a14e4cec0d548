//! `linemill check`: what a component is, whether it fits, and what the lines of a sample cost.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use linemill::{
    Call, Config, Deadline, Extern, FaultKind, GuestContext, Inspection, Instance, Plugin, Storage,
};

use super::settings::Settings;

/// Prints a line; whoever reads may have seen enough.
macro_rules! outln {
    ($($text:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// So much of a sample is run.
const SAMPLE_BYTES: u64 = 1024 * 1024;
/// So many lines are shown one by one.
const SHOWN_LINES: usize = 10;
/// How often the sample is run for its time.
const ROUNDS: usize = 5;
/// So much of a line or an output is shown.
const SHOWN_CHARS: usize = 80;

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Path or URL of the component
    component: String,
    /// Run lines of this file and tell what they cost (at most 1 MiB of it)
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Tells it; the exit code is 2 when the component does not fit.
pub(crate) async fn check(mut args: Args) -> Result<ExitCode> {
    args.settings.set_plugin(args.component.clone());
    let config = args.settings.effective()?.config;
    let runtime = super::engine(&config, 1)?;
    let storage = Storage::new();
    let bytes = linemill::fetch_plugin(&storage, &args.component, &config).await?;
    // First, so that it is seen whether its code was compiled before.
    let plugin = Plugin::load(&runtime, &args.component, &bytes);
    let inspection = Inspection::of(&runtime, &args.component, &bytes)?;
    outln!("component  {} ({} bytes)", args.component, bytes.len());
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
        let lines = read_sample(sample)?;
        let compute = plugin.compute().clone();
        compute
            .spawn(async move { try_sample(&plugin, &config, &lines).await })
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

/// Whole lines from the beginning of the file.
fn read_sample(path: &Path) -> Result<Vec<u8>> {
    let file = std::fs::File::open(path)
        .with_context(|| format!("could not read the sample {}", path.display()))?;
    let mut reader = BufReader::new(file.take(SAMPLE_BYTES));
    let mut lines = Vec::new();
    while reader.read_until(b'\n', &mut lines)? > 0 {}
    if lines.len() as u64 == SAMPLE_BYTES
        && let Some(at) = lines.iter().rposition(|&byte| byte == b'\n')
    {
        lines.truncate(at + 1);
    }
    Ok(lines)
}

async fn try_sample(plugin: &Plugin, config: &Config, lines: &[u8]) -> Result<()> {
    let sample = Sample {
        plugin,
        config,
        guest: guest(plugin, config),
    };
    sample.pre().await?;
    let count = lines.split_inclusive(|&byte| byte == b'\n').count();
    outln!("\nsample     {count} lines, {} bytes", lines.len());
    if count == 0 {
        return Ok(());
    }
    sample.cost(lines, count).await;
    outln!();
    let shown = lines
        .split_inclusive(|&byte| byte == b'\n')
        .take(SHOWN_LINES);
    for (number, line) in (1..).zip(shown) {
        outln!("{number:>6}  {}", sample.outcome(number, line).await?);
    }
    Ok(())
}

struct Sample<'a> {
    plugin: &'a Plugin,
    config: &'a Config,
    guest: Arc<GuestContext>,
}

impl Sample<'_> {
    fn call(&self, fuel: u64) -> Call {
        let until = Instant::now() + Duration::from_millis(self.config.call_ms_max);
        let output_bytes_max = self.config.output_bytes_max;
        Call {
            fuel,
            until,
            cut_at: until,
            cut: Default::default(),
            output_bytes_max,
        }
    }

    fn batch_call(&self, bytes: usize) -> Call {
        self.call(
            self.config
                .fuel_base
                .saturating_add(self.config.fuel_per_byte.saturating_mul(bytes as u64)),
        )
    }

    async fn pre(&self) -> Result<()> {
        let call = self.call(self.config.call_fuel);
        let mut instance = self.instance(&call).await?;
        let context = instance
            .pre(&self.guest, &call)
            .await
            .map_err(|trap| anyhow!("pre: {trap}"))?;
        let context = context.map_err(|failure| anyhow!("pre failed: {failure}"))?;
        self.guest.open(context, instance.fuel_used(&call));
        Ok(())
    }

    async fn instance(&self, call: &Call) -> Result<Instance> {
        Instance::start(self.plugin, &self.guest, call)
            .await
            .map_err(|trap| anyhow!("{trap}"))
    }

    /// Fuel and time of the whole sample as one batch; the median of a few rounds.
    async fn cost(&self, lines: &[u8], count: usize) {
        let mut times = Vec::new();
        let mut fuel = 0;
        let mut instance = None;
        for _ in 0..ROUNDS {
            let call = self.batch_call(lines.len());
            let mut running = match instance.take() {
                Some(instance) => instance,
                None => match self.instance(&call).await {
                    Ok(instance) => instance,
                    Err(error) => return outln!("cost       {error}"),
                },
            };
            let start = Instant::now();
            if let Err(trap) = running.process(1, lines, &call).await {
                return outln!("cost       the sample traps as a batch: {trap}");
            }
            times.push(start.elapsed());
            fuel = running.fuel_used(&call);
            instance = Some(running);
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

    /// What a line does, in an instance of its own.
    async fn outcome(&self, number: u64, line: &[u8]) -> Result<String> {
        let call = self.batch_call(line.len());
        let mut instance = self.instance(&call).await?;
        Ok(match instance.process(number, line, &call).await {
            Err(trap) => format!("traps: {trap}"),
            Ok(Err(failure)) => format!("fails: {failure}"),
            Ok(Ok(outcome)) => match outcome.checked(1, call.output_bytes_max) {
                Err(broken) => format!("breaks the contract: {broken}"),
                Ok(outcome) => match outcome.faults.first() {
                    Some(fault) if fault.kind == FaultKind::Corrupt => {
                        format!("corrupt: {}", fault.reason)
                    }
                    Some(fault) => format!("retry: {}", fault.reason),
                    None => said(
                        &outcome
                            .outputs
                            .iter()
                            .flat_map(|output| &output.data)
                            .copied()
                            .collect::<Vec<u8>>(),
                    ),
                },
            },
        })
    }
}

fn said(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let shown: String = text.trim_end().chars().take(SHOWN_CHARS).collect();
    if shown.is_empty() {
        "processed".to_owned()
    } else {
        format!("processed -> {shown}")
    }
}

fn guest(plugin: &Plugin, config: &Config) -> Arc<GuestContext> {
    let deadline = Deadline::new(Instant::now(), None, None);
    let mut guest = GuestContext::new(
        &plugin.id.name,
        deadline,
        config.log_events_max,
        config.log_bytes_max,
    );
    guest.id = "check".to_owned();
    guest.source = "sample".to_owned();
    guest.settings = Arc::new(config.settings.clone());
    Arc::new(guest)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
