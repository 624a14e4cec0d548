//! The shortest batch that still fails: lines are left out, then bytes of what is left (delta debugging). Pure.

use std::ops::Range;

/// Offers smaller batches and learns of each whether it still fails.
///
/// Invariant: `best` fails; every candidate is shorter than it.
#[derive(Debug)]
pub struct Shrink {
    best: Vec<u8>,
    /// Lines first, then bytes.
    by_bytes: bool,
    /// Where each unit of `best` ends: a line, or a byte.
    ends: Vec<usize>,
    /// So many units are left out at once.
    step: usize,
    /// The first unit that is left out next.
    at: usize,
    /// Something became shorter since this step began.
    gained: bool,
    /// What was offered last.
    offered: Option<Range<usize>>,
    tries_left: usize,
}

impl Shrink {
    /// Begins with a batch that fails; at most `tries` are offered.
    pub fn new(batch: &[u8], tries: usize) -> Shrink {
        let mut shrink = Shrink {
            best: batch.to_vec(),
            by_bytes: false,
            ends: Vec::new(),
            step: 0,
            at: 0,
            gained: false,
            offered: None,
            tries_left: tries,
        };
        shrink.begin();
        shrink
    }

    /// The shortest that is known to fail.
    pub fn best(&self) -> &[u8] {
        &self.best
    }

    /// How many more are offered at most.
    pub fn tries_left(&self) -> usize {
        self.tries_left
    }

    /// The next batch to try; none when nothing more can be left out, or all tries are used.
    pub fn offer(&mut self) -> Option<Vec<u8>> {
        if self.tries_left == 0 || !self.find() {
            return None;
        }
        self.tries_left -= 1;
        let out = self.left_out();
        let mut rest = self.best[..out.start].to_vec();
        rest.extend_from_slice(&self.best[out.end..]);
        self.offered = Some(out);
        Some(rest)
    }

    /// Says whether the batch that was offered last still fails in the same way.
    pub fn tell(&mut self, fails: bool) {
        let Some(out) = self.offered.take() else {
            return;
        };
        if fails {
            self.best.drain(out);
            self.gained = true;
            self.find_ends();
        } else {
            self.at += self.step;
        }
    }

    /// Goes to a place where something can be left out.
    fn find(&mut self) -> bool {
        loop {
            let units = self.ends.len();
            // Something has to stay.
            if units > 1 && self.at < units && !(self.at == 0 && self.step >= units) {
                return true;
            }
            if units > 1 && (self.step > 1 || self.gained) {
                self.step = if self.step > 1 { self.step / 2 } else { 1 };
                self.at = 0;
                self.gained = false;
            } else if self.by_bytes {
                return false;
            } else {
                self.by_bytes = true;
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        self.find_ends();
        self.step = self.ends.len().div_ceil(2).max(1);
        self.at = 0;
        self.gained = false;
    }

    fn find_ends(&mut self) {
        let ends = 1..=self.best.len();
        self.ends = match self.by_bytes {
            true => ends.collect(),
            false => ends
                .filter(|&end| self.best[end - 1] == b'\n' || end == self.best.len())
                .collect(),
        };
    }

    fn left_out(&self) -> Range<usize> {
        let start = if self.at == 0 {
            0
        } else {
            self.ends[self.at - 1]
        };
        let last = (self.at + self.step).min(self.ends.len());
        start..self.ends[last - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shrink(batch: &str, tries: usize, fails: impl Fn(&str) -> bool) -> (String, usize) {
        let mut shrink = Shrink::new(batch.as_bytes(), tries);
        let mut tried = 0;
        while let Some(candidate) = shrink.offer() {
            assert!(candidate.len() < shrink.best().len(), "it is shorter");
            assert!(!candidate.is_empty(), "a batch has lines");
            tried += 1;
            shrink.tell(fails(std::str::from_utf8(&candidate).expect("it is ASCII")));
        }
        let best = String::from_utf8(shrink.best().to_vec()).expect("it is ASCII");
        assert!(fails(&best) || best == batch, "what is left fails");
        (best, tried)
    }

    #[test]
    fn the_shortest_that_fails() {
        let has = |needle: &'static str| move |text: &str| text.contains(needle);
        let lines: String = (0..500).map(|n| format!("line {n}\n")).collect();
        let poison = format!("{lines}a poison line\n{lines}");
        assert_eq!(shrink(&poison, 10_000, has("poison")).0, "poison");
        // Two lines that are far apart, both needed.
        let both = format!("{lines}one\n{lines}two\n{lines}");
        let needs_both = |text: &str| text.contains("one\n") && text.contains("two");
        let (best, _) = shrink(&both, 10_000, needs_both);
        assert_eq!(best, "one\ntwo");
        // So many lines, whichever.
        let many = |text: &str| text.lines().count() >= 7;
        assert_eq!(shrink(&lines, 10_000, many).0.len(), 7);
        // Length counts.
        assert_eq!(
            shrink(&"ab".repeat(500), 10_000, |t| t.len() >= 100)
                .0
                .len(),
            100
        );
        // Nothing can be left out, or nearly all.
        assert_eq!(shrink("abc\n", 10_000, |text| text == "abc\n").0, "abc\n");
        assert_eq!(shrink("abc\n", 10_000, |_| true).0.len(), 1);
        assert_eq!(shrink("x", 10_000, |_| true), ("x".to_owned(), 0));
    }

    #[test]
    fn work_is_bounded() {
        let text = "ab".repeat(5000);
        let (_, tried) = shrink(&text, 10, |text| text.contains("aba"));
        assert_eq!(tried, 10);
        let (best, tried) = shrink(&text, 1_000_000, |other| other.len() == text.len());
        assert_eq!(best, text);
        assert!(tried < 3 * text.len(), "{tried} tries");
    }
}
