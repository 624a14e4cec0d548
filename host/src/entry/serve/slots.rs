//! The requests under way: no more than there is room for, and all of them can be told to end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::stops::Stops;

/// Room for requests.
pub(super) struct Slots {
    room: Arc<Semaphore>,
    size: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    by_id: HashMap<u64, Stops>,
    last_id: u64,
    interrupted: bool,
}

/// The room of one request, free again when it is dropped.
pub(super) struct Slot {
    /// By what the request ends early.
    pub(super) stops: Stops,
    id: u64,
    taken: Arc<Mutex<Taken>>,
    _room: OwnedSemaphorePermit,
}

/// Abandons a request when it is dropped before the request has been answered.
pub(super) struct Client(Option<Stops>);

impl Slots {
    pub(super) fn new(size: usize) -> Self {
        Slots {
            room: Arc::new(Semaphore::new(size)),
            size,
            taken: Arc::default(),
        }
    }

    /// Room for a request; `None`: there is none.
    pub(super) fn take(&self) -> Option<Slot> {
        let room = self.room.clone().try_acquire_owned().ok()?;
        let mut taken = lock(&self.taken);
        if taken.interrupted {
            return None;
        }
        taken.last_id += 1;
        let (id, stops) = (taken.last_id, Stops::default());
        taken.by_id.insert(id, stops.clone());
        Some(Slot {
            stops,
            id,
            taken: self.taken.clone(),
            _room: room,
        })
    }

    /// How many requests are under way.
    pub(super) fn taken(&self) -> usize {
        lock(&self.taken).by_id.len()
    }

    /// Ends all requests as at their deadline.
    pub(super) fn interrupt(&self) {
        let mut taken = lock(&self.taken);
        taken.interrupted = true;
        taken.by_id.values().for_each(Stops::interrupt);
    }

    /// Waits until no request is under way.
    pub(super) async fn all_free(&self) {
        drop(self.room.acquire_many(self.size as u32).await);
    }
}

impl Slot {
    /// Whoever waits for the answer.
    pub(super) fn client(&self) -> Client {
        Client(Some(self.stops.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.taken).by_id.remove(&self.id);
    }
}

impl Client {
    /// The request is over.
    pub(super) fn answered(&mut self) {
        self.0 = None;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(stops) = &self.0 {
            stops.abandon();
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
