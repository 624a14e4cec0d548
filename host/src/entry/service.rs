//! What `lambda` and `serve` run requests with: set up once, kept for all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use linemill::{
    AllowedSources, Choice, Config, Error, Host, Progress, Registry, Remedy, Report, Request, Stop,
    Storage, Task,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::sources;
use super::stops::Stops;

/// Requests of one event that run at the same time.
const PARALLEL: usize = 16;
/// What is not larger is one batch.
pub(crate) const SMALL_BYTES_MAX: usize = 4 * 1024;

/// Storage, engine and plugin, which stay from one request to the next.
pub(crate) struct Service {
    host: Host,
    /// For requests of so few bytes that they are one batch.
    small: Arc<Config>,
    /// Sources that requests may name; `None`: any.
    allowed: Option<AllowedSources>,
    /// So many requests have room in the engine.
    turns: Arc<Semaphore>,
    /// The versions of the plugin.
    pub(crate) registry: Arc<Registry>,
    parallel: usize,
}

/// Room in the engine for one request, and what it runs.
pub(crate) struct Turn {
    choice: Choice,
    _room: OwnedSemaphorePermit,
}

impl Turn {
    /// The digest of the plugin.
    pub(crate) fn digest(&self) -> &str {
        &self.choice.plugin.id.digest
    }
}

/// What became of the tasks of an event.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// Of each task that was run, in the order of the tasks.
    pub(crate) reports: Vec<Report>,
    /// For each task: whether all of its lines are processed, or written where they will be tried again.
    pub(crate) safe: Vec<bool>,
}

impl Service {
    /// Sets everything up for `requests` requests at once, over any sources.
    pub(crate) async fn open(config: Arc<Config>, requests: usize) -> Result<Arc<Self>> {
        Self::guarded(config, requests, None).await
    }

    /// The same, over sources that are allowed.
    pub(crate) async fn guarded(
        config: Arc<Config>,
        requests: usize,
        allowed: Option<AllowedSources>,
    ) -> Result<Arc<Self>> {
        config.check_for_run()?;
        let storage = Storage::new();
        let runtime = super::engine(&config, requests)?;
        let registry = Registry::open(&runtime, &storage, &config).await?;
        let cwd = std::env::current_dir().context("the working directory is gone")?;
        let small = small(&config);
        let host = Host {
            // What may be read is what the URL says, wherever its server would lead.
            storage: match allowed {
                Some(_) => storage.staying(),
                None => storage,
            },
            config,
            progress: Arc::new(Progress::default()),
            cwd,
        };
        Ok(Arc::new(Service {
            host,
            small: Arc::new(small),
            allowed,
            turns: Arc::new(Semaphore::new(requests)),
            registry,
            parallel: requests.min(PARALLEL),
        }))
    }

    /// The configuration that all requests share.
    pub(crate) fn config(&self) -> &Config {
        &self.host.config
    }

    /// Runs one request through the version of the plugin whose turn it is; a pointer is followed. It returns before
    /// `until`, where that is earlier than `max_exec_time_ms` allows.
    pub(crate) async fn run(
        &self,
        request: Request,
        until: Option<Instant>,
        stop: Arc<Stop>,
    ) -> Report {
        self.run_in_turn(self.turn().await, request, until, stop)
            .await
    }

    /// Waits for room in the engine, and takes the version of the plugin whose turn it is.
    pub(crate) async fn turn(&self) -> Turn {
        let room = self.turns.clone().acquire_owned().await;
        Turn {
            choice: self.registry.choose(),
            _room: room.expect("the semaphore is never closed"),
        }
    }

    /// The same with a turn that was taken before.
    pub(crate) async fn run_in_turn(
        &self,
        turn: Turn,
        request: Request,
        until: Option<Instant>,
        stop: Arc<Stop>,
    ) -> Report {
        let host = host_until(self.host.clone(), until);
        self.run_with(turn, host, request, stop).await
    }

    /// The same for a request that brings at most [`SMALL_BYTES_MAX`] bytes: they are one batch, for one instance,
    /// unless the configuration says how large batches are.
    pub(crate) async fn run_small(
        &self,
        turn: Turn,
        request: Request,
        until: Option<Instant>,
        stop: Arc<Stop>,
    ) -> Report {
        let mut host = self.host.clone();
        host.config = self.small.clone();
        self.run_with(turn, host_until(host, until), request, stop)
            .await
    }

    async fn run_with(&self, turn: Turn, host: Host, request: Request, stop: Arc<Stop>) -> Report {
        let choice = &turn.choice;
        let request = match self.follow(&host, &request).await {
            Ok(request) => request,
            Err((remedy, error)) => {
                let mut report = Report::new(&request, choice.plugin.id.clone());
                report.fail(&*error.into_boxed_dyn_error());
                report.remedy = remedy.or(report.remedy);
                return report;
            }
        };
        let shadow = choice.shadow.as_ref();
        let mut report = linemill::run_shadowed(&host, &choice.plugin, shadow, request, stop).await;
        self.registry.finished(choice, &mut report);
        report
    }

    /// The request that is to be run, once it is known that it may be. A pointer in an allowed place can name any
    /// other, so what it names is checked too.
    async fn follow(
        &self,
        host: &Host,
        request: &Request,
    ) -> Result<Request, (Option<Remedy>, anyhow::Error)> {
        let forbidden = |why| (Some(Remedy::AskForWhatIsAllowed), anyhow::Error::msg(why));
        self.check(host, request).await.map_err(forbidden)?;
        let followed = sources::follow(host, request.clone()).await;
        let followed = followed.map_err(|error| {
            let late = error.is::<tokio::time::error::Elapsed>();
            let known = error.downcast_ref::<Error>().map(Error::remedy);
            (late.then_some(Remedy::AskAgain).or(known), error)
        })?;
        if followed.source.url != request.source.url {
            self.check(host, &followed).await.map_err(forbidden)?;
        }
        Ok(followed)
    }

    async fn check(&self, host: &Host, request: &Request) -> Result<(), String> {
        let Some(allowed) = self.allowed.clone() else {
            return Ok(());
        };
        if request.source.body.is_some() {
            return Ok(());
        }
        // Where a local source leads, the disk has to say.
        let (storage, url) = (host.storage.clone(), request.source.url.clone());
        let checked = tokio::task::spawn_blocking(move || allowed.check(&storage, &url));
        checked.await.map_err(|error| error.to_string())?
    }

    /// Runs the tasks of an event: several at a time, those of one group one after the other and none after one that
    /// is not safe. Tasks that time runs out for leave a pointer, like any request.
    pub(crate) async fn run_tasks(
        &self,
        tasks: &[Task],
        until: Option<Instant>,
        stops: &Stops,
    ) -> Answer {
        let mut done: Vec<(usize, Report)> = futures::stream::iter(in_groups(tasks))
            .map(|group| self.run_group(tasks, group, until, stops))
            .buffer_unordered(self.parallel)
            .flat_map(futures::stream::iter)
            .collect()
            .await;
        done.sort_by_key(|(at, _)| *at);
        let mut safe = vec![false; tasks.len()];
        for (at, report) in &done {
            safe[*at] = !report.is_error();
        }
        let reports = done.into_iter().map(|(_, report)| report).collect();
        Answer { reports, safe }
    }

    async fn run_group(
        &self,
        tasks: &[Task],
        group: Vec<usize>,
        until: Option<Instant>,
        stops: &Stops,
    ) -> Vec<(usize, Report)> {
        let mut reports = Vec::new();
        for at in group {
            let Some(stop) = stops.begin() else { break };
            let report = self
                .run(tasks[at].request.clone(), until, stop.clone())
                .await;
            stops.end(&stop);
            let failed = report.is_error();
            reports.push((at, report));
            if failed {
                break;
            }
        }
        reports
    }
}

/// With no more time than there is until then.
fn host_until(mut host: Host, until: Option<Instant>) -> Host {
    if let Some(until) = until {
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let left = u64::try_from(left).unwrap_or(u64::MAX);
        let limit = host
            .config
            .max_exec_time_ms
            .map_or(left, |own| own.min(left));
        host.config = Arc::new(Config {
            max_exec_time_ms: Some(limit),
            ..(*host.config).clone()
        });
    }
    host
}

/// Sizes that adapt begin with one line, which for a few lines is all there is of them.
fn small(config: &Config) -> Config {
    let mut small = config.clone();
    if small.batch_bytes.is_none() && small.batch_lines.is_none() {
        small.batch_bytes = Some(SMALL_BYTES_MAX.min(small.batch_bytes_max));
        small.concurrency = 1;
    }
    small
}

/// The places of the tasks of each group, in their order; one without a group stands alone.
fn in_groups(tasks: &[Task]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, task) in tasks.iter().enumerate() {
        match task.group.as_deref() {
            None => groups.push(vec![at]),
            Some(name) => {
                let place = *places.entry(name).or_insert_with(|| {
                    groups.push(Vec::new());
                    groups.len() - 1
                });
                groups[place].push(at);
            }
        }
    }
    groups
}
