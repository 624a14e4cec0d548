//! What `lambda` and `serve` run requests with: set up once, kept for all of them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::StreamExt;
use linemill::{Config, Host, Progress, Registry, Report, Request, Stop, Storage, Task};

use super::sources;
use super::stops::Stops;

/// Requests of one event that run at the same time.
const PARALLEL: usize = 16;

/// Storage, engine and plugin, which stay from one request to the next.
pub(crate) struct Service {
    host: Host,
    /// The versions of the plugin.
    pub(crate) registry: Arc<Registry>,
    parallel: usize,
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
    /// Sets everything up for `requests` requests at once.
    pub(crate) async fn open(config: Arc<Config>, requests: usize) -> Result<Arc<Self>> {
        config.check_for_run()?;
        let storage = Storage::new();
        let runtime = super::engine(&config, requests)?;
        let registry = Registry::open(&runtime, &storage, &config).await?;
        let cwd = std::env::current_dir().context("the working directory is gone")?;
        let host = Host {
            storage,
            config,
            progress: Arc::new(Progress::default()),
            cwd,
        };
        Ok(Arc::new(Service {
            host,
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
        let choice = self.registry.choose();
        let host = self.host_until(until);
        let followed = sources::follow(&host, request.clone()).await;
        let mut report = match followed {
            Ok(request) => {
                let shadow = choice.shadow.as_ref();
                linemill::run_shadowed(&host, &choice.plugin, shadow, request, stop).await
            }
            Err(error) => {
                let mut report = Report::new(&request, choice.plugin.id.clone());
                report.fail(&*error.into_boxed_dyn_error());
                report
            }
        };
        self.registry.finished(&choice, &mut report);
        report
    }

    fn host_until(&self, until: Option<Instant>) -> Host {
        let mut host = self.host.clone();
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
