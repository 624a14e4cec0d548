//! `linemill dev`: runs a sample whenever the component, the sample or the configuration changes, and shows what it
//! does on a page of this machine.

mod board;
mod difference;
mod logs;
mod page;
mod trial;
mod view;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use linemill::{Config, Runtime, Storage};
use serde_json::json;
use tokio::net::TcpListener;

pub(crate) use self::logs::start_tracing;

use self::board::Board;
use self::trial::{Bounds, Brake, Setup, Trial};
use self::watch::Watch;
use super::project::Project;
use super::settings::Settings;
use super::stops::Signals;
use super::{ALL_PROCESSED, say};

/// Where the page is, unless something else is there.
const PORT: u16 = 8088;
/// Runs for which there is room in the engine: the one under way, and one that is coming to its end.
const RUNS: usize = 2;

/// What `dev` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All that a run writes stays in memory. Each line is run twice: in a request, and by itself for its fuel; \
a plugin that is granted servers asks them each time. Ctrl-C ends it."
)]
pub(crate) struct Args {
    /// Path or URL of the component, a project's folder, or its linemill.toml, which names the component
    plugin: String,
    /// Path or URL of a source; lines from its beginning are run
    source: String,
    /// Port of the page, on 127.0.0.1; 0 for any that is free [default: 8088, or a free one]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Run at most so many lines
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    lines: u32,
    /// Run at most so many bytes, whole lines
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1..=256 << 20))]
    bytes: u32,
    #[command(flatten)]
    settings: Settings,
}

/// Shows and runs until Ctrl-C.
pub(crate) async fn dev(args: Args) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    if args.source == "-" {
        bail!("standard input cannot be read again and again: name a file");
    }
    let project = Project::new(&args.plugin, args.settings)?;
    let config = project.config()?;
    let board = Board::new(json!({
        "plugin": config.plugin.as_deref().map(linemill::mask_secrets),
        "source": linemill::mask_secrets(&args.source),
    }));
    let listener = listen(args.port).await?;
    say(&format!(
        "listening on http://{} (Ctrl-C ends it)",
        listener.local_addr()?
    ));
    let bounds = Bounds {
        lines: args.lines as usize,
        bytes: args.bytes as usize,
    };
    let mut desk = Desk {
        storage: Storage::new(),
        project,
        source: args.source,
        bounds,
        board: board.clone(),
        engine: None,
        last: None,
        runs: 0,
    };
    tokio::select! {
        biased;
        () = signals.next() => {}
        served = axum::serve(listener, page::app(board)) => served?,
        () = desk.work(&config) => {}
    }
    // Whoever still looks at the page keeps nothing up.
    Ok(ExitCode::from(ALL_PROCESSED))
}

async fn listen(port: Option<u16>) -> Result<TcpListener> {
    let bind = |port| TcpListener::bind(("127.0.0.1", port));
    match port {
        Some(port) => bind(port).await,
        None => match bind(PORT).await {
            Ok(listener) => Ok(listener),
            Err(_) => bind(0).await,
        },
    }
    .with_context(|| format!("cannot listen on 127.0.0.1:{}", port.unwrap_or(0)))
}

/// What runs follow one another on.
struct Desk {
    storage: Storage,
    project: Project,
    source: String,
    bounds: Bounds,
    board: Board,
    /// With the configuration that it was made for.
    engine: Option<(Config, Arc<Runtime>)>,
    /// What the last run that came to its end was of.
    last: Option<Setup>,
    runs: u64,
}

impl Desk {
    /// Runs, and waits for a change, again and again.
    async fn work(&mut self, config: &Config) {
        let mut watched = self.files(config);
        let mut watch = Watch::new(watched.clone());
        loop {
            self.board.running();
            let brake = Brake::default();
            let ended = {
                let run = self.run(&brake);
                tokio::pin!(run);
                tokio::select! {
                    ended = &mut run => ended,
                    () = watch.changed() => {
                        brake.pull();
                        // It ends at once; only compiling is waited for.
                        run.await
                    }
                }
            };
            if brake.is_pulled() {
                continue;
            }
            match ended {
                Ok(Some(trial)) => self.show(trial),
                Ok(None) => self.board.unchanged(),
                Err(error) => {
                    self.board.broken(&error);
                    say(&format!("linemill: {error:#}"));
                }
            }
            // The configuration may name another component now.
            if let Ok(config) = self.project.config() {
                let files = self.files(&config);
                if files != watched {
                    watch = Watch::new(files.clone());
                    watched = files;
                    continue;
                }
            }
            watch.changed().await;
        }
    }

    /// Runs the sample, unless nothing is new since the last run.
    async fn run(&mut self, brake: &Brake) -> Result<Option<Trial>> {
        let setup = Setup::read(&self.storage, &self.project, &self.source, self.bounds).await?;
        if self.last.as_ref().is_some_and(|last| setup.is_same(last)) {
            return Ok(None);
        }
        let setup = Arc::new(setup);
        let runtime = self.engine(&setup.config)?;
        let compiling = setup.clone();
        let plugin = tokio::task::spawn_blocking(move || compiling.load(&runtime)).await??;
        let trial = Trial::run(self.runs + 1, &setup, &plugin, brake).await?;
        if !brake.is_pulled() {
            self.runs += 1;
            self.last = Arc::into_inner(setup);
        }
        Ok(Some(trial))
    }

    fn engine(&mut self, config: &Config) -> Result<Arc<Runtime>> {
        if let Some((made_for, runtime)) = &self.engine
            && made_for == config
        {
            return Ok(runtime.clone());
        }
        let runtime = super::engine(config, RUNS)?;
        self.engine = Some((config.clone(), runtime.clone()));
        Ok(runtime)
    }

    fn show(&self, trial: Trial) {
        let said = Self::summary(&trial);
        self.board.ready(trial);
        say(&said);
    }

    fn summary(trial: &Trial) -> String {
        let counts = &trial.rehearsal.report.counts;
        format!(
            "run {}: {}; {} lines, {} of them not processed; {:.1} ms",
            trial.number,
            trial.rehearsal.report.status,
            counts.loaded,
            trial.faulted(),
            trial.rehearsal.time.as_secs_f64() * 1e3,
        )
    }

    /// The local files that a run depends on.
    fn files(&self, config: &Config) -> Vec<PathBuf> {
        let local = |url: &str| {
            let location = self.storage.locate(url).ok()?;
            location.local_path().map(PathBuf::from)
        };
        let named = [config.plugin.as_deref(), Some(&self.source)];
        let files = named.into_iter().flatten().filter_map(local);
        files.chain(self.project.file()).collect()
    }
}
