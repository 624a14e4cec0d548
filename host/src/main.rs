//! The command line: parse, start tracing, dispatch, print, exit code.

mod entry;

use std::process::ExitCode;
use std::time::Instant;

use indicatif::MultiProgress;

use entry::Command;

fn main() -> ExitCode {
    let begun = Instant::now();
    let command = entry::command();
    let bars = match command {
        Command::Lambda(_) => {
            entry::lambda::start_tracing();
            MultiProgress::new()
        }
        Command::Dev(_) => {
            entry::dev::start_tracing();
            MultiProgress::new()
        }
        _ => entry::start_tracing(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("linemill-io")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return could_not_run(&error.into()),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Run(args) => entry::run::run(args, bars).await,
            Command::Faults(args) => entry::faults::faults(args).await,
            Command::Redrive(args) => entry::redrive::redrive(args, bars).await,
            Command::Serve(args) => entry::serve::serve(args).await,
            Command::Plugin(args) => entry::plugin::plugin(args).await,
            Command::Replay(args) => entry::replay::replay(args).await,
            Command::Check(args) => entry::check::check(args).await,
            Command::Bench(args) => entry::bench::bench(args, bars).await,
            Command::Dev(args) => entry::dev::dev(args).await,
            Command::New(args) => entry::new::new(&args),
            Command::Test(args) => entry::test::test(args).await,
            Command::Compile(args) => entry::compile::compile(args).await,
            Command::Config(args) => entry::config::print(&args),
            Command::Lambda(args) => entry::lambda::serve(args, begun).await,
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
