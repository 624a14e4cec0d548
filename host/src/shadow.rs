//! Runs another version of the plugin on the batches of a request and compares what both do; nothing of it is emitted.
//!
//! It runs at the lowest priority, on what the request's own workers have done already, and is dropped where it
//! cannot keep up: a version that traps, hangs or is slow costs the request nothing but a short wait at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::batch::Batch;
use crate::closer;
use crate::outcome::Outcome;
use crate::report::chain;
use crate::runtime::Plugin;
use crate::stop::Reason;
use crate::worker::{Done, Shop, Worker};

mod comparison;

pub use comparison::{Comparison, Difference, Side};

/// Batches that wait to be compared; what comes beyond is left out.
const WAITING_MAX: usize = 4;
/// A request waits for the last of its comparison as long as it took itself, and no longer than this.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A version that is to run along with a request. Few do at a time: this is a turn to.
#[derive(Clone)]
pub struct Shadow {
    /// What runs along.
    pub plugin: Plugin,
    turn: Arc<OwnedSemaphorePermit>,
}

impl Shadow {
    /// With a turn, which ends with the last clone.
    pub fn new(plugin: Plugin, turn: OwnedSemaphorePermit) -> Self {
        Shadow {
            plugin,
            turn: Arc::new(turn),
        }
    }
}

/// A batch, and what the version that serves did with it.
struct Pair {
    batch: Arc<Batch>,
    outcome: Outcome,
    fuel: u64,
    traps: u64,
}

/// Where workers put what they have done.
pub struct Beside {
    to: async_channel::Sender<Pair>,
    comparison: Arc<Mutex<Comparison>>,
}

/// A comparison under way.
pub struct Comparing {
    to: async_channel::Sender<Pair>,
    comparison: Arc<Mutex<Comparison>>,
    shop: Arc<Shop>,
    task: JoinHandle<()>,
}

/// Lets a version run along, in a shop of its own. `None`: there is no thread for it.
pub fn start(shadow: &Shadow, shop: Shop) -> Option<(Beside, Comparing)> {
    let background = shadow.plugin.background();
    let background = background
        .inspect_err(|error| tracing::warn!("nothing runs along: {error:#}"))
        .ok()?;
    let (to, from) = async_channel::bounded(WAITING_MAX);
    let comparison = Arc::new(Mutex::new(Comparison::new(&shadow.plugin.id.digest)));
    let shop = Arc::new(shop);
    let (running, compared, turn) = (shop.clone(), comparison.clone(), shadow.turn.clone());
    let task = background.spawn(async move {
        compare_all(&running, &from, &compared).await;
        // What comes from now on is left out, and counted so.
        from.close();
        drop(turn);
    });
    let beside = Beside {
        to: to.clone(),
        comparison: comparison.clone(),
    };
    let comparing = Comparing {
        to,
        comparison,
        shop,
        task,
    };
    Some((beside, comparing))
}

impl Beside {
    /// Takes what a worker did, if there is room.
    pub fn offer(&self, done: &Done) {
        let pair = || Pair {
            batch: done.batch.clone(),
            outcome: done.outcome.clone(),
            fuel: done.fuel,
            traps: done.traps,
        };
        if self.to.is_full() || self.to.try_send(pair()).is_err() {
            lock(&self.comparison).skipped += 1;
        }
    }
}

impl Comparing {
    /// Ends it, at `until` at the latest. The request took `time`.
    pub async fn end(self, time: Duration, until: Instant) -> Comparison {
        self.to.close();
        let until = until.min(Instant::now() + time.min(WAIT_MAX));
        let ended = tokio::time::timeout_at(until.into(), self.task).await;
        self.shop.stop.cut();
        let mut comparison = lock(&self.comparison);
        if ended.is_err() {
            comparison.skipped += self.to.len() as u64 + 1;
        }
        std::mem::take(&mut *comparison)
    }
}

async fn compare_all(
    shop: &Arc<Shop>,
    from: &async_channel::Receiver<Pair>,
    comparison: &Mutex<Comparison>,
) {
    // A request without a line has no `pre`.
    let Ok(mut pair) = from.recv().await else {
        return;
    };
    if let Err(error) = closer::pre(shop).await {
        if !shop.stop.cutting().is_cancelled() {
            lock(comparison).fail(chain(&error));
        }
        return;
    }
    drop(shop.take_opener());
    let mut worker = Worker::new(shop.clone());
    loop {
        let done = worker.run(&pair.batch).await;
        if shop.stop.cutting().is_cancelled() {
            return;
        }
        lock(comparison).add(&pair, &done);
        if let Some(Reason::Fatal(why) | Reason::Systemic(why)) = shop.stop.reason() {
            return lock(comparison).fail(why);
        }
        match from.recv().await {
            Ok(next) => pair = next,
            Err(_) => return,
        }
    }
}

fn lock(comparison: &Mutex<Comparison>) -> MutexGuard<'_, Comparison> {
    comparison.lock().unwrap_or_else(PoisonError::into_inner)
}
