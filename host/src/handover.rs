//! What was never loaded is handed over: by pointer, or copied into the retry object.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::batch::{Batch, count_lines};
use crate::config::{Config, Unread};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::feed::{self, Feed};
use crate::pool::Event;
use crate::report::Errors;
use crate::request::Request;
use crate::router::Router;
use crate::spool::Spool;
use crate::stop::{Reason, Stop};

/// Pieces that may wait to be copied.
const PIECES: usize = 4;
/// The rest is counted where it is not larger.
const COUNTED_MAX: usize = 1024 * 1024;
/// How long standard input is still read after an interrupt.
const INTERRUPTED: Duration = Duration::from_secs(1);

/// Something that was read and not loaded.
pub enum Left {
    /// A batch that was never started.
    Batch(Arc<Batch>),
    /// A line longer than the limit, of which nothing was written.
    Long {
        /// Its number, from 1.
        line: u64,
        /// Where it starts in the source.
        offset: u64,
        /// Its bytes.
        bytes: mpsc::Receiver<Vec<u8>>,
    },
    /// The beginning of a line longer than the limit, whose end did not come.
    Beginning {
        /// Its number, from 1.
        line: u64,
        /// Where it starts in the source.
        offset: u64,
        /// What came of it.
        spool: Spool,
    },
}

impl Left {
    /// The long line that nobody took, if it is one.
    pub fn of(event: Event) -> Option<Self> {
        match event {
            Event::Long {
                line,
                offset,
                bytes,
                ..
            } => Some(Left::Long {
                line,
                offset,
                bytes,
            }),
            Event::Done(_) | Event::Panicked => None,
        }
    }

    /// How many lines it is.
    pub fn lines(&self) -> u64 {
        match self {
            Left::Batch(batch) => batch.lines as u64,
            Left::Long { .. } | Left::Beginning { .. } => 1,
        }
    }

    /// Where it begins: the offset and number of its first line.
    pub fn position(&self) -> (u64, u64) {
        match self {
            Left::Batch(batch) => (batch.offset, batch.first_line),
            Left::Long { line, offset, .. } | Left::Beginning { line, offset, .. } => {
                (*offset, *line)
            }
        }
    }
}

/// Whether the rest is copied: as configured, and where a pointer could not be followed. What was not run again of an
/// object is written on in a way of its own.
pub fn copies(request: &Request, config: &Config) -> bool {
    let again = request.source.redrive.is_some();
    !again && (config.unread == Unread::Copy || is_stream(request))
}

/// Standard input, pipes and what came with the request cannot be read a second time.
fn is_stream(request: &Request) -> bool {
    if request.source.body.is_some() {
        return true;
    }
    let url = &request.source.url;
    let path = url.strip_prefix("file://").unwrap_or(url);
    url == "-" || std::fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}

/// Until when lines are copied or counted: half of what is left to the hard end.
pub fn until(deadline: &Deadline, stop: &Stop) -> Instant {
    let now = Instant::now();
    let half = now + deadline.hard.saturating_duration_since(now) / 2;
    match stop.reason() {
        Some(Reason::Interrupted) => half.min(now + INTERRUPTED),
        _ => half,
    }
}

/// Copies something that was read and not loaded; gives back how many lines it is. A long line that was not read to
/// its end is none yet: the rest of the source begins with its rest.
pub async fn copy_left(router: &mut Router, left: Left) -> Result<u64> {
    match left {
        Left::Batch(batch) => {
            router.copy_unread(&feed::ended(&batch)).await?;
            Ok(batch.lines as u64)
        }
        Left::Long { mut bytes, .. } => {
            while let Some(piece) = bytes.recv().await {
                if piece.is_empty() {
                    router.copy_unread(b"\n").await?;
                    return Ok(1);
                }
                router.copy_unread(&piece).await?;
            }
            Ok(0)
        }
        Left::Beginning { mut spool, .. } => {
            spool.rewind()?;
            spool.next_record()?;
            while let Some(piece) = spool.next_bytes()? {
                router.copy_unread(&piece).await?;
            }
            Ok(0)
        }
    }
}

/// Counts the lines that were not read, where that costs next to nothing.
pub async fn count_rest(mut feed: Box<Feed>, until: Instant) -> Result<Option<u64>> {
    let counting = tokio::task::spawn_blocking(move || feed.count_rest(until, COUNTED_MAX));
    counting.await.map_err(broken)?
}

fn broken(error: tokio::task::JoinError) -> Error {
    Error::Io {
        action: "read the source".to_owned(),
        source: Box::new(error),
    }
}

/// Copies what was not read; gives back how many lines, and whether the source was read to its end.
pub async fn copy_rest(
    router: &mut Router,
    mut feed: Box<Feed>,
    until: Instant,
) -> Result<(u64, bool)> {
    let (to, mut pieces) = mpsc::channel(PIECES);
    let copying = tokio::task::spawn_blocking(move || feed.copy_rest(until, &to));
    let mut lines = 0;
    while let Some(piece) = pieces.recv().await {
        // Pieces are whole lines; only those of a very long line are not, and its end is a piece of its own.
        lines += count_lines(&piece) as u64 - u64::from(piece.last() != Some(&b'\n'));
        router.copy_unread(&piece).await?;
    }
    let ended = copying.await.map_err(broken)??;
    Ok((lines, ended))
}

/// A stream is left to its writer where it did not end in time; anything else must be copied whole. What came with
/// the request as a whole is in nobody else's hands: who sent it is told that it failed, and sends it again.
pub fn check_copied(request: &Request, ended: bool, errors: &mut Errors) -> Result<()> {
    if ended {
        return Ok(());
    }
    let body = request.source.body.as_ref();
    let whole = body.is_some_and(|body| body.as_bytes().is_some());
    if is_stream(request) && !whole {
        errors.add(
            "the source did not end in time: what was not read of it is left to whoever writes it",
        );
        return Ok(());
    }
    Err(not_copied())
}

/// The rest could not be copied in time.
pub fn not_copied() -> Error {
    Error::Timeout {
        action: "copy all lines that were not read (unread = \"pointer\" needs no copy)".to_owned(),
    }
}
