//! In what two versions differ on the same batches. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Pair;
use crate::batch::Batch;
use crate::outcome::{Fault, FaultKind, Outcome};
use crate::worker::Done;

/// So many differences are shown.
const SAMPLES_MAX: usize = 5;
/// So much is shown of each side of a difference, in bytes.
const SHOWN_MAX: usize = 160;

/// What became of a version that ran along with a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Comparison {
    /// Digest of the version.
    pub digest: String,
    /// Batches that both versions ran.
    pub batches: u64,
    /// Lines in them.
    pub lines: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Batches that were left out since the version that runs along could not keep up.
    pub skipped: u64,
    /// Batches with other outputs or partials.
    pub outputs_differ: u64,
    /// Lines that only one of them faults, or each in another way.
    pub faults_differ: u64,
    /// What the version that serves did with those batches.
    pub stable: Side,
    /// What the version that runs along did.
    pub candidate: Side,
    /// The version that runs along failed the request as a whole, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The first differences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Difference>,
}

/// What one version did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Side {
    /// Lines that ended in a fault.
    pub faults: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Fuel used.
    pub fuel: u64,
}

/// One thing in which two versions differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Difference {
    /// Number of the line, or of the first one of the batch.
    pub line: u64,
    /// What differs: `output`, `route NAME`, `partial` or `fault`.
    pub what: String,
    /// What the version that serves did, its beginning.
    pub stable: String,
    /// What the version that runs along did.
    pub candidate: String,
}

impl Comparison {
    /// Of a version, with nothing compared yet.
    pub fn new(digest: &str) -> Self {
        Comparison {
            digest: digest.to_owned(),
            ..Comparison::default()
        }
    }

    /// Whether anything was compared.
    pub fn is_empty(&self) -> bool {
        self.batches == 0 && self.failure.is_none()
    }

    /// Whether the versions differ in anything but fuel.
    pub fn differs(&self) -> bool {
        self.outputs_differ > 0 || self.faults_differ > 0 || self.failure.is_some()
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failure = Some(why);
    }

    pub(super) fn add(&mut self, pair: &Pair, done: &Done) {
        let batch = &pair.batch;
        self.batches += 1;
        self.lines += batch.lines as u64;
        self.bytes += batch.bytes().len() as u64;
        self.stable.add(&pair.outcome, pair.traps, pair.fuel);
        self.candidate.add(&done.outcome, done.traps, done.fuel);
        self.add_outputs(batch, &pair.outcome, &done.outcome);
        self.add_faults(batch, &pair.outcome.faults, &done.outcome.faults);
    }

    fn add_outputs(&mut self, batch: &Batch, stable: &Outcome, candidate: &Outcome) {
        if stable.outputs == candidate.outputs && stable.partials == candidate.partials {
            return;
        }
        let (stable, candidate) = (channels(stable), channels(candidate));
        let mut names: Vec<&String> = stable.keys().chain(candidate.keys()).collect();
        names.sort();
        names.dedup();
        let mut differ = false;
        for name in names {
            let of = |channels: &BTreeMap<String, Vec<u8>>| {
                channels.get(name).map_or(Vec::new(), Vec::clone)
            };
            let (stable, candidate) = (of(&stable), of(&candidate));
            if stable != candidate {
                differ = true;
                let at = first_difference(&stable, &candidate);
                let shown = |bytes: &[u8]| shown(&bytes[at.min(bytes.len())..]);
                self.sample(batch.first_line, name, shown(&stable), shown(&candidate));
            }
        }
        self.outputs_differ += u64::from(differ);
    }

    fn add_faults(&mut self, batch: &Batch, stable: &[Fault], candidate: &[Fault]) {
        let by_line = |faults: &[Fault]| -> BTreeMap<usize, Fault> {
            let faults = faults.iter().cloned();
            faults.map(|fault| (fault.line, fault)).collect()
        };
        let (stable, candidate) = (by_line(stable), by_line(candidate));
        let mut lines: Vec<usize> = stable.keys().chain(candidate.keys()).copied().collect();
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            let (one, other) = (stable.get(&line), candidate.get(&line));
            // Words may differ.
            let essence = |fault: &Fault| (fault.kind, fault.remainder.clone());
            if one.map(essence) != other.map(essence) {
                self.faults_differ += 1;
                let number = batch.first_line + line as u64;
                self.sample(number, "fault", fate(one), fate(other));
            }
        }
    }

    fn sample(&mut self, line: u64, what: &str, stable: String, candidate: String) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(Difference {
                line,
                what: what.to_owned(),
                stable,
                candidate,
            });
        }
    }
}

impl Side {
    fn add(&mut self, outcome: &Outcome, traps: u64, fuel: u64) {
        self.faults += outcome.faults.len() as u64;
        self.traps += traps;
        self.fuel = self.fuel.saturating_add(fuel);
    }
}

/// What an outcome emits, put together for each place: how it was cut into pieces does not count.
fn channels(outcome: &Outcome) -> BTreeMap<String, Vec<u8>> {
    let mut channels: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for output in outcome.outputs.iter().filter(|o| !o.data.is_empty()) {
        let name = match output.route.as_str() {
            "" => "output".to_owned(),
            route => format!("route {route}"),
        };
        channels
            .entry(name)
            .or_default()
            .extend_from_slice(&output.data);
    }
    if !outcome.partials.is_empty() {
        channels.insert("partial".to_owned(), outcome.partials.concat());
    }
    channels
}

/// Where the first line that differs begins.
fn first_difference(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    let same = pairs.take_while(|(a, b)| a == b).count();
    one[..same]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// The first line, cut.
fn shown(bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(bytes);
    let cut = &line[..line.len().min(SHOWN_MAX)];
    String::from_utf8_lossy(cut).into_owned()
}

fn fate(fault: Option<&Fault>) -> String {
    let Some(fault) = fault else {
        return "processed".to_owned();
    };
    let kind = match fault.kind {
        FaultKind::Corrupt => "corrupt",
        FaultKind::Retry => "retry",
    };
    format!("{kind}: {}", shown(fault.reason.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::outcome::Output;

    /// An outcome of words: `>text` an output, `r>text` one to the route r, `=text` a partial, `2!why` a corrupt
    /// line, `2?why` one to retry.
    fn outcome(words: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for word in words.split_whitespace() {
            if let Some(partial) = word.strip_prefix('=') {
                outcome.partials.push(partial.into());
            } else if let Some((route, text)) = word.split_once('>') {
                outcome.outputs.push(Output {
                    route: route.to_owned(),
                    data: text.replace('|', "\n").into_bytes(),
                });
            } else {
                let (kind, mark) = match word.contains('!') {
                    true => (FaultKind::Corrupt, '!'),
                    false => (FaultKind::Retry, '?'),
                };
                let (line, reason) = word.split_once(mark).expect("a fault");
                outcome.faults.push(Fault {
                    line: line.parse().expect("a number"),
                    kind,
                    reason: reason.into(),
                    remainder: None,
                    trapped: false,
                });
            }
        }
        outcome
    }

    fn compare(stable: &str, candidate: &str) -> Comparison {
        let batch = Arc::new(Batch::of(b"a\nb\nc\n"));
        let mut comparison = Comparison::new("sha256:x");
        let pair = Pair {
            batch: batch.clone(),
            outcome: outcome(stable),
            fuel: 10,
            traps: 0,
        };
        let done = Done {
            batch,
            outcome: outcome(candidate),
            fuel: 20,
            traps: 1,
            time: Duration::ZERO,
            captures: Vec::new(),
        };
        comparison.add(&pair, &done);
        comparison
    }

    #[test]
    fn differences() {
        // stable, candidate -> batches with other outputs, lines with other faults, samples
        let table = [
            ("", "", 0, 0, ""),
            (">a|b|", ">a| >b|", 0, 0, ""),
            (">a| r>x", "r>x >a|", 0, 0, ""),
            ("> =p =q", "=pq", 0, 0, ""),
            (">a|b|c|", ">a|B|c|", 1, 0, "1 output: b / B"),
            (">a|", ">a|b|", 1, 0, "1 output:  / b"),
            (">a|", "", 1, 0, "1 output: a / "),
            ("=p", "=q", 1, 0, "1 partial: p / q"),
            ("r>x", "s>x", 1, 0, "1 route r: x / ; 1 route s:  / x"),
            ("1!why", "1!because", 0, 0, ""),
            ("1!why", "", 0, 1, "2 fault: corrupt: why / processed"),
            (
                "0!a",
                "0?b 2!c",
                0,
                2,
                "1 fault: corrupt: a / retry: b; 3 fault: processed / corrupt: c",
            ),
        ];
        for (stable, candidate, outputs, faults, want) in table {
            let compared = compare(stable, candidate);
            let samples: Vec<String> = compared
                .samples
                .iter()
                .map(|d| format!("{} {}: {} / {}", d.line, d.what, d.stable, d.candidate))
                .collect();
            let place = format!("{stable} / {candidate}");
            assert_eq!(samples.join("; "), want, "{place}");
            assert_eq!(compared.outputs_differ, outputs, "{place}");
            assert_eq!(compared.faults_differ, faults, "{place}");
            assert_eq!(compared.differs(), outputs + faults > 0, "{place}");
            assert_eq!(
                (compared.batches, compared.lines, compared.bytes),
                (1, 3, 6)
            );
            assert_eq!((compared.stable.fuel, compared.candidate.fuel), (10, 20));
            assert_eq!((compared.stable.traps, compared.candidate.traps), (0, 1));
        }
    }

    #[test]
    fn samples_are_few_and_short() {
        let long = format!(">{}|", "x".repeat(1000));
        let many: String = (0..3).map(|n| format!("{n}!why ")).collect();
        let mut compared = compare(&long, &many);
        for _ in 0..3 {
            let more = compare(&many, "");
            for sample in more.samples {
                compared.sample(sample.line, &sample.what, sample.stable, sample.candidate);
            }
        }
        assert_eq!(compared.samples.len(), SAMPLES_MAX);
        assert_eq!(compared.samples[0].stable.len(), SHOWN_MAX);
    }
}
