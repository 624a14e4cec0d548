//! Cuts a stream of bytes into batches of whole lines. Pure: bytes are pushed in, batches are pulled out.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use memchr::{memchr, memchr_iter, memrchr};

/// The least that is asked of a source at once.
const READ_MIN: usize = 64 * 1024;
/// How many spare buffers are kept for the next batches.
const SPARES_MAX: usize = 16;
/// A buffer larger than this is given back to the allocator: one long line must not stay resident.
const SPARE_BYTES_MAX: usize = 1024 * 1024;

/// Whole lines of a source, handed to one plugin instance in one call.
#[derive(Debug)]
pub struct Batch {
    /// Place in the order of the source, from 0.
    pub seq: u64,
    /// Number of the first line in the source, from 1.
    pub first_line: u64,
    /// Where the first line starts in the (decompressed) source.
    pub offset: u64,
    /// How many lines there are.
    pub lines: usize,
    buffer: Vec<u8>,
    len: usize,
    spares: Spares,
    state: AtomicU8,
}

/// A batch waits to be taken; then a worker starts it, or it is withdrawn, never both.
const WAITING: u8 = 0;
const STARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Batch {
    /// Lines that are of no source: a sample.
    pub fn of(lines: &[u8]) -> Self {
        Batch {
            seq: 0,
            first_line: 1,
            offset: 0,
            lines: count_lines(lines),
            buffer: lines.to_vec(),
            len: lines.len(),
            spares: Spares::default(),
            state: AtomicU8::new(WAITING),
        }
    }

    /// The lines, each ended by `\n` except perhaps the last.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Takes it for a worker: from now on its lines are loaded. `false`: it was withdrawn.
    pub fn start(&self) -> bool {
        self.leave_waiting(STARTED)
    }

    /// Takes it back: no worker will start it. `false`: one has.
    pub fn withdraw(&self) -> bool {
        self.leave_waiting(WITHDRAWN)
    }

    fn leave_waiting(&self, to: u8) -> bool {
        self.state
            .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Where each line ends (past its `\n`).
    pub fn line_ends(&self) -> Vec<usize> {
        let mut ends: Vec<usize> = memchr_iter(b'\n', self.bytes()).map(|at| at + 1).collect();
        if ends.last() != Some(&self.len) {
            ends.push(self.len);
        }
        ends
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.spares.give(std::mem::take(&mut self.buffer));
    }
}

/// The bytes of line `index`, its end included.
pub fn line_span(ends: &[usize], index: usize) -> Range<usize> {
    let start = if index == 0 { 0 } else { ends[index - 1] };
    start..ends[index]
}

/// Number of lines in `bytes`: an unended last one counts.
pub fn count_lines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count() + usize::from(bytes.last().is_some_and(|&last| last != b'\n'))
}

/// Buffers that were used and can be used again, so that reading costs neither page faults nor zeroing.
#[derive(Debug, Clone, Default)]
pub struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spares {
    fn take(&self, len: usize) -> Vec<u8> {
        let mut buffer = self
            .0
            .lock()
            .ok()
            .and_then(|mut spares| spares.pop())
            .unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        buffer
    }

    fn give(&self, buffer: Vec<u8>) {
        if buffer.is_empty() || buffer.len() > SPARE_BYTES_MAX {
            return;
        }
        if let Ok(mut spares) = self.0.lock()
            && spares.len() < SPARES_MAX
        {
            spares.push(buffer);
        }
    }
}

/// How large the next batch is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// About so many bytes; cut from what has arrived.
    About(usize),
    /// As many whole lines as fit into so many bytes, at least one: depends on the data only.
    Bytes(usize),
    /// So many lines: depends on the data only.
    Lines(usize),
}

/// What comes out of a [`Cutter`].
#[derive(Debug)]
pub enum Piece {
    /// Whole lines.
    Batch(Batch),
    /// A line longer than the limit begins; its bytes follow.
    LongStart {
        /// Place in the order of the source; a long line takes one, like a batch.
        seq: u64,
        /// Its number, from 1.
        line: u64,
        /// Where it starts in the source.
        offset: u64,
    },
    /// Bytes of the long line, without its `\n`.
    LongBytes(Vec<u8>),
    /// The long line has ended.
    LongEnd,
}

/// Which bytes of a source are wanted: lines belong to a range if they start in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// First byte of the range. The bytes pushed in begin at `offset - 1` (at 0 for 0): whether a line starts
    /// at `offset` is decided by the byte before it.
    pub offset: u64,
    /// One past the last byte of the range; `None`: to the end.
    pub end: Option<u64>,
}

/// Cuts pushed bytes into batches of whole lines.
///
/// Invariant: `head <= complete <= filled <= buffer.len()`; `buffer[head..complete]` are whole lines not yet
/// given out, `buffer[complete..filled]` has no `\n` in it.
pub struct Cutter {
    buffer: Vec<u8>,
    head: usize,
    complete: usize,
    filled: usize,
    /// Absolute position in the source of `buffer[filled]`.
    position: u64,
    seq: u64,
    line: u64,
    line_max: usize,
    skipping: bool,
    end: Option<u64>,
    ended: bool,
    in_long: bool,
    spares: Spares,
}

impl Cutter {
    /// `first_line` is the number that the first line gets; lines longer than `line_max` bytes come out as
    /// [`Piece::LongStart`] and what follows it.
    pub fn new(window: Window, first_line: u64, line_max: usize) -> Self {
        Cutter {
            buffer: Vec::new(),
            head: 0,
            complete: 0,
            filled: 0,
            position: window.offset.saturating_sub(1),
            seq: 0,
            line: first_line,
            line_max: line_max.max(1),
            skipping: window.offset > 0,
            end: window.end,
            ended: window.end.is_some_and(|end| end <= window.offset),
            in_long: false,
            spares: Spares::default(),
        }
    }

    /// Where to read to; at least one byte long.
    pub fn space(&mut self, size: Size) -> &mut [u8] {
        let want = match size {
            Size::About(bytes) | Size::Bytes(bytes) => bytes.max(READ_MIN),
            Size::Lines(_) => READ_MIN,
        };
        if self.head == self.complete && self.head > 0 {
            self.buffer.copy_within(self.complete..self.filled, 0);
            self.filled -= self.head;
            (self.head, self.complete) = (0, 0);
        }
        // What is there and what is read together make one batch; a long tail gets room to end in.
        let len = if self.filled + READ_MIN / 2 > want {
            self.filled * 2 + READ_MIN
        } else {
            want
        };
        if self.buffer.is_empty() {
            self.buffer = self.spares.take(len);
        } else if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let end = len.max(self.filled + 1);
        &mut self.buffer[self.filled..end]
    }

    /// `n` bytes were read into the space.
    pub fn advance(&mut self, n: usize) {
        let start = self.filled;
        self.filled += n;
        if self.ended {
            self.filled = start;
            return;
        }
        let from = self.position;
        self.position += n as u64;
        let mut begin = start;
        if self.skipping {
            begin = match memchr(b'\n', &self.buffer[start..self.filled]) {
                Some(at) => start + at + 1,
                None => self.filled,
            };
            self.skipping = begin == self.filled && self.buffer[begin - 1] != b'\n';
            // A line that starts at or after the end of the range is another range's.
            if self
                .end
                .is_some_and(|end| from + (begin - start) as u64 >= end)
            {
                self.ended = true;
                self.filled = start;
                return;
            }
            self.buffer.copy_within(begin..self.filled, start);
            self.filled -= begin - start;
        }
        let skipped = (begin - start) as u64;
        self.cut_at_end(start, from + skipped);
        if let Some(at) = memrchr(b'\n', &self.buffer[start..self.filled]) {
            self.complete = start + at + 1;
        }
    }

    /// Drops what starts behind the range; `at` is the absolute position of `buffer[start]`.
    fn cut_at_end(&mut self, start: usize, at: u64) {
        let Some(end) = self.end else { return };
        // The first `\n` at or behind `end - 1` ends the last line that starts before `end`.
        let from = start
            + end
                .saturating_sub(1)
                .saturating_sub(at)
                .min((self.filled - start) as u64) as usize;
        if let Some(found) = memchr(b'\n', &self.buffer[from..self.filled]) {
            self.position -= (self.filled - (from + found + 1)) as u64;
            self.filled = from + found + 1;
            self.ended = true;
        }
    }

    /// Whether the range has ended: nothing more needs to be read.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The source has ended: an unended last line is a line.
    pub fn finish(&mut self) {
        self.ended = true;
        self.complete = self.filled;
    }

    /// Where the first line that was not given out starts, and its number.
    pub fn rest(&self) -> (u64, u64) {
        match self.skipping {
            true => (self.position, self.line),
            false => (self.rest_offset(), self.line),
        }
    }

    fn rest_offset(&self) -> u64 {
        self.position - (self.filled - self.head) as u64
    }

    /// Whether everything that was read has been given out.
    pub fn is_empty(&self) -> bool {
        self.head == self.filled && !self.in_long
    }

    /// The bytes that were read and not given out, for handing them over; the cutter is at the end after it.
    pub fn take_rest(&mut self) -> Vec<u8> {
        let rest = self.buffer[self.head..self.filled].to_vec();
        (self.head, self.complete, self.filled) = (0, 0, 0);
        rest
    }

    /// The next piece, if enough has arrived for one.
    pub fn next(&mut self, size: Size) -> Option<Piece> {
        if self.in_long {
            return self.next_of_long();
        }
        let whole = &self.buffer[self.head..self.complete];
        let clear = clear_of_long(whole, self.line_max);
        let long_follows = clear < whole.len() || self.filled - self.complete > self.line_max;
        if clear == 0 && long_follows {
            return Some(self.start_long());
        }
        let cut = cut_point(&whole[..clear], size, self.ended || long_follows)?;
        Some(Piece::Batch(self.take(cut)))
    }

    fn start_long(&mut self) -> Piece {
        self.in_long = true;
        let piece = Piece::LongStart {
            seq: self.seq,
            line: self.line,
            offset: self.rest_offset(),
        };
        self.seq += 1;
        self.line += 1;
        piece
    }

    fn next_of_long(&mut self) -> Option<Piece> {
        let rest = &self.buffer[self.head..self.filled];
        match memchr(b'\n', rest) {
            Some(0) => {
                self.head += 1;
                self.complete = self.complete.max(self.head);
                self.in_long = false;
                Some(Piece::LongEnd)
            }
            None if rest.is_empty() && self.ended => {
                self.in_long = false;
                Some(Piece::LongEnd)
            }
            None if rest.is_empty() => None,
            found => {
                let bytes = rest[..found.unwrap_or(rest.len())].to_vec();
                self.head += bytes.len();
                self.complete = self.complete.max(self.head);
                Some(Piece::LongBytes(bytes))
            }
        }
    }

    /// Gives out the first `len` bytes: the buffer itself where it holds little else, a copy otherwise.
    fn take(&mut self, len: usize) -> Batch {
        let offset = self.rest_offset();
        let buffer = if self.head == 0 && len == self.complete && len * 2 >= self.filled {
            let tail = self.filled - len;
            let mut next = self.spares.take(tail);
            next[..tail].copy_from_slice(&self.buffer[len..self.filled]);
            (self.head, self.complete, self.filled) = (0, 0, tail);
            std::mem::replace(&mut self.buffer, next)
        } else {
            let mut copy = self.spares.take(len);
            copy[..len].copy_from_slice(&self.buffer[self.head..self.head + len]);
            self.head += len;
            copy
        };
        let lines = count_lines(&buffer[..len]);
        let batch = Batch {
            seq: self.seq,
            first_line: self.line,
            offset,
            lines,
            buffer,
            len,
            spares: self.spares.clone(),
            state: AtomicU8::new(WAITING),
        };
        self.seq += 1;
        self.line += lines as u64;
        batch
    }
}

/// How many bytes of whole lines come before the first line longer than `max`.
fn clear_of_long(whole: &[u8], max: usize) -> usize {
    let mut start = 0;
    while whole.len() - start > max {
        match memrchr(b'\n', &whole[start..whole.len().min(start + max + 1)]) {
            Some(at) => start += at + 1,
            None => return start,
        }
    }
    whole.len()
}

/// Where the next batch ends in `whole`, which are whole lines; `None`: more is needed for a batch of that size.
fn cut_point(whole: &[u8], size: Size, last: bool) -> Option<usize> {
    if whole.is_empty() {
        return None;
    }
    match size {
        Size::About(bytes) | Size::Bytes(bytes) => {
            if whole.len() <= bytes {
                // With a fixed size, lines that would fit may still come.
                return (matches!(size, Size::About(_)) || last).then_some(whole.len());
            }
            let cut = memrchr(b'\n', &whole[..bytes])
                .or_else(|| memchr(b'\n', &whole[bytes..]).map(|at| bytes + at));
            Some(cut.map_or(whole.len(), |at| at + 1))
        }
        Size::Lines(lines) => match memchr_iter(b'\n', whole).nth(lines.max(1) - 1) {
            Some(at) => Some(at + 1),
            None => last.then_some(whole.len()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes `data` in the given chunks and gives back the lines, checking numbers, offsets and counts.
    fn lines_of(chunks: &[&[u8]], window: Window, size: Size, line_max: usize) -> Vec<String> {
        let mut cutter = Cutter::new(window, 1, line_max);
        let mut lines = Vec::new();
        let mut long: Option<Vec<u8>> = None;
        let mut next_seq = 0;
        let mut drain = |cutter: &mut Cutter| {
            while let Some(piece) = cutter.next(size) {
                match piece {
                    Piece::Batch(batch) => {
                        assert_eq!(batch.seq, next_seq);
                        next_seq += 1;
                        assert_eq!(batch.first_line, lines.len() as u64 + 1);
                        let ends = batch.line_ends();
                        assert_eq!(ends.len(), batch.lines);
                        if let Size::Lines(n) = size {
                            assert!(batch.lines <= n);
                        }
                        for index in 0..batch.lines {
                            let span = line_span(&ends, index);
                            let line = &batch.bytes()[span.clone()];
                            lines.push(format!(
                                "{}@{}",
                                String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)),
                                batch.offset + span.start as u64
                            ));
                        }
                    }
                    Piece::LongStart { seq, line, offset } => {
                        assert_eq!(seq, next_seq);
                        next_seq += 1;
                        assert_eq!(line, lines.len() as u64 + 1);
                        lines.push(format!("long@{offset}:"));
                        long = Some(Vec::new());
                    }
                    Piece::LongBytes(bytes) => long.as_mut().expect("in a long line").extend(bytes),
                    Piece::LongEnd => {
                        let text =
                            String::from_utf8(long.take().expect("in a long line")).expect("text");
                        lines.last_mut().expect("a line").push_str(&text);
                    }
                }
            }
        };
        for chunk in chunks {
            let mut chunk = *chunk;
            while !chunk.is_empty() && !cutter.is_ended() {
                let space = cutter.space(size);
                let n = space.len().min(chunk.len());
                space[..n].copy_from_slice(&chunk[..n]);
                cutter.advance(n);
                chunk = &chunk[n..];
                drain(&mut cutter);
            }
        }
        cutter.finish();
        drain(&mut cutter);
        assert!(cutter.is_empty());
        lines
    }

    fn reference(data: &[u8], line_max: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut at = 0;
        for line in data.split_inclusive(|&b| b == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let shown = String::from_utf8_lossy(text);
            lines.push(if text.len() > line_max {
                format!("long@{at}:{shown}")
            } else {
                format!("{shown}@{at}")
            });
            at += line.len();
        }
        lines
    }

    const WHOLE: Window = Window {
        offset: 0,
        end: None,
    };

    #[test]
    fn lines_of_bytes() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("\n", &["@0"]),
            ("1\n2\n", &["1@0", "2@2"]),
            ("1\n2", &["1@0", "2@2"]),
            ("1\n\n2", &["1@0", "@2", "2@3"]),
            ("1\r\n2\r\n", &["1\r@0", "2\r@3"]),
            ("1\r2", &["1\r2@0"]),
            (" 1 \n2", &[" 1 @0", "2@4"]),
        ];
        for (data, want) in table {
            assert_eq!(
                lines_of(&[data.as_bytes()], WHOLE, Size::About(1 << 20), 1 << 20),
                *want,
                "{data:?}"
            );
        }
    }

    /// Every way to cut the chunks, every size, every limit: the same lines come out.
    #[test]
    fn every_way_to_cut_the_chunks() {
        let data = b"a\n\nbbb\r\nd";
        let sizes = [
            Size::About(1),
            Size::About(4),
            Size::About(99),
            Size::Bytes(5),
            Size::Bytes(99),
        ];
        for size in sizes
            .into_iter()
            .chain([Size::Lines(1), Size::Lines(2), Size::Lines(99)])
        {
            for line_max in [1, 2, 4, 5, 6, 100] {
                let want = reference(data, line_max);
                for cuts in 0..1u32 << (data.len() - 1) {
                    let mut chunks = Vec::new();
                    let mut start = 0;
                    for at in 1..data.len() {
                        if cuts & (1 << (at - 1)) != 0 {
                            chunks.push(&data[start..at]);
                            start = at;
                        }
                    }
                    chunks.push(&data[start..]);
                    assert_eq!(
                        lines_of(&chunks, WHOLE, size, line_max),
                        want,
                        "{size:?} {line_max} {cuts:b}"
                    );
                }
            }
        }
    }

    /// With a fixed size the batches depend on the data alone, not on how the bytes arrive.
    #[test]
    fn fixed_sizes_do_not_depend_on_chunks() {
        let data = b"a\n\nbb\nccccc\nd\n\ne";
        for size in [Size::Bytes(4), Size::Bytes(7), Size::Lines(2)] {
            let batches = |chunk: usize| {
                let mut cutter = Cutter::new(WHOLE, 1, 100);
                let mut out = Vec::new();
                for part in data.chunks(chunk) {
                    cutter.space(size)[..part.len()].copy_from_slice(part);
                    cutter.advance(part.len());
                    while let Some(Piece::Batch(batch)) = cutter.next(size) {
                        out.push(batch.bytes().to_vec());
                    }
                }
                cutter.finish();
                while let Some(Piece::Batch(batch)) = cutter.next(size) {
                    out.push(batch.bytes().to_vec());
                }
                out
            };
            let want = batches(data.len());
            for chunk in 1..data.len() {
                assert_eq!(batches(chunk), want, "{size:?} {chunk}");
            }
        }
    }

    /// Any split into two or three ranges, at every byte, gives each line once.
    #[test]
    fn ranges_give_each_line_once() {
        let data = b"a\n\nbb\nccccc\nd\n\ne";
        let all: Vec<String> = reference(data, 100);
        let part = |from: usize, to: Option<usize>, chunk: usize| {
            let window = Window {
                offset: from as u64,
                end: to.map(|to| to as u64),
            };
            let chunks: Vec<&[u8]> = data[from.saturating_sub(1)..].chunks(chunk).collect();
            lines_of(&chunks, window, Size::About(5), 100)
        };
        for chunk in [1, 2, 3, 100] {
            for first in 0..=data.len() {
                for second in first..=data.len() {
                    let mut lines = part(0, Some(first), chunk);
                    lines.extend(part(first, Some(second), chunk));
                    lines.extend(part(second, None, chunk));
                    assert_eq!(lines, all, "{first} {second} {chunk}");
                }
            }
        }
    }

    #[test]
    fn rest_is_where_the_next_line_starts() {
        let mut cutter = Cutter::new(WHOLE, 1, 100);
        cutter.space(Size::Lines(1))[..9].copy_from_slice(b"aa\nbb\ncc\n");
        cutter.advance(9);
        assert_eq!(cutter.rest(), (0, 1));
        assert!(cutter.next(Size::Lines(1)).is_some());
        assert_eq!(cutter.rest(), (3, 2));
        assert!(cutter.next(Size::Lines(1)).is_some());
        assert_eq!(cutter.rest(), (6, 3));
        assert_eq!(cutter.take_rest(), b"cc\n");
    }

    #[test]
    fn large_lines_are_lines() {
        let mut data = vec![b'x'; 70_000];
        data.push(b'\n');
        data.extend(vec![b'y'; 1 << 20]);
        data.extend(b"\nz");
        let lines = lines_of(&[&data], WHOLE, Size::About(4096), 16 << 20);
        assert_eq!(
            lines.iter().map(String::len).collect::<Vec<_>>(),
            [70_002, (1 << 20) + 6, 9]
        );
    }
}
