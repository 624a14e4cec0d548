//! What a version did, in numbers that can be compared with those of another. Pure.

use serde::Serialize;

use crate::report::Report;
use crate::shadow::{Comparison, Side};

/// What a version did for some requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Requests that the plugin failed as a whole: `pre` or `post` failed, it gave up, or most lines trapped.
    pub failed: u64,
    /// Lines that it was given.
    pub lines: u64,
    /// Lines of them that ended in a fault.
    pub faulted: u64,
    /// Batches.
    pub batches: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Bytes that it was given.
    pub bytes: u64,
    /// Fuel that it used.
    pub fuel: u64,
}

/// How much worse a version may be than another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// By so much, of a whole of 1, its shares of faults may be larger.
    pub faults: f64,
    /// By so much, as a share of the other's, its fuel may be more.
    pub fuel: f64,
}

impl Figures {
    /// What a report tells.
    pub fn of(report: &Report) -> Self {
        let counts = &report.counts;
        let gave_up = report.status.split('|').any(|flag| flag == "stopped");
        Figures {
            requests: 1,
            failed: u64::from(report.plugin_failed || gave_up),
            lines: counts.loaded,
            faulted: counts.loaded - counts.processed,
            batches: report.batches,
            traps: report.traps,
            bytes: report.bytes,
            fuel: report.fuel,
        }
    }

    /// What a version that ran along did, and what the one that serves did with the same batches.
    pub fn of_both(compared: &Comparison) -> (Self, Self) {
        let of = |side: &Side, failed| Figures {
            requests: 1,
            failed,
            lines: compared.lines,
            faulted: side.faults,
            batches: compared.batches,
            traps: side.traps,
            bytes: compared.bytes,
            fuel: side.fuel,
        };
        let failed = u64::from(compared.failure.is_some());
        (of(&compared.candidate, failed), of(&compared.stable, 0))
    }

    /// In what it is worse than `other`, if it is. `seen` is the part that has been seen of what is to be seen: the
    /// less, the worse it has to be.
    pub fn worse_than(&self, other: &Figures, tolerance: Tolerance, seen: f64) -> Option<String> {
        let widened = 1.0 / seen.clamp(1e-9, 1.0);
        // Where nothing is known of the other: some lines are bad, but no call has to trap.
        let none = |share: Option<f64>| Some(share.unwrap_or(0.0));
        let shares = [
            ("of its lines end in a fault", self.faults(), other.faults()),
            (
                "calls trap for each batch",
                self.traps(),
                none(other.traps()),
            ),
            (
                "of its requests fail",
                self.failures(),
                none(other.failures()),
            ),
        ];
        for (what, own, others) in shares {
            let (Some(own), Some(others)) = (own, others) else {
                continue;
            };
            if own > others + tolerance.faults * widened {
                return Some(format!(
                    "{own:.4} {what}, {others:.4} of the version before"
                ));
            }
        }
        let (own, others) = (self.fuel_per_byte()?, other.fuel_per_byte()?);
        (own > others * (1.0 + tolerance.fuel * widened))
            .then(|| format!("it uses {own:.1} fuel for a byte, the version before {others:.1}"))
    }

    /// Share of lines that ended in a fault.
    pub fn faults(&self) -> Option<f64> {
        ratio(self.faulted, self.lines)
    }

    fn traps(&self) -> Option<f64> {
        ratio(self.traps, self.batches)
    }

    fn failures(&self) -> Option<f64> {
        ratio(self.failed, self.requests)
    }

    fn fuel_per_byte(&self) -> Option<f64> {
        ratio(self.fuel, self.bytes)
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.lines += other.lines;
        self.faulted += other.faulted;
        self.batches += other.batches;
        self.traps += other.traps;
        self.bytes += other.bytes;
        self.fuel = self.fuel.saturating_add(other.fuel);
    }
}
