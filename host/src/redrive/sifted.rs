//! The chosen lines of a stream, as a stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::{Redrive, Sieve};

const BUFFER: usize = 64 * 1024;

type Chosen = Box<dyn FnMut(u64) -> bool + Send>;

/// Reads an object, and leaves out the lines that are not run again.
pub struct Sifted<R> {
    from: R,
    sieve: Sieve<Chosen>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// So many bytes at the start are let through.
    through: usize,
}

impl<R> Sifted<R> {
    /// The lines of `from` that `redrive` chooses.
    pub fn new(from: R, redrive: &Arc<Redrive>) -> Self {
        let redrive = redrive.clone();
        let chosen: Chosen = Box::new(move |line| redrive.chooses(line));
        Sifted {
            from,
            sieve: Sieve::new(chosen),
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            through: 0,
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Sifted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.through > 0 {
                let len = this.through.min(buf.remaining());
                buf.put_slice(&this.buffer[this.start..this.start + len]);
                this.start += len;
                this.through -= len;
                return Poll::Ready(Ok(()));
            }
            if this.start < this.end {
                match this.sieve.span(&this.buffer[this.start..this.end]) {
                    (len, true) => this.through = len,
                    (len, false) => this.start += len,
                }
                continue;
            }
            let mut room = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.from).poll_read(cx, &mut room))?;
            (this.start, this.end) = (0, room.filled().len());
            if this.end == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
