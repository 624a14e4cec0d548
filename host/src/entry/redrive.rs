//! `linemill redrive`: lines that were not processed, run again.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use indicatif::MultiProgress;
use linemill::{Chosen, Host, Pick, Plugin, Progress, Report, Request, Storage};

use super::faulted::{self, Faulted, Picking, counted};
use super::run::{Printer, exit_code};
use super::settings::Settings;
use super::stops::Stops;
use super::{ALL_PROCESSED, COULD_NOT_RUN, SOME_LEFT, print, progress, say};

/// What `redrive` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lines that succeed now are done with. What still fails, and what was not chosen, is written on into new objects
beside which a faults file stands, and the old object is kept, deleted or moved (--completion), all or nothing.

Exit codes: 0 all lines that were chosen are processed; 1 some are not; 2 could not run, all is as it was."
)]
pub(crate) struct Args {
    /// An object of faulted lines or the faults file beside it: a path, a glob, a prefix ending in /, or a URL
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    picking: Picking,
    /// Tell what would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the reports to this file too, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// No progress bar and no summary
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What all objects came to.
#[derive(Default)]
struct Total {
    worst: u8,
    redriven: u64,
    succeeded: u64,
    still: u64,
    not_run: u64,
    rest: u64,
}

/// Runs the chosen lines of all objects, one object after another.
pub(crate) async fn redrive(args: Args, bars: MultiProgress) -> Result<ExitCode> {
    let pick = args.picking.pick()?;
    let storage = Storage::new();
    let found = faulted::find(&storage, &args.files).await?;
    let urls = objects(found)?;
    if args.dry_run {
        return dry_run(&storage, &urls, &pick).await;
    }
    let config = Arc::new(args.settings.effective()?.config);
    config.check_for_run()?;
    let runtime = super::engine(&config, 1)?;
    let plugin = linemill::load_plugin(&runtime, &storage, &config).await?;
    let stops = Stops::listen()?;
    let mut printer = Printer::new(args.report.as_ref(), args.quiet, &config)?;
    let cwd = std::env::current_dir().context("the working directory is gone")?;
    let host = Host {
        storage,
        config,
        progress: Arc::new(Progress::default()),
        cwd,
    };
    let bar = !args.quiet && std::io::IsTerminal::is_terminal(&std::io::stderr());
    let shown = bar.then(|| progress::show(&bars, &host.progress, None));
    let mut total = Total::default();
    for url in &urls {
        let report = match run_one(&host, &plugin, url, &pick, &stops).await {
            Run::Done(report) => report,
            Run::NothingChosen => continue,
            Run::NotBegun => {
                total.worst = total.worst.max(SOME_LEFT);
                continue;
            }
        };
        total.add(&report);
        let printed = bars.suspend(|| printer.print(&report));
        printed.context("could not write the report")?;
    }
    drop(shown);
    if !args.quiet {
        say(&total.show());
    }
    Ok(ExitCode::from(total.worst))
}

/// The objects among what was found. A faults file whose object is gone is about lines that are done with.
fn objects(found: Vec<Faulted>) -> Result<Vec<String>> {
    let mut urls = Vec::new();
    for Faulted { lines, rows } in found {
        match (lines, rows) {
            (Some(lines), _) if !urls.contains(&lines) => urls.push(lines),
            (Some(_), _) => {}
            (None, Some(rows)) if rows == "-" => {
                bail!("-: lines are run again from objects, which stdin is not")
            }
            (None, rows) => {
                let rows = rows.unwrap_or_default();
                tracing::warn!("{rows} stands alone: its lines are gone, nothing of it is run");
            }
        }
    }
    if urls.is_empty() {
        bail!("no lines are there: only faults files, whose objects are gone");
    }
    Ok(urls)
}

enum Run {
    Done(Box<Report>),
    NothingChosen,
    /// The run was interrupted.
    NotBegun,
}

async fn run_one(host: &Host, plugin: &Plugin, url: &str, pick: &Pick, stops: &Stops) -> Run {
    let Some(stop) = stops.begin() else {
        return Run::NotBegun;
    };
    let done = match Chosen::of(&host.storage, url, pick).await {
        Ok(Chosen { request: None, .. }) => Run::NothingChosen,
        Ok(Chosen {
            request: Some(request),
            ..
        }) => Run::Done(Box::new(
            linemill::run(host, plugin, request, stop.clone()).await,
        )),
        Err(error) => {
            let mut report = Report::new(&Request::new(url), plugin.id.clone());
            report.fail(&error);
            Run::Done(Box::new(report))
        }
    };
    stops.end(&stop);
    done
}

/// A line for each object: what would be run of it.
async fn dry_run(storage: &Storage, urls: &[String], pick: &Pick) -> Result<ExitCode> {
    let mut worst = ALL_PROCESSED;
    let mut picked = 0;
    for url in urls {
        match Chosen::of(storage, url, pick).await {
            Ok(chosen) => {
                picked += chosen.picked;
                print(&format!(
                    "{url}: {} of {} lines would be run again",
                    chosen.picked, chosen.lines
                ))?;
            }
            Err(error) => {
                worst = COULD_NOT_RUN;
                say(&format!("linemill: {:#}", anyhow::Error::from(error)));
            }
        }
    }
    print(&format!("{} in all", counted(picked, "line")))?;
    Ok(ExitCode::from(worst))
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.worst = self.worst.max(exit_code(report));
        if report.is_error() {
            return;
        }
        let counts = &report.counts;
        self.redriven += counts.loaded;
        self.succeeded += counts.processed;
        self.still += counts.loaded - counts.processed;
        self.not_run += report.unread.unwrap_or(0);
        self.rest += report.rest.unwrap_or(0);
    }

    fn show(&self) -> String {
        let Total {
            redriven,
            succeeded,
            still,
            not_run,
            rest,
            worst,
        } = self;
        if *redriven == 0 && *worst == ALL_PROCESSED {
            return "no line was chosen: nothing was run, all is as it was".to_owned();
        }
        let mut text = format!(
            "{} run again: {succeeded} succeeded, {still} still fail",
            counted(*redriven, "line")
        );
        if *not_run > 0 {
            text.push_str(&format!(", for {not_run} there was no time"));
        }
        if *rest > 0 {
            text.push_str(&format!("; {rest} were left as they are"));
        }
        text
    }
}
