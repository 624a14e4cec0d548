//! Cuts a batch into lines, without copying.

use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;

use crate::error::{Blame, Error, Result};
use crate::integer;

/// One line: its bytes, without the line end, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    bytes: &'a [u8],
    /// The batch up to the end of `bytes`.
    batch: &'a [u8],
    index: u32,
    first: u64,
}

impl<'a> Line<'a> {
    /// The bytes, without `\n` or `\r\n`.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The line as text. Bytes that are not UTF-8 blame the data.
    #[inline]
    pub fn as_str(&self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes).corrupt()
    }

    /// Where the line stands in the source, from 1.
    #[inline]
    pub fn number(&self) -> u64 {
        self.first + u64::from(self.index)
    }

    /// Where the line stands in the batch, from 0: what [`Batch::fault`](crate::Batch::fault) takes.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether there is nothing, or only ASCII white space.
    #[inline]
    pub fn is_blank(&self) -> bool {
        // The first byte nearly always tells.
        self.bytes.first().is_none_or(|&byte| byte <= b' ') && is_white_space(self.bytes)
    }

    /// The line as a decimal integer, with white space around it and a sign allowed. Anything
    /// else, and what an `i64` cannot hold, blames the data.
    #[inline]
    pub fn integer(&self) -> Result<i64> {
        match integer::parse(self.bytes, self.batch) {
            Some(number) => Ok(number),
            None => Err(no_integer(self.bytes)),
        }
    }

    /// The line, without the white space around it, as anything that is parsed from text. What
    /// cannot be parsed blames the data.
    pub fn parse<T: FromStr<Err: Display>>(&self) -> Result<T> {
        let text = self.as_str()?.trim_ascii();
        text.parse().map_err(|error: T::Err| Error::corrupt(error))
    }
}

// These two take bytes rather than the line, so that the line need not be put into memory for them.

#[cold]
fn is_white_space(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}

#[cold]
fn no_integer(bytes: &[u8]) -> Error {
    const SHOWN_MAX: usize = 40;
    let shown = bytes[..bytes.len().min(SHOWN_MAX)].escape_ascii();
    let more = if bytes.len() > SHOWN_MAX { "…" } else { "" };
    Error::corrupt(format_args!("not a valid integer: `{shown}{more}`"))
}

impl Deref for Line<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl AsRef<[u8]> for Line<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

/// Bytes that are looked through for line ends at once: as many as a mask has bits.
const BLOCK: usize = u64::BITS as usize;

/// The lines of a batch, in order.
///
/// Lines are often shorter than a call of `memchr` takes to pay off, so line ends are found a block at
/// a time: `ends` has a bit for each line end in the block at `block` that is yet to come.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next line begins.
    start: usize,
    block: usize,
    ends: u64,
    index: u32,
    first: u64,
}

impl<'a> Lines<'a> {
    /// The lines of `bytes`, the first of which stands at `first_line` in the source.
    pub fn new(first_line: u64, bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            start: 0,
            block: 0,
            ends: line_ends(bytes),
            index: 0,
            first: first_line,
        }
    }

    /// The bytes of the lines that are yet to come, with their line ends.
    pub fn as_bytes(&self) -> &'a [u8] {
        &self.bytes[self.start..]
    }

    /// Index of the next line, if there is one.
    pub(crate) fn next_index(&self) -> u32 {
        self.index
    }

    /// Finds where the next line ends, and whether a `\n` is there.
    #[inline(always)]
    fn next_end(&mut self) -> (usize, bool) {
        while self.ends == 0 {
            self.block += BLOCK;
            if self.block >= self.bytes.len() {
                return (self.bytes.len(), false);
            }
            self.ends = line_ends(&self.bytes[self.block..]);
        }
        let end = self.block + self.ends.trailing_zeros() as usize;
        self.ends &= self.ends - 1;
        (end, true)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    // For the shortest lines a call would cost as much as all the rest.
    #[inline(always)]
    fn next(&mut self) -> Option<Line<'a>> {
        if self.start >= self.bytes.len() {
            return None;
        }
        let (end, ended) = self.next_end();
        let mut batch = &self.bytes[..end];
        let mut bytes = &batch[self.start..];
        if ended && let [rest @ .., b'\r'] = bytes {
            bytes = rest;
            batch = &batch[..end - 1];
        }
        self.start = end + usize::from(ended);
        let line = Line {
            bytes,
            batch,
            index: self.index,
            first: self.first,
        };
        self.index += 1;
        Some(line)
    }
}

/// Number of lines in `bytes`.
pub(crate) fn count(bytes: &[u8]) -> u32 {
    let ended = memchr::memchr_iter(b'\n', bytes).count();
    let torn = bytes.last().is_some_and(|&last| last != b'\n');
    u32::try_from(ended + usize::from(torn)).expect("a batch has fewer than 2^32 lines")
}

/// A bit for each `\n` in the first block of `bytes`.
#[inline]
fn line_ends(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(block) => line_ends_of_block(block),
        None => {
            let mut block = [0; BLOCK];
            block[..bytes.len()].copy_from_slice(bytes);
            line_ends_of_block(&block)
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline]
fn line_ends_of_block(block: &[u8; BLOCK]) -> u64 {
    use std::arch::wasm32::{i8x16_bitmask, i8x16_eq, i8x16_splat, v128, v128_load};

    let (lanes, _) = block.as_chunks::<16>();
    let mut ends = 0;
    for (at, lane) in lanes.iter().enumerate() {
        // SAFETY: a lane is 16 readable bytes, and the load asks for no alignment.
        #[allow(unsafe_code)]
        let bytes = unsafe { v128_load(lane.as_ptr().cast::<v128>()) };
        let mask = i8x16_bitmask(i8x16_eq(bytes, i8x16_splat(b'\n' as i8)));
        ends |= u64::from(mask) << (16 * at);
    }
    ends
}

/// Eight bytes at a time, in plain arithmetic.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
fn line_ends_of_block(block: &[u8; BLOCK]) -> u64 {
    const LOW_7: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const LINE_ENDS: u64 = 0x0a0a_0a0a_0a0a_0a0a;
    /// Multiplied by it, the lowest bits of eight bytes meet in the highest byte, in order.
    const GATHER: u64 = 0x0102_0408_1020_4080;

    let (words, _) = block.as_chunks::<8>();
    let mut ends = 0;
    for (at, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ LINE_ENDS;
        // The highest bit of each byte, set where the byte does not differ.
        let equal = !(((differs & LOW_7) + LOW_7) | differs | LOW_7);
        let mask = (equal >> 7).wrapping_mul(GATHER) >> 56;
        ends |= mask << (8 * at);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn only(bytes: &[u8]) -> Line<'_> {
        Lines::new(1, bytes).next().unwrap()
    }

    #[test]
    fn lines_are_cut_at_line_ends() {
        let check = |bytes: &str, expected: &[&str]| {
            let lines: Vec<_> = (Lines::new(1, bytes.as_bytes()))
                .map(|line| line.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(lines, expected, "{bytes:?}");
            assert_eq!(
                count(bytes.as_bytes()) as usize,
                expected.len(),
                "{bytes:?}"
            );
        };
        check("", &[]);
        check("\n", &[""]);
        check("\n\n", &["", ""]);
        check("1\n2\n", &["1", "2"]);
        check("1\n2", &["1", "2"]);
        check("1\n\n2", &["1", "", "2"]);
        check("1\r\n2\r\n", &["1", "2"]);
        check("1\r\r\n2", &["1\r", "2"]);
        check("1\r2", &["1\r2"]);
        check("1\r", &["1\r"]);
        check(" 1 \n2", &[" 1 ", "2"]);
        check("\r\n", &[""]);
    }

    #[test]
    fn lines_of_every_length_are_found_at_every_place() {
        for length in 0..200 {
            for before in [0, 1, 7, 62, 63, 64, 65, 127, 128] {
                let long = "x".repeat(length);
                let text = format!("{}\n{long}\n\n{long}", "y".repeat(before));
                let lines: Vec<_> = (Lines::new(1, text.as_bytes()))
                    .map(|line| line.len())
                    .collect();
                let last = if length == 0 { vec![] } else { vec![length] };
                assert_eq!(lines, [vec![before, length, 0], last].concat());
            }
        }
    }

    #[test]
    fn every_byte_but_the_line_end_is_kept() {
        let all: Vec<u8> = (0..=255).filter(|&b| b != b'\n').collect();
        let mut lines = Lines::new(1, &all);
        assert_eq!(lines.next().unwrap().as_bytes(), all);
        assert!(lines.next().is_none());
    }

    #[test]
    fn lines_know_where_they_stand() {
        let mut lines = Lines::new(41, b"a\nb\nc\n");
        lines.next();
        assert_eq!(lines.as_bytes(), b"b\nc\n");
        let line = lines.next().unwrap();
        assert_eq!((line.index(), line.number()), (1, 42));
    }

    #[test]
    fn a_line_is_text_on_demand() {
        assert_eq!(only(b"caf\xc3\xa9").as_str().unwrap(), "café");
        assert_eq!(only(b"caf\xe9").as_str().unwrap_err().kind(), Kind::Corrupt);
        assert!(only(b" \t\r\n").is_blank() && only(b"\n").is_blank());
        assert!(!only(b" x").is_blank());
        assert!(only(b"abc").starts_with(b"ab"), "a line is a slice");
    }

    #[test]
    fn a_line_is_a_number_on_demand() {
        assert_eq!(only(b" -7 \n").integer().unwrap(), -7);
        let error = only(b"a\xffsd\n").integer().unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert_eq!(error.reason(), r"not a valid integer: `a\xffsd`");
        let error = only("x".repeat(100).as_bytes()).integer().unwrap_err();
        assert!(error.reason().ends_with("xxx…`"));
        assert_eq!(only(b" 1.5 ").parse::<f64>().unwrap(), 1.5);
        let error = only(b"y").parse::<f64>().unwrap_err();
        assert_eq!(
            (error.kind(), error.reason()),
            (Kind::Corrupt, "invalid float literal")
        );
    }
}
