//! `linemill run`: sources through a plugin; reports on stdout, a summary on stderr.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use indicatif::MultiProgress;
use linemill::{Config, Host, Plugin, Progress, Range, Report, Request, Storage};

use super::settings::Settings;
use super::sources::{self, Found};
use super::stops::Stops;
use super::{ALL_PROCESSED, COULD_NOT_RUN, SOME_LEFT, print, progress, say};

/// What `run` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 all lines processed; 1 some lines retried, corrupted, failed or not read; 2 could not run.

Ctrl-C hands over what is left, like a deadline; a second one quits at once."
)]
pub(crate) struct Args {
    /// A path, a glob, a prefix ending in /, a URL, or - for stdin
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// How many sources are run at the same time
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// Write the reports to this file too, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Run only the lines that start at this byte of the (decompressed) source or behind it
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Run only the lines that start in so many bytes from --offset on
    #[arg(long, value_name = "BYTES")]
    length: Option<u64>,
    /// No progress bar and no summary
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Runs all sources.
pub(crate) async fn run(args: Args, bars: MultiProgress) -> Result<ExitCode> {
    let config = Arc::new(args.settings.effective()?.config);
    config.check_for_run()?;
    let storage = Storage::new();
    let runtime = super::engine(&config, usize::from(args.parallel))?;
    let plugin = linemill::load_plugin(&runtime, &storage, &config).await?;
    let stops = Stops::listen()?;
    let bar = !args.quiet && std::io::stderr().is_terminal();
    let found = sources::find(&storage, &args.sources, bar).await?;
    let range = range(&args, &found)?;
    let mut printer = Printer::new(args.report.as_ref(), args.quiet, &config)?;

    let cwd = std::env::current_dir().context("the working directory is gone")?;
    let host = Host {
        storage,
        config,
        progress: Arc::new(Progress::default()),
        cwd,
    };
    let bytes = found.iter().map(|source| source.size).sum();
    let shown = bar.then(|| progress::show(&bars, &host.progress, bytes));
    let mut reports = futures::stream::iter(&found)
        .map(|source| run_one(&host, &plugin, source, range, &stops))
        .buffered(usize::from(args.parallel));
    let mut worst = ALL_PROCESSED;
    while let Some(report) = reports.next().await {
        let Some(report) = report else {
            worst = worst.max(SOME_LEFT);
            continue;
        };
        worst = worst.max(exit_code(&report));
        let printed = bars.suspend(|| printer.print(&report));
        printed.context("could not write the report")?;
    }
    drop(shown);
    Ok(ExitCode::from(worst))
}

fn range(args: &Args, found: &[Found]) -> Result<Option<Range>> {
    if args.offset.is_none() && args.length.is_none() {
        return Ok(None);
    }
    if found.len() != 1 {
        bail!(
            "--offset and --length go with one source, not with {}",
            found.len()
        );
    }
    Ok(Some(Range {
        offset: args.offset.unwrap_or(0),
        length: args.length,
    }))
}

/// `None`: it was not begun, since the run was interrupted.
async fn run_one(
    host: &Host,
    plugin: &Plugin,
    source: &Found,
    range: Option<Range>,
    stops: &Stops,
) -> Option<Report> {
    let stop = stops.begin()?;
    let mut request = Request::new(&source.url);
    request.source.range = range;
    let report = match sources::follow(host, request).await {
        Ok(request) => linemill::run(host, plugin, request, stop.clone()).await,
        Err(error) => {
            let mut report = Report::new(&Request::new(&source.url), plugin.id.clone());
            report.fail(&*error.into_boxed_dyn_error());
            report
        }
    };
    stops.end(&stop);
    Some(report)
}

pub(crate) fn exit_code(report: &Report) -> u8 {
    match report.status.as_str() {
        "ok" => ALL_PROCESSED,
        _ if report.is_error() => COULD_NOT_RUN,
        _ => SOME_LEFT,
    }
}

/// Prints reports: JSON for programs, a line for people.
pub(crate) struct Printer {
    file: Option<(PathBuf, File)>,
    /// Standard output is the plugin's, so reports go to stderr.
    output_is_stdout: bool,
    quiet: bool,
}

impl Printer {
    pub(crate) fn new(report: Option<&PathBuf>, quiet: bool, config: &Config) -> Result<Self> {
        let create = |path: &PathBuf| {
            let file = File::create(path)
                .with_context(|| format!("could not write the report {}", path.display()));
            file.map(|file| (path.clone(), file))
        };
        let file = report.map(create).transpose()?;
        let output_is_stdout = config.destination_url.as_deref() == Some("-");
        Ok(Printer {
            file,
            output_is_stdout,
            quiet,
        })
    }

    pub(crate) fn print(&mut self, report: &Report) -> Result<()> {
        let line = serde_json::to_string(report)?;
        if let Some((path, file)) = &mut self.file {
            writeln!(file, "{line}")
                .with_context(|| format!("could not write the report {}", path.display()))?;
        }
        match (self.output_is_stdout, std::io::stdout().is_terminal()) {
            (true, _) if self.file.is_none() => say(&line),
            (true, _) => {}
            (false, true) => print(&serde_json::to_string_pretty(report)?)?,
            (false, false) => print(&line)?,
        }
        if !self.quiet {
            say(&summary(report));
        }
        Ok(())
    }
}

/// One line for a person, and one for each thing that was written or went wrong.
fn summary(report: &Report) -> String {
    let counts = &report.counts;
    let seconds = (report.runtime_ms as f64 / 1e3).max(1e-3);
    let mut text = format!(
        "{}: {}; {} lines in {:.3} s: {} processed, {} corrupted, {} retried, {} failed",
        report.source_url,
        report.status,
        counts.loaded,
        seconds,
        counts.processed,
        counts.corrupted,
        counts.retried,
        counts.failed
    );
    match report.unread {
        Some(0) => {}
        Some(unread) => text.push_str(&format!(", {unread} unread")),
        None => text.push_str(", the rest unread"),
    }
    let written = &report.written;
    let objects = [
        ("output", &written.destination),
        ("corrupt lines", &written.corruption),
        ("lines to retry", &written.retry),
        ("failed lines", &written.failed),
        ("resume with", &written.resume),
        ("not run again", &written.rest),
    ];
    for (what, url) in objects {
        if let Some(url) = url {
            text.push_str(&format!("\n  {what}: {url}"));
        }
    }
    for (route, url) in &written.routes {
        text.push_str(&format!("\n  route {route}: {url}"));
    }
    if let (true, Some(error)) = (report.status != "ok", report.errors.first()) {
        text.push_str(&format!("\n  {error}"));
    }
    text
}
