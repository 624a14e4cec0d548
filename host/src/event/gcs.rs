//! New objects of Google Cloud Storage, as CloudEvents, Pub/Sub notifications and Cloud Functions tell of them.
//! Names are written as they are.

use serde_json::Value;

use super::EventError;
use super::field::{shown, string, text};
use super::gather::{Carrier, Gather};

/// Whether this is what describes an object (`storage#object`).
pub(super) fn is_object(value: &Value) -> bool {
    string(value, "kind") == Some("storage#object")
}

/// An object that is new, by its description.
pub(super) fn resource(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let (bucket, name) = (text(value, "bucket")?, text(value, "name")?);
    let gathered = gather.object("gs", bucket, name, carrier);
    gathered.map_err(|reason| EventError::field("bucket", reason))
}

/// What the attributes of a Pub/Sub notification say of an object; false when they say nothing of one.
pub(super) fn notification(
    attributes: &[(String, String)],
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<bool, EventError> {
    let of = |name: &str| {
        let found = attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    };
    let (Some(happened), Some(bucket), Some(name)) =
        (of("eventType"), of("bucketId"), of("objectId"))
    else {
        return Ok(false);
    };
    if happened != "OBJECT_FINALIZE" {
        skip(happened, bucket, name, gather);
        return Ok(true);
    }
    let gathered = gather.object("gs", bucket, name, carrier);
    gathered.map_err(|reason| EventError::field("attributes.bucketId", reason))?;
    Ok(true)
}

/// Tells of something else that happened to an object.
pub(super) fn skip(happened: &str, bucket: &str, name: &str, gather: &mut Gather) {
    let url = shown(&format!("gs://{bucket}/{name}"));
    gather.skip(format!("{url}: {} is no new object", shown(happened)));
}
