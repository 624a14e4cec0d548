//! One invocation: understands the event, runs its requests within their time, answers as its sender expects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lambda_runtime::{Context, Diagnostic};
use linemill::{Event, EventKind};

use super::answer::{Answer, Failures, failure, nothing_safe};
use super::summary::Summary;
use super::{http, log};
use crate::entry::service::{self, Service};
use crate::entry::stops::Stops;

/// How long before the deadline requests have to be over, so that the answer gets through.
const ANSWER: Duration = Duration::from_millis(100);
/// A deadline that has been over for so long is none: what stands in for Lambda may have no time limit to tell of.
const LONG_OVER: Duration = Duration::from_secs(3600);
/// So many refused records are logged one by one.
const REFUSED_LOGGED: usize = 100;

/// What stays from one invocation to the next.
pub(super) struct Handler {
    pub(super) service: Arc<Service>,
    pub(super) stops: Stops,
    init: Duration,
    answered: AtomicBool,
}

impl Handler {
    pub(super) fn new(service: Arc<Service>, stops: Stops, init: Duration) -> Self {
        let plugin = service.registry.status().stable.digest;
        let ms = millis(init);
        let concurrency = service.config().concurrency;
        tracing::info!(target: "lambda", initMs = ms, plugin, concurrency, "ready");
        Handler {
            service,
            stops,
            init,
            answered: AtomicBool::new(false),
        }
    }

    /// Answers one invocation.
    pub(super) async fn handle(
        &self,
        body: &[u8],
        context: &Context,
    ) -> Result<Answer, Diagnostic> {
        let until = until(context.deadline(), SystemTime::now());
        self.service.registry.poll_if_due();
        let event = Event::parse(body).map_err(|error| {
            tracing::error!(target: "lambda", "{error}");
            failure("Linemill.EventError", error.to_string())
        })?;
        tell_refused(&event);
        if let EventKind::Http(call) = &event.kind {
            return Ok(Answer::Http(http::answer(self, call, &event, until).await));
        }
        let answer = self
            .service
            .run_tasks(&event.tasks, until, &self.stops)
            .await;
        tell(&event, &answer);
        if event.kind.takes_failures() {
            return Ok(Answer::Failures(Failures::of(&event, &answer.safe)));
        }
        if let Some(error) = nothing_safe(&event, &answer) {
            return Err(error);
        }
        let mut summary = Summary::of(&event, &answer);
        summary.init_ms = self.init_ms();
        Ok(Answer::Summary(Box::new(summary)))
    }

    /// How long the process took to set up, told once.
    fn init_ms(&self) -> Option<f64> {
        let told = self.answered.swap(true, Ordering::Relaxed);
        (!told).then(|| millis(self.init))
    }
}

/// Logs records that were refused, as many as anybody reads.
fn tell_refused(event: &Event) {
    for refused in event.refused.iter().take(REFUSED_LOGGED) {
        let record = refused.record.as_deref().unwrap_or_default();
        tracing::error!(target: "lambda", record, "a record was refused: {}", refused.error);
    }
    let more = event.refused.len().saturating_sub(REFUSED_LOGGED);
    if more > 0 {
        tracing::error!(target: "lambda", more, "more records were refused");
    }
}

/// Logs every report, and the sources that are not safe without one.
fn tell(event: &Event, answer: &service::Answer) {
    for report in &answer.reports {
        log::report(report);
    }
    let run = answer
        .reports
        .iter()
        .map(|report| report.request_id.as_str());
    let run: std::collections::HashSet<&str> = run.collect();
    for task in &event.tasks {
        if !run.contains(task.request.id.as_str()) {
            let source = linemill::mask_secrets(&task.request.source.url);
            tracing::error!(target: "lambda", source, "not run, and not safe");
        }
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

/// When requests have to be over.
fn until(deadline: SystemTime, now: SystemTime) -> Option<Instant> {
    match deadline.duration_since(now) {
        Ok(left) => Some(Instant::now() + left.saturating_sub(ANSWER)),
        Err(over) if over.duration() < LONG_OVER => Some(Instant::now()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_over_before_the_deadline() {
        // The deadline, in ms from now, and how long requests have; none: no limit.
        let table = [
            (3000, Some(2900)),
            (100, Some(0)),
            (0, Some(0)),
            (-500, Some(0)),
            (-3_600_000, None),
        ];
        let now = SystemTime::now();
        for (deadline, expected) in table {
            let moved = Duration::from_millis(i64::unsigned_abs(deadline));
            let deadline = match deadline < 0 {
                true => now - moved,
                false => now + moved,
            };
            let before = Instant::now();
            let until = until(deadline, now);
            let between = before..=Instant::now();
            let as_expected = match (until, expected) {
                (Some(until), Some(ms)) => between.contains(&(until - Duration::from_millis(ms))),
                (until, expected) => until.is_none() && expected.is_none(),
            };
            assert!(as_expected, "{deadline:?}: {until:?}");
        }
    }
}
