//! Reads a source and feeds its batches to the queue, until it ends, breaks or has to stop.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::batch::{Batch, Cutter, Piece, Size, count_lines};
use crate::error::Result;
use crate::pool::{Event, Queue};
use crate::source::{Arrived, Source, Wait};

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

/// How far reading has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Where the first line stands that was not put into the queue, in the plain bytes of the source.
    pub offset: u64,
    /// Its number, from 1.
    pub line: u64,
    /// Entity tag of what is read.
    pub etag: Option<String>,
    /// The source has been opened.
    pub opened: bool,
}

/// A feed that has come to its end, or had to stop.
pub struct Fed {
    /// What reads on, where not all was read.
    pub feed: Box<Feed>,
    /// The source has ended and every line is in the queue.
    pub all: bool,
}

impl Feed {
    /// Feeds the lines that `cutter` cuts from `source`.
    fn new(source: Source, cutter: Cutter) -> Self {
        Feed {
            source,
            cutter,
            ended: false,
            unsent: None,
        }
    }

    /// Puts batch after batch into the queue. Gives back whether that was all.
    fn run(&mut self, queue: &Arc<Queue>, position: &Mutex<Position>) -> Result<bool> {
        let mut long = None;
        loop {
            let next = self.next(queue.size(), &queue.read_wait())?;
            let Some(piece) = next else {
                if self.is_done() {
                    self.source.check_unchanged()?;
                }
                return Ok(self.is_done());
            };
            if !self.put(piece, queue, &mut long) {
                return Ok(false);
            }
            if long.is_none() {
                let mut position = position.lock().expect("nothing panics while it is held");
                (position.offset, position.line) = self.cutter.rest();
            }
        }
    }

    /// `false`: the request stops; what was not taken is kept.
    fn put(
        &mut self,
        piece: Piece,
        queue: &Arc<Queue>,
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
    fn next(&mut self, size: Size, wait: &Wait) -> Result<Option<Piece>> {
        loop {
            if wait.stop.is_cancelled() || Instant::now() >= wait.until {
                return Ok(None);
            }
            if let Some(piece) = self.cutter.next(size) {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            match self.source.read(self.cutter.space(size), wait)? {
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

    fn finish(&mut self) {
        self.ended = true;
        self.cutter.finish();
    }

    /// Counts the lines that are left, where they are at most `bytes_max` bytes; `None`: they are more, or it took
    /// too long. Blocks.
    ///
    /// # Errors
    /// The source broke.
    pub fn count_rest(&mut self, until: Instant, bytes_max: usize) -> Result<Option<u64>> {
        let size = Size::About(bytes_max);
        let mut lines = self
            .unsent
            .take()
            .map_or(0, |unsent| count_lines(&unsent) as u64);
        let mut bytes = 0;
        let wait = Wait::until(until);
        while bytes <= bytes_max
            && let Some(piece) = self.next(size, &wait)?
        {
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
        if self.is_done() {
            self.source.check_unchanged()?;
        }
        Ok(self.is_done().then_some(lines))
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
        let wait = Wait::until(until);
        while let Some(piece) = self.next(size, &wait)? {
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

/// Opens a source and feeds its lines, on a thread of its own.
pub fn spawn(
    opening: impl Future<Output = Result<Source>> + Send + 'static,
    cutter: Cutter,
    queue: Arc<Queue>,
    position: Arc<Mutex<Position>>,
) -> JoinHandle<Result<Fed>> {
    tokio::task::spawn_blocking(move || {
        let source = Handle::current().block_on(opening)?;
        {
            let mut position = position.lock().expect("nothing panics while it is held");
            position.opened = true;
            if source.etag.is_some() {
                position.etag.clone_from(&source.etag);
            }
        }
        let mut feed = Box::new(Feed::new(source, cutter));
        let all = feed.run(&queue, &position)?;
        queue.close();
        Ok(Fed { feed, all })
    })
}
