//! A failure capsule: all that a call into a plugin was given and answered, so that it fails again elsewhere. Pure.
//!
//! Capsules stand beside the list of faults, one JSON document a line. What is in one is deterministic but for what
//! the host answered, which is in it too: a replay with the same plugin ends in the same way at the same fuel.

mod ended;
mod exchange;
mod keeper;
mod redact;
mod secrets;
mod shrink;
mod tape;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::{Config, ConfigError};

pub use ended::Ended;
pub use exchange::{Exchange, Piece};
pub use keeper::{Capture, Keeper, Parts};
pub use redact::redact_text;
pub use secrets::Secrets;
pub use shrink::Shrink;
pub use tape::{Answer, Asked, Memory, Recorded, Said, Slot, Tape};

/// The format that is written.
const VERSION: u64 = 1;
/// What stands in the place of a value that looks secret.
const MASK: &str = "***";

/// Why a document is not taken for a capsule.
#[derive(Debug, Error)]
pub enum CapsuleError {
    /// There is nothing.
    #[error("is empty: it holds no capsule")]
    Empty,
    /// It breaks off.
    #[error("is cut short: capsule {0} of it breaks off")]
    Cut(usize),
    /// Something else.
    #[error("is not a list of capsules: document {0} of it is {1}")]
    NotACapsule(usize, String),
    /// A later linemill wrote it.
    #[error("is of format {0}, this linemill reads formats up to {VERSION}: take a newer one")]
    Newer(u64),
    /// A capsule says something impossible.
    #[error("capsule {0} of it is not valid: {1}")]
    Invalid(usize, String),
}

/// One failed call, and all that it depends on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Capsule {
    /// Version of the format.
    pub capsule: u64,
    /// SHA-256 of the capsule with this field empty, as hexadecimal digits: one that was edited is told by it.
    pub sha256: String,
    /// What wrote it.
    pub made_by: MadeBy,
    /// What ran.
    pub plugin: PluginOf,
    /// Within which limits.
    pub limits: LimitsOf,
    /// For which request.
    pub request: RequestOf,
    /// The plugin's settings.
    pub settings: BTreeMap<String, String>,
    /// Variables that were granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// Folders that were granted, by the names that the plugin knows. What is in them is not in the capsule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// What `pre` returned.
    #[serde(with = "base64_bytes")]
    pub context: Vec<u8>,
    /// Number in the source of the line that the failure is about; of the first, where it is about all of them.
    pub line: u64,
    /// Number in the source of the first line of the batch.
    pub first_line: u64,
    /// The lines that the call was given.
    #[serde(with = "base64_bytes")]
    pub batch: Vec<u8>,
    /// How it ended, in a fresh instance.
    pub ended: Ended,
    /// What the host answered.
    pub answers: Vec<Said>,
    /// There were more answers than are kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers_cut: bool,
    /// What was redacted: `line`, `settings`, `attributes`, `context`, `http`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// Settings, attributes, variables and headers that are left out for their names: they look secret; and where else
    /// the same values, or passwords in URLs, were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// Bytes of the batch that it was made smaller from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimised_from: Option<u64>,
}

/// What wrote a capsule.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MadeBy {
    /// Version of linemill.
    pub linemill: String,
    /// Version of the engine.
    pub engine: String,
    /// Processor and system.
    pub platform: String,
}

/// The plugin of a capsule.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PluginOf {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub version: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// The settings of the configuration that a call depends on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsOf {
    /// `fuel_base`
    pub fuel_base: u64,
    /// `fuel_per_byte`
    pub fuel_per_byte: u64,
    /// `memory_bytes_max`
    pub memory_bytes_max: usize,
    /// `table_elements_max`
    pub table_elements_max: usize,
    /// `output_bytes_max`
    pub output_bytes_max: usize,
    /// `batch_ms_max`
    pub batch_ms_max: u64,
}

/// The request of a capsule.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RequestOf {
    /// Its id.
    pub id: String,
    /// Where the lines came from, what is secret masked.
    pub source: String,
    /// How often these data had been tried before.
    pub attempt: u32,
    /// Milliseconds since the Unix epoch.
    pub started_at: u64,
    /// What the event said besides.
    pub attributes: Vec<(String, String)>,
}

impl LimitsOf {
    /// Those of a configuration.
    pub fn of(config: &Config) -> LimitsOf {
        LimitsOf {
            fuel_base: config.fuel_base,
            fuel_per_byte: config.fuel_per_byte,
            memory_bytes_max: config.memory_bytes_max,
            table_elements_max: config.table_elements_max,
            output_bytes_max: config.output_bytes_max,
            batch_ms_max: config.batch_ms_max,
        }
    }

    /// The configuration that a replay runs with, all else as in `config`.
    ///
    /// # Errors
    /// A limit is one that no configuration may have.
    pub fn put_into(&self, config: &Config) -> Result<Config, ConfigError> {
        let config = Config {
            fuel_base: self.fuel_base,
            fuel_per_byte: self.fuel_per_byte,
            memory_bytes_max: self.memory_bytes_max,
            table_elements_max: self.table_elements_max,
            output_bytes_max: self.output_bytes_max,
            batch_ms_max: self.batch_ms_max,
            ..config.clone()
        };
        config.check().map(|()| config)
    }

    /// Fuel of a batch of so many bytes.
    pub fn fuel(&self, bytes: usize) -> u64 {
        let variable = self.fuel_per_byte.saturating_mul(bytes as u64);
        self.fuel_base.saturating_add(variable)
    }
}

impl Capsule {
    /// The capsules of an object, in order; what comes behind one that cannot be read is not.
    pub fn parse_all(bytes: &[u8]) -> Vec<Result<Capsule, CapsuleError>> {
        let mut capsules = Vec::new();
        let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
        for (number, document) in (1..).zip(documents) {
            let capsule = match document {
                Ok(document) => Capsule::of(number, document),
                Err(error) if error.is_eof() => Err(CapsuleError::Cut(number)),
                Err(error) => Err(CapsuleError::NotACapsule(
                    number,
                    format!("no JSON: {error}"),
                )),
            };
            capsules.push(capsule);
        }
        if capsules.is_empty() {
            capsules.push(Err(CapsuleError::Empty));
        }
        capsules
    }

    fn of(number: usize, document: Value) -> Result<Capsule, CapsuleError> {
        let other = |what: &str| Err(CapsuleError::NotACapsule(number, what.to_owned()));
        match document.get("capsule").map(Value::as_u64) {
            None => return other("something else"),
            Some(Some(version @ 1..)) if version > VERSION => {
                return Err(CapsuleError::Newer(version));
            }
            Some(Some(1..)) => {}
            Some(_) => return other("of no known format"),
        }
        let invalid = |why: String| CapsuleError::Invalid(number, why);
        let capsule: Capsule =
            serde_json::from_value(document).map_err(|error| invalid(error.to_string()))?;
        match capsule.problem() {
            Some(why) => Err(invalid(why)),
            None => Ok(capsule),
        }
    }

    /// What cannot be, though it has the right form.
    fn problem(&self) -> Option<String> {
        let lines = crate::batch::count_lines(&self.batch) as u64;
        let index = self.line.checked_sub(self.first_line);
        if lines == 0 {
            return Some("its batch has no line".to_owned());
        }
        if self.first_line == 0 || index.is_none_or(|index| index >= lines) {
            return Some("its line is not one of its batch".to_owned());
        }
        let blamed = self.ended.index().map(|index| index as u64);
        if blamed.is_some() && blamed != index {
            return Some("the line that is blamed is another one".to_owned());
        }
        let limits = self.limits.put_into(&Config::default());
        limits.err().map(|error| error.to_string())
    }

    /// One line, with the checksum that fits.
    pub fn to_line(&self) -> Vec<u8> {
        let sealed = Capsule {
            sha256: self.checksum(),
            ..self.clone()
        };
        let mut line = serde_json::to_vec(&sealed).expect("a capsule is plain data");
        line.push(b'\n');
        line
    }

    /// Whether it is as it was written.
    pub fn is_intact(&self) -> bool {
        self.sha256 == self.checksum()
    }

    fn checksum(&self) -> String {
        let open = Capsule {
            sha256: String::new(),
            ..self.clone()
        };
        let json = serde_json::to_vec(&open).expect("a capsule is plain data");
        let digest = Sha256::digest(&json);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The bytes of the line that the failure is about, with its end; of the batch where it is about all of it.
    pub fn line_bytes(&self) -> &[u8] {
        let index = (self.line - self.first_line) as usize;
        let mut lines = self.batch.split_inclusive(|&byte| byte == b'\n');
        match self.ended.index() {
            Some(_) => lines.nth(index).unwrap_or_default(),
            None => &self.batch,
        }
    }

    /// How many lines the batch has.
    pub fn lines(&self) -> usize {
        crate::batch::count_lines(&self.batch)
    }

    /// The same, with values from here for settings and variables that were masked or redacted.
    #[must_use]
    pub fn completed(
        mut self,
        settings: &BTreeMap<String, String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Capsule {
        let redacted = self.redacted.iter().any(|part| part == "settings");
        let masked = self.masked.clone();
        let hidden = |name: String| redacted || masked.contains(&name);
        for (name, value) in &mut self.settings {
            if hidden(format!("settings.{name}"))
                && let Some(given) = settings.get(name)
            {
                value.clone_from(given);
            }
        }
        for (name, value) in &mut self.env {
            if hidden(format!("env.{name}"))
                && let Some(given) = env(name)
            {
                *value = given;
            }
        }
        self
    }

    /// Whether all is in it that the call depended on; otherwise a replay may differ.
    pub fn is_whole(&self) -> bool {
        self.redacted.is_empty() && self.masked.is_empty() && !self.answers_cut
    }
}

/// Bytes as base64 text.
mod base64_bytes {
    use super::{BASE64, Engine};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
