//! The plugin of a process that serves many requests, and how a newer version takes its place while they run.
//!
//! A [`Registry`] looks at the plugin's source from time to time. A newer version is fetched and verified (`fetch`),
//! compiled and tried out (`trial`) where it delays no request; then it stands in the `lineup`, which says what
//! each request gets and judges a candidate by its `figures`. Requests under way keep the version that they began
//! with. Whatever goes wrong, the version that serves stays.
//!
//! What it does is told by log events (target `plugin::registry`), by [`Status`], by reports, and by the metrics that
//! [`describe_metrics`] lists.

mod fetch;
mod figures;
mod lineup;
mod status;
mod trial;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use chrono::Utc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::report::Report;
use crate::runtime::{Compiled, Plugin, Runtime};
use crate::shadow::{Comparison, Shadow};
use crate::storage::Storage;
use fetch::{Failed, Fetched, Origin, Tags};
use figures::Figures;
use lineup::{Change, Found, Lineup, Rules};

pub use lineup::Role;
pub use status::{Failure, Status};

/// How often the time between two checks is doubled at most while checks fail.
const DOUBLINGS_MAX: u32 = 5;

/// A version that is tried runs along with so many requests at the same time: it has one thread, and its instances
/// are bounded. Each takes two, and one is tried out in two.
const SHADOWS_MAX: usize = 4;
/// Instances of new versions, beside those of the requests.
pub const TRIAL_INSTANCES: usize = 2 * SHADOWS_MAX + 2;

/// The versions of the plugin, and what is known of its source.
pub struct Registry {
    storage: Storage,
    config: Arc<Config>,
    lineup: Mutex<Lineup<Plugin>>,
    watch: Mutex<Watch>,
    /// Requests that another version may run along with at the same time.
    turns: Arc<Semaphore>,
    /// Held by the one who checks.
    checking: Arc<tokio::sync::Mutex<()>>,
}

/// What is known of the source.
#[derive(Debug)]
struct Watch {
    /// What was there when it was last looked at to the end.
    seen: Tags,
    /// When it is to be looked at again.
    due: Instant,
    /// Checks that could not be brought to an end, since the last that was.
    failures: u32,
    last_check: Option<chrono::DateTime<Utc>>,
    last_failure: Option<Failure>,
    /// What is there now is not used, and why not.
    unused: Option<Arc<str>>,
}

/// What a request gets, to be given back to [`Registry::finished`] with its report.
#[derive(Clone)]
pub struct Choice {
    /// What runs.
    pub plugin: Plugin,
    /// What it is.
    pub role: Role,
    /// What runs along, for [`crate::run_shadowed`].
    pub shadow: Option<Shadow>,
    id: u64,
    shadow_id: Option<u64>,
    unused: Option<Arc<str>>,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// There is nothing new.
    Unchanged,
    /// A new version serves, or is being watched.
    Taken {
        /// Its digest.
        digest: String,
    },
    /// The version that serves stays, since this went wrong.
    Failed(String),
}

/// Checks go on until it is dropped.
pub struct Polling(JoinHandle<()>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The plugin, fetched, verified and compiled, or taken from `plugin_compiled`; and tried on the `canary`, if there
/// is one.
///
/// # Errors
/// There is none that could be used.
pub async fn load_plugin(
    runtime: &Arc<Runtime>,
    storage: &Storage,
    config: &Arc<Config>,
) -> Result<Plugin> {
    let (plugin, _) = load(runtime, storage, config).await?;
    Ok(plugin)
}

/// The bytes of the component at `url`, with the digest and signature that the configuration asks for.
///
/// # Errors
/// It cannot be read, or is not what it should be.
pub async fn fetch_plugin(storage: &Storage, url: &str, config: &Config) -> Result<Bytes> {
    let origin = Origin::new(storage, url, config);
    let fetched = origin.fetch().await.map_err(|failed| failed.error)?;
    Ok(fetched.bytes)
}

/// The metrics of a registry, for whoever collects them.
fn describe_metrics() {
    use metrics::{describe_counter, describe_gauge};
    describe_counter!(
        "linemill_plugin_checks_total",
        "How often the plugin's source was looked at"
    );
    describe_counter!(
        "linemill_plugin_failures_total",
        "Checks that found a version that cannot be used, or none"
    );
    describe_counter!(
        "linemill_plugin_swaps_total",
        "How often another version became the one that serves"
    );
    describe_counter!(
        "linemill_plugin_rollbacks_total",
        "How often a version was taken back"
    );
    describe_counter!(
        "linemill_plugin_requests_total",
        "Requests by the role of the version that ran them: stable or candidate"
    );
    describe_counter!(
        "linemill_plugin_shadow_batches_total",
        "Batches that another version ran along with"
    );
    describe_counter!(
        "linemill_plugin_shadow_differences_total",
        "Requests with which a version that ran along did otherwise"
    );
    describe_gauge!(
        "linemill_plugin_candidate",
        "1 while a version is being watched, 0 otherwise"
    );
}

async fn load(
    runtime: &Arc<Runtime>,
    storage: &Storage,
    config: &Arc<Config>,
) -> Result<(Plugin, Tags)> {
    let compiled = match &config.plugin_compiled {
        Some(path) => Compiled::open(path).map(Some),
        None => Ok(None),
    };
    let Some(url) = config.plugin.as_deref() else {
        let compiled = compiled?.context("no plugin is named: use --plugin FILE")?;
        check_pinned(&compiled, config)?;
        return tried(compiled.load(runtime)?, storage, config, Tags::default()).await;
    };
    let origin = Origin::new(storage, url, config);
    let fetched = origin.fetch().await.map_err(|failed| failed.error)?;
    let shipped = compiled.and_then(|compiled| match compiled {
        Some(compiled) if compiled.digest() == fetched.digest => compiled.load(runtime).map(Some),
        Some(compiled) => Err(anyhow!(
            "plugin_compiled was made of {}, but the plugin is {}",
            compiled.digest(),
            fetched.digest
        )),
        None => Ok(None),
    });
    let plugin = match shipped {
        Ok(Some(plugin)) => plugin,
        Ok(None) => Plugin::load(runtime, &origin.shown(), &fetched.bytes)?,
        Err(error) => {
            tracing::warn!("the plugin is compiled anew: {error:#}");
            Plugin::load(runtime, &origin.shown(), &fetched.bytes)?
        }
    };
    tried(plugin, storage, config, fetched.tags).await
}

fn check_pinned(compiled: &Compiled, config: &Config) -> Result<()> {
    match config.plugin_digest.as_deref() {
        Some(pinned) if pinned != compiled.digest() => bail!(
            "plugin_compiled was made of {}, but plugin_digest = {pinned}",
            compiled.digest()
        ),
        _ => Ok(()),
    }
}

/// The first version has to get through the sample lines too.
async fn tried(
    plugin: Plugin,
    storage: &Storage,
    config: &Arc<Config>,
    tags: Tags,
) -> Result<(Plugin, Tags)> {
    if let Some(lines) = trial::sample(storage, config).await? {
        let tried = trial::run(&plugin, Some(lines), config, plugin.compute()).await;
        let faults = tried.with_context(|| format!("plugin {}", plugin.id.name))?;
        check_faults(faults, config.canary_fault_tolerance)
            .with_context(|| format!("plugin {}", plugin.id.name))?;
    }
    Ok((plugin, tags))
}

fn check_faults(faults: f64, tolerance: f64) -> Result<()> {
    if faults > tolerance {
        bail!("{faults:.4} of the sample lines end in a fault, more than {tolerance:.4}");
    }
    Ok(())
}

impl Registry {
    /// With the first version, which serves from now on.
    ///
    /// # Errors
    /// There is none that could be used.
    pub async fn open(
        runtime: &Arc<Runtime>,
        storage: &Storage,
        config: &Arc<Config>,
    ) -> Result<Arc<Self>> {
        describe_metrics();
        let (plugin, seen) = load(runtime, storage, config).await?;
        let digest = plugin.id.digest.clone();
        let lineup = Lineup::new(Rules::of(config), &digest, plugin, Utc::now());
        let watch = Watch {
            seen,
            due: Instant::now() + Duration::from_millis(config.plugin_poll_ms),
            failures: 0,
            last_check: None,
            last_failure: None,
            unused: None,
        };
        Ok(Arc::new(Registry {
            storage: storage.clone(),
            config: config.clone(),
            lineup: Mutex::new(lineup),
            watch: Mutex::new(watch),
            turns: Arc::new(Semaphore::new(SHADOWS_MAX)),
            checking: Arc::default(),
        }))
    }

    /// What the next request gets.
    pub fn choose(&self) -> Choice {
        let chosen = self.lineup().choose();
        let shadow = chosen.shadow.and_then(|(id, plugin)| {
            let turn = self.turns.clone().try_acquire_owned().ok()?;
            Some((id, Shadow::new(plugin, turn)))
        });
        let (shadow_id, shadow) = shadow.unzip();
        Choice {
            plugin: chosen.plugin,
            role: chosen.role,
            shadow,
            id: chosen.id,
            shadow_id,
            unused: self.watch().unused.clone(),
        }
    }

    /// Counts what came of a request, which may roll a candidate back or make it the stable version; and says in the
    /// report if a newer version is not used.
    pub fn finished(&self, choice: &Choice, report: &mut Report) {
        report.plugin_failure = choice.unused.as_deref().map(str::to_owned);
        let figures = Figures::of(report);
        let role = match choice.role {
            Role::Stable => "stable",
            Role::Candidate => "candidate",
        };
        metrics::counter!("linemill_plugin_requests_total", "role" => role).increment(1);
        let change = self.lineup().finished(choice.id, &figures, Utc::now());
        self.tell(change);
        if let (Some(id), Some(compared)) = (choice.shadow_id, &report.shadow) {
            self.compared(id, compared);
        }
    }

    /// Counts what came of a version that ran along.
    fn compared(&self, id: u64, compared: &Comparison) {
        if compared.is_empty() {
            return;
        }
        metrics::counter!("linemill_plugin_shadow_batches_total").increment(compared.batches);
        if compared.differs() {
            metrics::counter!("linemill_plugin_shadow_differences_total").increment(1);
            let shown = compared.samples.first().map(|first| {
                format!(
                    "; line {}, {}: {:?}, not {:?}",
                    first.line, first.what, first.candidate, first.stable
                )
            });
            tracing::info!(
                target: "plugin::registry",
                "version {} does otherwise: {} of {} batches have other outputs, {} lines other faults{}{}",
                compared.digest,
                compared.outputs_differ,
                compared.batches,
                compared.faults_differ,
                compared.failure.as_deref().map(|why| format!("; it fails: {why}")).unwrap_or_default(),
                shown.unwrap_or_default(),
            );
        }
        let change = self.lineup().shadowed(id, compared, Utc::now());
        self.tell(change);
    }

    /// Looks at the source from time to time, until what is returned is dropped.
    pub fn spawn_polling(self: &Arc<Self>) -> Polling {
        let registry = self.clone();
        Polling(tokio::spawn(async move {
            if registry.config.plugin_poll_ms == 0 {
                return;
            }
            loop {
                let due = registry.watch().due;
                tokio::time::sleep_until(due.into()).await;
                registry.check().await;
            }
        }))
    }

    /// Looks at the source if it is time to, without waiting for what comes of it: for platforms on which nothing
    /// runs between two requests.
    pub fn poll_if_due(self: &Arc<Self>) {
        if self.config.plugin_poll_ms == 0 || Instant::now() < self.watch().due {
            return;
        }
        if let Ok(turn) = self.checking.clone().try_lock_owned() {
            let registry = self.clone();
            tokio::spawn(async move {
                registry.check_and_tell().await;
                drop(turn);
            });
        }
    }

    /// Looks at the source now; a new version is fetched, verified, compiled and tried before this returns.
    pub async fn check(&self) -> Checked {
        let _turn = self.checking.lock().await;
        self.check_and_tell().await
    }

    async fn check_and_tell(&self) -> Checked {
        let checked = self.look().await;
        metrics::counter!("linemill_plugin_checks_total").increment(1);
        let now = Utc::now();
        let mut watch = self.watch();
        watch.last_check = Some(now);
        let failed = match checked {
            Ok(checked) => {
                watch.failures = 0;
                watch.due = self.next_check(0);
                return checked;
            }
            Err(failed) => failed,
        };
        let reason = format!("{:#}", failed.error);
        watch.failures = match failed.tags {
            Some(_) => 0,
            None => watch.failures.saturating_add(1),
        };
        watch.due = self.next_check(watch.failures.saturating_sub(1));
        let before = watch.last_failure.replace(Failure {
            at: now,
            digest: failed.digest,
            reason: reason.clone(),
        });
        if let Some(tags) = failed.tags {
            watch.seen = tags;
            watch.unused = Some(reason.as_str().into());
        }
        metrics::counter!("linemill_plugin_failures_total").increment(1);
        // What fails again and again is said once.
        if before.is_none_or(|before| before.reason != reason) {
            tracing::warn!(target: "plugin::registry", "the plugin stays as it is: {reason}");
        }
        Checked::Failed(reason)
    }

    fn next_check(&self, doublings: u32) -> Instant {
        let poll = Duration::from_millis(self.config.plugin_poll_ms);
        Instant::now() + poll * (1 << doublings.min(DOUBLINGS_MAX))
    }

    /// Looks at the source, and goes as far with what is there as it has to.
    async fn look(&self) -> Result<Checked, Failed> {
        let Some(url) = self.config.plugin.as_deref() else {
            return Ok(Checked::Unchanged);
        };
        if self.lineup().is_settled() {
            return Ok(Checked::Unchanged);
        }
        let origin = Origin::new(&self.storage, url, &self.config);
        if origin.tags().await?.same(&self.watch().seen) {
            return Ok(Checked::Unchanged);
        }
        let fetched = origin.fetch().await?;
        let found = self.lineup().found(&fetched.digest);
        let for_good = |error| Failed {
            error,
            tags: Some(fetched.tags.clone()),
            digest: Some(fetched.digest.clone()),
        };
        let plugin = match found {
            Found::Known => {
                self.seen(&fetched);
                return Ok(Checked::Unchanged);
            }
            Found::NotPinned(pinned) => {
                return Err(for_good(anyhow!(
                    "plugin {} has the digest {}, but {pinned} is pinned",
                    origin.shown(),
                    fetched.digest
                )));
            }
            Found::Previous(plugin) => plugin,
            Found::New => {
                let lines = trial::sample(&self.storage, &self.config).await;
                let lines = lines.map_err(Failed::for_now)?;
                let bytes = fetched.bytes.clone();
                let prepared = self.prepare(&origin, bytes, lines).await;
                prepared.map_err(|error| {
                    let reason = format!("{error:#}");
                    self.lineup().refuse(&fetched.digest, &reason, Utc::now());
                    for_good(error)
                })?
            }
        };
        let change = self.lineup().arrive(&fetched.digest, plugin, Utc::now());
        self.seen(&fetched);
        self.tell(Some(change));
        Ok(Checked::Taken {
            digest: fetched.digest,
        })
    }

    /// Compiles a new version and tries it out, where that delays no request.
    async fn prepare(
        &self,
        origin: &Origin<'_>,
        bytes: Bytes,
        lines: Option<Bytes>,
    ) -> Result<Plugin> {
        let stable = self.lineup().stable.plugin.clone();
        let plugin = stable.load_next(&origin.shown(), bytes).await?;
        let on = plugin.background()?;
        let faults = trial::run(&plugin, lines.clone(), &self.config, &on).await?;
        let tolerance = self.config.canary_fault_tolerance;
        if faults > tolerance {
            // The sample may hold lines that are meant to be faults: the version that serves is the measure.
            let measure = trial::run(&stable, lines, &self.config, &on).await?;
            check_faults(faults, measure + tolerance)?;
        }
        let more = plugin.inspection.imports_beyond(&stable.inspection);
        for import in more {
            tracing::info!(target: "plugin::registry", "the new version imports also {}, which is granted", import.name);
        }
        Ok(plugin)
    }

    /// What is there is known: as the version that serves or is watched, or as one that was refused.
    fn seen(&self, fetched: &Fetched) {
        let unused = self.lineup().refusal(&fetched.digest).map(|refused| {
            Arc::from(format!(
                "version {} is not used: {}",
                refused.digest, refused.reason
            ))
        });
        let mut watch = self.watch();
        watch.seen = fetched.tags.clone();
        watch.unused = unused;
        drop(watch);
        self.count_candidate();
    }

    /// Goes back to the version before: from a candidate to the stable version, or from that to the one before.
    /// What is left is not taken again, unless it is pinned. Gives back the digest that serves.
    ///
    /// # Errors
    /// There is nothing to go back to.
    pub fn rollback(&self) -> Result<String> {
        let change = self.lineup().roll_back(Utc::now());
        self.tell(Some(change.map_err(anyhow::Error::msg)?));
        Ok(self.lineup().stable.digest.clone())
    }

    /// From now on only this version is taken; it serves at once if it is at hand, as soon as it is found at the
    /// source otherwise. Gives back whether it serves.
    ///
    /// # Errors
    /// It is no digest, or the configuration pins another.
    pub fn pin(&self, digest: &str) -> Result<bool> {
        let digest = digest.trim().to_ascii_lowercase();
        if !crate::config::is_digest(&digest) {
            bail!("a version is pinned by its digest: sha256: and 64 hexadecimal digits");
        }
        self.refuse_fixed(Some(&digest))?;
        let change = self.lineup().pin(&digest, Utc::now());
        self.tell(change);
        self.forget_seen();
        Ok(self.lineup().stable.digest == digest)
    }

    /// Any version is taken again.
    ///
    /// # Errors
    /// The configuration pins one.
    pub fn unpin(&self) -> Result<()> {
        self.refuse_fixed(None)?;
        self.lineup().unpin();
        self.forget_seen();
        Ok(())
    }

    fn refuse_fixed(&self, digest: Option<&str>) -> Result<()> {
        match self.config.plugin_digest.as_deref() {
            Some(fixed) if digest != Some(fixed) => {
                bail!("the configuration pins the plugin: plugin_digest = {fixed}")
            }
            _ => Ok(()),
        }
    }

    /// The next check looks at the source whether it has changed or not.
    fn forget_seen(&self) {
        let mut watch = self.watch();
        watch.seen = Tags::default();
        watch.unused = None;
    }

    /// Says what has happened, in the log and in metrics.
    fn tell(&self, change: Option<Change>) {
        match change {
            None => return,
            Some(Change::Stable { digest, before }) => {
                metrics::counter!("linemill_plugin_swaps_total").increment(1);
                tracing::info!(target: "plugin::registry", "version {digest} serves, after {before}");
            }
            Some(Change::Candidate { digest, shadow }) => {
                let how = match shadow {
                    true => "runs along",
                    false => "gets a share of the requests",
                };
                tracing::info!(target: "plugin::registry", "version {digest} is tried: it {how}");
            }
            Some(Change::RolledBack { digest, reason, to }) => {
                metrics::counter!("linemill_plugin_rollbacks_total").increment(1);
                tracing::warn!(target: "plugin::registry", "version {digest} is taken back, {to} serves: {reason}");
                let mut watch = self.watch();
                watch.unused = Some(format!("version {digest} is not used: {reason}").into());
                watch.last_failure = Some(Failure {
                    at: Utc::now(),
                    digest: Some(digest),
                    reason,
                });
            }
        }
        self.count_candidate();
    }

    fn count_candidate(&self) {
        let watched = self.lineup().candidate.is_some();
        metrics::gauge!("linemill_plugin_candidate").set(f64::from(u8::from(watched)));
    }

    fn lineup(&self) -> MutexGuard<'_, Lineup<Plugin>> {
        self.lineup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
