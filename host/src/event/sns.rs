//! Messages of SNS topics: in records, pushed over HTTP, or in the bodies of a queue's messages.

use serde_json::Value;

use super::EventError;
use super::field::{at, shown, string, text};
use super::gather::{Carrier, Gather};
use super::name::{base, last_part};
use super::payload::{Message, Payload, attributes};

/// Understands one record of a topic's event.
pub(super) fn record(
    record: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<(), EventError> {
    let envelope = at(record, "Sns")?;
    let understood = message(envelope, &carrier.inside("Sns"), gather, depth);
    understood.map_err(|error| error.within("Sns."))
}

/// Understands one message: objects that it names, or lines.
pub(super) fn message(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<(), EventError> {
    let topic = text(value, "TopicArn")?;
    // What asks to visit a URL could ask for any URL.
    if let Some(asks @ ("SubscriptionConfirmation" | "UnsubscribeConfirmation")) =
        string(value, "Type")
    {
        let topic = shown(topic);
        gather.skip(format!("{asks} of {topic}: to be confirmed by hand"));
        return Ok(());
    }
    let message = Message {
        step: "Message",
        payload: Payload::Text(text(value, "Message")?),
        attributes_step: "MessageAttributes",
        attributes: attributes(value.get("MessageAttributes"), &["Value"]),
        base: base("sns", last_part(topic), ""),
        id: text(value, "MessageId")?,
    };
    message.deliver(carrier, gather, depth)
}
