//! The command line: parse, start tracing, dispatch, print, exit code.

mod entry;

use std::process::ExitCode;

use clap::Parser;

use entry::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bars = entry::start_tracing();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("linemill-io")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return could_not_run(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => entry::run::run(args, bars).await,
            Command::Serve(args) => entry::serve::serve(args).await,
            Command::Plugin(args) => entry::plugin::plugin(args).await,
            Command::Check(args) => entry::check::check(args).await,
            Command::Compile(args) => entry::compile::compile(args).await,
            Command::Config(args) => entry::config::print(&args),
        }
    });
    // A read that hangs, of a dead network file system say, must not keep the process: the threads end with it.
    std::mem::forget(runtime);
    result.unwrap_or_else(|error| could_not_run(&error))
}

fn could_not_run(error: &anyhow::Error) -> ExitCode {
    entry::say(&format!("linemill: {error:#}"));
    ExitCode::from(entry::COULD_NOT_RUN)
}
