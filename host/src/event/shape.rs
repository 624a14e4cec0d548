//! What an event is, by the names of its outermost fields; and events within events.

use serde_json::Value;

use super::field::{self, has, string};
use super::gather::{Carrier, Gather};
use super::{
    EventError, EventKind, cloudevents, eventbridge, gcs, http, logs, own, pubsub, records, s3, sns,
};

/// Envelopes in envelopes; each one more costs the sender twice the backslashes, so nobody means more.
const NESTED_MAX: u8 = 8;

/// What the outermost fields say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Records,
    Logs,
    EventBridge,
    CloudEvent,
    PubSub,
    Http,
    /// What a function that failed was invoked with, as its on-failure destination gets it.
    Invocation,
    S3Test,
    Sns,
    GcsObject,
    Own,
}

impl Shape {
    pub(super) fn of(value: &Value) -> Option<Shape> {
        let has = |name| has(value, name);
        Some(match value {
            _ if has("Records") => Shape::Records,
            _ if has("awslogs") => Shape::Logs,
            _ if has("detail-type") => Shape::EventBridge,
            _ if has("specversion") => Shape::CloudEvent,
            _ if has("requestPayload") => Shape::Invocation,
            _ if http::is_call(value) => Shape::Http,
            _ if s3::is_test(value) => Shape::S3Test,
            _ if has("TopicArn") && has("Type") => Shape::Sns,
            _ if pubsub::is_push(value) => Shape::PubSub,
            _ if gcs::is_object(value) => Shape::GcsObject,
            _ if has("source") || has("sources") => Shape::Own,
            _ => return None,
        })
    }

    /// Whether this can be no line of data: the envelopes in which messages name objects.
    fn of_envelope(value: &Value) -> Option<Shape> {
        let shape = Shape::of(value)?;
        let sure = match shape {
            Shape::Records => records::name_objects(value),
            Shape::EventBridge => string(value, "source") == Some("aws.s3"),
            Shape::Sns => string(value, "TopicArn").is_some_and(|arn| arn.starts_with("arn:")),
            Shape::Invocation => has(value, "requestContext"),
            Shape::S3Test => true,
            _ => false,
        };
        sure.then_some(shape)
    }

    pub(super) fn understand(
        self,
        value: &Value,
        carrier: &Carrier,
        gather: &mut Gather,
        depth: u8,
    ) -> Result<EventKind, EventError> {
        match self {
            Shape::Records => return records::each(value, carrier, gather, depth),
            Shape::Logs => logs::subscription(value, carrier, gather)?,
            Shape::EventBridge => eventbridge::event(value, carrier, gather)?,
            Shape::CloudEvent => return cloudevents::structured(value, carrier, gather),
            Shape::PubSub => return pubsub::push(value, carrier, gather),
            Shape::Http => return http::call(value, gather),
            Shape::Invocation => return invocation(value, carrier, gather, depth),
            Shape::S3Test => gather.skip("a test message of S3".to_owned()),
            Shape::Sns => sns::message(value, carrier, gather, depth)?,
            Shape::GcsObject => gcs::resource(value, carrier, gather)?,
            Shape::Own => own::requests(value, carrier, gather)?,
        }
        Ok(match self {
            Shape::Logs => EventKind::Logs,
            Shape::EventBridge => EventKind::EventBridge,
            Shape::Sns => EventKind::Sns,
            Shape::GcsObject => EventKind::Gcs,
            Shape::Own => EventKind::Request,
            _ => EventKind::Test,
        })
    }
}

fn invocation(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<EventKind, EventError> {
    let payload = field::at(value, "requestPayload")?;
    match Shape::of(payload) {
        None | Some(Shape::Http) => Err(EventError::unknown(payload)),
        Some(shape) => nested(shape, payload, "requestPayload", carrier, gather, depth),
    }
}

/// Understands `text`, which stands in the field `step`, when it is an envelope in which objects are named.
/// False: it is something else, such as lines.
pub(super) fn envelope(
    text: &str,
    step: &str,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<bool, EventError> {
    if !text.trim_start().starts_with('{') {
        return Ok(false);
    }
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Ok(false);
    };
    let Some(shape) = Shape::of_envelope(&value) else {
        return Ok(false);
    };
    nested(shape, &value, step, carrier, gather, depth).map(|_| true)
}

fn nested(
    shape: Shape,
    value: &Value,
    step: &str,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<EventKind, EventError> {
    if depth >= NESTED_MAX {
        let reason = format!("more than {NESTED_MAX} envelopes are in each other");
        return Err(EventError::field(step, reason));
    }
    let inner = carrier.inside(step);
    let understood = shape.understand(value, &inner, gather, depth + 1);
    understood.map_err(|error| error.within(&format!("{step}.")))
}
