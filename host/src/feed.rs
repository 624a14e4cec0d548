//! Reads a source and feeds its batches to the queue, until it ends, breaks or has to stop.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::batch::{Batch, Cutter, Piece, Size};
use crate::error::{Error, Result};
use crate::pool::{Event, Queue};
use crate::source::{Arrived, Source};

/// Pieces of a long line that may wait to be written.
const LONG_PIECES: usize = 4;

/// A source and its cutter.
pub struct Feed {
    source: Source,
    cutter: Cutter,
    ended: bool,
}

/// Where the first line stands that was not put into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Its offset in the plain bytes of the source.
    pub offset: u64,
    /// Its number, from 1.
    pub line: u64,
}

/// How feeding ended.
#[derive(Debug)]
pub enum End {
    /// The source has ended and every line is in the queue.
    Clean,
    /// It stopped before; the rest is still to be read.
    Stopped,
    /// The source broke.
    Broken(Error),
}

impl Feed {
    /// Feeds the lines that `cutter` cuts from `source`.
    pub fn new(source: Source, cutter: Cutter) -> Self {
        Feed {
            source,
            cutter,
            ended: false,
        }
    }

    /// What is read.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Puts batch after batch into the queue. Blocks: it has a thread of its own.
    pub fn run(&mut self, queue: &Queue, rest: &Mutex<Rest>) -> End {
        let runtime = Handle::current();
        let mut long: Option<mpsc::Sender<Vec<u8>>> = None;
        loop {
            let piece = match self.next(queue.size(), queue.read_until(), || queue.is_stopping()) {
                Ok(Some(piece)) => piece,
                Ok(None) if self.ended => return End::Clean,
                Ok(None) => return End::Stopped,
                Err(error) => return End::Broken(error),
            };
            let put = match piece {
                Piece::Batch(batch) => runtime.block_on(queue.put(batch)),
                Piece::LongStart { seq, line, offset } => {
                    let (pieces, bytes) = mpsc::channel(LONG_PIECES);
                    long = Some(pieces);
                    queue.announce(Event::Long {
                        seq,
                        line,
                        offset,
                        bytes,
                    })
                }
                Piece::LongBytes(bytes) => long
                    .as_ref()
                    .is_some_and(|long| long.blocking_send(bytes).is_ok()),
                Piece::LongEnd => long
                    .take()
                    .is_some_and(|long| long.blocking_send(Vec::new()).is_ok()),
            };
            if !put {
                return End::Stopped;
            }
            if long.is_none() {
                let (offset, line) = self.cutter.rest();
                *rest.lock().expect("nothing panics while it is held") = Rest { offset, line };
            }
        }
    }

    /// The next piece; `None`: the source has ended, or it is time to stop.
    fn next(
        &mut self,
        size: Size,
        until: Instant,
        stopping: impl Fn() -> bool,
    ) -> Result<Option<Piece>> {
        loop {
            if stopping() || Instant::now() >= until {
                return Ok(None);
            }
            if let Some(piece) = self.cutter.next(size) {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            let patient = !matches!(size, Size::About(_));
            match self.source.read(self.cutter.space(size), until, patient)? {
                Arrived::Bytes(n) => self.cutter.advance(n),
                Arrived::End => self.finish(),
                Arrived::Nothing => {}
            }
            if self.cutter.is_ended() {
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        self.ended = true;
        self.cutter.finish();
    }

    /// Hands over the bytes of all lines that are left, piece by piece, each of whole lines (a long one in parts).
    /// Blocks.
    ///
    /// Gives back whether the source was read to its end; if not, what was read of it is handed over all the same.
    ///
    /// # Errors
    /// The source broke.
    pub fn copy_rest(&mut self, until: Instant, to: &mpsc::Sender<Vec<u8>>) -> Result<bool> {
        let size = Size::About(256 * 1024);
        while let Some(piece) = self.next(size, until, || to.is_closed())? {
            let bytes = match piece {
                Piece::Batch(batch) => ended(&batch),
                Piece::LongStart { .. } => continue,
                Piece::LongBytes(bytes) => bytes,
                Piece::LongEnd => vec![b'\n'],
            };
            if to.blocking_send(bytes).is_err() {
                break;
            }
        }
        if !self.ended {
            let mut torn = self.cutter.take_rest();
            torn.push(b'\n');
            if torn.len() > 1 {
                // Nobody receives any more when the request has failed meanwhile.
                let _ = to.blocking_send(torn);
            }
        }
        Ok(self.ended)
    }
}

/// The batch's bytes, the last line ended.
pub fn ended(batch: &Batch) -> Vec<u8> {
    let mut bytes = batch.bytes().to_vec();
    if bytes.last().is_some_and(|&last| last != b'\n') {
        bytes.push(b'\n');
    }
    bytes
}

/// Feeds on a thread of its own; gives the feed back when it has ended.
pub fn spawn(
    mut feed: Feed,
    queue: Arc<Queue>,
    rest: Arc<Mutex<Rest>>,
) -> tokio::task::JoinHandle<(Feed, End)> {
    tokio::task::spawn_blocking(move || {
        let end = feed.run(&queue, &rest);
        queue.close();
        (feed, end)
    })
}
