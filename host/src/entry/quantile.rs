//! Quantiles of values that are all there, exact; and how often values come in which range. Pure.

use serde::Serialize;

/// Ranges of a histogram.
const RANGES_MAX: u64 = 24;

/// Of some values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: usize,
    pub(crate) total: u64,
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Quantiles {
    /// By nearest rank: each is one of the values.
    pub(crate) fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let at = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        Quantiles {
            count: values.len(),
            total: values
                .iter()
                .fold(0, |sum, &value| sum.saturating_add(value)),
            min,
            p50: at(50),
            p95: at(95),
            p99: at(99),
            max,
        }
    }
}

/// How many values are at least `from` and less than `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Bar {
    pub(crate) from: u64,
    /// `None`: no end; what lies far out is not worth ranges of its own.
    pub(crate) to: Option<u64>,
    pub(crate) count: u64,
}

/// Bars of one width, which is 1, 2 or 5 times a power of ten, and one for what lies far behind most values.
pub(crate) fn histogram(values: &[u64]) -> Vec<Bar> {
    let all = Quantiles::of(values.iter().copied());
    if all.count == 0 {
        return Vec::new();
    }
    let reach = all
        .p95
        .saturating_add((all.p95 - all.p50).saturating_mul(2));
    let top = all.max.min(reach);
    let width = width(all.min, top);
    let first = all.min / width;
    let ranges = top / width - first + 1;
    let bar = |at: u64| Bar {
        from: (first + at) * width,
        to: Some((first + at).saturating_add(1).saturating_mul(width)),
        count: 0,
    };
    let mut bars: Vec<Bar> = (0..ranges).map(bar).collect();
    if all.max / width - first >= ranges {
        bars.push(Bar {
            to: None,
            ..bar(ranges)
        });
    }
    for value in values {
        let at = (value / width - first) as usize;
        let last = bars.len() - 1;
        bars[at.min(last)].count += 1;
    }
    bars
}

/// The smallest width with which the values between take no more ranges than there are.
fn width(min: u64, max: u64) -> u64 {
    let mut tens = 1u64;
    loop {
        for times in [1, 2, 5] {
            let width = tens.saturating_mul(times);
            if max / width - min / width < RANGES_MAX {
                return width;
            }
        }
        tens = tens.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let table: [(&[u64], [u64; 5]); 4] = [
            (&[], [0, 0, 0, 0, 0]),
            (&[7], [7, 7, 7, 7, 7]),
            (&[9, 1], [1, 1, 9, 9, 9]),
            (&[u64::MAX, u64::MAX], [u64::MAX; 5]),
        ];
        for (values, want) in table {
            let q = Quantiles::of(values.iter().copied());
            assert_eq!([q.min, q.p50, q.p95, q.p99, q.max], want, "{values:?}");
        }
        let q = Quantiles::of((1..=100).rev());
        assert_eq!(
            (q.p50, q.p95, q.p99, q.max, q.total),
            (50, 95, 99, 100, 5050)
        );
    }

    #[test]
    fn every_value_is_in_its_bar() {
        let tables: [Vec<u64>; 7] = [
            vec![0],
            vec![5, 5, 5],
            (0..1000).collect(),
            (0..1000).map(|n| n * n).collect(),
            vec![0, u64::MAX],
            vec![u64::MAX],
            (0..500)
                .map(|n| if n == 77 { 1_000_000_000 } else { 1000 + n })
                .collect(),
        ];
        for values in tables {
            let bars = histogram(&values);
            assert!(bars.len() <= RANGES_MAX as usize + 1, "{bars:?}");
            for bar in &bars {
                let inside = |value: &&u64| {
                    **value >= bar.from && bar.to.is_none_or(|to| **value < to || to == u64::MAX)
                };
                let count = values.iter().filter(inside).count() as u64;
                assert_eq!(count, bar.count, "{bar:?} of {values:?}");
            }
            let all: u64 = bars.iter().map(|bar| bar.count).sum();
            assert_eq!(all, values.len() as u64);
        }
    }

    #[test]
    fn what_lies_far_out_has_one_bar() {
        let values: Vec<u64> = (0..100)
            .map(|n| if n == 3 { 90_000 } else { 100 })
            .collect();
        let far = histogram(&values);
        let shown: Vec<_> = far
            .iter()
            .map(|bar| (bar.from, bar.to, bar.count))
            .collect();
        assert_eq!(shown, [(100, Some(101), 99), (101, None, 1)]);
    }
}
