//! What is counted, for Prometheus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::http::StatusCode;
use linemill::{Report, Status};
use metrics::{
    Counter, Gauge, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Bounds of the times of requests, in seconds.
const SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
];
/// How often samples that nobody fetches are put away.
const UPKEEP: Duration = Duration::from_secs(5);

/// The counters of requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Meters {
    handle: PrometheusHandle,
    in_flight: Gauge,
    lines: [Counter; 5],
    bytes: Counter,
    batches: Counter,
    traps: Counter,
    fuel: Counter,
    /// The version that was told of last.
    told: Arc<Mutex<Option<(String, String)>>>,
}

/// A request under way.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl Meters {
    /// From here on all that is counted in this process is kept.
    pub(super) fn install() -> Result<Self> {
        let builder = PrometheusBuilder::new();
        let name = Matcher::Full("linemill_request_seconds".to_owned());
        let recorder = builder
            .set_buckets_for_metric(name, &SECONDS)?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).context("metrics are counted already")?;
        describe();
        let fates = ["processed", "corrupted", "retried", "failed", "unread"];
        Ok(Meters {
            handle,
            in_flight: gauge!("linemill_requests_in_flight"),
            lines: fates.map(|fate| counter!("linemill_lines_total", "fate" => fate)),
            bytes: counter!("linemill_bytes_total"),
            batches: counter!("linemill_batches_total"),
            traps: counter!("linemill_traps_total"),
            fuel: counter!("linemill_fuel_total"),
            told: Arc::default(),
        })
    }

    /// Puts samples away, for ever.
    pub(super) async fn keep_up(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.handle.run_upkeep();
        }
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.increment(1.0);
        InFlight(self.in_flight.clone())
    }

    /// A request was answered, or begins to be.
    pub(super) fn answered(&self, route: &'static str, status: StatusCode) {
        let status = status.as_str().to_owned();
        counter!("linemill_requests_total", "route" => route, "status" => status).increment(1);
    }

    /// Lines were run.
    pub(super) fn done(&self, route: &'static str, report: &Report, time: Duration) {
        let counts = &report.counts;
        let unread = report.unread.unwrap_or(0);
        let fates = [
            counts.processed,
            counts.corrupted,
            counts.retried,
            counts.failed,
            unread,
        ];
        self.lines
            .iter()
            .zip(fates)
            .for_each(|(lines, n)| lines.increment(n));
        self.bytes.increment(report.bytes);
        self.batches.increment(report.batches);
        self.traps.increment(report.traps);
        self.fuel.increment(report.fuel);
        histogram!("linemill_request_seconds", "route" => route).record(time.as_secs_f64());
    }

    /// All of it, as Prometheus reads it.
    pub(super) fn render(&self, status: &Status) -> String {
        let version = status.stable.version.clone().unwrap_or_default();
        let now = (status.stable.digest.clone(), version);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_ref() != Some(&now) {
            let info = |(digest, version): (String, String)| gauge!("linemill_plugin_info", "digest" => digest, "version" => version);
            if let Some(before) = told.replace(now.clone()) {
                info(before).set(0.0);
            }
            info(now).set(1.0);
        }
        drop(told);
        self.handle.render()
    }
}

fn describe() {
    describe_counter!(
        "linemill_requests_total",
        "HTTP requests, by route and status code."
    );
    describe_gauge!(
        "linemill_requests_in_flight",
        "Requests that are being run."
    );
    describe_histogram!(
        "linemill_request_seconds",
        "Time that lines took to be run, by route: of each source, message or body."
    );
    describe_counter!(
        "linemill_lines_total",
        "Lines by what became of them; those never read are counted where their number is known."
    );
    describe_counter!("linemill_bytes_total", "Bytes that the plugin was given.");
    describe_counter!(
        "linemill_batches_total",
        "Batches that the plugin was given."
    );
    describe_counter!("linemill_traps_total", "Calls of the plugin that trapped.");
    describe_counter!("linemill_fuel_total", "Fuel that the plugin used.");
    describe_gauge!(
        "linemill_plugin_info",
        "1 for the version of the plugin that serves."
    );
    describe_counter!(
        "linemill_plugin_requests_total",
        "Requests by the role of the version that ran them."
    );
    describe_counter!(
        "linemill_plugin_checks_total",
        "Checks for a newer version."
    );
    describe_counter!(
        "linemill_plugin_failures_total",
        "Checks that failed, or versions that were not taken."
    );
    describe_counter!(
        "linemill_plugin_swaps_total",
        "Versions that took the place of another."
    );
    describe_counter!(
        "linemill_plugin_rollbacks_total",
        "Versions that were taken back."
    );
    describe_gauge!(
        "linemill_plugin_candidate",
        "1 while a newer version is being watched."
    );
}
