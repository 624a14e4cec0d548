//! The checks of a configuration: each value, values against each other, and what a run needs.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::{Completion, Config, ConfigError, GIB, KIB, MIB, Problem};
use crate::allowed::AllowedSources;
use crate::capsule::Parts;
use crate::request::{check_template, keeps_attempt};
use crate::signature::PublicKey;

/// The largest number that TOML can hold.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// Longer than anybody means to wait.
pub(super) const DAY_MS: u64 = 24 * 3600 * 1000;

/// Collects what is wrong.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, setting: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            setting: setting.into(),
            message: message.into(),
            place: None,
        });
    }
}

impl Config {
    /// Checks the values, each and against each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        self.check_values(&mut problems);
        ConfigError::when_any(problems.0)
    }

    /// Checks the values, and that all is set which a run needs.
    pub fn check_for_run(&self) -> Result<(), ConfigError> {
        let mut problems = Problems::default();
        self.check_needs(&mut problems);
        self.check_values(&mut problems);
        ConfigError::when_any(problems.0)
    }

    fn check_values(&self, problems: &mut Problems) {
        self.check_ranges(problems);
        self.check_choices(problems);
        self.check_templates(problems);
        self.check_collisions(problems);
        for (name, message) in self.grants.problems() {
            problems.add(name, message);
        }
    }

    fn check_needs(&self, problems: &mut Problems) {
        if self.plugin.is_none() && self.plugin_compiled.is_none() {
            problems.add(
                "plugin",
                "is not set: set it to the path or URL of a component",
            );
        }
        for (name, url) in [
            ("retry_url", &self.retry_url),
            ("failed_url", &self.failed_url),
            ("corruption_url", &self.corruption_url),
        ] {
            if url.is_none() {
                let why = "lines that need it would have nowhere to go";
                problems.add(
                    name,
                    format!("is not set, {why}: set `out_url`, or `{name}`"),
                );
            }
        }
    }

    fn check_ranges(&self, problems: &mut Problems) {
        for (name, value, range) in self.ranges() {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                problems.add(name, format!("must be from {low} to {high}, not {value}"));
            }
        }
        for (name, value, max) in [
            ("trap_ratio_max", self.trap_ratio_max, 1.0),
            ("canary_share", self.canary_share, 1.0),
            ("canary_fault_tolerance", self.canary_fault_tolerance, 1.0),
            ("canary_fuel_tolerance", self.canary_fuel_tolerance, 1e6),
        ] {
            if !(0.0..=max).contains(&value) {
                problems.add(name, format!("must be from 0 to {max}, not {value}"));
            }
        }
    }

    /// Every whole number that is not free, with what it may be.
    fn ranges(&self) -> impl Iterator<Item = (&'static str, u64, RangeInclusive<u64>)> {
        // A batch, a line and what is made of them have to fit into an instance's memory.
        let bytes = 1..=4 * GIB as u64;
        let count = 1..=NUMBER_MAX;
        let of = |size: usize| Some(size as u64);
        [
            ("concurrency", of(self.concurrency), 1..=1000),
            ("batch_bytes_max", of(self.batch_bytes_max), bytes.clone()),
            ("batch_bytes", self.batch_bytes.and_then(of), bytes.clone()),
            ("batch_lines", self.batch_lines.and_then(of), count.clone()),
            (
                "instance_batches_max",
                self.instance_batches_max,
                count.clone(),
            ),
            ("line_bytes_max", of(self.line_bytes_max), bytes.clone()),
            ("output_bytes_max", of(self.output_bytes_max), bytes.clone()),
            (
                "partials_bytes_max",
                of(self.partials_bytes_max),
                bytes.clone(),
            ),
            ("max_exec_time_ms", self.max_exec_time_ms, count.clone()),
            (
                "deadline_reduction_ms",
                self.deadline_reduction_ms,
                0..=NUMBER_MAX,
            ),
            ("batch_ms_max", Some(self.batch_ms_max), count.clone()),
            ("call_ms_max", Some(self.call_ms_max), count.clone()),
            ("fuel_base", Some(self.fuel_base), count.clone()),
            ("fuel_per_byte", Some(self.fuel_per_byte), 0..=NUMBER_MAX),
            ("call_fuel", Some(self.call_fuel), count.clone()),
            (
                "memory_bytes_max",
                of(self.memory_bytes_max),
                64 * KIB as u64..=4 * GIB as u64,
            ),
            (
                "table_elements_max",
                of(self.table_elements_max),
                1..=u64::from(u32::MAX),
            ),
            ("trap_lines_min", Some(self.trap_lines_min), count.clone()),
            ("canary_requests", Some(self.canary_requests), count),
            ("plugin_poll_ms", Some(self.plugin_poll_ms), 0..=NUMBER_MAX),
            ("log_events_max", Some(self.log_events_max), 0..=NUMBER_MAX),
            ("log_bytes_max", of(self.log_bytes_max), 0..=MIB as u64),
            ("capsules_max", Some(self.capsules_max), 0..=1_000_000),
            (
                "capsule_bytes_max",
                of(self.capsule_bytes_max),
                KIB as u64..=GIB as u64,
            ),
            ("requests_max", of(self.requests_max), 1..=10_000),
            ("connections_max", of(self.connections_max), 1..=100_000),
            ("body_bytes_max", of(self.body_bytes_max), 1..=GIB as u64),
            ("header_ms_max", Some(self.header_ms_max), 1..=DAY_MS),
            ("idle_ms_max", Some(self.idle_ms_max), 1..=DAY_MS),
            ("grace_ms", Some(self.grace_ms), 0..=DAY_MS),
        ]
        .into_iter()
        .chain(self.grants.ranges())
        .filter_map(|(name, value, range)| Some((name, value?, range)))
    }

    fn check_choices(&self, problems: &mut Problems) {
        if self.batch_bytes.is_some() && self.batch_lines.is_some() {
            problems.add(
                "batch_lines",
                "excludes `batch_bytes`: set only one of them",
            );
        }
        if self.completion == Completion::Move && self.move_url.is_none() {
            problems.add("move_url", "is not set: `completion = \"move\"` needs it");
        }
        if !self.plugin_digest.as_deref().is_none_or(is_digest) {
            problems.add(
                "plugin_digest",
                "must be `sha256:` and 64 hexadecimal digits, lower case",
            );
        }
        let is_url = |path: &Option<PathBuf>| {
            let text = path.as_ref().map(|path| path.to_string_lossy());
            text.is_some_and(|text| text.contains("://"))
        };
        if is_url(&self.cache_dir) {
            problems.add("cache_dir", "must be a folder of this machine, not a URL");
        }
        if is_url(&self.plugin_compiled) {
            problems.add(
                "plugin_compiled",
                "must be a file of this machine, not a URL",
            );
        }
        if let Err(problem) = Parts::parse(&self.capsule_redact) {
            problems.add("capsule_redact", problem);
        }
        self.check_key(problems);
        self.check_serving(problems);
    }

    fn check_serving(&self, problems: &mut Problems) {
        for allowed in &self.allowed_sources {
            if let Err(problem) = AllowedSources::new([allowed]) {
                problems.add("allowed_sources", problem);
            }
        }
        for (name, token) in [("token", &self.token), ("admin_token", &self.admin_token)] {
            let sendable = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
            if !token.as_ref().is_none_or(sendable) {
                let why = "it could not be sent in a header";
                problems.add(name, format!("must be ASCII without spaces, {why}"));
            }
        }
        if self.token.is_some() && self.token == self.admin_token {
            problems.add("admin_token", "is the same as `token`: set another");
        }
    }

    fn check_key(&self, problems: &mut Problems) {
        let Some(key) = self.plugin_public_key.as_deref() else {
            return;
        };
        if let Err(error) = PublicKey::parse(key) {
            problems.add("plugin_public_key", error);
        }
        if self.plugin.is_none() && self.plugin_compiled.is_some() {
            problems.add(
                "plugin_public_key",
                "is a key for the component, which compiled code does not hold: set `plugin` too",
            );
        }
    }

    fn check_templates(&self, problems: &mut Problems) {
        for (name, template) in self.templates() {
            if let Some(message) = template_problem(&name, template) {
                problems.add(name, message);
            }
        }
        for name in self.routes.keys() {
            if !is_route_name(name) {
                let rule = "must consist of letters, digits, `_` and `-`";
                problems.add(
                    format!("routes.{name}"),
                    format!("{rule}: rename the route"),
                );
            }
        }
    }

    /// Every setting that is a template, by name.
    fn templates(&self) -> impl Iterator<Item = (String, &str)> {
        let single = [
            ("out_url", &self.out_url),
            ("destination_url", &self.destination_url),
            ("retry_url", &self.retry_url),
            ("failed_url", &self.failed_url),
            ("corruption_url", &self.corruption_url),
            ("move_url", &self.move_url),
        ];
        let single = single
            .into_iter()
            .filter_map(|(n, t)| Some((n.to_owned(), t.as_deref()?)));
        let routes = self
            .routes
            .iter()
            .map(|(n, t)| (format!("routes.{n}"), t.as_str()));
        single.chain(routes)
    }

    /// What goes to different places must not meet in one object. `retry_url` and `failed_url`
    /// may be one: their names carry attempts that do not overlap.
    fn check_collisions(&self, problems: &mut Problems) {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (name, template) in self.templates() {
            let idle = name == "move_url" && self.completion != Completion::Move;
            if name == "out_url" || template == "-" || idle {
                continue;
            }
            match seen.get(template.trim_end_matches('/')) {
                Some(other) if other == "retry_url" && name == "failed_url" => {}
                Some(other) => {
                    let why = "objects of both would have one name";
                    problems.add(
                        name,
                        format!("is the same as `{other}`, {why}: set another"),
                    );
                }
                None => drop(seen.insert(template.trim_end_matches('/'), name)),
            }
        }
    }
}

pub(super) fn template_problem(name: &str, template: &str) -> Option<String> {
    let scheme = template
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    if template == "-" {
        let only = "cannot be `-`, only `destination_url` can: set a URL or path";
        (name != "destination_url").then(|| only.to_owned())
    } else if matches!(scheme.as_deref(), Some("http" | "https")) {
        Some("cannot be an http URL, those are only read: set a URL or path to write to".to_owned())
    } else if let Err(e) = check_template(template) {
        Some(format!("is no valid {e}"))
    } else if name == "retry_url" && !keeps_attempt(template) {
        let why = "since the name of a retry tells its attempt";
        Some(format!(
            "must end in `$SourcePath` or `$SourceName`, or have neither, {why}"
        ))
    } else {
        None
    }
}

/// Whether it is `sha256:` and 64 hexadecimal digits, lower case.
pub(crate) fn is_digest(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:")
        .is_some_and(|rest| rest.len() == 64 && rest.bytes().all(hex))
}

/// Whether a route can be called that.
pub(crate) fn is_route_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}
