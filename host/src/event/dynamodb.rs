//! Records of DynamoDB streams: each is a line, the JSON of the whole record.
//!
//! The record is left as it came, with `eventName`, `dynamodb.Keys`, `NewImage` and the rest, since what of it matters
//! is the plugin's to say; only its members are sorted by name.

use serde_json::Value;

use super::EventError;
use super::field::{at, string, text};
use super::gather::{Carrier, Gather, Lines};
use super::name::{Name, base};

/// The sequence number. The shard is not told, and a batch is of one shard, so the table stands for it.
pub(super) fn named(record: &Value, carrier: Carrier) -> Carrier {
    let number = record.get("dynamodb");
    let number = number.and_then(|change| string(change, "SequenceNumber"));
    carrier.named(number, Some(table(record)), 0)
}

/// Understands one record.
pub(super) fn record(
    record: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    at(record, "dynamodb")?;
    let number = text(record, "dynamodb.SequenceNumber")?;
    let lines = Lines {
        name: Name::under(&base("dynamodb", table(record), ""), number),
        attributes: Vec::new(),
        encoding: None,
        bytes: serde_json::to_vec(record).expect("what was JSON is JSON again"),
    };
    gather.lines(lines, carrier);
    Ok(())
}

fn table(record: &Value) -> &str {
    let arn = string(record, "eventSourceARN").unwrap_or("table");
    let name = arn.split_once(":table/").map_or(arn, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name)
}
