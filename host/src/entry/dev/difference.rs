//! What a run did otherwise than the one before: lines, outputs, fuel. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::trial::Line;

/// Lines that are shown of those that did something else.
const SHOWN_MAX: usize = 500;

/// Between two runs.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Difference {
    /// Lines that are in both runs, by number and text.
    pub(super) compared: u64,
    /// Of these: those whose output or fault is another one.
    pub(super) changed: u64,
    /// The first of them.
    pub(super) lines: Vec<Changed>,
    /// Lines that were not in the run before, or were others.
    pub(super) new: u64,
    /// Fuel of the lines that are in both runs.
    pub(super) fuel_before: u64,
    pub(super) fuel_now: u64,
    /// Lines that use more fuel than before, and less.
    pub(super) fuel_more: u64,
    pub(super) fuel_less: u64,
}

/// A line that did something else.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Changed {
    pub(super) number: u64,
    pub(super) text: String,
    pub(super) before: Done,
    pub(super) now: Done,
}

/// What it did.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Done {
    pub(super) kind: &'static str,
    /// Its output, or why there is none.
    pub(super) text: String,
    pub(super) fuel: u64,
}

impl Difference {
    /// Lines are compared by their number.
    pub(super) fn between(before: &[Line], now: &[Line]) -> Self {
        let mut difference = Difference {
            new: now.len().saturating_sub(before.len()) as u64,
            ..Self::default()
        };
        for (before, now) in before.iter().zip(now) {
            difference.add(before, now);
        }
        difference
    }

    /// The numbers of the lines that are shown.
    pub(super) fn shown(&self) -> BTreeSet<u64> {
        self.lines.iter().map(|line| line.number).collect()
    }

    fn add(&mut self, before: &Line, now: &Line) {
        if before.line_hash != now.line_hash {
            self.new += 1;
            return;
        }
        self.compared += 1;
        self.fuel_before = self.fuel_before.saturating_add(before.fuel);
        self.fuel_now = self.fuel_now.saturating_add(now.fuel);
        self.fuel_more += u64::from(now.fuel > before.fuel);
        self.fuel_less += u64::from(now.fuel < before.fuel);
        if before.did_hash == now.did_hash {
            return;
        }
        self.changed += 1;
        if self.lines.len() < SHOWN_MAX {
            self.lines.push(Changed {
                number: now.number,
                text: now.text.to_string(),
                before: Done::of(before),
                now: Done::of(now),
            });
        }
    }
}

impl Done {
    fn of(line: &Line) -> Self {
        let outputs = line.outputs.iter().map(|(route, shown)| match &route[..] {
            "" => shown.to_string(),
            route => format!("{route}: {shown}"),
        });
        Done {
            kind: line.kind,
            text: match line.kind {
                "processed" => outputs.collect::<Vec<_>>().join("\n"),
                _ => line.reason.clone(),
            },
            fuel: line.fuel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::shown;
    use std::time::Duration;

    /// `TEXT>OUTPUT`, or `TEXT!REASON`; and the fuel.
    fn lines(told: &[(&str, u64)]) -> Vec<Line> {
        let line = |(number, (told, fuel)): (u64, &(&str, u64))| {
            let at = told.find(['>', '!']).expect("it says what the line did");
            let (text, did) = (&told[..at], &told[at + 1..]);
            let processed = told.as_bytes()[at] == b'>';
            Line {
                number,
                text: shown::text(text.as_bytes(), 100),
                fuel: *fuel,
                time: Duration::ZERO,
                kind: if processed { "processed" } else { "corrupt" },
                reason: if processed { "" } else { did }.to_owned(),
                outputs: match processed {
                    true => vec![(String::new(), shown::text(did.as_bytes(), 100))],
                    false => Vec::new(),
                },
                more_outputs: 0,
                line_hash: super::super::trial::hash_for_tests(text),
                did_hash: super::super::trial::hash_for_tests(&told[at..]),
            }
        };
        (1..).zip(told).map(line).collect()
    }

    #[test]
    fn differences() {
        // Before and now; what is compared, changed and new; lines with more and with less fuel; the changed numbers.
        type Told = &'static [(&'static str, u64)];
        let table: [(Told, Told, [u64; 5], &[u64]); 6] = [
            (&[], &[], [0, 0, 0, 0, 0], &[]),
            (&[("a>b", 5)], &[("a>b", 5)], [1, 0, 0, 0, 0], &[]),
            (&[("a>b", 5)], &[("a>c", 6)], [1, 1, 0, 1, 0], &[1]),
            (
                &[("a>b", 5), ("x!bad", 1)],
                &[("a>b", 4), ("x>bad", 1)],
                [2, 1, 0, 0, 1],
                &[2],
            ),
            (
                &[("a>b", 5)],
                &[("z>b", 5), ("n>m", 5)],
                [0, 0, 2, 0, 0],
                &[],
            ),
            (
                &[("a>b", 5), ("c>d", 5)],
                &[("a>b", 5)],
                [1, 0, 0, 0, 0],
                &[],
            ),
        ];
        for (before, now, want, shown) in table {
            let found = Difference::between(&lines(before), &lines(now));
            let got = [
                found.compared,
                found.changed,
                found.new,
                found.fuel_more,
                found.fuel_less,
            ];
            assert_eq!(got, want, "{before:?} {now:?}");
            assert!(found.shown().iter().eq(shown), "{before:?} {now:?}");
        }
    }
}
