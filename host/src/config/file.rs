//! A configuration file taken apart into its fields, with the lines they are on.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// One top-level field of a file.
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) line: Option<usize>,
}

/// A line, if known, and what is wrong there.
pub(super) type SyntaxError = (Option<usize>, String);

pub(super) fn parse_file(path: &Path, text: &str) -> Result<Vec<Field>, SyntaxError> {
    let suffix = path
        .extension()
        .and_then(|s| s.to_str())
        .unwrap_or("")
        .to_ascii_lowercase();
    match suffix.as_str() {
        "toml" => parse_toml(text),
        "json" => parse_json(text),
        // No TOML begins so, and every JSON that is of use here does.
        _ if text.trim_start().starts_with('{') => parse_json(text),
        _ => parse_toml(text),
    }
}

fn parse_toml(text: &str) -> Result<Vec<Field>, SyntaxError> {
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let table: BTreeMap<toml::Spanned<String>, Value> = toml::from_str(text).map_err(|e| {
        (
            e.span().map(|span| line(span.start)),
            e.message().to_owned(),
        )
    })?;
    let field = |(name, value): (toml::Spanned<String>, Value)| Field {
        line: Some(line(name.span().start)),
        name: name.into_inner(),
        value,
    };
    let mut fields: Vec<_> = table.into_iter().map(field).collect();
    fields.sort_by_key(|field| field.line);
    Ok(fields)
}

fn parse_json(text: &str) -> Result<Vec<Field>, SyntaxError> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|e| {
        let message = e.to_string();
        let message = message
            .split(" at line ")
            .next()
            .unwrap_or_default()
            .to_owned();
        (Some(e.line()), message)
    })?;
    Ok(pairs
        .into_iter()
        .map(|(name, value)| Field {
            name,
            value,
            line: None,
        })
        .collect())
}

/// The fields of a JSON object, in order and with duplicates, which a map would hide.
pub(super) struct Pairs(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        from.deserialize_map(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
