//! The effective configuration: what holds, where each value came from, fit to be printed.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::layers::{is_map, names};
use super::{Config, Origin};

/// Stands for what must not be printed.
const MASK: &str = "***";
/// Parts of names whose values are secret, in plugin settings and in queries of URLs.
const SECRET_NAMES: [&str; 9] = [
    "secret",
    "token",
    "password",
    "passwd",
    "credential",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
];
/// The same, in queries only: a signature gives access to what it signs.
const SECRET_PARAMETERS: [&str; 4] = ["sig", "key", "auth", "pwd"];

/// A checked configuration, and where each of its values came from.
///
/// Its `Display` is TOML that can be read back, but for what is masked, with the origin of each
/// value as a comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Origins by name of the setting, `settings.NAME` and `routes.NAME` for entries of maps.
    /// What follows from `out_url` has its origin.
    pub origins: BTreeMap<String, Origin>,
}

impl Effective {
    /// `{name: {value, origin}}`, what is secret masked.
    pub fn to_json(&self) -> Value {
        let rows = self.rows().into_iter().map(|(key, value)| {
            let origin = self.origin(&key).to_string();
            (key, json!({ "value": value, "origin": origin }))
        });
        Value::Object(rows.collect())
    }

    fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Every value by name, printable, in the order of the settings, maps last.
    fn rows(&self) -> Vec<(String, Value)> {
        let mut fields = serde_json::to_value(&self.config).expect("a configuration is JSON");
        let (maps, plain): (Vec<_>, Vec<_>) = names().partition(|name| is_map(name));
        let mut rows: Vec<_> = plain
            .into_iter()
            .map(|name| (name.clone(), masked(name, fields[name].take())))
            .collect();
        for map in maps {
            let entries = fields[map]
                .as_object_mut()
                .map(std::mem::take)
                .unwrap_or_default();
            rows.extend(entries.into_iter().map(|(name, value)| {
                let value = masked(&name, value);
                (format!("{map}.{name}"), value)
            }));
        }
        rows
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = "";
        let rows = self.rows();
        for (key, value) in &rows {
            let (map, name) = key.split_once('.').unwrap_or(("", key));
            if map != table {
                writeln!(f, "\n[{map}]")?;
                table = map;
            }
            let origin = self.origin(key);
            match value {
                Value::Null => writeln!(f, "# {name} is not set ({origin})")?,
                value => writeln!(f, "{} = {} # {origin}", toml_key(name), toml_value(value))?,
            }
        }
        Ok(())
    }
}

fn toml_key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
    if !name.is_empty() && name.bytes().all(bare) {
        return name.to_owned();
    }
    toml_value(&Value::from(name))
}

/// A scalar in JSON is one in TOML, but for one character that TOML wants escaped.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml_value).collect();
            format!("[{}]", values.join(", "))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{} = {}", toml_key(name), toml_value(value))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        scalar => scalar.to_string().replace('\u{7f}', "\\u007f"),
    }
}

fn masked(name: &str, value: Value) -> Value {
    match value {
        Value::String(text) if is_secret(name) && !text.is_empty() => Value::from(MASK),
        Value::String(text) => Value::from(mask_secrets(&text)),
        other => other,
    }
}

/// Whether a value of that name is not to be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase().replace('-', "_");
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// `text` without what is secret in a URL: the password before the host, and the values of
/// signatures, keys and tokens in the query.
pub fn mask_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (address, query) = match rest.split_once('?') {
        Some((address, query)) => (address, format!("?{}", mask_query(query))),
        None => (rest, String::new()),
    };
    format!("{scheme}://{}{query}", mask_password(address))
}

fn mask_password(address: &str) -> String {
    let (authority, path) = address.split_at(address.find('/').unwrap_or(address.len()));
    let hidden = authority.rsplit_once('@').and_then(|(user, host)| {
        let (user, _) = user.split_once(':')?;
        Some(format!("{user}:{MASK}@{host}{path}"))
    });
    hidden.unwrap_or_else(|| address.to_owned())
}

fn mask_query(query: &str) -> String {
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret_parameter(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&")
}

fn is_secret_parameter(name: &str) -> bool {
    let lower = name.to_lowercase();
    is_secret(name) || SECRET_PARAMETERS.iter().any(|part| lower.contains(part))
}
