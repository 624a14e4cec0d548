//! Event notifications of S3, and of servers in its manner.

use percent_encoding::percent_decode;
use serde_json::Value;

use super::EventError;
use super::field::{shown, string, text};
use super::gather::{Carrier, Gather};

/// What S3 sends when notifications are set up.
pub(super) fn is_test(value: &Value) -> bool {
    string(value, "Event") == Some("s3:TestEvent")
}

/// Understands one record: a new object is a request, whatever else happened to one is skipped.
pub(super) fn record(
    record: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let bucket = text(record, "s3.bucket.name")?;
    let key = text(record, "s3.object.key")?;
    let key = decoded(key).map_err(|reason| EventError::field("s3.object.key", reason))?;
    let happened = text(record, "eventName")?;
    let happened = happened.strip_prefix("s3:").unwrap_or(happened);
    if !happened.starts_with("ObjectCreated:") {
        let url = shown(&format!("s3://{bucket}/{key}"));
        gather.skip(format!("{url}: {} is no new object", shown(happened)));
        return Ok(());
    }
    let gathered = gather.object("s3", bucket, &key, carrier);
    gathered.map_err(|reason| EventError::field("s3", reason))
}

/// The key itself: notifications write it as a form would, `+` for a space and `%XX` for the rest, some `/` too.
/// A `%` that begins no such pair stands for itself.
fn decoded(key: &str) -> Result<String, String> {
    let spaced = key.replace('+', " ");
    let bytes = percent_decode(spaced.as_bytes());
    let decoded = bytes.decode_utf8();
    let decoded = decoded.map_err(|_| format!("{} does not decode to UTF-8", shown(key)))?;
    Ok(decoded.into_owned())
}
