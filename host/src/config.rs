//! The configuration: every setting with its default, and the checks of them.
//!
//! [`Layers`] puts it together from a file, the environment and flags, and tells where each
//! value came from; what leaves it is typed and checked, so nobody downstream asks again.

mod check;
mod effective;
mod file;
mod grants;
mod layers;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::request::join;
use check::template_problem;

pub(crate) use check::{is_digest, is_route_name};
pub(crate) use effective::is_secret;

pub use effective::{Effective, mask_secrets};
pub use grants::{DirGrant, Grants, HttpGrant};
pub use layers::{Layers, Origin};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// All settings.
///
/// This struct is the one table of them: names, order in print and types are taken from it.
/// Sizes are numbers of bytes, and may be given with a unit: `64k`, `256MiB` (1024 each step),
/// `5MB` (1000 each step). An empty text unsets an optional setting, so that a later layer can
/// take back what an earlier one set.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Path or URL of the plugin. Default: none, a run needs one.
    #[serde(deserialize_with = "value::text")]
    pub plugin: Option<String>,
    /// Digest that the plugin must have: `sha256:` and 64 hexadecimal digits. Default: none, any.
    #[serde(deserialize_with = "value::text")]
    pub plugin_digest: Option<String>,
    /// Ed25519 key that the plugin must be signed with: 32 bytes as base64 or hexadecimal digits, or PEM. The
    /// signature lies beside the plugin, its URL with `.sig` behind its path: 64 bytes as they are, or as base64.
    /// Default: none, no signature is asked for.
    #[serde(deserialize_with = "value::text")]
    pub plugin_public_key: Option<String>,
    /// What `linemill compile` made of the plugin, a path that only its owner (root or linemill's user) can write to.
    /// Code of another engine, or of another component than `plugin`, is compiled anew. Default: none.
    #[serde(deserialize_with = "value::path")]
    pub plugin_compiled: Option<PathBuf>,
    /// How often a plugin is looked at for a newer version, in milliseconds, by what serves many requests; 0 is
    /// never. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub plugin_poll_ms: u64,
    /// Path or URL of sample lines, at most 1 MiB, that a version has to get through before it is used. Default:
    /// none.
    #[serde(deserialize_with = "value::text")]
    pub canary: Option<String>,
    /// Share of requests that a new version gets at first, 0 to 1; with 0 it gets all at once. Default: 0.
    #[serde(deserialize_with = "value::ratio")]
    pub canary_share: f64,
    /// Requests that a new version is watched for, with `canary_share` or `shadow`. Default: 100.
    #[serde(deserialize_with = "value::number")]
    pub canary_requests: u64,
    /// By how much the shares of faulted lines, of calls that trap and of requests that it fails may be larger for a
    /// new version than for the old one, 0 to 1. Default: 0.01.
    #[serde(deserialize_with = "value::ratio")]
    pub canary_fault_tolerance: f64,
    /// How much more fuel a new version may use for a byte, as a share of what the old one uses: 0.2 is a fifth
    /// more. Default: 0.2.
    #[serde(deserialize_with = "value::ratio")]
    pub canary_fuel_tolerance: f64,
    /// Whether a new version first runs beside the old one, on the same batches, without anything of it being
    /// emitted: `off`; `first`, for `canary_requests` requests; `only`, until it is pinned. Default: `off`.
    pub shadow: ShadowMode,

    /// One base for all that is written: what is unset of `destination_url`, `retry_url`,
    /// `failed_url` and `corruption_url` becomes `destination`, `retry`, `failed` and `corruption`
    /// below it. Default: none.
    #[serde(deserialize_with = "value::text")]
    pub out_url: Option<String>,
    /// Template of where output goes; `-` is standard output. Default: none, or below `out_url`.
    #[serde(deserialize_with = "value::text")]
    pub destination_url: Option<String>,
    /// Template of where lines to retry go. Default: none, or below `out_url`; a run needs one.
    #[serde(deserialize_with = "value::text")]
    pub retry_url: Option<String>,
    /// Template of where lines go whose attempts are used up. Default: none, or below `out_url`;
    /// a run needs one.
    #[serde(deserialize_with = "value::text")]
    pub failed_url: Option<String>,
    /// Template of where corrupt lines go. Default: none, or below `out_url`; a run needs one.
    #[serde(deserialize_with = "value::text")]
    pub corruption_url: Option<String>,
    /// Templates of further destinations, by the name that the plugin uses. Default: none.
    pub routes: BTreeMap<String, String>,
    /// Settings handed to the plugin, all as text. Default: none.
    #[serde(deserialize_with = "value::texts")]
    pub settings: BTreeMap<String, String>,
    /// What the plugin may reach besides its lines: servers, variables, folders. Default: nothing.
    pub grants: Grants,

    /// Instances that work at the same time, 1 to 1000. Default: the number of cores.
    #[serde(deserialize_with = "value::number")]
    pub concurrency: usize,
    /// Size that batches grow to, in bytes. Default: 512 KiB.
    #[serde(deserialize_with = "value::size")]
    pub batch_bytes_max: usize,
    /// Fixed size of batches, in bytes. Default: none, sizes adapt.
    #[serde(deserialize_with = "value::maybe_size")]
    pub batch_bytes: Option<usize>,
    /// Fixed number of lines in a batch. Default: none, sizes adapt.
    #[serde(deserialize_with = "value::maybe_number")]
    pub batch_lines: Option<usize>,
    /// Batches that an instance is given before a fresh one takes its place; with 1 each has an instance of its own.
    /// Default: none, an instance works until its request ends.
    #[serde(deserialize_with = "value::maybe_number")]
    pub instance_batches_max: Option<u64>,
    /// Longest line that a plugin is given, in bytes; longer ones are corrupt. Default: 16 MiB.
    #[serde(deserialize_with = "value::size")]
    pub line_bytes_max: usize,
    /// Most output of one batch, in bytes. Default: 16 MiB.
    #[serde(deserialize_with = "value::size")]
    pub output_bytes_max: usize,
    /// Most partial results of one request, in bytes. Default: 64 MiB.
    #[serde(deserialize_with = "value::size")]
    pub partials_bytes_max: usize,
    /// Whether output is in the order of lines. Default: true.
    #[serde(deserialize_with = "value::flag")]
    pub ordered: bool,

    /// Attempts after the first, before a line has failed. Default: 10.
    #[serde(deserialize_with = "value::number")]
    pub max_retries: u32,
    /// How lines that were never read are handed over: `pointer` or `copy`. Default: `pointer`.
    pub unread: Unread,
    /// What becomes of the source: `keep`, `delete` or `move`. Default: `keep`.
    pub completion: Completion,
    /// Template of where the source is moved. Default: none; `completion = "move"` needs one.
    #[serde(deserialize_with = "value::text")]
    pub move_url: Option<String>,

    /// Time that a request has, in milliseconds. Default: none, what the platform gives.
    #[serde(deserialize_with = "value::maybe_number")]
    pub max_exec_time_ms: Option<u64>,
    /// How long before the end work stops, in milliseconds. Default: 1 % of the whole, at least
    /// 500.
    #[serde(deserialize_with = "value::maybe_number")]
    pub deadline_reduction_ms: Option<u64>,
    /// Wall time of one batch, in milliseconds. Default: 30 000.
    #[serde(deserialize_with = "value::number")]
    pub batch_ms_max: u64,
    /// Wall time of each call of `pre`, `post` and `merge`, in milliseconds. Default: 30 000.
    #[serde(deserialize_with = "value::number")]
    pub call_ms_max: u64,

    /// Fuel of each batch, whatever its size. Default: 100 000 000.
    #[serde(deserialize_with = "value::number")]
    pub fuel_base: u64,
    /// Fuel of each batch for every byte in it. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub fuel_per_byte: u64,
    /// Fuel of each call of `pre`, `post` and `merge`. Default: 10 000 000 000.
    #[serde(deserialize_with = "value::number")]
    pub call_fuel: u64,
    /// Memory of one instance, in bytes. Default: 256 MiB.
    #[serde(deserialize_with = "value::size")]
    pub memory_bytes_max: usize,
    /// Elements in the tables of one instance. Default: 100 000.
    #[serde(deserialize_with = "value::number")]
    pub table_elements_max: usize,
    /// Share of lines that may trap before a request stops, 0 to 1. Default: 0.5.
    #[serde(deserialize_with = "value::ratio")]
    pub trap_ratio_max: f64,
    /// Lines attempted before `trap_ratio_max` counts. Default: 32.
    #[serde(deserialize_with = "value::number")]
    pub trap_lines_min: u64,
    /// Messages that a plugin may log in one request. Default: 1000.
    #[serde(deserialize_with = "value::number")]
    pub log_events_max: u64,
    /// Size of one such message, in bytes; the rest is cut. Default: 4096.
    #[serde(deserialize_with = "value::size")]
    pub log_bytes_max: usize,

    /// Whether failures are kept as capsules beside the list of faults, for `linemill replay`: `off`; `traps`, of
    /// calls that trap; `faults`, also of lines that the plugin blames, which are run alone once more to be sure.
    /// Default: `off`.
    pub capsules: CapsuleMode,
    /// What is hidden in capsules, its shape kept: `line` (and what messages say), `settings`, `attributes`,
    /// `context`, `http` (bodies and headers), or `all`. A list; as text, separated by commas. Default: none; what
    /// looks secret by its name is left out in any case.
    #[serde(deserialize_with = "value::list")]
    pub capsule_redact: Vec<String>,
    /// Capsules that one request writes; further ones are left out. Default: 100.
    #[serde(deserialize_with = "value::number")]
    pub capsules_max: u64,
    /// Size of one capsule, in bytes; larger ones are left out. Default: 4 MiB.
    #[serde(deserialize_with = "value::size")]
    pub capsule_bytes_max: usize,

    /// Folder for compiled code. Default: none, one in the user's cache folder.
    #[serde(deserialize_with = "value::path")]
    pub cache_dir: Option<PathBuf>,

    /// Where `linemill serve` listens, `ADDRESS:PORT`; port 0 is any that is free. Default: none, all addresses at
    /// the port that the variable `PORT` names, or else `127.0.0.1:8080`.
    #[serde(deserialize_with = "value::text")]
    pub listen: Option<String>,
    /// Requests that `serve` runs at the same time, 1 to 10 000; further ones are sent away with 503. Default: 64.
    #[serde(deserialize_with = "value::number")]
    pub requests_max: usize,
    /// Connections that `serve` keeps open, 1 to 100 000; further ones wait. Default: 1024.
    #[serde(deserialize_with = "value::number")]
    pub connections_max: usize,
    /// Size of the body of an event, in bytes (that of lines is not limited). Default: 16 MiB.
    #[serde(deserialize_with = "value::size")]
    pub body_bytes_max: usize,
    /// Time from the first byte of a request to the end of its headers, in milliseconds. Default: 10 000.
    #[serde(deserialize_with = "value::number")]
    pub header_ms_max: u64,
    /// How long a client may neither send nor take anything while it is its turn, and how long a connection is kept
    /// for the next request, in milliseconds; the body of an event has to arrive in this time. Default: 75 000.
    #[serde(deserialize_with = "value::number")]
    pub idle_ms_max: u64,
    /// Time from SIGTERM to the end of `serve`, in milliseconds. Requests that are not done when a quarter of it is
    /// left are handed over, as at a deadline. Default: 8000.
    #[serde(deserialize_with = "value::number")]
    pub grace_ms: u64,
    /// URLs and paths below which sources may be that a request over HTTP names: `s3://bucket/in`, `s3://bucket`,
    /// `gs://` for all buckets. A list; as text, separated by commas. Default: none, every such source is refused.
    #[serde(deserialize_with = "value::list")]
    pub allowed_sources: Vec<String>,
    /// Token that `serve` asks for as `Authorization: Bearer TOKEN`, but for `/health`. Default: none.
    #[serde(deserialize_with = "value::text")]
    pub token: Option<String>,
    /// Token for `/admin`, which is closed without one. Default: none.
    #[serde(deserialize_with = "value::text")]
    pub admin_token: Option<String>,
}

/// How lines that were never read are handed over.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unread {
    /// As a small object that names the range.
    #[default]
    Pointer,
    /// As a copy of the bytes.
    Copy,
}

/// Whether a new version of the plugin first runs beside the old one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ShadowMode {
    /// It does not.
    #[default]
    Off,
    /// For `canary_requests` requests; then it goes on.
    First,
    /// Until it is pinned.
    Only,
}

/// Which failures are kept as capsules.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CapsuleMode {
    /// None.
    #[default]
    Off,
    /// Calls that trap.
    Traps,
    /// These, and lines and calls that the plugin says have failed.
    Faults,
}

/// What becomes of a source that was read to its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Completion {
    /// It stays.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
    /// It is moved under `move_url`.
    Move,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            plugin: None,
            plugin_digest: None,
            plugin_public_key: None,
            plugin_compiled: None,
            plugin_poll_ms: 10_000,
            canary: None,
            canary_share: 0.0,
            canary_requests: 100,
            canary_fault_tolerance: 0.01,
            canary_fuel_tolerance: 0.2,
            shadow: ShadowMode::default(),
            out_url: None,
            destination_url: None,
            retry_url: None,
            failed_url: None,
            corruption_url: None,
            routes: BTreeMap::new(),
            settings: BTreeMap::new(),
            grants: Grants::default(),
            concurrency: cores(),
            batch_bytes_max: 512 * KIB,
            batch_bytes: None,
            batch_lines: None,
            instance_batches_max: None,
            line_bytes_max: 16 * MIB,
            output_bytes_max: 16 * MIB,
            partials_bytes_max: 64 * MIB,
            ordered: true,
            max_retries: 10,
            unread: Unread::default(),
            completion: Completion::default(),
            move_url: None,
            max_exec_time_ms: None,
            deadline_reduction_ms: None,
            batch_ms_max: 30_000,
            call_ms_max: 30_000,
            fuel_base: 100_000_000,
            fuel_per_byte: 10_000,
            call_fuel: 10_000_000_000,
            memory_bytes_max: 256 * MIB,
            table_elements_max: 100_000,
            trap_ratio_max: 0.5,
            trap_lines_min: 32,
            log_events_max: 1000,
            log_bytes_max: 4096,
            capsules: CapsuleMode::default(),
            capsule_redact: Vec::new(),
            capsules_max: 100,
            capsule_bytes_max: 4 * MIB,
            cache_dir: None,
            listen: None,
            requests_max: 64,
            connections_max: 1024,
            body_bytes_max: 16 * MIB,
            header_ms_max: 10_000,
            idle_ms_max: 75_000,
            grace_ms: 8000,
            allowed_sources: Vec::new(),
            token: None,
            admin_token: None,
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(1000))
}

/// What is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// All that is wrong with what was read, at once.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    fn when_any(problems: Vec<Problem>) -> Result<(), ConfigError> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }
}

fn list(problems: &[Problem]) -> String {
    match problems {
        [problem] => format!("configuration: {problem}"),
        _ => {
            let lines: String = problems.iter().map(|p| format!("\n  - {p}")).collect();
            format!("configuration: {} problems{lines}", problems.len())
        }
    }
}

/// One thing that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The setting's name; empty when the whole file is meant.
    pub setting: String,
    /// What is wrong with it, and what to do.
    pub message: String,
    /// Where it was set: a file and line, a variable, a flag.
    pub place: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.setting.is_empty() {
            write!(f, "`{}` ", self.setting)?;
        }
        f.write_str(&self.message)
    }
}

impl Config {
    /// Fills what is unset of the four destinations from `out_url`. Returns their names.
    fn apply_out_url(&mut self) -> Vec<&'static str> {
        // What is wrong with `out_url` is said of it once, not of all that follows from it.
        let valid = |out: &&str| template_problem("out_url", out).is_none();
        let Some(out) = self.out_url.as_deref().filter(valid) else {
            return Vec::new();
        };
        let slots = [
            ("destination_url", "destination", &mut self.destination_url),
            ("retry_url", "retry", &mut self.retry_url),
            ("failed_url", "failed", &mut self.failed_url),
            ("corruption_url", "corruption", &mut self.corruption_url),
        ];
        let mut filled = Vec::new();
        for (name, folder, slot) in slots {
            if slot.is_none() {
                *slot = Some(join(out, folder));
                filled.push(name);
            }
        }
        filled
    }
}

/// The candidate that `word` is probably a misspelling of.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    candidates
        .map(|candidate| (strsim::jaro_winkler(&word, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        // Of equals the first: names come before aliases.
        .min_by(|a, b| b.0.total_cmp(&a.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
