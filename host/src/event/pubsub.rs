//! Messages that Pub/Sub pushes: notifications of Cloud Storage, or lines.

use serde_json::Value;

use super::field::{at, count, has, string, texts};
use super::gather::{Carrier, Gather};
use super::name::{base, last_part};
use super::payload::{Message, Payload, decode};
use super::{EventError, EventKind, gcs};

/// Whether this is a push envelope.
pub(super) fn is_push(value: &Value) -> bool {
    let known = ["messageId", "message_id", "data", "attributes"];
    let message = value.get("message");
    message.is_some_and(|message| known.iter().any(|name| has(message, name)))
}

/// Understands one push.
pub(super) fn push(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<EventKind, EventError> {
    let message = at(value, "message")?;
    let id = string(message, "messageId").or_else(|| string(message, "message_id"));
    let id = id.ok_or_else(|| EventError::Missing {
        path: "message.messageId".to_owned(),
    })?;
    // Told only by subscriptions that give up after some deliveries.
    let delivered = count(value.get("deliveryAttempt")).unwrap_or(1);
    let attempt = delivered.saturating_sub(1).try_into().unwrap_or(u32::MAX);
    let group = string(message, "orderingKey").filter(|key| !key.is_empty());
    let carrier = carrier.clone().named(Some(id), group, attempt);
    let attributes = texts(message.get("attributes"));
    if gcs::notification(&attributes, &carrier, gather).map_err(|e| e.within("message."))? {
        return Ok(EventKind::PubSub);
    }
    let data = string(message, "data").unwrap_or_default();
    let subscription = string(value, "subscription").unwrap_or("subscription");
    let message = Message {
        step: "message.data",
        payload: Payload::Bytes(decode(data.as_bytes(), "message.data")?),
        attributes_step: "message.attributes",
        attributes,
        base: base("pubsub", last_part(subscription), ""),
        id,
    };
    message.deliver(&carrier, gather, 0)?;
    Ok(EventKind::PubSub)
}
