//! CloudWatch Logs subscriptions: each message of a log is a line, or several if it has line ends in it.

use std::fmt;
use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::Value;

use super::EventError;
use super::field::{shown, text};
use super::gather::{Carrier, Gather, Lines};
use super::name::{Name, base};
use super::payload::decode;

/// Bytes that a subscription may come to when it is unpacked; the platform's are at most a tenth of that.
const UNPACKED_BYTES_MAX: u64 = 64 * 1024 * 1024;
const DATA: &str = "awslogs.data";

/// What is packed in the event. It is read into structs, and its messages into one buffer, since a tree of values
/// over so many bytes could take a hundred times their memory.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LogData {
    message_type: String,
    owner: String,
    log_group: String,
    log_stream: String,
    log_events: Messages,
}

/// Messages, one after the other, and the id of the first.
#[derive(Default)]
struct Messages {
    first_id: Option<String>,
    lines: Vec<u8>,
}

#[derive(Deserialize)]
struct LogEvent {
    #[serde(default)]
    id: String,
    message: String,
}

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Messages::default())
    }
}

impl<'de> Visitor<'de> for Messages {
    type Value = Messages;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of log events")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut events: A) -> Result<Messages, A::Error> {
        while let Some(LogEvent { id, message }) = events.next_element()? {
            self.first_id.get_or_insert(id);
            self.lines.extend_from_slice(message.as_bytes());
            if !message.ends_with('\n') {
                self.lines.push(b'\n');
            }
        }
        Ok(self)
    }
}

/// Understands one subscription's event.
pub(super) fn subscription(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    let packed = decode(text(value, DATA)?.as_bytes(), DATA)?;
    let json = unpack(&packed)?;
    let data = serde_json::from_slice::<LogData>(&json).map_err(|error| {
        // What is no object at all is told better by what it should be.
        let sort = serde_json::from_slice::<IgnoredAny>(&json).map(|_| "unknown contents");
        EventError::field(DATA, format!("{}: {error}", sort.unwrap_or("no JSON")))
    })?;
    if data.message_type == "CONTROL_MESSAGE" {
        let group = shown(&data.log_group);
        gather.skip(format!("a test message of the log group {group}"));
        return Ok(());
    }
    let Some(first_id) = data.log_events.first_id else {
        gather.skip("a subscription without log events".to_owned());
        return Ok(());
    };
    let attributes = [
        ("logGroup", data.log_group.as_str()),
        ("logStream", data.log_stream.as_str()),
        ("owner", data.owner.as_str()),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let lines = Lines {
        name: Name::under(&base("logs", &data.log_group, &data.log_stream), &first_id),
        attributes: attributes.into(),
        encoding: None,
        bytes: data.log_events.lines,
    };
    gather.lines(lines, carrier);
    Ok(())
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, EventError> {
    let mut json = Vec::new();
    let mut limited = MultiGzDecoder::new(packed).take(UNPACKED_BYTES_MAX + 1);
    let unpacked = limited.read_to_end(&mut json);
    unpacked.map_err(|error| EventError::field(DATA, format!("it cannot be unpacked: {error}")))?;
    match json.len() as u64 > UNPACKED_BYTES_MAX {
        true => {
            let reason = format!("it unpacks to more than {UNPACKED_BYTES_MAX} bytes");
            Err(EventError::field(DATA, reason))
        }
        false => Ok(json),
    }
}
