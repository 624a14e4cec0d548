//! S3 through EventBridge, where keys are written as they are.

use serde_json::Value;

use super::EventError;
use super::field::{shown, text};
use super::gather::{Carrier, Gather};

/// Understands one event.
pub(super) fn event(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let source = text(value, "source")?;
    if source != "aws.s3" {
        let reason = format!("it is {}, only events of `aws.s3` name data", shown(source));
        return Err(EventError::field("source", reason));
    }
    let happened = text(value, "detail-type")?;
    let bucket = text(value, "detail.bucket.name")?;
    let key = text(value, "detail.object.key")?;
    if happened != "Object Created" {
        let url = shown(&format!("s3://{bucket}/{key}"));
        gather.skip(format!("{url}: {} is no new object", shown(happened)));
        return Ok(());
    }
    let gathered = gather.object("s3", bucket, key, carrier);
    gathered.map_err(|reason| EventError::field("detail", reason))
}
