//! Events of platforms into requests: pure.
//!
//! An event is told apart by its shape, and every record in it counts. What names an object becomes a request over
//! that object. What carries lines becomes a request that brings them along, and the lines of records that follow
//! each other and differ in nothing else share one: ten thousand small records are a few requests, not ten thousand,
//! and since a request is safe as a whole or not at all, each record's fate is still exact.
//!
//! The shapes are read field by field rather than into the structs of `aws_lambda_events`: those want fields that
//! nothing here needs and that S3-compatible servers leave out (`userIdentity`), refuse ten thousand records for the
//! sake of one, and do not say where the missing field is. The tests hold both against each other.

mod cloudevents;
mod dynamodb;
mod eventbridge;
mod field;
mod gather;
mod gcs;
mod http;
mod kinesis;
mod logs;
mod name;
mod own;
mod payload;
mod pubsub;
mod records;
mod s3;
mod shape;
mod sns;
mod sqs;

use std::collections::HashSet;

use serde_json::Value;
use thiserror::Error;

use crate::request::Request;

use field::{has, shown};
use gather::{Carrier, Gather};
use shape::Shape;

pub use http::HttpCall;

const EXPECTED: &str = "expected records of S3, SNS, SQS, Kinesis or DynamoDB (`Records`), S3 through EventBridge \
    (`detail-type`), a CloudWatch Logs subscription (`awslogs`), API Gateway or a function URL (`requestContext`), \
    Pub/Sub (`message`), a CloudEvent (`specversion`), or a request of linemill's own (`source` or `sources`)";

/// An event, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who sent it; what answer is expected follows from it.
    pub kind: EventKind,
    /// What is to be done, in the order of the records.
    pub tasks: Vec<Task>,
    /// Records that cannot be understood; the others are in `tasks`.
    pub refused: Vec<Refused>,
    /// What needs nothing done, and why: test messages, deleted objects, folders, lists of faults.
    pub skipped: Vec<String>,
}

/// Who sent an event.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// linemill's own request, or what a resume pointer holds.
    Request,
    /// S3 event notifications.
    S3,
    /// S3 through EventBridge.
    EventBridge,
    /// An SNS topic.
    Sns,
    /// An SQS queue.
    Sqs,
    /// A Kinesis stream.
    Kinesis,
    /// A DynamoDB stream.
    DynamoDb,
    /// A CloudWatch Logs subscription.
    Logs,
    /// Google Cloud Storage.
    Gcs,
    /// A Pub/Sub push subscription.
    PubSub,
    /// Another sender of CloudEvents.
    CloudEvent,
    /// API Gateway, a load balancer or a function URL.
    Http(Box<HttpCall>),
    /// A platform's test message, or an event with no records in it.
    Test,
}

impl EventKind {
    /// Whether the platform takes the names of failed records (`batchItemFailures`) for an answer.
    pub fn takes_failures(&self) -> bool {
        matches!(
            self,
            EventKind::Sqs | EventKind::Kinesis | EventKind::DynamoDb
        )
    }
}

/// One request, and the records whose lines it carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What is to be run.
    pub request: Request,
    /// What the platform calls those records (message ids, sequence numbers), where it wants to be told about each.
    /// A message that names several objects is in several tasks.
    pub records: Vec<String>,
    /// The FIFO group or shard: tasks of one group are run in their order, and none after one that was not safe.
    pub group: Option<String>,
}

/// A record that is not run.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// What the platform calls it; `None` where it has no name, or wants none.
    pub record: Option<String>,
    /// Why.
    pub error: EventError,
}

/// Why an event, or a record of one, cannot be understood.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum EventError {
    /// Not JSON.
    #[error("the event is not JSON: {0}")]
    Json(String),
    /// JSON of no known shape.
    #[error("unknown event, {found}: {EXPECTED}")]
    Unknown {
        /// What it has instead.
        found: String,
    },
    /// A field that must be there.
    #[error("`{path}` is missing")]
    Missing {
        /// Where it should be.
        path: String,
    },
    /// A field that holds what it must not.
    #[error("`{path}`: {reason}")]
    Field {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Sound in itself, and not its turn.
    #[error(
        "held back, since an earlier record of its group was refused: it comes again after that"
    )]
    HeldBack,
}

impl EventError {
    fn field(path: &str, reason: impl Into<String>) -> Self {
        EventError::Field {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    fn unknown(value: &Value) -> Self {
        let found = match value {
            Value::Object(fields) if fields.is_empty() => "which has no fields".to_owned(),
            Value::Object(fields) => {
                let names: Vec<_> = fields.keys().take(12).map(|name| shown(name)).collect();
                let more = fields.len().saturating_sub(names.len());
                let more = (more > 0).then(|| format!(" and {more} more"));
                let more = more.unwrap_or_default();
                format!("which has the fields {}{more}", names.join(", "))
            }
            other => format!("which is {}", field::sort(other)),
        };
        EventError::Unknown { found }
    }

    /// The same, of something that is found below `path`.
    fn within(mut self, outer: &str) -> Self {
        if let EventError::Missing { path } | EventError::Field { path, .. } = &mut self {
            path.insert_str(0, outer);
        }
        self
    }
}

impl Event {
    /// Understands an event as a function is invoked with it.
    pub fn parse(json: &[u8]) -> Result<Event, EventError> {
        let value: Value = serde_json::from_slice(json).map_err(not_json)?;
        parse_value(&value)
    }

    /// Understands an event that is sent over HTTP: a CloudEvent in either mode, a Pub/Sub or SNS push, a
    /// notification in the manner of S3, or a request of linemill's own.
    pub fn parse_http<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        body: &[u8],
    ) -> Result<Event, EventError> {
        if let Some(binary) = cloudevents::Binary::of(headers) {
            let mut gather = Gather::default();
            let kind = binary.event(body, &mut gather)?;
            return Ok(gather.event(kind));
        }
        let event = Event::parse(body)?;
        match event.kind {
            // A function's view of a request, within a request: it would be answered to the wrong one.
            EventKind::Http(_) => Err(EventError::Unknown {
                found: "which is one that a gateway hands to a function".to_owned(),
            }),
            _ => Ok(event),
        }
    }

    /// The records to name in `batchItemFailures`: those that were refused, and those of the tasks that are not
    /// safe; `safe` says so for each task. An empty name stands for a record without one, and makes the platform
    /// send all records again.
    pub fn batch_item_failures(&self, safe: &[bool]) -> Vec<String> {
        let refused = self.refused.iter().map(|refused| &refused.record);
        let refused = refused.map(|record| record.as_deref().unwrap_or_default());
        let unsafe_tasks = self.tasks.iter().enumerate();
        let unsafe_tasks = unsafe_tasks.filter(|(at, _)| !safe.get(*at).is_some_and(|safe| *safe));
        let unsafe_records = unsafe_tasks.flat_map(|(_, task)| &task.records);
        let mut named = HashSet::new();
        refused
            .chain(unsafe_records.map(String::as_str))
            .filter(|record| named.insert(*record))
            .map(str::to_owned)
            .collect()
    }
}

fn not_json(error: serde_json::Error) -> EventError {
    EventError::Json(error.to_string())
}

fn parse_value(value: &Value) -> Result<Event, EventError> {
    let mut gather = Gather::default();
    let kind = match value {
        Value::Array(events) if events.iter().any(|event| has(event, "specversion")) => {
            cloudevents::batch(events, &mut gather)
        }
        _ => {
            let shape = Shape::of(value).ok_or_else(|| EventError::unknown(value))?;
            shape.understand(value, &Carrier::default(), &mut gather, 0)?
        }
    };
    Ok(gather.event(kind))
}

#[cfg(test)]
mod tests;
