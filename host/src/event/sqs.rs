//! Messages of SQS queues: envelopes in which objects are named, or lines.

use serde_json::Value;

use super::EventError;
use super::field::{count, string, text};
use super::gather::{Carrier, Gather};
use super::name::{base, last_part};
use super::payload::{Message, Payload, attributes};

/// The message's id, by which it fails alone; its FIFO group; and how often it was received before.
pub(super) fn named(record: &Value, carrier: Carrier) -> Carrier {
    let system = record.get("attributes");
    let group = system.and_then(|system| string(system, "MessageGroupId"));
    let received = count(system.and_then(|system| system.get("ApproximateReceiveCount")));
    let before = received.unwrap_or(1).saturating_sub(1);
    let attempt = before.try_into().unwrap_or(u32::MAX);
    carrier.named(string(record, "messageId"), group, attempt)
}

/// Understands one message.
pub(super) fn record(
    record: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<(), EventError> {
    let queue = string(record, "eventSourceARN").unwrap_or("queue");
    let message = Message {
        step: "body",
        payload: Payload::Text(text(record, "body")?),
        attributes_step: "messageAttributes",
        // Text and numbers as they are, bytes in the base64 in which they come.
        attributes: attributes(
            record.get("messageAttributes"),
            &["stringValue", "binaryValue"],
        ),
        base: base("sqs", last_part(queue), ""),
        id: text(record, "messageId")?,
    };
    message.deliver(carrier, gather, depth)
}
