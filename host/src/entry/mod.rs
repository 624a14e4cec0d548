//! Entry points: they translate between the outside and requests, and nothing else.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod config;
pub(crate) mod dev;
pub(crate) mod faulted;
pub(crate) mod faults;
pub(crate) mod lambda;
pub(crate) mod new;
pub(crate) mod plugin;
pub(crate) mod progress;
pub(crate) mod project;
pub(crate) mod quantile;
pub(crate) mod redrive;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod shown;
pub(crate) mod sources;
pub(crate) mod stops;
pub(crate) mod test;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use indicatif::MultiProgress;
use linemill::{Config, Limits, Runtime, TRIAL_INSTANCES};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Every line was processed.
pub(crate) const ALL_PROCESSED: u8 = 0;
/// Some lines were retried, corrupted, failed or not read.
pub(crate) const SOME_LEFT: u8 = 1;
/// A request, or all of them, could not be done.
pub(crate) const COULD_NOT_RUN: u8 = 2;

/// Runs line-processing WebAssembly plugins over newline-delimited data, with every line accounted for.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the lines of sources through a plugin
    Run(run::Args),
    /// Tell why lines were not processed: faults grouped by reason, with counts and samples
    Faults(faults::Args),
    /// Run corrupt, failed or retried lines again, and write what still fails
    Redrive(redrive::Args),
    /// Run lines and events that come over HTTP
    Serve(serve::Args),
    /// Tell and change which version of the plugin a server runs
    Plugin(plugin::Args),
    /// Tell what a component is: whether it fits, what it imports, what its lines cost
    Check(check::Args),
    /// Run recorded failures again: reproduce them, try a fix, make them smaller
    Replay(replay::Args),
    /// Begin a plugin: a folder that builds, tests and runs
    New(new::Args),
    /// Run the cases of a plugin, and show what differs
    Test(test::Args),
    /// Run a sample whenever the component changes, and show what it does on a local page
    Dev(dev::Args),
    /// Measure how fast lines are run, what each costs, and what that takes on Lambda
    Bench(bench::Args),
    /// Compile a component ahead, for `plugin_compiled`
    Compile(compile::Args),
    /// Print the effective configuration, and where each value comes from
    Config(config::Args),
    /// Answer the invocations of an AWS Lambda function
    Lambda(lambda::Args),
}

/// What is to be done: what the arguments say, or, without any, what Lambda wants of a program that it starts.
pub(crate) fn command() -> Command {
    let words: Vec<_> = std::env::args_os().collect();
    match &words[..] {
        [] | [_] if lambda::is_meant(words.first().map(Path::new)) => {
            Cli::parse_from(["linemill", "lambda"]).command
        }
        _ => Cli::parse().command,
    }
}

/// Log events go to stderr, above the progress bar where there is one. `LINEMILL_LOG` filters them
/// (`debug`, `plugin=trace`, …; by default warnings and what plugins say).
pub(crate) fn start_tracing() -> MultiProgress {
    let bars = MultiProgress::new();
    let filter = EnvFilter::try_from_env("LINEMILL_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,plugin=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(AboveBars(bars.clone()))
        .init();
    bars
}

struct AboveBars(MultiProgress);

struct AboveBarsWriter(MultiProgress);

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = AboveBarsWriter;

    fn make_writer(&'a self) -> AboveBarsWriter {
        AboveBarsWriter(self.0.clone())
    }
}

impl Write for AboveBarsWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Prints a line for programs.
fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{line}").and_then(|()| out.flush());
    printed.context("could not write to standard output")
}

/// Prints a line for a person, who may be gone.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The engine for `requests` requests at once.
fn engine(config: &Config, requests: usize) -> Result<Arc<Runtime>> {
    Runtime::new(limits(config, requests))
}

fn limits(config: &Config, requests: usize) -> Limits {
    Limits {
        memory_bytes_max: config.memory_bytes_max,
        table_elements_max: config.table_elements_max,
        // Besides the workers, each request has an instance for `pre` or for folding and `post`; and newer versions
        // are tried out beside them.
        instances: (config.concurrency + 1) * requests + TRIAL_INSTANCES,
        cache_dir: config.cache_dir.clone(),
        grants: config.grants.clone(),
    }
}
