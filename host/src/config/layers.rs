//! Layers of settings: defaults, a file, the environment, flags, each over the one before.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::file::{Pairs, parse_file};
use super::{Config, ConfigError, Effective, Problem, closest};

const PREFIX: &str = "LINEMILL_";
/// Variables with the prefix that are no settings.
const RESERVED: [&str; 2] = ["LINEMILL_CONFIG", "LINEMILL_LOG"];
const RESERVED_PREFIXES: [&str; 2] = ["LINEMILL_TEST_", "LINEMILL_BENCH_"];

/// The forerunner's names, accepted in files and by [`Layers::set`].
const ALIASES: [(&str, &str); 9] = [
    ("DeadlineReductionMs", "deadline_reduction_ms"),
    ("MaxRetries", "max_retries"),
    ("Concurrency", "concurrency"),
    ("DestinationURL", "destination_url"),
    ("RetryURL", "retry_url"),
    ("FailedURL", "failed_url"),
    ("CorruptionURL", "corruption_url"),
    ("MaxExecTimeMs", "max_exec_time_ms"),
    ("BatchSize", "batch_lines"),
];

/// Where a value came from. A later kind goes over an earlier one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file at this path.
    File(PathBuf),
    /// The environment variable of this name.
    Env(String),
    /// The flag of this name.
    Flag(String),
}

impl Origin {
    fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File(_) => 1,
            Origin::Env(_) => 2,
            Origin::Flag(_) => 3,
        }
    }

    /// Whether two values of these origins are of one layer. Two files are two layers.
    fn same_layer(&self, other: &Origin) -> bool {
        match (self, other) {
            (Origin::File(one), Origin::File(two)) => one == two,
            _ => self.rank() == other.rank(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Env(name) => write!(f, "env {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value that was set: as [`Config`] would write it, and how its setting was spelled.
#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    origin: Origin,
    spelling: String,
}

/// Puts a configuration together.
///
/// Precedence follows from where values come from, not from the order of the calls: defaults,
/// file, environment, flags. Of two files, and of two flags of one name, the later one counts.
/// Maps (`routes`, `settings`) are merged name by name.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// By name of the setting; an entry of a map is `map.name`.
    entries: BTreeMap<String, Entry>,
}

impl Layers {
    /// The defaults only.
    pub fn new() -> Layers {
        Layers::default()
    }

    /// Reads a file: TOML or JSON by its suffix, or else by how it begins, a `{` being JSON.
    pub fn file(&mut self, path: impl AsRef<Path>) -> Result<&mut Self, ConfigError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let origin = Origin::File(path.to_owned());
        let place = |line: Option<usize>| match line {
            Some(line) => format!("{}, line {line}", path.display()),
            None => path.display().to_string(),
        };
        let fields = parse_file(path, &text).map_err(|(line, message)| {
            ConfigError::Invalid(vec![problem("", message, place(line))])
        })?;
        let mut problems = Vec::new();
        for field in fields {
            let put = self.put(&field.name, field.value, &origin, &place(field.line));
            problems.extend(put.err().unwrap_or_default());
        }
        ConfigError::when_any(problems).map(|()| self)
    }

    /// Takes the variables that begin with `LINEMILL_`.
    ///
    /// `LINEMILL_MAX_RETRIES` sets `max_retries`. An entry of a map is
    /// `LINEMILL_SETTINGS_<NAME>`, `LINEMILL_ROUTES_<NAME>` or `LINEMILL_GRANTS_<NAME>`, the name in lower case with `-` for
    /// each `__`: `LINEMILL_SETTINGS_API__KEY_ID` sets `settings.api-key_id`. A whole map is
    /// a JSON object in `LINEMILL_SETTINGS` or `LINEMILL_ROUTES`, for names that this cannot spell.
    pub fn env(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<&mut Self, ConfigError> {
        let mut problems = Vec::new();
        for (variable, value) in BTreeMap::from_iter(variables) {
            if !variable.starts_with(PREFIX) || is_reserved(&variable) {
                continue;
            }
            let origin = Origin::Env(variable.clone());
            let put = match setting_of(&variable) {
                Some(name) => self.put(&name, Value::String(value), &origin, &origin.to_string()),
                None => Err(vec![unknown_variable(&variable)]),
            };
            problems.extend(put.err().unwrap_or_default());
        }
        ConfigError::when_any(problems).map(|()| self)
    }

    /// Sets one value from text, as a flag does. `settings.NAME` and `routes.NAME` set entries
    /// of the maps.
    pub fn set(
        &mut self,
        key: &str,
        value: &str,
        origin: Origin,
    ) -> Result<&mut Self, ConfigError> {
        let place = origin.to_string();
        let value = Value::String(value.to_owned());
        self.put(key, value, &origin, &place)
            .map(|()| self)
            .map_err(ConfigError::Invalid)
    }

    /// The configuration that results, its values checked. Whether all is set that a run needs
    /// is for [`Config::check_for_run`] to say.
    pub fn finish(&self) -> Result<Effective, ConfigError> {
        let mut config = self.config();
        let mut origins = self.origins();
        if let Some(digest) = &mut config.plugin_digest {
            digest.make_ascii_lowercase();
        }
        for name in config.apply_out_url() {
            origins.insert(name.to_owned(), origins["out_url"].clone());
        }
        match config.check() {
            Err(ConfigError::Invalid(problems)) => Err(ConfigError::Invalid(
                problems.into_iter().map(|p| located(p, &origins)).collect(),
            )),
            checked => checked.map(|()| Effective { config, origins }),
        }
    }

    fn config(&self) -> Config {
        let mut fields = Map::new();
        for (key, Entry { value, .. }) in &self.entries {
            match key.split_once('.') {
                // A route that was taken back.
                Some(_) if value.is_null() => {}
                Some((map, name)) => {
                    let map = fields.entry(map).or_insert_with(|| Map::new().into());
                    map[name] = value.clone();
                }
                None => drop(fields.insert(key.clone(), value.clone())),
            }
        }
        serde_json::from_value(fields.into()).expect("each value was read as its setting's type")
    }

    fn origins(&self) -> BTreeMap<String, Origin> {
        let plain = names().filter(|name| !is_map(name));
        let mut origins: BTreeMap<_, _> =
            plain.map(|name| (name.clone(), Origin::Default)).collect();
        for (key, entry) in &self.entries {
            if !(key.contains('.') && entry.value.is_null()) {
                origins.insert(key.clone(), entry.origin.clone());
            }
        }
        origins
    }

    fn put(
        &mut self,
        spelling: &str,
        value: Value,
        origin: &Origin,
        place: &str,
    ) -> Result<(), Vec<Problem>> {
        let fail = |message: String| vec![problem(spelling, message, place.to_owned())];
        let name = known_name(spelling).ok_or_else(|| fail(unknown(spelling)))?;
        if is_map(&name) {
            return self.put_all(&name, entries_of(value).map_err(fail)?, origin, place);
        }
        let value = typed(&name, value).map_err(fail)?;
        self.insert(name, value, spelling, origin).map_err(fail)
    }

    fn put_all(
        &mut self,
        map: &str,
        entries: Map<String, Value>,
        origin: &Origin,
        place: &str,
    ) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (name, value) in entries {
            let put = self.put(&format!("{map}.{name}"), value, origin, place);
            problems.extend(put.err().unwrap_or_default());
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn insert(
        &mut self,
        name: String,
        value: Value,
        spelling: &str,
        origin: &Origin,
    ) -> Result<(), String> {
        if let Some(there) = self.entries.get(&name) {
            if let Some(twice) = there.clash(spelling, origin) {
                return Err(twice);
            }
            if there.origin.rank() > origin.rank() {
                return Ok(());
            }
        }
        let entry = Entry {
            value,
            origin: origin.clone(),
            spelling: spelling.to_owned(),
        };
        self.entries.insert(name, entry);
        Ok(())
    }
}

impl Entry {
    /// What is wrong with setting the same again in the same layer: two spellings, or two
    /// variables, of which nobody can say which one is meant.
    fn clash(&self, spelling: &str, origin: &Origin) -> Option<String> {
        if !self.origin.same_layer(origin) {
            return None;
        }
        match (&self.origin, origin) {
            _ if self.spelling != spelling => Some(format!(
                "and `{}` are the same setting: keep one",
                self.spelling
            )),
            (Origin::Env(one), Origin::Env(two)) if one != two => {
                Some(format!("is set by {one} too: keep one"))
            }
            (Origin::File(_), Origin::File(_)) => Some("is set twice: keep one".to_owned()),
            _ => None,
        }
    }
}

fn problem(setting: &str, message: String, place: String) -> Problem {
    Problem {
        setting: setting.to_owned(),
        message,
        place: Some(place),
    }
}

/// Adds where the setting got its value, if somebody set it.
fn located(mut problem: Problem, origins: &BTreeMap<String, Origin>) -> Problem {
    let origin = origins
        .get(&problem.setting)
        .filter(|origin| **origin != Origin::Default);
    problem.place = origin.map(Origin::to_string);
    problem
}

/// Reads `value` as the setting `name`, and gives it as [`Config`] writes it.
fn typed(name: &str, value: Value) -> Result<Value, String> {
    let Some((map, entry)) = name.split_once('.') else {
        return through_config(name, value).map(|mut fields| fields[name].take());
    };
    if map == "routes" && value.as_str() == Some("") {
        return Ok(Value::Null);
    }
    let value = Map::from_iter([(entry.to_owned(), value)]);
    through_config(map, value.into()).map(|mut fields| fields[map][entry].take())
}

/// One field through [`Config`] and back, which checks its type.
fn through_config(name: &str, value: Value) -> Result<Value, String> {
    let field = Value::from(Map::from_iter([(name.to_owned(), value)]));
    let config: Config = serde_json::from_value(field).map_err(|e| {
        let message = e.to_string();
        let ours = message.starts_with("must be") || message.starts_with("is ");
        if ours {
            message
        } else {
            format!("is no valid value: {message}")
        }
    })?;
    Ok(serde_json::to_value(config).expect("a configuration is always JSON"))
}

/// A whole map: an object, or text that holds one.
fn entries_of(value: Value) -> Result<Map<String, Value>, String> {
    let value = match value {
        Value::String(text) if text.is_empty() => return Ok(Map::new()),
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    };
    match value {
        Value::Object(entries) => Ok(entries),
        _ => Err("must be a table of names and values; as text, a JSON object".to_owned()),
    }
}

/// All settings with their defaults, in the order of the struct.
fn defaults() -> &'static [(String, Value)] {
    static DEFAULTS: OnceLock<Vec<(String, Value)>> = OnceLock::new();
    DEFAULTS.get_or_init(|| {
        let json = serde_json::to_string(&Config::default()).expect("a default is always JSON");
        let Pairs(pairs) = serde_json::from_str(&json).expect("what was just written");
        pairs
    })
}

/// The names of all settings, in the order of the struct.
pub(super) fn names() -> impl Iterator<Item = &'static String> {
    defaults().iter().map(|(name, _)| name)
}

/// Whether the setting `name` is a map.
pub(super) fn is_map(name: &str) -> bool {
    defaults()
        .iter()
        .any(|(known, default)| known == name && default.is_object())
}

/// The setting that `spelling` is a name of: its own, an alias, or an entry of a map.
fn known_name(spelling: &str) -> Option<String> {
    if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == spelling) {
        return Some((*name).to_owned());
    }
    let entry = spelling
        .split_once('.')
        .is_some_and(|(map, name)| is_map(map) && !name.is_empty());
    (entry || names().any(|name| name == spelling)).then(|| spelling.to_owned())
}

fn unknown(spelling: &str) -> String {
    let known = names()
        .map(String::as_str)
        .chain(ALIASES.iter().map(|(alias, _)| *alias));
    match closest(spelling, known) {
        Some(name) => format!("is no setting, did you mean `{name}`?"),
        None => "is no setting: `linemill config` prints those there are".to_owned(),
    }
}

fn is_reserved(variable: &str) -> bool {
    RESERVED.contains(&variable) || RESERVED_PREFIXES.iter().any(|p| variable.starts_with(p))
}

/// The setting that a variable stands for, if there is one.
fn setting_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    for map in names().filter(|name| is_map(name)) {
        let entry = name
            .strip_prefix(&map.to_uppercase())
            .and_then(|n| n.strip_prefix('_'));
        if let Some(entry) = entry.filter(|entry| !entry.is_empty()) {
            return Some(format!("{map}.{}", entry.to_lowercase().replace("__", "-")));
        }
    }
    names().find(|known| known.to_uppercase() == name).cloned()
}

fn unknown_variable(variable: &str) -> Problem {
    let known: Vec<_> = names()
        .map(|name| format!("{PREFIX}{}", name.to_uppercase()))
        .collect();
    let known = known.iter().map(String::as_str).chain(RESERVED);
    // Compared without the prefix that all have, which would make all alike.
    let bare = known.map(|name| &name[PREFIX.len()..]);
    let message = match closest(&variable[PREFIX.len()..], bare) {
        Some(name) => format!("is no setting, did you mean `{PREFIX}{name}`?"),
        None => "is no setting: `linemill config` prints those there are".to_owned(),
    };
    Problem {
        setting: variable.to_owned(),
        message,
        place: Some("environment".to_owned()),
    }
}
