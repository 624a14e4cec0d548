//! CloudEvents, in structured mode (all in one JSON object) and in binary mode (attributes in `ce-` headers).
//!
//! Those of Cloud Storage and S3 name an object, those of Pub/Sub hold a message; the data of all others are lines.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::field::{has, shown, string, written};
use super::gather::{Carrier, Gather, Lines};
use super::name::{Name, base};
use super::payload::decode;
use super::{EventError, EventKind, gcs, pubsub, s3};

const GCS: &str = "google.cloud.storage.object.v1.";
const PUBSUB: &str = "google.cloud.pubsub.topic.v1.messagePublished";
const S3: [&str; 2] = ["com.amazonaws.s3.", "com.amazon.s3."];
/// Attributes that are no news to a plugin: the format's own, and those that differ from event to event.
const UNTOLD: [&str; 6] = [
    "specversion",
    "id",
    "time",
    "datacontenttype",
    "dataschema",
    "traceparent",
];

/// A CloudEvent, whichever way it came.
struct CloudEvent<'a> {
    attributes: Vec<(String, String)>,
    data: Data<'a>,
    /// How the data are compressed, if they are.
    encoding: Option<String>,
    /// Where the data stand, and where an attribute does: what is before its name.
    data_step: &'a str,
    attribute_step: &'a str,
}

enum Data<'a> {
    Json(&'a Value),
    Bytes(Vec<u8>),
}

/// The headers of an event in binary mode.
pub(super) struct Binary {
    attributes: Vec<(String, String)>,
    encoding: Option<String>,
}

impl Binary {
    /// None, if these are not the headers of such an event.
    pub(super) fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Binary> {
        let mut binary = Binary {
            attributes: Vec::new(),
            encoding: None,
        };
        for (name, value) in headers {
            let name = name.to_ascii_lowercase();
            if let Some(attribute) = name.strip_prefix("ce-") {
                // What is no ASCII is percent-encoded in headers.
                let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
                binary.attributes.push((attribute.to_owned(), value));
            } else if name == "content-type" {
                let value = value.trim().to_ascii_lowercase();
                if value.starts_with("application/cloudevents") {
                    return None;
                }
                binary
                    .attributes
                    .push(("datacontenttype".to_owned(), value));
            } else if name == "content-encoding" && !value.eq_ignore_ascii_case("identity") {
                binary.encoding = Some(value.trim().to_ascii_lowercase());
            }
        }
        binary.attributes.sort();
        let says = |name: &str| binary.attributes.iter().any(|(known, _)| known == name);
        (says("specversion") || says("type") && says("id")).then_some(binary)
    }

    /// Understands the event with that body.
    pub(super) fn event(self, body: &[u8], gather: &mut Gather) -> Result<EventKind, EventError> {
        let event = CloudEvent {
            attributes: self.attributes,
            data: Data::Bytes(body.to_vec()),
            encoding: self.encoding,
            data_step: "body",
            attribute_step: "ce-",
        };
        event.understand(&Carrier::default(), gather)
    }
}

/// Understands an event in structured mode.
pub(super) fn structured(
    value: &Value,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<EventKind, EventError> {
    let members = value.as_object().into_iter().flatten();
    let attributes = members.filter(|(name, _)| !matches!(name.as_str(), "data" | "data_base64"));
    let attributes = attributes.filter_map(|(name, value)| Some((name.clone(), written(value)?)));
    let data = match string(value, "data_base64") {
        Some(packed) => Data::Bytes(decode(packed.as_bytes(), "data_base64")?),
        None => Data::Json(value.get("data").unwrap_or(&Value::Null)),
    };
    let event = CloudEvent {
        attributes: attributes.collect(),
        data,
        encoding: None,
        data_step: "data",
        attribute_step: "",
    };
    event.understand(carrier, gather)
}

/// Understands a batch of events; one that cannot be understood refuses only itself.
pub(super) fn batch(events: &[Value], gather: &mut Gather) -> EventKind {
    let mut kind = None;
    for (at, event) in events.iter().enumerate() {
        let carrier = Carrier::default().inside(&format!("[{at}]"));
        let understood = match has(event, "specversion") {
            true => structured(event, &carrier, gather),
            false => Err(EventError::unknown(event)),
        };
        match understood {
            Ok(one) => drop(kind.get_or_insert(one)),
            Err(error) => gather.refuse(&carrier, error),
        }
    }
    kind.unwrap_or(EventKind::CloudEvent)
}

impl CloudEvent<'_> {
    fn understand(self, carrier: &Carrier, gather: &mut Gather) -> Result<EventKind, EventError> {
        let sort = self.attribute("type")?;
        let step = format!("{}.", self.data_step);
        let inner = carrier.inside(self.data_step);
        let within = |error: EventError| error.within(&step);
        if let Some(happened) = sort.strip_prefix(GCS) {
            let object = object(&*self.json()?, happened, &inner, gather);
            return object.map(|()| EventKind::Gcs).map_err(within);
        }
        if sort == PUBSUB {
            return pubsub::push(&*self.json()?, &inner, gather).map_err(within);
        }
        if S3.iter().any(|prefix| sort.starts_with(prefix)) {
            let record = s3::record(&*self.json()?, &inner, gather);
            return record.map(|()| EventKind::S3).map_err(within);
        }
        self.lines(carrier, gather)?;
        Ok(EventKind::CloudEvent)
    }

    fn attribute(&self, name: &str) -> Result<&str, EventError> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        let missing = || EventError::Missing {
            path: format!("{}{name}", self.attribute_step),
        };
        found.map(|(_, value)| value.as_str()).ok_or_else(missing)
    }

    fn json(&self) -> Result<Cow<'_, Value>, EventError> {
        match &self.data {
            Data::Json(Value::Null) => Err(EventError::Missing {
                path: self.data_step.to_owned(),
            }),
            Data::Json(value) => Ok(Cow::Borrowed(value)),
            Data::Bytes(bytes) => serde_json::from_slice(bytes)
                .map(Cow::Owned)
                .map_err(|e| EventError::field(self.data_step, format!("it is not JSON: {e}"))),
        }
    }

    fn lines(self, carrier: &Carrier, gather: &mut Gather) -> Result<(), EventError> {
        let (source, id) = (self.attribute("source")?, self.attribute("id")?);
        let name = Name::under(&base_of(source), id);
        let json = self.attribute("datacontenttype").is_ok_and(is_json);
        let told = |name: &String| !UNTOLD.contains(&name.as_str());
        let attributes = self.attributes.iter().filter(|(name, _)| told(name));
        let attributes = attributes.map(|(name, value)| (format!("ce-{name}"), value.clone()));
        let attributes: Vec<_> = attributes.collect();
        let shown_id = shown(id);
        let bytes = match self.data {
            Data::Json(Value::Null) => Vec::new(),
            Data::Json(Value::String(text)) if !json => text.as_bytes().to_vec(),
            Data::Json(value) => serde_json::to_vec(value).expect("what was JSON is JSON again"),
            Data::Bytes(bytes) if json && self.encoding.is_none() => on_one_line(bytes),
            Data::Bytes(bytes) => bytes,
        };
        if bytes.is_empty() {
            gather.skip(format!("the event {shown_id}: it has no data"));
            return Ok(());
        }
        let lines = Lines {
            name,
            attributes,
            encoding: self.encoding,
            bytes,
        };
        gather.lines(lines, carrier);
        Ok(())
    }
}

fn object(
    data: &Value,
    happened: &str,
    carrier: &Carrier,
    gather: &mut Gather,
) -> Result<(), EventError> {
    if happened == "finalized" {
        return gcs::resource(data, carrier, gather);
    }
    let told = |name| string(data, name).unwrap_or("?");
    gcs::skip(happened, told("bucket"), told("name"), gather);
    Ok(())
}

/// `//storage.googleapis.com/projects/p` and `https://example.com/x` are URIs, of which the scheme says little.
fn base_of(source: &str) -> String {
    let path = source.split_once("://").map_or(source, |(_, rest)| rest);
    let path = path.trim_start_matches('/');
    let (place, below) = path.split_once('/').unwrap_or((path, ""));
    base("cloudevents", place, below)
}

/// Whether the content type is that of one JSON value.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

/// One JSON value in one line, and everything else as it is. No string in JSON has a line end in it that is not
/// escaped, so that spaces can take the place of all.
fn on_one_line(mut bytes: Vec<u8>) -> Vec<u8> {
    if serde_json::from_slice::<IgnoredAny>(&bytes).is_ok() {
        for byte in bytes
            .iter_mut()
            .filter(|byte| matches!(byte, b'\n' | b'\r'))
        {
            *byte = b' ';
        }
    }
    bytes
}
