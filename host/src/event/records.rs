//! Events that are a list of `Records`: each is understood for itself, and one that cannot be refuses only itself.

use serde_json::Value;

use super::field::{has, list, string};
use super::gather::{Carrier, Gather};
use super::{EventError, EventKind, dynamodb, kinesis, s3, sns, sqs};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    S3,
    Sns,
    Sqs,
    Kinesis,
    DynamoDb,
}

impl Sort {
    /// As the record's source says; servers in the manner of AWS have their own word before the colon.
    fn told(record: &Value) -> Option<Sort> {
        let source = string(record, "eventSource").or_else(|| string(record, "EventSource"))?;
        let (_, service) = source.split_once(':')?;
        Some(match service {
            "s3" => Sort::S3,
            "sns" => Sort::Sns,
            "sqs" => Sort::Sqs,
            "kinesis" => Sort::Kinesis,
            "dynamodb" => Sort::DynamoDb,
            _ => return None,
        })
    }

    fn of(record: &Value) -> Option<Sort> {
        let by_field = [
            ("s3", Sort::S3),
            ("Sns", Sort::Sns),
            ("kinesis", Sort::Kinesis),
            ("dynamodb", Sort::DynamoDb),
            ("messageId", Sort::Sqs),
        ];
        let known = || by_field.iter().find(|(name, _)| has(record, name));
        Sort::told(record).or_else(|| known().map(|(_, sort)| *sort))
    }

    fn kind(self) -> EventKind {
        match self {
            Sort::S3 => EventKind::S3,
            Sort::Sns => EventKind::Sns,
            Sort::Sqs => EventKind::Sqs,
            Sort::Kinesis => EventKind::Kinesis,
            Sort::DynamoDb => EventKind::DynamoDb,
        }
    }

    /// What the platform calls the record; objects and topics want no answer about each.
    fn named(self, record: &Value, carrier: Carrier) -> Carrier {
        match self {
            Sort::S3 | Sort::Sns => carrier,
            Sort::Sqs => sqs::named(record, carrier),
            Sort::Kinesis => kinesis::named(record, carrier),
            Sort::DynamoDb => dynamodb::named(record, carrier),
        }
    }

    fn understand(
        self,
        record: &Value,
        carrier: &Carrier,
        gather: &mut Gather,
        depth: u8,
    ) -> Result<(), EventError> {
        match self {
            Sort::S3 => s3::record(record, carrier, gather),
            Sort::Sns => sns::record(record, carrier, gather, depth),
            Sort::Sqs => sqs::record(record, carrier, gather, depth),
            Sort::Kinesis => kinesis::record(record, carrier, gather),
            Sort::DynamoDb => dynamodb::record(record, carrier, gather),
        }
    }
}

/// Whether all that these records do is to name objects, directly or in a topic's message: what no line of data looks
/// like by accident.
pub(super) fn name_objects(value: &Value) -> bool {
    let records = value.get("Records").and_then(Value::as_array);
    let records = records.map(Vec::as_slice).unwrap_or_default();
    let named = |record| matches!(Sort::told(record), Some(Sort::S3 | Sort::Sns));
    !records.is_empty() && records.iter().all(named)
}

/// Understands all records of an event.
pub(super) fn each(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
    depth: u8,
) -> Result<EventKind, EventError> {
    let records = list(value, "Records")?;
    let Some(first) = records.first() else {
        gather.skip("an event without records".to_owned());
        return Ok(EventKind::Test);
    };
    let sort = records.iter().find_map(Sort::of);
    let sort = sort.ok_or_else(|| match EventError::unknown(first) {
        EventError::Unknown { found } => EventError::Unknown {
            found: format!("the first record of {found}"),
        },
        other => other,
    })?;
    for (at, record) in records.iter().enumerate() {
        let carrier = sort.named(record, carrier.inside(&format!("Records[{at}]")));
        let understood = match gather.holds_back(&carrier) {
            true => Err(EventError::HeldBack),
            false => sort.understand(record, &carrier, gather, depth),
        };
        if let Err(error) = understood {
            gather.refuse(&carrier, error);
        }
    }
    Ok(sort.kind())
}
