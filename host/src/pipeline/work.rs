//! Work on a request: reading, running and committing, until the source ends or work stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{GRACE, Run};
use crate::batch::{Cutter, Size, Window};
use crate::closer;
use crate::error::{Cause, Error, Result};
use crate::feed::{self, Fed, Position};
use crate::handover::Left;
use crate::order::Order;
use crate::pool::{Event, Queue, Sizing};
use crate::source::Source;
use crate::stop::Reason;
use crate::worker::Worker;

/// Batches of a plugin that can ask servers grow no larger: after lines that it need not ask for, blank ones, say, a
/// large batch would make one instance wait for all of its lines while the others have none.
const ASKING_BYTES_MAX: usize = 4096;

/// How reading and working ended.
pub(super) struct Worked {
    /// Gives the feed back once reading has ended.
    pub(super) feeding: Feeding,
    /// What was read and not loaded, in order.
    pub(super) left: Vec<Left>,
    /// What the feed announces while it comes to its end.
    pub(super) arriving: mpsc::UnboundedReceiver<Event>,
    /// How far reading has come.
    pub(super) position: Arc<Mutex<Position>>,
}

/// The feed while it runs, and what became of it.
pub(super) enum Feeding {
    Running(JoinHandle<Result<Fed>>),
    Ended(Fed),
}

impl Run {
    /// Opens, reads, runs and commits until the source ends or work stops.
    pub(super) async fn work(&mut self) -> Result<Worked> {
        let config = self.host.config.clone();
        let (events, mut arriving) = mpsc::unbounded_channel();
        let fixed = config
            .batch_lines
            .map(Size::Lines)
            .or(config.batch_bytes.map(Size::Bytes));
        let bytes_max = match self.shop.plugin.asks() {
            true => config.batch_bytes_max.min(ASKING_BYTES_MAX),
            false => config.batch_bytes_max,
        };
        let sizing = Sizing::new(fixed, bytes_max);
        let stop = self.shop.stop.clone();
        let workers = (0..config.concurrency).map(|_| Worker::new(self.shop.clone()));
        let queue = Arc::new(Queue::new(
            workers.collect(),
            sizing,
            self.deadline,
            stop,
            events,
        ));

        let position = Arc::new(Mutex::new(self.start()));
        let reading = feed::spawn(
            self.opening(),
            self.cutter(),
            queue.clone(),
            position.clone(),
        );
        let mut feeding = Feeding::Running(reading);
        let committed = self.commit_all(&queue, &mut arriving, &mut feeding).await;
        // Whatever happened, no worker goes on.
        self.shop.stop.cut();
        let order = committed?;
        let left = self.settle_pending(&queue, &mut arriving, order).await?;
        Ok(Worked {
            feeding,
            left,
            arriving,
            position,
        })
    }

    /// Opens the source and runs `pre`: what comes before the first line.
    fn opening(&self) -> impl Future<Output = Result<Source>> + Send + 'static {
        let (storage, progress) = (self.host.storage.clone(), self.host.progress.clone());
        let (source, shop) = (self.request.source.clone(), self.shop.clone());
        async move {
            let opened = Source::open(&storage, &source, &progress).await?;
            if Instant::now() < shop.guest.deadline.read {
                match closer::pre(&shop).await {
                    // Nothing was read yet: all of it is handed over.
                    Err(_) if shop.stop.reason() == Some(Reason::Interrupted) => {}
                    done => done?,
                }
            }
            Ok(opened)
        }
    }

    fn start(&self) -> Position {
        let source = &self.request.source;
        Position {
            offset: source.range.map_or(0, |range| range.offset),
            line: source.first_line,
            etag: source.etag.clone(),
            opened: false,
        }
    }

    fn cutter(&self) -> Cutter {
        let Position { offset, line, .. } = self.start();
        let length = self.request.source.range.and_then(|range| range.length);
        let end = length.map(|length| offset.saturating_add(length));
        Cutter::new(
            Window { offset, end },
            line,
            self.host.config.line_bytes_max,
        )
    }

    /// Commits what arrives, in line order, until everything is committed or work has stopped. Gives back what waits
    /// for an earlier batch that does not come.
    async fn commit_all(
        &mut self,
        queue: &Queue,
        arriving: &mut mpsc::UnboundedReceiver<Event>,
        feeding: &mut Feeding,
    ) -> Result<Order> {
        let mut order = Order::new(self.host.config.ordered);
        let mut over = self.deadline.work + GRACE;
        let stop = self.shop.stop.clone();
        let (mut draining, mut cutting) = (false, false);
        loop {
            let ended = matches!(feeding, Feeding::Ended(_));
            if ended && order.is_empty() && queue.is_empty() || draining && !queue.is_running() {
                return Ok(order);
            }
            tokio::select! {
                biased;
                Some(event) = arriving.recv() => {
                    order.push(sound(event)?);
                    while let Some(event) = order.pop() {
                        self.commit(queue, event).await?;
                    }
                }
                fed = feeding.join(), if !ended => *feeding = Feeding::Ended(fed?),
                () = stop.cutting().cancelled(), if !cutting => {
                    cutting = true;
                    over = over.min(Instant::now() + GRACE);
                }
                () = stop.draining().cancelled(), if !draining => draining = true,
                () = tokio::time::sleep_until(self.deadline.work.into()), if !draining => draining = true,
                () = queue.idle(), if draining => {}
                () = tokio::time::sleep_until(over.into()) => return Ok(order),
            }
        }
    }

    async fn commit(&mut self, queue: &Queue, event: Event) -> Result<()> {
        match event {
            Event::Panicked => Err(panicked()),
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
            } => {
                // One that broke off is the last that was read.
                if let Some(spool) = self.router.long(line, offset, &mut bytes).await? {
                    self.beginning = Some(Left::Beginning {
                        line,
                        offset,
                        spool,
                    });
                }
                Ok(())
            }
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
            order.push(sound(event)?);
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
        let mut pending: BTreeMap<u64, _> = pending
            .into_iter()
            .map(|batch| (batch.seq, batch))
            .collect();
        let mut left = Vec::new();
        let places: BTreeSet<u64> = pending.keys().chain(events.keys()).copied().collect();
        for seq in places {
            let loaded = started.is_some_and(|started| seq <= started);
            match (events.remove(&seq), pending.remove(&seq)) {
                (Some(Event::Done(done)), _) => self.commit(queue, Event::Done(done)).await?,
                (Some(Event::Panicked), _) => return Err(panicked()),
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
        left.extend(self.beginning.take());
        Ok(left)
    }
}

impl Feeding {
    /// Waits for the feed to end; for ever, once it has.
    pub(super) async fn join(&mut self) -> Result<Fed> {
        match self {
            Feeding::Running(handle) => handle
                .await
                .unwrap_or_else(|error| Err(bug("the reader", error))),
            Feeding::Ended(_) => std::future::pending().await,
        }
    }
}

/// An event, unless it says that a worker panicked: its place may never come.
fn sound(event: Event) -> Result<Event> {
    match event {
        Event::Panicked => Err(panicked()),
        event => Ok(event),
    }
}

fn panicked() -> Error {
    bug("a worker", "it panicked")
}

/// A task of linemill's own panicked.
fn bug(what: &str, error: impl Into<Cause>) -> Error {
    Error::Io {
        action: format!("go on: {what} failed, which is a bug of linemill"),
        source: error.into(),
    }
}
