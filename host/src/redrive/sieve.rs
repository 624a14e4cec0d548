//! Lets some lines of a stream of bytes through. Pure.

use memchr::memchr;

/// Tells the bytes of lines that are kept from those of lines that are not, however the stream is cut into pieces.
///
/// `keeps` is asked once for each line, in order, when its first byte comes.
pub struct Sieve<F> {
    keeps: F,
    /// How many lines have begun.
    lines: u64,
    /// Whether the line that has begun is kept; `None`: none has.
    current: Option<bool>,
}

impl<F: FnMut(u64) -> bool> Sieve<F> {
    /// `keeps` tells of a line, by its index from 0, whether it is kept.
    pub fn new(keeps: F) -> Self {
        Sieve {
            keeps,
            lines: 0,
            current: None,
        }
    }

    /// How many bytes at the front of `bytes` have the same fate, and whether they are kept. Of `bytes` that are not
    /// empty it is at least one.
    pub fn span(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut end = 0;
        let mut kept = false;
        while end < bytes.len() {
            let keeps = self.begin();
            if end > 0 && keeps != kept {
                break;
            }
            kept = keeps;
            end += match memchr(b'\n', &bytes[end..]) {
                Some(at) => {
                    self.current = None;
                    at + 1
                }
                None => bytes.len() - end,
            };
        }
        (end, kept)
    }

    fn begin(&mut self) -> bool {
        if let Some(kept) = self.current {
            return kept;
        }
        let kept = (self.keeps)(self.lines);
        self.lines += 1;
        self.current = Some(kept);
        kept
    }

    /// How many lines there were; one that has not ended is one.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sift(pieces: &[&[u8]], kept: &str) -> (String, u64) {
        let keeps = |line: u64| kept.as_bytes().get(line as usize) == Some(&b'x');
        let mut sieve = Sieve::new(keeps);
        let mut out = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (len, keep) = sieve.span(rest);
                assert!(len > 0, "it goes on");
                if keep {
                    out.extend_from_slice(&rest[..len]);
                }
                rest = &rest[len..];
            }
        }
        (String::from_utf8(out).expect("text"), sieve.lines())
    }

    #[test]
    fn lines_are_kept_however_they_are_cut() {
        let table = [
            ("", "", "", 0),
            ("a\n", "x", "a\n", 1),
            ("a\n", ".", "", 1),
            ("a", "x", "a", 1),
            ("a\nbb\n\nc\n", "x.x.", "a\n\n", 4),
            ("a\nbb\n\nc\n", ".x.x", "bb\nc\n", 4),
            ("a\nbb\n\nc", "xxxx", "a\nbb\n\nc", 4),
            ("a\nbb\n\nc", "...x", "c", 4),
            ("\n\n\n", ".x.", "\n", 3),
            ("a\r\nb\r\n", ".x", "b\r\n", 2),
        ];
        for (text, kept, expected, lines) in table {
            let bytes = text.as_bytes();
            for one in 0..=bytes.len() {
                for two in one..=bytes.len() {
                    let pieces = [&bytes[..one], &bytes[one..two], &bytes[two..]];
                    let sifted = sift(&pieces, kept);
                    assert_eq!(
                        sifted,
                        (expected.to_owned(), lines),
                        "{text:?} {kept} {one} {two}"
                    );
                }
            }
        }
    }
}
