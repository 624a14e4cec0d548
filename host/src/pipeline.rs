//! The life of a request: the only module that knows every stage.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};

use crate::batch::{Cutter, Size, Window};
use crate::closer::Closer;
use crate::completion::{self, Action};
use crate::config::{self, Completion, Config};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::feed::{self, End, Feed, Rest};
use crate::handover::{self, Left};
use crate::order::Order;
use crate::pool::{self, Event, Queue, Sizing};
use crate::progress::Progress;
use crate::report::{Ending, Report, Written, status};
use crate::request::{Names, Request, RequestError};
use crate::router::{Router, SealedAll};
use crate::runtime::{GuestContext, Plugin};
use crate::source::Source;
use crate::stop::{Reason, Stop};
use crate::storage::Storage;
use crate::worker::{Poison, Shop, Worker};

/// How long after the end of work a batch that does not give up its thread is waited for.
const GRACE: Duration = Duration::from_millis(10);
/// How long a feed is waited for that is held up by its source.
const FEED_GRACE: Duration = Duration::from_millis(20);
/// How long before the hard end a request gives up on closing its destinations.
const HARD_MARGIN: Duration = Duration::from_millis(50);

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
    let start = Instant::now();
    let millis = |ms: Option<u64>| ms.map(Duration::from_millis);
    let config = &host.config;
    let deadline = Deadline::new(
        start,
        millis(config.max_exec_time_ms),
        millis(config.deadline_reduction_ms),
    );
    let mut report = Report::new(&request, plugin.id.clone());
    match Run::new(host, plugin, request, deadline, stop) {
        Ok(mut run) => {
            let hard = deadline.hard - HARD_MARGIN.min(deadline.hard - deadline.work);
            let prepared = match tokio::time::timeout_at(hard.into(), run.prepare()).await {
                Ok(prepared) => prepared,
                Err(_) => Err(Error::Timeout {
                    action: "end the request before its hard deadline".to_owned(),
                }),
            };
            // What has begun to become visible is not given up half way.
            let concluded = match prepared {
                Ok(prepared) => run.conclude(prepared, &mut report.written).await,
                Err(error) => Err(error),
            };
            run.finish(&mut report, concluded.err()).await;
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
    /// Lines that were not loaded; `None`: not known.
    unread: Option<u64>,
    /// Whether any were left.
    left: bool,
}

/// A request of which everything is stored and nothing is visible.
struct Prepared {
    sealed: SealedAll,
    read_to_end: bool,
}

/// How reading and working ended.
struct Worked {
    /// Gives the feed back once reading has ended.
    feeding: Feeding,
    /// What was read and not loaded, in order.
    left: Vec<Left>,
    /// What the feed announces while it comes to its end.
    arriving: mpsc::UnboundedReceiver<Event>,
    /// Where the first line stands that was not read.
    rest: Arc<Mutex<Rest>>,
}

/// What was read and not loaded: where it begins, and how many lines it is.
#[derive(Default)]
struct Leftover {
    first: Option<Rest>,
    lines: u64,
}

/// The feed while it runs, and what became of it.
enum Feeding {
    Running(JoinHandle<(Box<Feed>, End)>),
    Ended(Box<Feed>, End),
}

impl Run {
    fn new(
        host: &Host,
        plugin: &Plugin,
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
        let router = Router::new(
            &host.storage,
            names.clone(),
            &config,
            request.attempt,
            digest,
            &host.progress,
        );
        let guest = Arc::new(guest_context(plugin, &request, &config, deadline));
        let poison = Poison::new(config.trap_ratio_max, config.trap_lines_min);
        let shop = Arc::new(Shop {
            plugin: plugin.clone(),
            guest,
            config,
            stop,
            poison,
        });
        let closer = Closer::new(shop.clone());
        Ok(Run {
            host: host.clone(),
            shop,
            request,
            names,
            deadline,
            router,
            closer,
            unread: Some(0),
            left: false,
        })
    }

    /// Opens the source, lets the pool work, commits in order, hands over what is left, checks the books, and stores
    /// everything where it will be.
    async fn prepare(&mut self) -> Result<Prepared> {
        let source = Source::open(
            &self.host.storage,
            &self.request.source,
            &self.host.progress,
        )
        .await?;
        if self.request.source.etag.is_none() {
            self.request.source.etag.clone_from(&source.etag);
        }
        let in_time = Instant::now() < self.deadline.read;
        if in_time {
            self.closer.pre().await?;
        }
        let worked = self.work(source).await?;
        let systemic = matches!(self.shop.stop.reason(), Some(Reason::Systemic(_)));
        self.router.settle(systemic).await?;
        let (pointer, read_to_end) = self.hand_over(worked).await?;
        if in_time {
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
        *written = prepared.sealed.publish().await?;
        match prepared.read_to_end {
            true => self.complete().await,
            false => Ok(()),
        }
    }

    /// Reads, runs and commits until the source ends or work stops.
    async fn work(&mut self, source: Source) -> Result<Worked> {
        let config = self.host.config.clone();
        let (events, mut arriving) = mpsc::unbounded_channel();
        let fixed = config
            .batch_lines
            .map(Size::Lines)
            .or(config.batch_bytes.map(Size::Bytes));
        let sizing = Sizing::new(fixed, config.batch_bytes_max);
        let stop = self.shop.stop.clone();
        let queue = Arc::new(Queue::new(
            config.concurrency,
            sizing,
            self.deadline,
            stop,
            events,
        ));
        let workers = (0..config.concurrency)
            .map(|_| Worker::new(self.shop.clone()))
            .collect();
        let mut tasks = pool::start(workers, &queue, self.shop.plugin.compute());

        let (cutter, rest) = self.cutter();
        let mut feeding = Feeding::Running(feed::spawn(
            Box::new(Feed::new(source, cutter)),
            queue.clone(),
            rest.clone(),
        ));
        let committed = self
            .commit_all(&queue, &mut arriving, &mut feeding, &mut tasks)
            .await;
        // Whatever happened, no worker goes on.
        self.shop.stop.cut();
        let order = committed?;
        let left = self.settle_pending(&queue, &mut arriving, order).await?;
        Ok(Worked {
            feeding,
            left,
            arriving,
            rest,
        })
    }

    fn cutter(&self) -> (Cutter, Arc<Mutex<Rest>>) {
        let range = self.request.source.range;
        let offset = range.map_or(0, |range| range.offset);
        let end = range.and_then(|range| range.length.map(|length| offset.saturating_add(length)));
        let line = self.request.source.first_line;
        let cutter = Cutter::new(
            Window { offset, end },
            line,
            self.host.config.line_bytes_max,
        );
        (cutter, Arc::new(Mutex::new(Rest { offset, line })))
    }

    /// Commits what arrives, in line order, until everything is committed or work has stopped. Gives back what waits
    /// for an earlier batch that does not come.
    async fn commit_all(
        &mut self,
        queue: &Queue,
        arriving: &mut mpsc::UnboundedReceiver<Event>,
        feeding: &mut Feeding,
        workers: &mut JoinSet<()>,
    ) -> Result<Order> {
        let mut order = Order::new(self.host.config.ordered);
        let mut over = self.deadline.work + GRACE;
        let stop = self.shop.stop.clone();
        let (mut draining, mut cutting) = (false, false);
        loop {
            let ended = matches!(feeding, Feeding::Ended(..));
            if ended && order.is_empty() && queue.is_empty() || draining && !queue.is_running() {
                return Ok(order);
            }
            tokio::select! {
                biased;
                Some(event) = arriving.recv() => {
                    order.push(event);
                    while let Some(event) = order.pop() {
                        self.commit(queue, event).await?;
                    }
                }
                fed = feeding.join(), if !ended => {
                    let (feed, end) = fed?;
                    if let End::Broken(error) = end {
                        return Err(error);
                    }
                    *feeding = Feeding::Ended(feed, end);
                }
                Some(Err(error)) = workers.join_next() => return Err(bug("a worker", error)),
                () = stop.cutting().cancelled(), if !cutting => {
                    cutting = true;
                    over = over.min(Instant::now() + GRACE);
                }
                () = stop.draining().cancelled(), if !draining => draining = true,
                () = tokio::time::sleep_until(over.into()) => return Ok(order),
            }
        }
    }

    async fn commit(&mut self, queue: &Queue, event: Event) -> Result<()> {
        match event {
            Event::Done(done) => {
                let seq = done.batch.seq;
                let partials = self.router.commit(done).await?;
                self.closer.add(partials).await?;
                queue.committed(seq);
                Ok(())
            }
            Event::Long {
                line,
                offset,
                mut bytes,
                ..
            } => match self.router.long(line, offset, &mut bytes).await? {
                true => Ok(()),
                false => Err(Error::Timeout {
                    action: format!("read line {line} to its end, which is very long"),
                }),
            },
        }
    }

    /// Commits what is done although an earlier batch is not, blames what was started and did not end, and gives
    /// back what was never started: nothing behind it was loaded.
    async fn settle_pending(
        &mut self,
        queue: &Queue,
        arriving: &mut mpsc::UnboundedReceiver<Event>,
        mut order: Order,
    ) -> Result<Vec<Left>> {
        while let Ok(event) = arriving.try_recv() {
            order.push(event);
        }
        let mut events = order.into_rest();
        let pending = queue.take_pending();
        let waiting: Vec<u64> = pending
            .iter()
            .filter(|batch| batch.withdraw())
            .map(|batch| batch.seq)
            .collect();
        let started = pending
            .iter()
            .filter(|batch| !waiting.contains(&batch.seq))
            .map(|batch| batch.seq)
            .max();
        let mut pending: std::collections::BTreeMap<u64, _> = pending
            .into_iter()
            .map(|batch| (batch.seq, batch))
            .collect();
        let mut left = Vec::new();
        let places: std::collections::BTreeSet<u64> =
            pending.keys().chain(events.keys()).copied().collect();
        for seq in places {
            let loaded = started.is_some_and(|started| seq <= started);
            match (events.remove(&seq), pending.remove(&seq)) {
                (Some(Event::Done(done)), _) => self.commit(queue, Event::Done(done)).await?,
                (Some(long), _) if loaded => self.commit(queue, long).await?,
                (
                    Some(Event::Long {
                        line,
                        offset,
                        bytes,
                        ..
                    }),
                    _,
                ) => left.push(Left::Long {
                    line,
                    offset,
                    bytes,
                }),
                (None, Some(batch)) if loaded => {
                    self.router
                        .abandon(batch, "work stopped before the line was done")
                        .await?
                }
                (None, Some(batch)) => left.push(Left::Batch(batch)),
                (None, None) => {}
            }
        }
        Ok(left)
    }

    /// Hands over what was not loaded, by pointer or by copy. Gives back the pointer, and whether the source was
    /// read to its end.
    async fn hand_over(&mut self, mut worked: Worked) -> Result<(Option<Vec<u8>>, bool)> {
        let copies = handover::copies(&self.request, &self.host.config);
        let mut left = Leftover::default();
        for item in std::mem::take(&mut worked.left) {
            self.leave(&mut left, item, copies).await?;
        }
        self.join_feed(&mut worked, &mut left, copies).await?;
        let rest = *worked.rest.lock().expect("nothing panics while it is held");
        match worked.feeding {
            Feeding::Ended(_, End::Broken(error)) => Err(error),
            Feeding::Ended(_, End::Clean) if left.first.is_none() => {
                self.check_all_loaded(rest)?;
                Ok((None, true))
            }
            feeding if copies => self.copy_rest(feeding, left.lines).await,
            feeding => self.point_at_rest(feeding, &left, rest).await,
        }
    }

    /// Copies an item that was read and not loaded, or lets go of it.
    async fn leave(&mut self, left: &mut Leftover, item: Left, copies: bool) -> Result<()> {
        left.first.get_or_insert(item.rest());
        left.lines += match copies {
            true => handover::copy_left(&mut self.router, item).await?,
            false => item.lines(),
        };
        Ok(())
    }

    /// Waits for the feed to end. Pieces of a long line that it waits to be rid of are taken.
    async fn join_feed(
        &mut self,
        worked: &mut Worked,
        left: &mut Leftover,
        copies: bool,
    ) -> Result<()> {
        let until = tokio::time::Instant::now() + FEED_GRACE;
        while let Feeding::Running(_) = worked.feeding {
            tokio::select! {
                biased;
                Some(event) = worked.arriving.recv() => {
                    if let Some(long) = Left::of(event) {
                        self.leave(left, long, copies).await?;
                    }
                }
                fed = worked.feeding.join() => {
                    let (feed, end) = fed?;
                    worked.feeding = Feeding::Ended(feed, end);
                }
                () = tokio::time::sleep_until(until) => break,
            }
        }
        while let Ok(event) = worked.arriving.try_recv() {
            if let Some(long) = Left::of(event) {
                self.leave(left, long, copies).await?;
            }
        }
        Ok(())
    }

    async fn copy_rest(
        &mut self,
        feeding: Feeding,
        copied: u64,
    ) -> Result<(Option<Vec<u8>>, bool)> {
        self.left = true;
        let until = handover::until(&self.deadline, &self.shop.stop);
        let (lines, ended) = match feeding {
            Feeding::Running(_) => return Err(handover::not_copied()),
            Feeding::Ended(_, End::Clean) => (0, true),
            Feeding::Ended(feed, _) => handover::copy_rest(&mut self.router, feed, until).await?,
        };
        self.unread = ended.then_some(copied + lines);
        handover::check_copied(&self.request, ended, &mut self.router.errors)?;
        Ok((None, ended))
    }

    async fn point_at_rest(
        &mut self,
        feeding: Feeding,
        left: &Leftover,
        rest: Rest,
    ) -> Result<(Option<Vec<u8>>, bool)> {
        self.left = true;
        let until = handover::until(&self.deadline, &self.shop.stop);
        let behind = match feeding {
            Feeding::Running(_) => None,
            Feeding::Ended(_, End::Clean) => Some(0),
            Feeding::Ended(feed, _) => handover::count_rest(feed, until).await?,
        };
        self.unread = behind.map(|lines| lines + left.lines);
        let Rest { offset, line } = left.first.unwrap_or(rest);
        let pointer = self.request.leftover(&self.host.cwd, offset, line);
        let invalid =
            |error: RequestError| Error::invalid("the rest of the source", error.to_string());
        Ok((Some(pointer.map_err(invalid)?.to_json()), false))
    }

    /// The reader has counted the lines too: both must have come to the same.
    fn check_all_loaded(&self, rest: Rest) -> Result<()> {
        let read = rest.line - self.request.source.first_line;
        match read == self.router.counts.loaded {
            true => Ok(()),
            false => Err(self.unbalanced(&format!("{read} lines were read"))),
        }
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
        Error::invalid(
            format!("the books do not balance: {why}, {:?}", self.router.counts),
            "this is a bug of linemill; nothing was written, and the source is as it was",
        )
    }

    async fn complete(&mut self) -> Result<()> {
        let invalid = |error: RequestError| Error::invalid("move_url", error.to_string());
        let action = match self.host.config.completion {
            Completion::Keep => return Ok(()),
            Completion::Delete => Action::Delete,
            Completion::Move => match self.names.moved(&self.host.config).map_err(invalid)? {
                Some(to_url) => Action::Move { to_url },
                None => return Ok(()),
            },
        };
        let source = &self.request.source;
        completion::complete(
            &self.host.storage,
            &source.url,
            source.etag.as_deref(),
            action,
        )
        .await?;
        if let Some(pointer) = &source.pointer {
            completion::complete(&self.host.storage, pointer, None, Action::Delete).await?;
        }
        Ok(())
    }

    /// Writes into the report what became of the request.
    async fn finish(mut self, report: &mut Report, error: Option<Error>) {
        self.shop.stop.cut();
        self.router.abort().await;
        let reason = self.shop.stop.reason();
        if let Some(Reason::Fatal(why) | Reason::Systemic(why)) = &reason {
            self.router.errors.add_first(why);
        }
        let dropped = self.shop.guest.logs_dropped();
        if dropped > 0 {
            tracing::warn!(request = %self.request.id, "{dropped} log events of the plugin were dropped (log_events_max)");
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
        report.batches = self.router.batches;
        report.traps = self.router.traps;
        report.fuel = self.router.fuel + self.closer.fuel;
        report.metrics = self.router.metrics;
        report.errors = self.router.errors;
        report.latency = self.router.latency;
        if let Some(error) = error {
            report.fail_with(&error, ending);
        }
    }
}

impl Feeding {
    async fn join(&mut self) -> Result<(Box<Feed>, End)> {
        match self {
            Feeding::Running(handle) => handle.await.map_err(|error| bug("the reader", error)),
            Feeding::Ended(..) => std::future::pending().await,
        }
    }
}

/// A task of linemill's own panicked.
fn bug(what: &str, error: JoinError) -> Error {
    Error::Io {
        action: format!("go on: {what} failed, which is a bug of linemill"),
        source: Box::new(error),
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
    guest
}
