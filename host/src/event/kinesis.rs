//! Records of Kinesis streams: lines, in base64.

use serde_json::Value;

use super::EventError;
use super::field::{string, text};
use super::gather::{Carrier, Gather, Lines};
use super::name::{Name, base};
use super::payload::decode;

/// The sequence number, and the shard, which `eventID` begins with.
pub(super) fn named(record: &Value, carrier: Carrier) -> Carrier {
    let number = record.get("kinesis");
    let number = number.and_then(|kinesis| string(kinesis, "sequenceNumber"));
    let shard = string(record, "eventID").and_then(|id| id.split_once(':'));
    carrier.named(number, shard.map(|(shard, _)| shard), 0)
}

/// Understands one record.
pub(super) fn record(
    record: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let number = text(record, "kinesis.sequenceNumber")?;
    let data = text(record, "kinesis.data")?;
    let stream = string(record, "eventSourceARN").unwrap_or("stream");
    let stream = stream.split_once(":stream/").map_or(stream, |(_, name)| {
        // What reads with a share of its own has its name behind that of the stream.
        name.split('/').next().unwrap_or(name)
    });
    let lines = Lines {
        name: Name::under(&base("kinesis", stream, ""), number),
        attributes: Vec::new(),
        encoding: None,
        bytes: decode(data.as_bytes(), "kinesis.data")?,
    };
    gather.lines(lines, carrier);
    Ok(())
}
