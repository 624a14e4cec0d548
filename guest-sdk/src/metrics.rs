//! Counts and samples, summed up before they leave the batch.

use std::collections::BTreeMap;

use crate::bindings::{Measure, Metric};

/// Longest name, in characters, that the host takes.
const NAME_MAX: usize = 64;
/// Longest key, in bytes, that the host takes.
const KEY_MAX: usize = 128;

/// Counts and samples of a batch.
///
/// What the current step (a line) measured is pending until it is kept or dropped: `open` names the
/// series that hold such a count, and the samples from `kept` on are such samples.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: Vec<Series>,
    /// Where in `series` a name and a key are.
    index: BTreeMap<String, BTreeMap<String, usize>>,
    /// The series found last: mostly the one looked for next.
    latest: usize,
    open: Vec<usize>,
    samples: Vec<(usize, f64)>,
    kept: usize,
}

#[derive(Debug)]
struct Series {
    name: String,
    key: String,
    /// Sum of the counts that were kept, if any was.
    total: Option<i64>,
    pending: Option<i64>,
}

impl Metrics {
    pub(crate) fn count(&mut self, name: &str, key: &str, n: i64) {
        let at = self.find(name, key);
        match &mut self.series[at].pending {
            Some(pending) => *pending = pending.saturating_add(n),
            none => {
                *none = Some(n);
                self.open.push(at);
            }
        }
    }

    pub(crate) fn sample(&mut self, name: &str, key: &str, value: f64) {
        let at = self.find(name, key);
        self.samples.push((at, value));
    }

    /// Keeps what is pending.
    pub(crate) fn keep(&mut self) {
        for at in self.open.drain(..) {
            let series = &mut self.series[at];
            let n = series.pending.take().unwrap_or(0);
            series.total = Some(series.total.unwrap_or(0).saturating_add(n));
        }
        self.kept = self.samples.len();
    }

    /// Forgets what is pending.
    pub(crate) fn drop_pending(&mut self) {
        for at in self.open.drain(..) {
            self.series[at].pending = None;
        }
        self.samples.truncate(self.kept);
    }

    /// What was kept: counts in order of first use, then samples in order.
    pub(crate) fn into_wit(self) -> Vec<Metric> {
        let metric = |series: &Series, value| Metric {
            name: series.name.clone(),
            key: series.key.clone(),
            value,
        };
        let counts = (self.series.iter())
            .filter_map(|series| Some(metric(series, Measure::Count(series.total?))));
        let samples = (self.samples[..self.kept].iter())
            .map(|&(at, value)| metric(&self.series[at], Measure::Sample(value)));
        counts.chain(samples).collect()
    }

    #[inline]
    fn find(&mut self, name: &str, key: &str) -> usize {
        match self.series.get(self.latest) {
            Some(latest) if latest.key == key && latest.name == name => self.latest,
            _ => self.find_anew(name, key),
        }
    }

    fn find_anew(&mut self, name: &str, key: &str) -> usize {
        let known = self.index.get(name).and_then(|keys| keys.get(key));
        self.latest = match known {
            Some(&at) => at,
            None => self.add(name, key),
        };
        self.latest
    }

    fn add(&mut self, name: &str, key: &str) -> usize {
        assert!(
            is_name(name),
            "metric name {name:?} is not [A-Za-z_][A-Za-z0-9_]* of at most {NAME_MAX} characters"
        );
        let at = self.series.len();
        self.series.push(Series {
            name: name.to_owned(),
            key: clean_key(key),
            total: None,
            pending: None,
        });
        let keys = self.index.entry(name.to_owned()).or_default();
        keys.insert(key.to_owned(), at);
        at
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && (name.bytes()).all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Keys often come from data: one that the host would refuse is cut and cleaned instead.
fn clean_key(key: &str) -> String {
    let mut clean: String = (key.chars())
        .map(|c| if c.is_control() { '?' } else { c })
        .take(KEY_MAX)
        .collect();
    clean.truncate(clean.floor_char_boundary(KEY_MAX));
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(metrics: Metrics) -> String {
        let tell = |metric: Metric| match metric.value {
            Measure::Count(n) => format!("{}/{}={n}", metric.name, metric.key),
            Measure::Sample(x) => format!("{}/{}~{x}", metric.name, metric.key),
        };
        let told: Vec<_> = metrics.into_wit().into_iter().map(tell).collect();
        told.join(" ")
    }

    #[test]
    fn counts_of_one_name_and_key_are_summed() {
        let mut metrics = Metrics::default();
        for (key, n) in [("200", 1), ("404", 1), ("200", 2), ("200", 3)] {
            metrics.count("by_status", key, n);
            metrics.keep();
        }
        metrics.sample("ms", "", 1.5);
        metrics.sample("ms", "", 2.5);
        metrics.keep();
        assert_eq!(
            told(metrics),
            "by_status/200=6 by_status/404=1 ms/~1.5 ms/~2.5"
        );
    }

    #[test]
    fn what_is_pending_can_be_dropped() {
        let mut metrics = Metrics::default();
        metrics.count("a", "", 1);
        metrics.sample("s", "", 1.0);
        metrics.keep();
        metrics.count("a", "", 10);
        metrics.count("a", "", 10);
        metrics.count("b", "", 10);
        metrics.sample("s", "", 10.0);
        metrics.drop_pending();
        metrics.count("a", "", 1);
        metrics.keep();
        metrics.count("a", "", 100);
        assert_eq!(told(metrics), "a/=2 s/~1");
    }

    #[test]
    fn counts_saturate() {
        let mut metrics = Metrics::default();
        for _ in 0..2 {
            metrics.count("a", "", i64::MAX);
            metrics.keep();
        }
        assert_eq!(told(metrics), format!("a/={}", i64::MAX));
    }

    #[test]
    fn keys_from_data_are_made_fit() {
        assert_eq!(clean_key("a\tb\u{85}"), "a?b?");
        assert_eq!(clean_key(&"x".repeat(200)).len(), 128);
        assert_eq!(clean_key(&format!("x{}", "é".repeat(100))).len(), 127);
    }

    #[test]
    fn names_are_identifiers() {
        for good in ["a", "_", "by_status", "A9", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "9a", "a-b", "a b", "é", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
