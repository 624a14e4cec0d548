//! What a volume takes on AWS Lambda, from what one core does here. Pure.

use serde::Serialize;

use super::volume::Period;

/// Memory that comes with one vCPU, in MB.
const MB_PER_VCPU: f64 = 1769.0;
const DAY: f64 = 86_400.0;

/// Processors of Lambda.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Arch {
    /// x86_64
    X86,
    /// arm64 (Graviton)
    Arm,
}

impl Arch {
    /// The list price in US East (N. Virginia), first tier, as a copy of AWS's price list has it: to be checked.
    pub(super) fn price_gb_second(self) -> f64 {
        match self {
            Arch::X86 => 0.000_016_666_7,
            Arch::Arm => 0.000_013_333_4,
        }
    }
}

/// In dollars.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Prices {
    pub(super) gb_second: f64,
    pub(super) million_requests: f64,
}

/// Of compute alone: cold starts, and waiting for sources and destinations, come on top.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Estimate {
    pub(super) memory_mb: u32,
    pub(super) vcpus: f64,
    pub(super) bytes: f64,
    pub(super) period: Period,
    pub(super) bytes_per_second: f64,
    pub(super) seconds: f64,
    /// Functions that are busy at the same time, on average.
    pub(super) busy: f64,
    pub(super) request_bytes: u64,
    pub(super) request_seconds: f64,
    pub(super) requests: f64,
    pub(super) gb_seconds: f64,
    pub(super) prices: Prices,
    pub(super) dollars: f64,
    /// For 30 days.
    pub(super) dollars_month: f64,
}

/// `one_core`: bytes a second, which more vCPUs, or a share of one, do in proportion.
pub(super) fn estimate(
    bytes: f64,
    period: Period,
    memory_mb: u32,
    request_bytes: u64,
    one_core: f64,
    prices: Prices,
) -> Estimate {
    let vcpus = f64::from(memory_mb) / MB_PER_VCPU;
    let bytes_per_second = one_core * vcpus;
    let seconds = bytes / bytes_per_second;
    let gb_seconds = seconds * f64::from(memory_mb) / 1024.0;
    let requests = (bytes / request_bytes as f64).ceil();
    let dollars = gb_seconds * prices.gb_second + requests / 1e6 * prices.million_requests;
    Estimate {
        memory_mb,
        vcpus,
        bytes,
        period,
        bytes_per_second,
        seconds,
        busy: seconds / period.seconds(),
        request_bytes,
        request_seconds: request_bytes as f64 / bytes_per_second,
        requests,
        gb_seconds,
        prices,
        dollars,
        dollars_month: dollars * 30.0 * DAY / period.seconds(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_takes() {
        let prices = Prices {
            gb_second: 0.00001,
            million_requests: 0.2,
        };
        // 1 GB a day in requests of 1 MB, with one vCPU that does 1 MB/s.
        let whole = estimate(1e9, Period::Day, 1769, 1_000_000, 1e6, prices);
        assert_eq!(
            (whole.vcpus, whole.seconds, whole.requests),
            (1.0, 1000.0, 1000.0)
        );
        assert_eq!(whole.gb_seconds, 1000.0 * 1769.0 / 1024.0);
        assert!((whole.dollars - (whole.gb_seconds * 0.00001 + 0.0002)).abs() < 1e-12);
        assert!((whole.dollars_month - 30.0 * whole.dollars).abs() < 1e-9);
        assert!((whole.busy - 1000.0 / 86_400.0).abs() < 1e-12);
        // Half the memory takes twice the time, for the same price of compute.
        let half = estimate(2e9, Period::Day, 3538, 1_000_000, 1e6, prices);
        assert_eq!((half.vcpus, half.seconds), (2.0, 1000.0));
        let hour = estimate(1e9, Period::Hour, 1769, 1_000_000, 1e6, prices);
        assert!((hour.dollars_month - 720.0 * hour.dollars).abs() < 1e-9);
    }
}
