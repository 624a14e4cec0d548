//! How much may be written where memory is all there is.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::error::{Error, Result};

/// So many bytes, shared by all that is written.
#[derive(Debug)]
pub(crate) struct Room {
    bytes_max: u64,
    left: AtomicU64,
}

impl Room {
    pub(super) fn new(bytes_max: u64) -> Self {
        Room {
            bytes_max,
            left: AtomicU64::new(bytes_max),
        }
    }

    /// Takes room for `bytes`, before they are written.
    pub(crate) fn take(&self, bytes: usize) -> Result<()> {
        let rest = |left: u64| left.checked_sub(bytes as u64);
        let taken = self.left.fetch_update(Relaxed, Relaxed, rest);
        taken.map(drop).map_err(|_| {
            Error::unfit(
                format!("all that is written has more than {} bytes", self.bytes_max),
                "it is kept in memory here, run fewer lines",
            )
        })
    }
}
