//! What single lines cost: quantiles, the worst ones, and memory.

use std::time::{Duration, Instant};

use linemill::{Cost, Did, Meter, Sample};
use serde::Serialize;

use crate::entry::quantile::Quantiles;
use crate::entry::shown;

/// Lines shown of those that cost most.
const WORST: usize = 5;
/// So much of a line is shown.
const SHOWN_BYTES: usize = 120;
/// Each line is run so often, if there is time: the shortest time counts, which is the least disturbed.
const PASSES: usize = 3;
/// No further pass is begun after so long, and no further line after twice of it.
const PASSES_TIME: Duration = Duration::from_secs(5);

/// What lines cost, each in a call of its own.
#[derive(Debug, Default, Serialize)]
pub(super) struct Costs {
    /// Lines that were run; fewer than the sample has where they take too long.
    pub(super) measured: usize,
    pub(super) processed: usize,
    pub(super) corrupt: usize,
    pub(super) retry: usize,
    pub(super) failed: usize,
    pub(super) trapped: usize,
    pub(super) fuel: Quantiles,
    pub(super) nanos: Quantiles,
    /// Fuel that `pre` used.
    pub(super) pre_fuel: u64,
    pub(super) most_fuel: Vec<Worst>,
    pub(super) most_time: Vec<Worst>,
    #[serde(skip)]
    pub(super) memory_bytes: usize,
}

/// A line that costs much.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Worst {
    pub(super) line: usize,
    pub(super) fuel: u64,
    pub(super) nanos: u64,
    pub(super) bytes: usize,
    pub(super) did: &'static str,
    pub(super) text: String,
}

/// Bytes of memory at their most.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    /// Of one instance.
    pub(super) instance_bytes: usize,
    /// Of this process, sample and outputs included; unknown on some systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process_bytes: Option<u64>,
}

/// A line's fuel and its shortest time.
#[derive(Clone, Copy)]
struct One {
    fuel: u64,
    nanos: u64,
    did: &'static str,
}

/// Runs the lines one by one.
pub(super) async fn measure(meter: &mut Meter, sample: &Sample) -> Costs {
    let begun = Instant::now();
    let mut all: Vec<One> = Vec::with_capacity(sample.count);
    for pass in 0..PASSES {
        if pass > 0 && begun.elapsed() >= PASSES_TIME {
            break;
        }
        // Fuel is that of the first pass, as in a run over these lines.
        for (at, line) in sample.lines().enumerate() {
            if begun.elapsed() >= PASSES_TIME * 2 || pass > 0 && at == all.len() {
                break;
            }
            let cost = meter.line(at as u64 + 1, line).await;
            match all.get_mut(at) {
                Some(one) => one.nanos = one.nanos.min(nanos(&cost)),
                None => all.push(One::of(&cost)),
            }
        }
    }
    let lines: Vec<&[u8]> = sample.lines().take(all.len()).collect();
    Costs {
        pre_fuel: meter.pre_fuel,
        memory_bytes: meter.memory_bytes,
        ..costs(&all, &lines)
    }
}

fn nanos(cost: &Cost) -> u64 {
    u64::try_from(cost.time.as_nanos()).unwrap_or(u64::MAX)
}

impl One {
    fn of(cost: &Cost) -> Self {
        let did = match &cost.did {
            Did::Processed(_) => "processed",
            Did::Corrupt(_) => "corrupt",
            Did::Retry(_) => "retry",
            Did::Failed(_) => "failed",
            Did::Trapped(_) | Did::Broke(_) => "trapped",
        };
        One {
            fuel: cost.fuel,
            nanos: nanos(cost),
            did,
        }
    }
}

fn costs(all: &[One], lines: &[&[u8]]) -> Costs {
    let of = |did| all.iter().filter(|one| one.did == did).count();
    Costs {
        measured: all.len(),
        processed: of("processed"),
        corrupt: of("corrupt"),
        retry: of("retry"),
        failed: of("failed"),
        trapped: of("trapped"),
        fuel: Quantiles::of(all.iter().map(|one| one.fuel)),
        nanos: Quantiles::of(all.iter().map(|one| one.nanos)),
        most_fuel: worst(all, lines, |one| one.fuel),
        most_time: worst(all, lines, |one| one.nanos),
        ..Costs::default()
    }
}

/// Of equal ones the first.
fn worst(all: &[One], lines: &[&[u8]], by: impl Fn(&One) -> u64) -> Vec<Worst> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(by(&all[at])), at));
    let worst = order.into_iter().take(WORST).map(|at| Worst {
        line: at + 1,
        fuel: all[at].fuel,
        nanos: all[at].nanos,
        bytes: lines[at].len(),
        did: all[at].did,
        text: shown::line(lines[at], SHOWN_BYTES).to_string(),
    });
    worst.collect()
}

/// The most memory that this process had, where the system tells.
pub(super) fn process_bytes() -> Option<u64> {
    peak(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_lines_come_first() {
        let one = |fuel, nanos| One {
            fuel,
            nanos,
            did: "processed",
        };
        let all = [one(5, 1), one(9, 2), one(9, 3), one(1, 9)];
        let costs = costs(&all, &[b"a\n", b"b\n", b"c\n", b"d\n"]);
        let numbers = |worst: &[Worst]| worst.iter().map(|worst| worst.line).collect::<Vec<_>>();
        assert_eq!(numbers(&costs.most_fuel), [2, 3, 1, 4]);
        assert_eq!(numbers(&costs.most_time), [4, 3, 2, 1]);
        assert_eq!((costs.processed, costs.fuel.p50), (4, 5));
        assert_eq!(costs.most_fuel[0].text, "b");
    }

    #[test]
    fn the_peak_is_read() {
        let table = [
            ("Name:\tx\nVmHWM:\t   1024 kB\n", Some(1_048_576)),
            ("VmHWM: x kB\n", None),
            ("", None),
        ];
        for (status, bytes) in table {
            assert_eq!(peak(status), bytes, "{status}");
        }
    }
}
