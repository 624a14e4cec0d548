//! Fields of JSON, found by their path; what is missing or of another kind is told with it.

use serde_json::Value;

use super::EventError;

/// What is shown of a text that somebody else wrote.
const SHOWN_CHARS: usize = 60;

/// What stands at `path`, such as `s3.bucket.name`; `null` is as good as nothing.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Result<&'a Value, EventError> {
    let found = path
        .split('.')
        .try_fold(value, |value, name| value.get(name));
    let missing = || EventError::Missing {
        path: path.to_owned(),
    };
    found.filter(|value| !value.is_null()).ok_or_else(missing)
}

/// The text at `path`.
pub(super) fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str, EventError> {
    let found = at(value, path)?;
    found.as_str().ok_or_else(|| wrong(path, found, "a string"))
}

/// The list at `path`.
pub(super) fn list<'a>(value: &'a Value, path: &str) -> Result<&'a [Value], EventError> {
    match at(value, path)? {
        Value::Array(list) => Ok(list),
        other => Err(wrong(path, other, "a list")),
    }
}

/// The text of a field that may be missing, or be something else.
pub(super) fn string<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// A count in a field that may be missing; platforms write it as a number or as text.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Whether an object has the field.
pub(super) fn has(value: &Value, name: &str) -> bool {
    value.get(name).is_some_and(|field| !field.is_null())
}

/// The members of an object that are text or can be written as such, by name; none when there is no such object.
pub(super) fn texts(value: Option<&Value>) -> Vec<(String, String)> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    let named = members.filter_map(|(name, value)| Some((name.clone(), written(value)?)));
    named.collect()
}

/// A text, number or truth value as text.
pub(super) fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// What is wrong with a field that holds something else than it should.
pub(super) fn wrong(path: &str, found: &Value, expected: &str) -> EventError {
    EventError::field(path, format!("it is {}, expected {expected}", sort(found)))
}

/// What sort of value this is.
pub(super) fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A text of somebody else's, for a message: on one line, and not long.
pub(super) fn shown(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_CHARS).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("`{}`", cut.escape_debug())
}
