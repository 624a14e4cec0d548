//! Reads a source and feeds its batches to the queue, until it ends, breaks or has to stop.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::batch::{Batch, Cutter, Piece, Size, count_lines};
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
    /// Lines that were cut and that nobody took, as the request stopped.
    unsent: Option<Vec<u8>>,
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
            unsent: None,
        }
    }

    /// Puts batch after batch into the queue. Blocks: it has a thread of its own.
    pub fn run(&mut self, queue: &Queue, rest: &Mutex<Rest>) -> End {
        let mut long = None;
        loop {
            let piece = match self.next(queue.size(), queue.read_until(), || queue.is_stopping()) {
                Ok(Some(piece)) => piece,
                Ok(None) if self.is_done() => return self.check_unchanged(),
                Ok(None) => return End::Stopped,
                Err(error) => return End::Broken(error),
            };
            if !self.put(piece, queue, &mut long) {
                return End::Stopped;
            }
            if long.is_none() {
                let (offset, line) = self.cutter.rest();
                *rest.lock().expect("nothing panics while it is held") = Rest { offset, line };
            }
        }
    }

    /// `false`: the request stops; what was not taken is kept.
    fn put(
        &mut self,
        piece: Piece,
        queue: &Queue,
        long: &mut Option<mpsc::Sender<Vec<u8>>>,
    ) -> bool {
        let send = |bytes: Vec<u8>, long: &Option<mpsc::Sender<Vec<u8>>>| match long {
            Some(long) => long.blocking_send(bytes).map_err(|unsent| unsent.0),
            None => Err(bytes),
        };
        let sent = match piece {
            Piece::Batch(batch) => match Handle::current().block_on(queue.put(batch)) {
                Ok(()) => Ok(()),
                Err(batch) => Err(ended(&batch)),
            },
            Piece::LongStart { seq, line, offset } => {
                let (pieces, bytes) = mpsc::channel(LONG_PIECES);
                *long = Some(pieces);
                let event = Event::Long {
                    seq,
                    line,
                    offset,
                    bytes,
                };
                return queue.announce(event);
            }
            Piece::LongBytes(bytes) => send(bytes, long),
            Piece::LongEnd => {
                let sent = send(Vec::new(), long);
                *long = None;
                sent.map_err(|_| vec![b'\n'])
            }
        };
        self.unsent = sent.err();
        self.unsent.is_none()
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

    /// Whether the source, or its range, has ended and all of its lines were cut.
    fn is_done(&self) -> bool {
        self.ended && self.cutter.is_empty()
    }

    fn check_unchanged(&self) -> End {
        match self.source.check_unchanged() {
            Ok(()) => End::Clean,
            Err(error) => End::Broken(error),
        }
    }

    fn finish(&mut self) {
        self.ended = true;
        self.cutter.finish();
    }

    /// Counts the lines that are left, where they are at most `bytes_max` bytes; `None`: they are more, or it took
    /// too long. Blocks.
    pub fn count_rest(&mut self, until: Instant, bytes_max: usize) -> Option<u64> {
        let size = Size::About(bytes_max);
        let mut lines = self
            .unsent
            .take()
            .map_or(0, |unsent| count_lines(&unsent) as u64);
        let mut bytes = 0;
        while let Ok(Some(piece)) = self.next(size, until, || bytes > bytes_max) {
            match piece {
                Piece::Batch(batch) => {
                    lines += batch.lines as u64;
                    bytes += batch.bytes().len();
                }
                Piece::LongStart { .. } => lines += 1,
                Piece::LongBytes(piece) => bytes += piece.len(),
                Piece::LongEnd => {}
            }
        }
        self.is_done().then_some(lines)
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
        if let Some(unsent) = self.unsent.take()
            && to.blocking_send(unsent).is_err()
        {
            return Ok(false);
        }
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
        if !self.is_done() {
            let mut torn = self.cutter.take_rest();
            torn.push(b'\n');
            if torn.len() > 1 {
                // Nobody receives any more when the request has failed meanwhile.
                let _ = to.blocking_send(torn);
            }
        }
        if self.is_done() {
            self.source.check_unchanged()?;
        }
        Ok(self.is_done())
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
    mut feed: Box<Feed>,
    queue: Arc<Queue>,
    rest: Arc<Mutex<Rest>>,
) -> tokio::task::JoinHandle<(Box<Feed>, End)> {
    tokio::task::spawn_blocking(move || {
        let end = feed.run(&queue, &rest);
        queue.close();
        (feed, end)
    })
}
