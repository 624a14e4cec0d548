//! How far requests have come, for whoever watches: counters that every stage adds to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::report::Counts;

/// Shared by all requests of a run; reading it costs them nothing.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read, as stored (compressed where the source is).
    pub bytes: AtomicU64,
    /// Lines that were processed.
    pub processed: AtomicU64,
    /// Lines that were corrupt.
    pub corrupted: AtomicU64,
    /// Lines to be run again, failed ones included.
    pub retried: AtomicU64,
}

impl Progress {
    /// Adds the books of one batch.
    pub fn add(&self, counts: &Counts) {
        self.processed.fetch_add(counts.processed, Relaxed);
        self.corrupted.fetch_add(counts.corrupted, Relaxed);
        self.retried
            .fetch_add(counts.retried + counts.failed, Relaxed);
    }
}
