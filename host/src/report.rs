//! What is said of a request when it is over: counts that must balance, status, metrics; as JSON. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use sketches_ddsketch::{Config as SketchConfig, DDSketch};

use crate::config::mask_secrets;
use crate::error::{Error, Remedy};
use crate::outcome::{Measure, Metric, cut};
use crate::request::Request;
use crate::shadow::Comparison;

/// Most distinct errors that a report keeps.
const ERRORS_MAX: usize = 20;
/// Longest error that a report keeps, in characters.
const ERROR_CHARS_MAX: usize = 256;
/// Most series (name and key) of a plugin's metrics that a report keeps.
const METRICS_MAX: usize = 1000;

/// One JSON object for each request. Names that the field's forerunner has are kept where they mean the same.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// Unique for each run of a request.
    pub request_id: String,
    /// `ok`, or those of `retry`, `failed`, `corrupted`, `error`, `stopped` that apply, joined by `|`.
    pub status: String,
    /// Distinct errors and how often each came.
    pub errors: Errors,
    /// When the request began, UTC.
    #[serde(serialize_with = "rfc3339")]
    pub start_time: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub runtime_ms: u64,
    /// Where the lines came from.
    #[serde(rename = "SourceURL")]
    pub source_url: String,
    /// How often these data had been tried before.
    pub attempt: u32,
    /// Objects written for each kind; absent where nothing was.
    #[serde(flatten)]
    pub written: Written,
    /// The books.
    #[serde(flatten)]
    pub counts: Counts,
    /// Lines that were never loaded and are handed over; `null`: not known, as they were never read.
    pub unread: Option<u64>,
    /// Lines in the object of what was not run again: they were not chosen, or there was no time for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<u64>,
    /// Batches that were run.
    pub batches: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Calls that trapped, splitting included.
    pub traps: u64,
    /// The plugin that ran.
    pub plugin: PluginId,
    /// A newer version of the plugin is not used, and why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_failure: Option<String>,
    /// What a version did that ran along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Box<Comparison>>,
    /// Failures that were kept, and those that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capsules: Option<CapsuleCounts>,
    /// The plugin failed the request as a whole.
    #[serde(skip)]
    pub plugin_failed: bool,
    /// What would help, where the request could not be done.
    #[serde(skip)]
    pub remedy: Option<Remedy>,
    /// Fuel that the plugin used.
    pub fuel: u64,
    /// The plugin's own metrics: counts add up, samples are summed up.
    pub metrics: Metrics,
    /// Milliseconds for each batch.
    pub latency: Distribution,
}

impl Report {
    /// The report of a request that begins now.
    pub fn new(request: &Request, plugin: PluginId) -> Self {
        Report {
            request_id: request.id.clone(),
            status: status(&Counts::default(), Ending::default()),
            errors: Errors::default(),
            start_time: request.started_at,
            runtime_ms: 0,
            source_url: mask_secrets(&request.source.url),
            attempt: request.attempt,
            written: Written::default(),
            counts: Counts::default(),
            unread: Some(0),
            rest: None,
            batches: 0,
            bytes: 0,
            traps: 0,
            plugin,
            plugin_failure: None,
            shadow: None,
            capsules: None,
            plugin_failed: false,
            remedy: None,
            fuel: 0,
            metrics: Metrics::default(),
            latency: Distribution::default(),
        }
    }

    /// The request could not be done.
    pub fn fail(&mut self, error: &(dyn std::error::Error + 'static)) {
        self.fail_with(error, Ending::default());
    }

    /// The request could not be done, and ended like that besides.
    pub fn fail_with(&mut self, error: &(dyn std::error::Error + 'static), ending: Ending) {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        let known = causes.find_map(|error| error.downcast_ref::<Error>());
        self.remedy = Some(known.map_or(Remedy::AskOtherwise, Error::remedy));
        self.errors.add_first(&chain(error));
        self.status = status(
            &self.counts,
            Ending {
                error: true,
                ..ending
            },
        );
    }

    /// Whether the request could not be done.
    pub fn is_error(&self) -> bool {
        self.status.split('|').any(|flag| flag == "error")
    }
}

/// An error and what caused it, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Where a request's data went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The plugin's output.
    #[serde(rename = "DestinationURL", skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Outputs for named routes.
    #[serde(rename = "Routes", skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, String>,
    /// Lines to be run again.
    #[serde(rename = "RetryURL", skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// Lines whose attempts are used up.
    #[serde(rename = "FailedURL", skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Lines that are corrupt.
    #[serde(rename = "CorruptionURL", skip_serializing_if = "Option::is_none")]
    pub corruption: Option<String>,
    /// The pointer to what was never read.
    #[serde(rename = "ResumeURL", skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// Of lines that were to be run again: those that were not.
    #[serde(rename = "RestURL", skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
}

/// The books: every loaded line is in exactly one of the others, `partial_retries` apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    /// Lines that were given to the plugin, or streamed to corruption for their length.
    pub loaded: u64,
    /// Lines without a fault.
    pub processed: u64,
    /// Lines whose data are at fault.
    #[serde(rename = "CorruptionErrors")]
    pub corrupted: u64,
    /// Lines to be run again.
    #[serde(rename = "RetryErrors")]
    pub retried: u64,
    /// Lines whose attempts are used up.
    pub failed: u64,
    /// Of the retried and failed ones: those of which only a remainder is left to do.
    #[serde(rename = "PartialRetries")]
    pub partial: u64,
}

impl Counts {
    /// Whether `loaded = processed + corrupted + retried + failed`.
    pub fn balance(&self) -> bool {
        self.loaded == self.processed + self.corrupted + self.retried + self.failed
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;

    fn add(self, other: Counts) -> Counts {
        Counts {
            loaded: self.loaded + other.loaded,
            processed: self.processed + other.processed,
            corrupted: self.corrupted + other.corrupted,
            retried: self.retried + other.retried,
            failed: self.failed + other.failed,
            partial: self.partial + other.partial,
        }
    }
}

/// How a request ended besides its counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ending {
    /// Lines are left that were never loaded.
    pub unread: bool,
    /// The request could not be done.
    pub error: bool,
    /// It stopped before its time: the plugin said so, or most lines trapped.
    pub stopped: bool,
}

/// `ok`, or what applies, joined by `|`.
pub fn status(counts: &Counts, ending: Ending) -> String {
    let flags = [
        (counts.retried > 0 || ending.unread, "retry"),
        (counts.failed > 0, "failed"),
        (counts.corrupted > 0, "corrupted"),
        (ending.error, "error"),
        (ending.stopped, "stopped"),
    ];
    let applies: Vec<&str> = flags
        .iter()
        .filter(|(applies, _)| *applies)
        .map(|(_, name)| *name)
        .collect();
    if applies.is_empty() {
        "ok".to_owned()
    } else {
        applies.join("|")
    }
}

/// Failures that have a capsule, and those that have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CapsuleCounts {
    /// Capsules written.
    pub kept: u64,
    /// Left out: more than `capsules_max`.
    pub beyond_max: u64,
    /// Left out: larger than `capsule_bytes_max`.
    pub too_large: u64,
    /// Left out: the failure did not come again in a fresh instance, or there was no time to see.
    pub not_reproduced: u64,
    /// Left out: the plugin was out of time, which no replay brings back.
    pub timed_out: u64,
}

impl CapsuleCounts {
    /// Why failures have no capsule, for a person.
    pub fn left_out(&self) -> Option<String> {
        let reasons = [
            (self.beyond_max, "more than capsules_max"),
            (self.too_large, "larger than capsule_bytes_max"),
            (self.not_reproduced, "not seen again in a fresh instance"),
            (self.timed_out, "out of time, which cannot be replayed"),
        ];
        let reasons = reasons.into_iter().filter(|(count, _)| *count > 0);
        let reasons: Vec<_> = reasons
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        (!reasons.is_empty()).then(|| format!("failures without a capsule: {}", reasons.join(", ")))
    }
}

/// The plugin that a request ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PluginId {
    /// Its file name without the extension.
    pub name: String,
    /// What it says of itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `sha256:` and 64 hexadecimal digits, of the component's bytes.
    pub digest: String,
}

/// Distinct errors, at most 20, each cut at 256 characters, with their count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Errors {
    kept: Vec<(String, u64)>,
    others: u64,
}

impl Errors {
    /// Counts one error.
    pub fn add(&mut self, error: &str) {
        self.add_times(error, 1);
    }

    /// Counts an error that stands before all others: the one that ended the request.
    pub fn add_first(&mut self, error: &str) {
        let others = std::mem::take(self);
        self.add(error);
        others
            .kept
            .iter()
            .for_each(|(error, times)| self.add_times(error, *times));
        self.others += others.others;
    }

    fn add_times(&mut self, error: &str, times: u64) {
        let end = error
            .char_indices()
            .nth(ERROR_CHARS_MAX)
            .map_or(error.len(), |(at, _)| at);
        let error = cut(error, end);
        if let Some((_, count)) = self.kept.iter_mut().find(|(known, _)| known == error) {
            *count += times;
        } else if self.kept.len() < ERRORS_MAX {
            self.kept.push((error.to_owned(), times));
        } else {
            self.others += times;
        }
    }

    /// The first that came, if any.
    pub fn first(&self) -> Option<&str> {
        self.kept.first().map(|(error, _)| error.as_str())
    }
}

impl Serialize for Errors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Row<'a> {
            error: &'a str,
            count: u64,
        }
        let others = (self.others > 0).then_some(("others, not kept", self.others));
        let kept = self
            .kept
            .iter()
            .map(|(error, count)| (error.as_str(), *count));
        serializer.collect_seq(
            kept.chain(others)
                .map(|(error, count)| Row { error, count }),
        )
    }
}

/// A summary of samples; quantiles within 1 % of the value.
#[derive(Clone)]
pub struct Distribution {
    sketch: DDSketch,
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution {
            sketch: DDSketch::new(SketchConfig::new(0.01, 2048, 1.0e-9)),
        }
    }
}

impl Distribution {
    /// Adds one sample.
    pub fn add(&mut self, sample: f64) {
        self.sketch.add(sample);
    }

    /// Adds a duration, in milliseconds.
    pub fn add_time(&mut self, time: Duration) {
        self.add(time.as_secs_f64() * 1e3);
    }

    /// Adds the samples of another.
    pub fn merge(&mut self, other: &Distribution) {
        // Both have the same configuration, the only thing that could be wrong.
        let _ = self.sketch.merge(&other.sketch);
    }

    /// By nearest rank: of two samples, the larger is the 95th percentile.
    fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.sketch.count() as f64;
        let rank = (q * count).ceil().max(1.0);
        // The sketch takes the sample at `q * (count - 1)`, rounded down.
        let q = ((rank - 0.5) / (count - 1.0)).clamp(0.0, 1.0);
        let value = self.sketch.quantile(q).ok().flatten()?;
        Some(round(value.max(self.sketch.min()?).min(self.sketch.max()?)))
    }
}

impl std::fmt::Debug for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Distribution({})", self.sketch.count())
    }
}

/// Six significant digits are more than a sketch knows.
fn round(value: f64) -> f64 {
    format!("{value:.6e}").parse().unwrap_or(value)
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Row {
            count: usize,
            min: Option<f64>,
            max: Option<f64>,
            mean: Option<f64>,
            p50: Option<f64>,
            p95: Option<f64>,
            p99: Option<f64>,
        }
        let count = self.sketch.count();
        Row {
            count,
            min: self.sketch.min().map(round),
            max: self.sketch.max().map(round),
            mean: self
                .sketch
                .sum()
                .map(|sum| round(sum / count.max(1) as f64)),
            p50: self.quantile(0.50),
            p95: self.quantile(0.95),
            p99: self.quantile(0.99),
        }
        .serialize(serializer)
    }
}

/// The plugin's own metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    series: BTreeMap<String, BTreeMap<String, Series>>,
    len: usize,
    dropped: u64,
}

#[derive(Debug, Clone)]
enum Series {
    Count(i64),
    Samples(Box<Distribution>),
}

impl Series {
    fn measured(&self) -> Measured {
        match self {
            Series::Count(sum) => Measured::Count(*sum),
            Series::Samples(samples) => {
                let sketch = &samples.sketch;
                Measured::Samples {
                    count: sketch.count() as u64,
                    min: sketch.min().unwrap_or_default(),
                    max: sketch.max().unwrap_or_default(),
                    mean: sketch.sum().unwrap_or_default() / sketch.count().max(1) as f64,
                }
            }
        }
    }
}

/// What a series says, without percentiles, which are estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured {
    /// The sum of counts.
    Count(i64),
    /// A summary of samples.
    Samples {
        /// How many.
        count: u64,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// Their mean.
        mean: f64,
    },
}

impl Metrics {
    /// Adds one metric. Beyond 1 000 series only known ones are kept; how many were left out is counted.
    pub fn add(&mut self, metric: &Metric) {
        match metric.value {
            Measure::Count(n) => self.series(metric, |series| match series {
                Series::Count(sum) => *sum = sum.saturating_add(n),
                Series::Samples(samples) => samples.add(n as f64),
            }),
            Measure::Sample(sample) => self.series(metric, |series| match series {
                Series::Samples(samples) => samples.add(sample),
                Series::Count(_) => {
                    let mut samples = Distribution::default();
                    samples.add(sample);
                    *series = Series::Samples(Box::new(samples));
                }
            }),
        }
    }

    fn series(&mut self, metric: &Metric, add: impl FnOnce(&mut Series)) {
        let known = self
            .series
            .get_mut(&metric.name)
            .and_then(|keys| keys.get_mut(&metric.key));
        if let Some(series) = known {
            return add(series);
        }
        if self.len == METRICS_MAX {
            self.dropped += 1;
            return;
        }
        self.len += 1;
        let keys = self.series.entry(metric.name.clone()).or_default();
        let empty = match metric.value {
            Measure::Count(_) => Series::Count(0),
            Measure::Sample(_) => Series::Samples(Box::default()),
        };
        add(keys.entry(metric.key.clone()).or_insert(empty));
    }

    /// Every series: name, key, and what was measured.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Measured)> {
        self.series.iter().flat_map(|(name, keys)| {
            keys.iter()
                .map(|(key, series)| (name.as_str(), key.as_str(), series.measured()))
        })
    }

    /// How many values were left out because there were too many series.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Serialize for Metrics {
    /// A metric without keys is its value; one with keys is an object of them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Entry<'a> {
            One(&'a Series),
            Keys(&'a BTreeMap<String, Series>),
        }
        serializer.collect_map(self.series.iter().map(|(name, keys)| match keys.get("") {
            Some(series) if keys.len() == 1 => (name, Entry::One(series)),
            _ => (name, Entry::Keys(keys)),
        }))
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Series::Count(sum) => sum.serialize(serializer),
            Series::Samples(samples) => samples.serialize(serializer),
        }
    }
}

fn rfc3339<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        let counts = |corrupted, retried, failed| Counts {
            corrupted,
            retried,
            failed,
            ..Counts::default()
        };
        let unread = Ending {
            unread: true,
            ..Ending::default()
        };
        let all = Ending {
            unread: false,
            error: true,
            stopped: true,
        };
        let table = [
            (counts(0, 0, 0), Ending::default(), "ok"),
            (counts(1, 0, 0), Ending::default(), "corrupted"),
            (counts(0, 1, 0), Ending::default(), "retry"),
            (counts(0, 0, 1), Ending::default(), "failed"),
            (counts(0, 0, 0), unread, "retry"),
            (counts(1, 1, 0), Ending::default(), "retry|corrupted"),
            (counts(1, 1, 1), all, "retry|failed|corrupted|error|stopped"),
        ];
        for (counts, ending, want) in table {
            assert_eq!(status(&counts, ending), want);
        }
    }

    /// Addition keeps the balance, for every small combination.
    #[test]
    fn sums_of_balanced_books_balance() {
        let all: Vec<Counts> = (0..81u64)
            .map(|n| {
                let (processed, corrupted, retried, failed) =
                    (n % 3, n / 3 % 3, n / 9 % 3, n / 27 % 3);
                let loaded = processed + corrupted + retried + failed;
                Counts {
                    loaded,
                    processed,
                    corrupted,
                    retried,
                    failed,
                    partial: retried.min(1),
                }
            })
            .collect();
        for a in &all {
            assert!(a.balance());
            assert!(
                !Counts {
                    loaded: a.loaded + 1,
                    ..*a
                }
                .balance()
            );
            for b in &all {
                assert!((*a + *b).balance());
                assert_eq!(*a + *b, *b + *a);
                assert_eq!(*a + Counts::default(), *a);
            }
        }
    }

    #[test]
    fn errors_are_distinct_and_few() {
        let mut errors = Errors::default();
        for n in 0..30 {
            errors.add(&format!("error {n}"));
            errors.add(&"é".repeat(300));
        }
        let json = serde_json::to_value(&errors).expect("json");
        let rows = json.as_array().expect("a list");
        assert_eq!(rows.len(), 21);
        assert_eq!(
            rows[1]["Error"].as_str().expect("text").chars().count(),
            256
        );
        assert_eq!(rows[1]["Count"], 30);
        assert_eq!(rows[20]["Count"], 11);
    }

    #[test]
    fn metrics_add_up() {
        let mut metrics = Metrics::default();
        let metric = |name: &str, key: &str, value| Metric {
            name: name.into(),
            key: key.into(),
            value,
        };
        for n in 1..=100 {
            metrics.add(&metric("lines", "", Measure::Count(2)));
            metrics.add(&metric(
                "by_code",
                if n % 2 == 0 { "200" } else { "500" },
                Measure::Count(1),
            ));
            metrics.add(&metric("ms", "", Measure::Sample(f64::from(n))));
        }
        let json = serde_json::to_value(&metrics).expect("json");
        assert_eq!(json["lines"], 200);
        assert_eq!(json["by_code"]["500"], 50);
        assert_eq!(json["ms"]["Count"], 100);
        assert_eq!(json["ms"]["Min"], 1.0);
        assert_eq!(json["ms"]["Max"], 100.0);
        assert_eq!(json["ms"]["Mean"], 50.5);
        let p95 = json["ms"]["P95"].as_f64().expect("a number");
        assert!((94.0..=97.0).contains(&p95), "{p95}");
    }

    #[test]
    fn quantiles_are_samples_by_nearest_rank() {
        // Samples from 1 to n -> p50, p95, p99
        let table: [(u32, [f64; 3]); 5] = [
            (1, [1.0, 1.0, 1.0]),
            (2, [1.0, 2.0, 2.0]),
            (3, [2.0, 3.0, 3.0]),
            (10, [5.0, 10.0, 10.0]),
            (100, [50.0, 95.0, 99.0]),
        ];
        for (n, want) in table {
            let mut samples = Distribution::default();
            (1..=n).for_each(|sample| samples.add(f64::from(sample)));
            for (q, want) in [0.50, 0.95, 0.99].into_iter().zip(want) {
                let got = samples.quantile(q).expect("a number");
                assert!(
                    (got - want).abs() <= 0.01 * want,
                    "{n} {q}: {got}, not {want}"
                );
                assert!((1.0..=f64::from(n)).contains(&got), "{n} {q}: {got}");
            }
        }
    }

    #[test]
    fn series_are_limited() {
        let mut metrics = Metrics::default();
        for n in 0..1010 {
            metrics.add(&Metric {
                name: "m".into(),
                key: n.to_string(),
                value: Measure::Count(1),
            });
        }
        assert_eq!(metrics.dropped(), 10);
    }

    #[test]
    fn an_empty_distribution_has_no_numbers() {
        let json = serde_json::to_value(Distribution::default()).expect("json");
        assert_eq!(json["Count"], 0);
        assert!(json["P50"].is_null());
    }
}
