//! The life of a request: the only module that knows every stage.

mod leave;
mod work;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::capsule::{Keeper, Memory};
use crate::closer::Closer;
use crate::completion::{self, Action};
use crate::config::{self, CapsuleMode, Completion, Config};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::handover::Left;
use crate::progress::Progress;
use crate::report::{Ending, Report, Written, chain, status};
use crate::request::{self, Names, Request, RequestError};
use crate::router::{Router, SealedAll};
use crate::runtime::{GuestContext, Plugin};
use crate::shadow::{self, Comparing, Shadow};
use crate::stop::{Reason, Stop};
use crate::storage::Storage;
use crate::worker::{Poison, Shop};

/// How long after the end of work a batch that does not give up its thread is waited for.
const GRACE: Duration = Duration::from_millis(10);
/// How long a feed is waited for that is held up by its source.
const FEED_GRACE: Duration = Duration::from_millis(20);
/// How long before the hard end a request gives up on closing its destinations.
const HARD_MARGIN: Duration = Duration::from_millis(50);

/// What is there already may be all that was made of the same lines, or a part of it.
const RUN_AGAIN: &str = "an earlier run of these lines may have written that, and may have been killed: look into it before anything is removed";

/// What requests run with. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Where objects are.
    pub storage: Storage,
    /// The configuration.
    pub config: Arc<Config>,
    /// Counts lines and bytes as they pass.
    pub progress: Arc<Progress>,
    /// The working directory, which relative paths start from.
    pub cwd: PathBuf,
}

/// Runs a request to its end. Whatever happens is in the report: nothing is visible of a request that ended in an
/// error, and its source is as it was.
pub async fn run(host: &Host, plugin: &Plugin, request: Request, stop: Arc<Stop>) -> Report {
    run_shadowed(host, plugin, None, request, stop).await
}

/// The same, while another version runs along, of which nothing is emitted.
pub async fn run_shadowed(
    host: &Host,
    plugin: &Plugin,
    shadow: Option<&Shadow>,
    request: Request,
    stop: Arc<Stop>,
) -> Report {
    let start = Instant::now();
    let millis = |ms: Option<u64>| ms.map(Duration::from_millis);
    let config = &host.config;
    let deadline = Deadline::new(
        start,
        millis(config.max_exec_time_ms),
        millis(config.deadline_reduction_ms),
    );
    let mut report = Report::new(&request, plugin.id.clone());
    match Run::new(host, (plugin, shadow), request, deadline, stop.clone()) {
        Ok(mut run) => {
            let comparing = run.comparing.take();
            let hard = deadline.hard - HARD_MARGIN.min(deadline.hard - deadline.work);
            let prepared = tokio::select! {
                biased;
                prepared = run.prepare() => prepared,
                () = stop.abandoned().cancelled() => Err(Error::Io {
                    action: "go on".to_owned(),
                    source: "whoever asked for it is gone".into(),
                }),
                () = tokio::time::sleep_until(hard.into()) => Err(Error::Timeout {
                    action: "end the request before its hard deadline".to_owned(),
                }),
            };
            // What has begun to become visible is not given up half way.
            let concluded = match prepared {
                Ok(prepared) => run.conclude(prepared, &mut report.written).await,
                Err(error) => Err(error),
            };
            run.finish(&mut report, concluded.err()).await;
            if let Some(comparing) = comparing {
                let compared = comparing.end(start.elapsed(), deadline.read).await;
                report.shadow = Some(Box::new(compared));
            }
        }
        Err(error) => report.fail(&error),
    }
    report.runtime_ms = start.elapsed().as_millis() as u64;
    report
}

/// A request under way.
struct Run {
    host: Host,
    shop: Arc<Shop>,
    request: Request,
    names: Names,
    deadline: Deadline,
    router: Router,
    closer: Closer,
    /// The beginning of a long line whose end did not come.
    beginning: Option<Left>,
    /// Lines that were not loaded; `None`: not known.
    unread: Option<u64>,
    /// Whether any were left.
    left: bool,
    /// Lines that were not run again.
    rest: Option<u64>,
    /// What another version does that runs along.
    comparing: Option<Comparing>,
}

/// A request of which everything is stored and nothing is visible.
struct Prepared {
    sealed: SealedAll,
    read_to_end: bool,
}

impl Run {
    fn new(
        host: &Host,
        (plugin, shadow): (&Plugin, Option<&Shadow>),
        request: Request,
        deadline: Deadline,
        stop: Arc<Stop>,
    ) -> Result<Self> {
        let config = host.config.clone();
        let invalid = |error: RequestError| {
            Error::invalid(config::mask_secrets(&request.source.url), error.to_string())
        };
        let names = Names::of(&request, &host.cwd).map_err(invalid)?;
        names.written(&config).map_err(invalid)?;
        let digest = &plugin.id.digest;
        let mut router = Router::new(
            &host.storage,
            names.clone(),
            &config,
            &request,
            digest,
            &host.progress,
        );
        let beside = shadow.and_then(|shadow| {
            // What it logs and emits goes nowhere.
            let mut quiet = Config::clone(&config);
            quiet.log_events_max = 0;
            quiet.capsules = CapsuleMode::Off;
            let (quiet, stop) = (Arc::new(quiet), Arc::default());
            let mut shop = shop(&shadow.plugin, &request, quiet, deadline, stop);
            // Just made, so nobody else has it.
            if let Some(guest) = Arc::get_mut(&mut shop.guest) {
                guest.reads_only = true;
            }
            shadow::start(shadow, shop)
        });
        let (beside, comparing) = beside.unzip();
        let mut shop = shop(plugin, &request, config, deadline, stop);
        shop.beside = beside;
        router.keeper.clone_from(&shop.keeper);
        let shop = Arc::new(shop);
        let closer = Closer::new(shop.clone());
        Ok(Run {
            host: host.clone(),
            shop,
            request,
            names,
            deadline,
            router,
            closer,
            beginning: None,
            unread: Some(0),
            left: false,
            rest: None,
            comparing,
        })
    }

    /// Opens the source, lets the pool work, commits in order, hands over what is left, checks the books, and stores
    /// everything where it will be.
    async fn prepare(&mut self) -> Result<Prepared> {
        completion::refuse(
            &self.host.storage,
            &self.request.source.url,
            &self.action()?,
        )?;
        let worked = self.work().await?;
        let systemic = matches!(self.shop.stop.reason(), Some(Reason::Systemic(_)));
        self.router.settle(systemic).await?;
        let (pointer, read_to_end) = self.hand_over(worked).await?;
        if self.shop.guest.is_open() {
            self.post().await?;
        }
        self.check_books()?;
        let sealed = self.router.seal(pointer.as_deref()).await?;
        Ok(Prepared {
            sealed,
            read_to_end,
        })
    }

    /// Makes everything visible, then completes the source. What is visible stays so when the source cannot be
    /// completed: it may be gone all the same.
    async fn conclude(&mut self, prepared: Prepared, written: &mut Written) -> Result<()> {
        let action = self.action()?;
        let source = &self.request.source;
        let (storage, etag) = (&self.host.storage, source.etag.as_deref());
        if prepared.read_to_end
            && let Err(error) = completion::check(storage, &source.url, etag, &action).await
        {
            prepared.sealed.abort().await;
            return Err(error);
        }
        *written = prepared.sealed.publish().await?;
        // What a pointer said is done, or handed on by the next one.
        if let Some(pointer) = &source.pointer
            && action != Action::Keep
        {
            completion::complete(storage, pointer, None, Action::Delete).await?;
        }
        if prepared.read_to_end {
            completion::complete(storage, &source.url, etag, action.clone()).await?;
            self.complete_beside(action).await;
        }
        Ok(())
    }

    /// What stands beside an object of faulted lines goes where that goes. Nobody needs it any more, so that it stays
    /// is told and no failure.
    async fn complete_beside(&mut self, action: Action) {
        let source = &self.request.source;
        if source.redrive.is_none() && request::attempt_of(&source.url) == 0 {
            return;
        }
        let (storage, counts) = (&self.host.storage, &self.router.counts);
        let left = self.rest.is_some() || counts.processed < counts.loaded;
        let completed = completion::complete_beside(storage, &source.url, &action, left).await;
        if let Err(error) = completed {
            let what = chain(&error);
            tracing::warn!(request = %self.request.id, "{what}");
            self.router.errors.add(&what);
        }
    }

    /// What is to become of the source.
    fn action(&self) -> Result<Action> {
        if self.request.source.body.is_some() {
            return Ok(Action::Keep);
        }
        let invalid = |error: RequestError| Error::invalid("move_url", error.to_string());
        Ok(match self.host.config.completion {
            Completion::Keep => Action::Keep,
            Completion::Delete => Action::Delete,
            Completion::Move => {
                let to_url = self.names.moved(&self.host.config).map_err(invalid)?;
                to_url.map_or(Action::Keep, |to_url| Action::Move { to_url })
            }
        })
    }

    async fn post(&mut self) -> Result<()> {
        let closing = self.closer.post(self.router.counts).await?;
        self.router.emit(&closing).await
    }

    /// The books must balance before anything becomes visible: a line too few or too many is a bug of linemill.
    fn check_books(&self) -> Result<()> {
        match self.router.counts.balance() {
            true => Ok(()),
            false => Err(self.unbalanced("they do not add up")),
        }
    }

    fn unbalanced(&self, why: &str) -> Error {
        Error::unfit(
            format!("the books do not balance: {why}, {:?}", self.router.counts),
            "this is a bug of linemill; nothing was written, and the source is as it was",
        )
    }

    /// Writes into the report what became of the request.
    async fn finish(mut self, report: &mut Report, error: Option<Error>) {
        self.shop.stop.cut();
        self.router.abort().await;
        let reason = self.shop.stop.reason();
        if let Some(Reason::Systemic(why)) = &reason {
            self.router.errors.add_first(why);
        }
        let unkept = self.router.metrics.dropped();
        if unkept > 0 {
            tracing::warn!(request = %self.request.id, "{unkept} values of the plugin's metrics were left out: too many series");
        }
        let dropped = self.shop.guest.logs_dropped();
        if dropped > 0 {
            tracing::warn!(request = %self.request.id, "{dropped} log events of the plugin were dropped (log_events_max)");
        }
        if let Some(keeper) = &self.shop.keeper {
            let counts = keeper.counts();
            if let Some(left_out) = counts.left_out() {
                tracing::warn!(request = %self.request.id, "{left_out}");
            }
            report.capsules = Some(counts);
        }
        let stopped = matches!(reason, Some(Reason::Fatal(_) | Reason::Systemic(_)));
        let ending = Ending {
            unread: self.left,
            error: false,
            stopped,
        };
        report.counts = self.router.counts;
        report.status = status(&report.counts, ending);
        report.unread = self.unread;
        report.rest = self.rest.filter(|_| error.is_none());
        report.batches = self.router.batches;
        report.bytes = self.router.bytes;
        report.traps = self.router.traps;
        report.fuel = self.router.fuel + self.closer.fuel + self.shop.guest.fuel();
        report.metrics = self.router.metrics;
        report.errors = self.router.errors;
        report.latency = self.router.latency;
        if let Some(error) = error {
            report.plugin_failed = matches!(error, Error::Plugin { .. });
            report.fail_with(&error, ending);
            if self.request.source.redrive.is_some() && matches!(error, Error::AlreadyExists { .. })
            {
                report.errors.add(RUN_AGAIN);
            }
        }
    }
}

fn shop(
    plugin: &Plugin,
    request: &Request,
    config: Arc<Config>,
    deadline: Deadline,
    stop: Arc<Stop>,
) -> Shop {
    let guest = Arc::new(guest_context(plugin, request, &config, deadline));
    Shop {
        plugin: plugin.clone(),
        keeper: Keeper::new(&config, plugin, &guest),
        guest,
        poison: Poison::new(config.trap_ratio_max, config.trap_lines_min),
        config,
        stop,
        opener: Mutex::default(),
        beside: None,
    }
}

fn guest_context(
    plugin: &Plugin,
    request: &Request,
    config: &Config,
    deadline: Deadline,
) -> GuestContext {
    let mut guest = GuestContext::new(
        &plugin.id.name,
        deadline,
        config.log_events_max,
        config.log_bytes_max,
    );
    guest.id.clone_from(&request.id);
    guest.source = config::mask_secrets(&request.source.url);
    guest.attempt = request.attempt;
    guest.started_at = u64::try_from(request.started_at.timestamp_millis()).unwrap_or(0);
    guest.attributes.clone_from(&request.attributes);
    guest.settings = Arc::new(config.settings.clone());
    if config.capsules != CapsuleMode::Off {
        guest.answers = Memory::Kept;
    }
    guest
}
