//! `linemill test`: the cases of a plugin; what differs goes to stdout, mistakes in cases to stderr.

mod files;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::StreamExt;
use linemill::{Plugin, Storage, Trial, Verdict};

use self::tally::Tally;
use super::COULD_NOT_RUN;
use super::project::Project;
use super::settings::Settings;

/// Of the environment only this: a case must not depend on where it is run.
const MACHINE: &str = "LINEMILL_CACHE_DIR";

/// What `test` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A case is a text: --- settings, --- input, --- output, --- faults, --- metrics. What it leaves unsaid must be empty.

Exit codes: 0 all cases pass; 1 some do not; 2 could not run (no cases, mistakes in them, no plugin)."
)]
pub(crate) struct Args {
    /// A project's folder, its linemill.toml, or a component
    #[arg(default_value = ".", value_name = "PLUGIN")]
    plugin: String,
    /// Only cases with one of these in their names
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Where the cases are [default: `cases` beside the component, or in the project]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Rewrite the cases so that they expect what the plugin does
    #[arg(long)]
    bless: bool,
    /// Only what differs, and the summary
    #[arg(long, short)]
    quiet: bool,
    /// A JSON object for each case on stdout, and nothing else
    #[arg(long)]
    json: bool,
    /// Configuration file, TOML or JSON [default: that of the project]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Let the plugin reach what `grants.http` names; without, every HTTP request is denied
    #[arg(long)]
    network: bool,
    /// A setting, by its name in the configuration; over those of cases (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Runs the cases.
pub(crate) async fn test(args: Args) -> Result<ExitCode> {
    let settings = Settings::few(args.config.clone(), args.set.clone());
    let project = Project::new(&args.plugin, settings)?;
    let layers = project.layers(|name| name == MACHINE)?;
    let mut config = project.config_of(layers.finish()?)?;
    Project::check_built(&config)?;
    let folder = args.cases.clone().unwrap_or_else(|| project.cases());
    let Some(trials) = files::read_all(&folder, &args.words, &layers)? else {
        return Ok(ExitCode::from(COULD_NOT_RUN));
    };
    if !args.network {
        config.grants.deny_http();
    }
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let most = trials.iter().map(Trial::instances).max().unwrap_or(1);
    config.concurrency = most;
    let runtime = super::engine(&config, at_once)?;
    let plugin = linemill::load_plugin(&runtime, &Storage::new(), &Arc::new(config)).await?;
    let mut tally = Tally::new(&args);
    let mut verdicts = futures::stream::iter(&trials)
        .map(|trial| run_one(trial, &plugin))
        .buffered(at_once);
    while let Some((trial, verdict)) = verdicts.next().await {
        let verdict = verdict.with_context(|| format!("could not run {}", trial.case().name))?;
        tally.add(trial.case(), &verdict)?;
    }
    tally.end()
}

async fn run_one<'a>(trial: &'a Trial, plugin: &Plugin) -> (&'a Trial, Result<Verdict>) {
    (trial, trial.run(plugin).await)
}
