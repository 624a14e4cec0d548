//! `linemill lambda`: the runtime of an AWS Lambda function; what runs when the binary is called `bootstrap`.
//!
//! Storage, engine and plugin are set up before the first invocation is asked for, and kept. Lambda gives a process
//! one invocation at a time, freezes it between them, and wants all that an invocation began to be over when it is
//! answered. Only a look at a newer version of the plugin may be frozen half way: it goes on with the next one.

mod answer;
mod http;
mod invocation;
mod log;
mod shell;
mod summary;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use lambda_runtime::{LambdaEvent, Runtime, service_fn};
use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{Client, build_request};
use linemill::Config;
use serde_json::json;

use super::COULD_NOT_RUN;
use super::service::Service;
use super::settings::Settings;
use super::stops::Stops;
use invocation::Handler;
use shell::{Closing, Desk, Shell};

pub(crate) use log::start as start_tracing;

/// What Lambda calls the program that it starts.
const BOOTSTRAP: &str = "bootstrap";
/// Where the runtime's interface is; Lambda sets it.
const API: &str = "AWS_LAMBDA_RUNTIME_API";
/// Without these there is no runtime either.
const NEEDED: [&str; 4] = [
    API,
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    MEMORY,
];
const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
/// The folder of the function's package.
const PACKAGE: &str = "LAMBDA_TASK_ROOT";
/// Memory of a function for each of its requests that run at the same time, in megabytes.
const MEGABYTES_EACH: usize = 64;
const REQUESTS_MAX: usize = 16;

/// What `lambda` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "This is what runs when the binary is called bootstrap, or is started by Lambda without arguments. Settings come from LINEMILL_… variables and from the file that LINEMILL_CONFIG names; relative paths start from the function's package."
)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
}

/// Whether a program of this name, started without arguments, is meant to be a function's runtime.
pub(crate) fn is_meant(program: Option<&Path>) -> bool {
    let name = program.and_then(Path::file_name);
    name.is_some_and(|name| name == BOOTSTRAP) || std::env::var_os(API).is_some()
}

/// Answers invocations until Lambda, or a signal, ends the process.
pub(crate) async fn serve(args: Args, begun: Instant) -> Result<ExitCode> {
    if let Some(missing) = NEEDED.iter().find(|name| std::env::var_os(name).is_none()) {
        bail!("{missing} is not set: Lambda, or what stands in for it, starts this with it set");
    }
    let handler = match set_up(&args, begun).await {
        Ok(handler) => handler,
        Err(error) => {
            tracing::error!(target: "lambda", "the function could not be set up: {error:#}");
            report_init_error(&error).await?;
            return Ok(ExitCode::from(COULD_NOT_RUN));
        }
    };
    let closing = Closing::listen()?;
    let desk = Arc::new(Desk::default());
    let of_handler = desk.clone();
    let runtime = Runtime::new(service_fn(move |event: LambdaEvent<()>| {
        let (handler, body) = (handler.clone(), of_handler.take());
        async move { handler.handle(&body, &event.context).await }
    }));
    let running = runtime.layer(Shell::layer(desk.clone())).run();
    tokio::select! {
        ended = running => ended.map_err(|error| anyhow::anyhow!(error)).context("the runtime's interface")?,
        () = closing.time(&desk) => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn set_up(args: &Args, begun: Instant) -> Result<Arc<Handler>> {
    if let Some(package) = std::env::var_os(PACKAGE).map(PathBuf::from) {
        let package = package.as_path();
        std::env::set_current_dir(package)
            .with_context(|| format!("{PACKAGE} = {}", package.display()))?;
    }
    let config = with_place(args.settings.effective()?.config)?;
    let stops = Stops::listen()?;
    let service = Service::open(Arc::new(config), requests()).await?;
    Ok(Arc::new(Handler::new(service, stops, begun.elapsed())))
}

/// The configuration, fit for a place where only one folder can be written to, and nobody reads standard output.
fn with_place(mut config: Config) -> Result<Config> {
    if config.destination_url.as_deref() == Some("-") {
        bail!(
            "configuration: `destination_url` is `-`, which is the function's log: set a URL, or let callers over \
             HTTP take the output (Accept: application/x-ndjson)"
        );
    }
    if config.cache_dir.is_none() {
        config.cache_dir = Some(std::env::temp_dir().join("linemill"));
    }
    Ok(config)
}

/// Requests of one event that run at the same time, as memory allows.
fn requests() -> usize {
    let megabytes = std::env::var(MEMORY).ok();
    let megabytes: usize = megabytes.and_then(|text| text.parse().ok()).unwrap_or(128);
    (megabytes / MEGABYTES_EACH).clamp(1, REQUESTS_MAX)
}

/// Tells Lambda why there will be no invocation: whoever waits for one is told, and so are metrics and logs.
async fn report_init_error(error: &anyhow::Error) -> Result<()> {
    let told = json!({
        "errorType": "Linemill.InitError",
        "errorMessage": format!("{error:#}"),
    });
    let request = build_request()
        .method("POST")
        .uri("/2018-06-01/runtime/init/error")
        .header("lambda-runtime-function-error-type", "Linemill.InitError")
        .body(Body::from(told.to_string()))?;
    let failed = |error: lambda_runtime::Error| anyhow::anyhow!(error);
    let client = Client::builder()
        .build()
        .map_err(|error| failed(error.into()))?;
    let told = client.call(request).await.map_err(failed);
    told.context("Lambda could not be told why the function could not be set up")?;
    Ok(())
}
