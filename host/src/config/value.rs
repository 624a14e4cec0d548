//! One setting's value as text or number: a file may say `5`, a variable can only say `"5"`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde_json::Value;

/// Units of sizes, the longest names first. As in most tools a bare letter counts in 1024s.
const UNITS: [(&str, u64); 11] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
    ("", 1),
];

/// A whole number.
pub(super) fn number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(from: D) -> Result<T, D::Error> {
    read(from, |value| whole(value, parse_number, "a whole number"))
}

/// A whole number, or none.
pub(super) fn maybe_number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    read(from, |value| {
        unless_empty(value, |v| whole(v, parse_number, "a whole number"))
    })
}

/// A number of bytes, with or without unit.
pub(super) fn size<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    read(from, |value| whole(value, parse_size, A_SIZE))
}

/// A number of bytes, with or without unit, or none.
pub(super) fn maybe_size<'de, D: Deserializer<'de>>(from: D) -> Result<Option<usize>, D::Error> {
    read(from, |value| {
        unless_empty(value, |v| whole(v, parse_size, A_SIZE))
    })
}

const A_SIZE: &str = "a size such as 4096, 64k or 256MiB";

/// A number with or without fraction.
pub(super) fn ratio<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    read(from, |value| {
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        };
        number
            .filter(|n: &f64| n.is_finite())
            .ok_or_else(|| expected("a number", value))
    })
}

/// True or false.
pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    read(from, |value| match value {
        Value::Bool(flag) => Ok(*flag),
        Value::String(text) => text
            .trim()
            .parse()
            .map_err(|_| expected("true or false", value)),
        _ => Err(expected("true or false", value)),
    })
}

/// A text, or none.
pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    read(from, |value| {
        unless_empty(value, |v| {
            v.as_str()
                .map(str::to_owned)
                .ok_or_else(|| expected("text", value))
        })
    })
}

/// A path, or none.
pub(super) fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    Ok(text(from)?.map(PathBuf::from))
}

/// A list of texts, or one text that holds them, separated by commas.
pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    const A_LIST: &str = "a list of texts, or a text that holds them, separated by commas";
    read(from, |value| match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map_err(|_| expected(A_LIST, value))
        }
        Value::String(text) => {
            let texts = text.split(',').map(str::trim);
            Ok(texts
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect())
        }
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map(str::to_owned));
            texts
                .collect::<Option<_>>()
                .ok_or_else(|| expected(A_LIST, value))
        }
        _ => Err(expected(A_LIST, value)),
    })
}

/// A list of tables, or a text that holds it as JSON.
pub(super) fn tables<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    const A_LIST: &str = "a list of tables, or a text that holds it as JSON";
    read(from, |value| {
        let list = match value {
            Value::Null => return Ok(Vec::new()),
            Value::String(text) if text.trim().is_empty() => return Ok(Vec::new()),
            Value::String(text) => serde_json::from_str(text).ok(),
            other => Some(other.clone()),
        };
        let Some(Value::Array(entries)) = list else {
            return Err(expected(A_LIST, value));
        };
        let entry = |(at, entry)| {
            serde_json::from_value(entry).map_err(|e| format!("is wrong in entry {}: {e}", at + 1))
        };
        entries.into_iter().enumerate().map(entry).collect()
    })
}

/// Names and texts; a number, true and false are taken for their text.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, Value>::deserialize(from)?;
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(D::Error::custom(expected(
            "text, a number, true or false",
            value,
        ))),
    };
    values
        .iter()
        .map(|(name, value)| Ok((name.clone(), text(value)?)))
        .collect()
}

fn read<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&Value) -> Result<T, String>,
) -> Result<T, D::Error> {
    parse(&Value::deserialize(from)?).map_err(D::Error::custom)
}

fn unless_empty<T>(
    value: &Value,
    parse: impl Fn(&Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    let empty = value.is_null() || value.as_str() == Some("");
    if empty {
        Ok(None)
    } else {
        parse(value).map(Some)
    }
}

fn whole<T: TryFrom<u64>>(
    value: &Value,
    parse: fn(&str) -> Option<u64>,
    wanted: &str,
) -> Result<T, String> {
    let number = match value {
        Value::String(text) => parse(text.trim()),
        other => other.as_u64(),
    };
    let number = number.ok_or_else(|| expected(wanted, value))?;
    T::try_from(number).map_err(|_| format!("is too large: {number}"))
}

fn parse_number(text: &str) -> Option<u64> {
    // `100_000` is a number in TOML, so it is one everywhere. A sign is none.
    let digits = text.replace('_', "");
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    parse_number(digits.trim_end())?.checked_mul(factor)
}

fn expected(wanted: &str, value: &Value) -> String {
    let got = match value {
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        // Not quoted back when long: it may be a secret that was put into the wrong place.
        Value::String(text) if text.chars().count() > 32 => "a long text".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    };
    format!("must be {wanted}, not {got}")
}
