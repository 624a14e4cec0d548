//! Requests of linemill's own, and what resume pointers hold: `{"source": …}` or `{"sources": […]}`.

use serde_json::Value;

use crate::config::closest;
use crate::request::{Pointer, Range, Request, is_pointer};

use super::EventError;
use super::field::{list, text, texts, wrong};
use super::gather::{Carrier, Gather};

const FIELDS: [&str; 7] = [
    "source",
    "offset",
    "length",
    "etag",
    "first_line",
    "attempt",
    "attributes",
];

/// Understands one request, or a list of sources, each a URL or a request.
pub(super) fn requests(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    if value.get("sources").is_none() {
        gather.request(request(value)?, carrier);
        return Ok(());
    }
    let stray = value.as_object().into_iter().flatten();
    if let Some((name, _)) = stray.into_iter().find(|(name, _)| *name != "sources") {
        let reason =
            "beside `sources` nothing else can be said; each may be an object that says it";
        return Err(EventError::field(name, reason));
    }
    for (at, source) in list(value, "sources")?.iter().enumerate() {
        let made = match source {
            Value::String(url) => checked(Request::new(url)),
            other => request(other),
        };
        match made {
            Ok(request) => gather.request(request, carrier),
            Err(error) => gather.refuse(&carrier.inside(&format!("sources[{at}]")), error),
        }
    }
    Ok(())
}

/// Understands requests in a message that says it holds such, in its field `step`.
pub(super) fn in_message(
    json: &[u8],
    step: &str,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let value: Value = serde_json::from_slice(json)
        .map_err(|error| EventError::field(step, format!("it is not JSON: {error}")))?;
    let understood = requests(&value, &carrier.inside(step), gather);
    understood.map_err(|error| error.within(&format!("{step}.")))
}

fn request(value: &Value) -> Result<Request, EventError> {
    let Value::Object(fields) = value else {
        return Err(wrong("source", value, "a URL or an object with one"));
    };
    let known = |name: &&String| FIELDS.contains(&name.as_str());
    if let Some(name) = fields.keys().find(|name| !known(name)) {
        let meant = closest(name, FIELDS.iter().copied());
        let meant = meant.map_or_else(
            || format!("there are {}", FIELDS.join(", ")),
            |known| format!("did you mean `{known}`?"),
        );
        return Err(EventError::field(name, format!("unknown, {meant}")));
    }
    let mut request = Request::new(text(value, "source")?);
    let (offset, length) = (number(value, "offset")?, number(value, "length")?);
    if offset.is_some() || length.is_some() {
        request.source.range = Some(Range {
            offset: offset.unwrap_or(0),
            length,
        });
    }
    request.source.etag = optional(value, "etag")?;
    if let Some(first_line) = number(value, "first_line")? {
        request.source.first_line = first_line;
    }
    if let Some(attempt) = number(value, "attempt")? {
        request.attempt = attempt.try_into().unwrap_or(u32::MAX);
    }
    request.attributes = attributes(value)?;
    checked(request)
}

/// The request, if it can be run: what a pointer must be fit for, this must be too.
fn checked(request: Request) -> Result<Request, EventError> {
    let source = &request.source;
    let range = source.range.unwrap_or(Range {
        offset: 0,
        length: None,
    });
    let like = Pointer {
        source: source.url.clone(),
        offset: range.offset,
        length: range.length,
        etag: source.etag.clone(),
        first_line: source.first_line,
        attempt: request.attempt,
    };
    let whole = source.range.is_none() && source.etag.is_none() && source.first_line == 1;
    let follows_pointer = whole && is_pointer(&source.url);
    match like.problem().filter(|_| !follows_pointer) {
        Some(problem) => Err(EventError::field("source", problem)),
        None if source.url.ends_with('/') => {
            let reason = "it is a folder: name the objects in it";
            Err(EventError::field("source", reason))
        }
        None => Ok(request),
    }
}

fn number(value: &Value, name: &str) -> Result<Option<u64>, EventError> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => match found.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(name, found, "a whole number, not below 0")),
        },
    }
}

fn attributes(value: &Value) -> Result<Vec<(String, String)>, EventError> {
    let Some(found) = value.get("attributes").filter(|found| !found.is_null()) else {
        return Ok(Vec::new());
    };
    let told = texts(Some(found));
    match found.as_object() {
        Some(members) if members.len() == told.len() => Ok(told),
        Some(_) => Err(EventError::field(
            "attributes",
            "each must be a string, a number or a truth value",
        )),
        None => Err(wrong("attributes", found, "an object")),
    }
}

fn optional(value: &Value, name: &str) -> Result<Option<String>, EventError> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(value, name).map(|text| Some(text.to_owned())),
    }
}
