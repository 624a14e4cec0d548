//! Keeps the failures of a request: how many, how large, and what is hidden in them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::redact::{redact, redact_lines, redact_text};
use super::{
    Answer, Capsule, Ended, LimitsOf, MASK, MadeBy, PluginOf, Recorded, RequestOf, Secrets, VERSION,
};
use crate::batch::Batch;
use crate::config::{CapsuleMode, Config, is_secret, mask_secrets};
use crate::report::CapsuleCounts;
use crate::runtime::{ENGINE, GuestContext, Plugin};

/// So much time of a request is spent on running faults once more.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// And so much on one of them.
const AGAIN_ONCE_MAX: Duration = Duration::from_secs(2);
/// What a capsule takes up besides its batch, settings and answers.
const ENVELOPE_BYTES: usize = 1024;

/// A call that failed in a fresh instance.
#[derive(Debug, Clone)]
pub struct Capture {
    /// The lines that it was given, by index in the batch.
    pub lines: Range<usize>,
    /// How it ended; the index in it counts from the first of these lines.
    pub ended: Ended,
    /// What the host answered.
    pub recorded: Recorded,
}

/// What is hidden in a capsule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    line: bool,
    settings: bool,
    attributes: bool,
    context: bool,
    http: bool,
}

impl Parts {
    /// From the names of the configuration.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parse(names: &[String]) -> Result<Parts, String> {
        let mut parts = Parts::default();
        for name in names {
            match name.as_str() {
                "all" => parts = Parts::all(),
                name => match parts.named().into_iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => *part = true,
                    None => {
                        return Err(format!(
                            "names `{name}`, which is no part of a capsule: take `line`, `settings`, `attributes`, \
                             `context`, `http` or `all`"
                        ));
                    }
                },
            }
        }
        Ok(parts)
    }

    fn all() -> Parts {
        let mut parts = Parts::default();
        parts.named().into_iter().for_each(|(_, part)| *part = true);
        parts
    }

    fn named(&mut self) -> [(&'static str, &mut bool); 5] {
        [
            ("line", &mut self.line),
            ("settings", &mut self.settings),
            ("attributes", &mut self.attributes),
            ("context", &mut self.context),
            ("http", &mut self.http),
        ]
    }

    fn names(mut self) -> Vec<String> {
        let named = self.named().into_iter();
        named
            .filter(|(_, part)| **part)
            .map(|(name, _)| name.to_owned())
            .collect()
    }
}

/// Makes capsules for one request.
pub struct Keeper {
    /// Whether lines that the plugin blames are kept too.
    pub faults: bool,
    max: u64,
    bytes_max: usize,
    parts: Parts,
    plugin: Plugin,
    config: Arc<Config>,
    guest: Arc<GuestContext>,
    taken: AtomicU64,
    counts: Counters,
    again_ms: AtomicU64,
}

/// How many failures have no capsule, and why.
#[derive(Default)]
struct Counters {
    kept: AtomicU64,
    beyond_max: AtomicU64,
    too_large: AtomicU64,
    not_again: AtomicU64,
    timed: AtomicU64,
}

impl Keeper {
    /// For a request of `plugin`; none where nothing is to be kept.
    pub fn new(
        config: &Arc<Config>,
        plugin: &Plugin,
        guest: &Arc<GuestContext>,
    ) -> Option<Arc<Self>> {
        if config.capsules == CapsuleMode::Off {
            return None;
        }
        Some(Arc::new(Keeper {
            faults: config.capsules == CapsuleMode::Faults,
            max: config.capsules_max,
            bytes_max: config.capsule_bytes_max,
            // It was checked when the configuration was; hiding too much is the safe side.
            parts: Parts::parse(&config.capsule_redact).unwrap_or_else(|_| Parts::all()),
            plugin: plugin.clone(),
            config: config.clone(),
            guest: guest.clone(),
            taken: AtomicU64::new(0),
            counts: Counters::default(),
            again_ms: AtomicU64::new(0),
        }))
    }

    /// Asks for one of the capsules that the request may write. `false`: there are enough, and that is counted.
    pub fn take(&self) -> bool {
        let free = self.taken.fetch_add(1, Relaxed) < self.max;
        if !free {
            self.counts.beyond_max.fetch_add(1, Relaxed);
        }
        free
    }

    /// How long a failure may be run once more; none when enough time was spent on that.
    pub fn time_again(&self) -> Option<Duration> {
        let left = AGAIN_MAX.checked_sub(Duration::from_millis(self.again_ms.load(Relaxed)))?;
        Some(left.min(AGAIN_ONCE_MAX)).filter(|left| !left.is_zero())
    }

    /// A failure was run once more for so long.
    pub fn spent(&self, time: Duration) {
        self.again_ms.fetch_add(time.as_millis() as u64, Relaxed);
    }

    /// A failure did not come again in a fresh instance: it depends on what ran before.
    pub fn came_not_again(&self) {
        self.counts.not_again.fetch_add(1, Relaxed);
    }

    /// A failure depends on time, which no replay brings back.
    pub fn depended_on_time(&self) {
        self.counts.timed.fetch_add(1, Relaxed);
    }

    /// The capsule of a failure, as one line; none when it is too large.
    pub fn line(&self, batch: &Batch, capture: Capture) -> Option<Vec<u8>> {
        let bytes = bytes_of(batch, &capture.lines);
        // Three bytes are four letters.
        if bytes.len() / 3 * 4 + ENVELOPE_BYTES > self.bytes_max {
            self.counts.too_large.fetch_add(1, Relaxed);
            return None;
        }
        let line = self.capsule(batch, bytes, capture).to_line();
        let fits = line.len() <= self.bytes_max;
        let counter = match fits {
            true => &self.counts.kept,
            false => &self.counts.too_large,
        };
        counter.fetch_add(1, Relaxed);
        fits.then_some(line)
    }

    fn capsule(&self, batch: &Batch, bytes: &[u8], capture: Capture) -> Capsule {
        let (guest, id) = (&self.guest, &self.plugin.id);
        let first_line = batch.first_line + capture.lines.start as u64;
        let mut capsule = Capsule {
            capsule: VERSION,
            sha256: String::new(),
            made_by: MadeBy {
                linemill: env!("CARGO_PKG_VERSION").to_owned(),
                engine: ENGINE.to_owned(),
                platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
            },
            plugin: PluginOf {
                name: id.name.clone(),
                version: id.version.clone(),
                digest: id.digest.clone(),
            },
            limits: LimitsOf::of(&self.config),
            request: RequestOf {
                id: guest.id.clone(),
                source: guest.source.clone(),
                attempt: guest.attempt,
                started_at: guest.started_at,
                attributes: guest.attributes.clone(),
            },
            settings: guest.settings.as_ref().clone(),
            env: self.plugin.env().to_vec(),
            folders: self.plugin.folders(),
            context: guest.context().to_vec(),
            line: first_line + capture.ended.index().unwrap_or(0) as u64,
            first_line,
            batch: bytes.to_vec(),
            ended: capture.ended,
            answers: capture.recorded.said,
            answers_cut: capture.recorded.cut,
            redacted: self.parts.names(),
            masked: Vec::new(),
            minimised_from: None,
        };
        mask(&mut capsule);
        hide(&mut capsule, self.parts);
        capsule
    }

    /// How many capsules there are, and how many failures have none.
    pub fn counts(&self) -> CapsuleCounts {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let counts = &self.counts;
        CapsuleCounts {
            kept: of(&counts.kept),
            beyond_max: of(&counts.beyond_max),
            too_large: of(&counts.too_large),
            not_reproduced: of(&counts.not_again),
            timed_out: of(&counts.timed),
        }
    }
}

fn bytes_of<'a>(batch: &'a Batch, lines: &Range<usize>) -> &'a [u8] {
    if lines.len() == batch.lines {
        return batch.bytes();
    }
    let ends = batch.line_ends();
    let start = lines.start.checked_sub(1).map_or(0, |before| ends[before]);
    &batch.bytes()[start..ends[lines.end - 1]]
}

/// Leaves out what looks secret by its name, and passwords in URLs, wherever else they stand but in the lines.
fn mask(capsule: &mut Capsule) {
    let mut secrets = Secrets::default();
    let mut masked = Vec::new();
    for (name, value) in &mut capsule.settings {
        if mask_value(name, value, &mut secrets) {
            masked.push(format!("settings.{name}"));
        }
    }
    for (name, value) in &mut capsule.request.attributes {
        if mask_value(name, value, &mut secrets) {
            masked.push(format!("attributes.{name}"));
        }
    }
    for (name, value) in &mut capsule.env {
        // All variables are copied together: their lengths decide what that costs.
        let stars = "*".repeat(value.len());
        if mask_value(name, &mut value.clone(), &mut Secrets::default()) {
            secrets.add(value, &stars);
            *value = stars;
            masked.push(format!("env.{name}"));
        }
    }
    for said in &capsule.answers {
        if let Answer::Http(exchange) = &said.answer {
            masked.extend(exchange.masked().map(|name| format!("http.{name}")));
        }
    }
    hide_secrets(capsule, &secrets, &mut masked);
    masked.sort();
    masked.dedup();
    capsule.masked = masked;
}

/// Whether `value` was masked, in whole for its name or in part.
fn mask_value(name: &str, value: &mut String, secrets: &mut Secrets) -> bool {
    let shown = match is_secret(name) && !value.is_empty() {
        true => MASK.to_owned(),
        false => mask_secrets(value),
    };
    let masked = shown != *value;
    secrets.add(value, &shown);
    *value = shown;
    masked
}

fn hide_secrets(capsule: &mut Capsule, secrets: &Secrets, masked: &mut Vec<String>) {
    for (name, value) in &mut capsule.settings {
        if secrets.hide(value) {
            masked.push(format!("settings.{name}"));
        }
    }
    for (name, value) in &mut capsule.request.attributes {
        if secrets.hide(value) {
            masked.push(format!("attributes.{name}"));
        }
    }
    if secrets.blot(&mut capsule.context) {
        masked.push("context".to_owned());
    }
    capsule.ended = capsule.ended.clone().without(secrets);
    for said in &mut capsule.answers {
        if let Answer::Http(exchange) = &mut said.answer
            && exchange.hide_secrets(secrets)
        {
            masked.push("http".to_owned());
        }
    }
}

fn hide(capsule: &mut Capsule, parts: Parts) {
    if parts.line {
        capsule.batch = redact_lines(&capsule.batch);
        capsule.ended = capsule.ended.clone().redacted();
    }
    if parts.context {
        capsule.context = redact(&capsule.context);
    }
    let hide_pairs = |pairs: &mut Vec<(String, String)>| {
        let values = pairs.iter_mut().map(|(_, value)| value);
        let shown = values.filter(|value| !value.trim_matches('*').is_empty());
        shown.for_each(|value| *value = redact_text(value));
    };
    if parts.settings {
        let values = capsule.settings.values_mut();
        let shown = values.filter(|value| *value != MASK);
        shown.for_each(|value| *value = redact_text(value));
        hide_pairs(&mut capsule.env);
    }
    if parts.attributes {
        hide_pairs(&mut capsule.request.attributes);
    }
    for said in &mut capsule.answers {
        if let Answer::Http(exchange) = &mut said.answer {
            if parts.line || parts.http {
                exchange.hide_url();
            }
            if parts.http {
                exchange.hide_answer();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_by_name() {
        // Names -> those of the capsule, or an error.
        let table = [
            ("", Some("")),
            ("line", Some("line")),
            ("context,line", Some("line,context")),
            ("all", Some("line,settings,attributes,context,http")),
            ("lines", None),
            ("Line", None),
        ];
        for (names, expected) in table {
            let names: Vec<String> = names
                .split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let parts = Parts::parse(&names).map(|parts| parts.names().join(","));
            assert_eq!(parts.ok().as_deref(), expected, "{names:?}");
        }
    }
}
