//! Workers on one bounded queue of batches, whose size adapts; they stop at the deadline.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::batch::{Batch, Size};
use crate::deadline::Deadline;
use crate::source::Wait;
use crate::stop::Stop;
use crate::worker::{Done, Worker};

/// A batch is to take about so long: slow lookups spread over workers, fast parsing gets large batches.
const BATCH_TIME: Duration = Duration::from_millis(10);
/// By how much the size may grow from one batch to the next.
const GROWTH_MAX: f64 = 8.0;
/// Room for batches that wait, run or wait to be committed, for each worker: so many of the largest size.
const BATCHES_PER_WORKER: usize = 3;
/// A small batch takes up so little of the room that a large one takes.
const PARTS: usize = 16;

/// What reaches the one who commits.
pub enum Event {
    /// A batch was run.
    Done(Done),
    /// A worker panicked, which is a bug of linemill.
    Panicked,
    /// A line longer than the limit: its bytes follow, an empty piece ends it.
    Long {
        /// Its place in the order of the source.
        seq: u64,
        /// Its number, from 1.
        line: u64,
        /// Where it starts in the source.
        offset: u64,
        /// Its bytes.
        bytes: mpsc::Receiver<Vec<u8>>,
    },
}

/// The bounded queue between the feed and the workers, and all batches that are not committed yet.
pub struct Queue {
    sizing: Sizing,
    deadline: Deadline,
    stop: Arc<Stop>,
    waiting: async_channel::Sender<Arc<Batch>>,
    taking: async_channel::Receiver<Arc<Batch>>,
    room: Arc<Semaphore>,
    parts: usize,
    pending: Mutex<Pending>,
    /// Workers that have not been started: the first batch starts them.
    staff: Mutex<Vec<Worker>>,
    running: AtomicUsize,
    idle: Notify,
    events: mpsc::UnboundedSender<Event>,
}

/// The batches that were put in and not committed, and the room that each takes up.
#[derive(Default)]
struct Pending {
    batches: BTreeMap<u64, (Arc<Batch>, OwnedSemaphorePermit)>,
    /// They were taken out: nothing may be put in behind the back of who did.
    closed: bool,
}

impl Event {
    /// Its place in the order of the source; a panic comes before everything.
    pub fn seq(&self) -> u64 {
        match self {
            Event::Panicked => 0,
            Event::Done(done) => done.batch.seq,
            Event::Long { seq, .. } => *seq,
        }
    }
}

impl Queue {
    /// A queue for these workers, who run on the threads of plugins; events are bounded by the room in the queue.
    pub fn new(
        staff: Vec<Worker>,
        sizing: Sizing,
        deadline: Deadline,
        stop: Arc<Stop>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let (waiting, taking) = async_channel::unbounded();
        let parts = staff.len().max(1) * BATCHES_PER_WORKER * PARTS;
        let room = Arc::new(Semaphore::new(parts));
        Queue {
            sizing,
            deadline,
            stop,
            waiting,
            taking,
            room,
            parts,
            pending: Mutex::default(),
            staff: Mutex::new(staff),
            running: AtomicUsize::new(0),
            idle: Notify::new(),
            events,
        }
    }

    /// Puts a batch in, once there is room.
    ///
    /// # Errors
    /// The request stops; the batch comes back.
    pub async fn put(self: &Arc<Self>, batch: Batch) -> Result<(), Batch> {
        let part = self.sizing.bytes_max / PARTS + 1;
        let parts = batch.bytes().len().div_ceil(part).clamp(1, self.parts);
        let room = tokio::select! {
            biased;
            room = self.room.clone().acquire_many_owned(parts as u32) => room.expect("the semaphore is never closed"),
            () = self.stop.draining().cancelled() => return Err(batch),
            () = tokio::time::sleep_until(self.deadline.work.into()) => return Err(batch),
        };
        let mut pending = self.pending();
        if pending.closed {
            return Err(batch);
        }
        let batch = Arc::new(batch);
        pending.batches.insert(batch.seq, (batch.clone(), room));
        // It takes any number, and is closed by none but the feed: room is what bounds it.
        let _ = self.waiting.try_send(batch);
        drop(pending);
        self.start_workers();
        Ok(())
    }

    /// With the first batch: until then the threads are better used by what leads to it.
    fn start_workers(self: &Arc<Self>) {
        let mut staff = self.staff.lock().expect("nothing panics while it is held");
        for worker in staff.drain(..) {
            let thread = worker.thread();
            thread.spawn(work(worker, self.clone()));
        }
    }

    /// Announces a long line to the one who commits. `false`: nobody does any more.
    pub fn announce(&self, event: Event) -> bool {
        self.events.send(event).is_ok()
    }

    /// Nothing more is put in.
    pub fn close(&self) {
        self.waiting.close();
    }

    /// The size of the next batch.
    pub fn size(&self) -> Size {
        self.sizing.size()
    }

    /// How long a read may wait: until reading stops. Batches of a fixed size wait to be filled.
    pub fn read_wait(&self) -> Wait {
        Wait {
            until: self.deadline.read,
            stop: self.stop.draining().clone(),
            patient: !matches!(self.size(), Size::About(_)),
        }
    }

    /// Whether no further batch is to be started.
    fn is_stopping(&self) -> bool {
        self.stop.draining().is_cancelled()
    }

    /// The batch was committed: there is room for another.
    pub fn committed(&self, seq: u64) {
        self.pending().batches.remove(&seq);
    }

    /// The batches that were put in and not committed, in order; nothing can be put in any more.
    pub fn take_pending(&self) -> Vec<Arc<Batch>> {
        let mut pending = self.pending();
        pending.closed = true;
        let batches = std::mem::take(&mut pending.batches);
        batches.into_values().map(|(batch, _)| batch).collect()
    }

    /// Whether everything that was put in is committed.
    pub fn is_empty(&self) -> bool {
        self.pending().batches.is_empty()
    }

    /// Whether a batch is being run, or its event is not sent yet.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire) > 0
    }

    /// Waits until a worker has done a batch and sent its event.
    pub async fn idle(&self) {
        self.idle.notified().await;
    }

    fn done(&self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
        self.idle.notify_one();
    }

    /// The next batch for a worker; `None`: there are no more, or it is time to stop.
    async fn take(&self) -> Option<Arc<Batch>> {
        loop {
            if self.is_stopping() || Instant::now() >= self.deadline.work {
                return None;
            }
            let batch = tokio::select! {
                biased;
                batch = self.taking.recv() => batch.ok()?,
                () = self.stop.draining().cancelled() => return None,
                () = tokio::time::sleep_until(self.deadline.work.into()) => return None,
            };
            self.running.fetch_add(1, Ordering::AcqRel);
            if batch.start() {
                return Some(batch);
            }
            self.done();
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending
            .lock()
            .expect("nothing panics while it is held")
    }
}

/// Runs batches until the queue ends, the deadline comes, or the request stops.
async fn work(mut worker: Worker, queue: Arc<Queue>) {
    let _alarm = Alarm(&queue.events);
    while let Some(batch) = queue.take().await {
        let start = Instant::now();
        let done = worker.run(&batch).await;
        queue.sizing.observe(batch.bytes().len(), start.elapsed());
        let sent = queue.events.send(Event::Done(done));
        queue.done();
        if sent.is_err() {
            break;
        }
    }
}

/// Tells that a worker panicked: its batch would be waited for in vain.
struct Alarm<'a>(&'a mpsc::UnboundedSender<Event>);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nobody listens any more when the request has ended.
            let _ = self.0.send(Event::Panicked);
        }
    }
}

/// Finds the size at which a batch takes about 10 ms, from one line up.
#[derive(Debug)]
pub struct Sizing {
    fixed: Option<Size>,
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Sizing {
    /// Sizes that adapt, from one line to `bytes_max`, unless a fixed one is given.
    pub fn new(fixed: Option<Size>, bytes_max: usize) -> Self {
        Sizing {
            fixed,
            bytes: AtomicUsize::new(1),
            bytes_max: bytes_max.max(1),
        }
    }

    fn size(&self) -> Size {
        self.fixed
            .unwrap_or_else(|| Size::About(self.bytes.load(Ordering::Relaxed)))
    }

    /// Learns from a batch of `bytes` that took `time`.
    fn observe(&self, bytes: usize, time: Duration) {
        if self.fixed.is_none() {
            let now = self.bytes.load(Ordering::Relaxed);
            // Two workers that learn at once: either is as good.
            self.bytes.store(
                next_size(now, bytes, time, self.bytes_max),
                Ordering::Relaxed,
            );
        }
    }
}

fn next_size(now: usize, bytes: usize, time: Duration, max: usize) -> usize {
    let factor = BATCH_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9);
    let fits = bytes.max(1) as f64 * factor.min(GROWTH_MAX);
    // A batch that was cut small, the last of its buffer, tells only that it need not shrink.
    let next = if factor >= 1.0 {
        fits.max(now as f64)
    } else {
        fits
    };
    (next.round() as usize).clamp(1, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_time_of_a_batch() {
        // now, bytes, milliseconds -> next
        let table = [
            (1, 8, 0.01, 64),
            (64, 64, 0.01, 512),
            (200_000, 200_000, 0.2, 262_144),
            (262_144, 262_144, 20.0, 131_072),
            (262_144, 100, 0.01, 262_144),
            (1, 10, 50.0, 2),
            (1, 1, 50.0, 1),
            (1000, 1000, 10.0, 1000),
        ];
        for (now, bytes, ms, want) in table {
            let time = Duration::from_secs_f64(ms / 1e3);
            assert_eq!(
                next_size(now, bytes, time, 262_144),
                want,
                "{now} {bytes} {ms}"
            );
        }
    }
}
