//! What the attributes of a message say about its payload. Nothing is guessed: text is lines as it stands.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::field::{shown, string};
use super::gather::{Carrier, Gather, Lines};
use super::name::Name;
use super::shape::envelope;
use super::{EventError, own};

/// The content encoding of what is not compressed, whatever its name ends in.
pub(super) const IDENTITY: &str = "identity";
/// The content type of a message that is a request, rather than lines.
const REQUEST_TYPE: &str = "application/vnd.linemill.request+json";

/// A message with a payload.
pub(super) struct Message<'a> {
    /// Where the payload stands.
    pub(super) step: &'a str,
    pub(super) payload: Payload<'a>,
    /// Where the attributes stand, and what they are.
    pub(super) attributes_step: &'a str,
    pub(super) attributes: Vec<(String, String)>,
    /// Where it came through, and what it is called there.
    pub(super) base: String,
    pub(super) id: &'a str,
}

/// The attributes of a message: the value of each is the first of these fields that it has.
pub(super) fn attributes(value: Option<&Value>, fields: &[&str]) -> Vec<(String, String)> {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    let read = |(name, value): (&String, &Value)| {
        let value = fields.iter().find_map(|field| string(value, field))?;
        Some((name.clone(), value.to_owned()))
    };
    members.filter_map(read).collect()
}

/// What a message brings.
pub(super) enum Payload<'a> {
    Text(&'a str),
    Bytes(Vec<u8>),
}

/// What attributes say.
#[derive(Default)]
struct Said {
    source: Option<String>,
    base64: bool,
    encoding: Option<String>,
    is_request: bool,
    /// All the others, for the plugin.
    others: Vec<(String, String)>,
}

impl Said {
    fn of(attributes: Vec<(String, String)>) -> Result<Said, EventError> {
        let mut said = Said::default();
        for (name, value) in attributes {
            let content = value.trim().to_ascii_lowercase();
            let refuse = |known: &str| {
                let reason = format!("it is {}, known are {known}", shown(&value));
                Err(EventError::field(&name, reason))
            };
            match name.to_ascii_lowercase().as_str() {
                "source" => said.source = Some(value),
                "encoding" | "content-transfer-encoding" => match content.as_str() {
                    "base64" => said.base64 = true,
                    "" | "identity" | "7bit" | "8bit" | "binary" => {}
                    _ => return refuse("base64 and identity"),
                },
                "content-encoding" => match content.as_str() {
                    "gzip" | "x-gzip" | "zstd" => said.encoding = Some(content),
                    "" | IDENTITY => {}
                    _ => return refuse("gzip, zstd and identity"),
                },
                "content-type" if content == REQUEST_TYPE => said.is_request = true,
                _ => said.others.push((name, value)),
            }
        }
        Ok(said)
    }

    /// Whether nothing is said of what the payload is.
    fn nothing(&self) -> bool {
        self.source.is_none() && !self.base64 && self.encoding.is_none()
    }
}

impl Message<'_> {
    /// Understands the message: a request, an envelope in which objects are named, or lines.
    pub(super) fn deliver(
        self,
        carrier: &Carrier,
        gather: &mut Gather,
        depth: u8,
    ) -> Result<(), EventError> {
        let in_attributes = |error: EventError| error.within(&format!("{}.", self.attributes_step));
        let said = Said::of(self.attributes).map_err(in_attributes)?;
        let bytes = match self.payload {
            Payload::Text(text) => {
                if said.nothing() && !said.is_request {
                    if envelope(text, self.step, carrier, gather, depth)? {
                        return Ok(());
                    }
                } else if said.encoding.is_some() && !said.base64 {
                    let reason = "what is compressed is no text: it is sent in base64, with the \
                                  attribute `Encoding` set to `base64`";
                    return Err(EventError::field(self.step, reason));
                }
                text.as_bytes().to_vec()
            }
            Payload::Bytes(bytes) => bytes,
        };
        let bytes = match said.base64 {
            true => decode(&bytes, self.step)?,
            false => bytes,
        };
        if said.is_request {
            return own::in_message(&bytes, self.step, carrier, gather);
        }
        let name = match &said.source {
            None => Name::under(&self.base, self.id),
            Some(source) => Name::given(source, &self.base)
                .map_err(|reason| in_attributes(EventError::field("Source", reason)))?,
        };
        let lines = Lines {
            name,
            attributes: said.others,
            encoding: said.encoding,
            bytes,
        };
        gather.lines(lines, carrier);
        Ok(())
    }
}

/// The bytes behind base64. Line breaks in it and at its end are how it is often written.
pub(super) fn decode(text: &[u8], path: &str) -> Result<Vec<u8>, EventError> {
    let broken =
        |error: base64::DecodeError| EventError::field(path, format!("it is not base64: {error}"));
    match text.iter().any(u8::is_ascii_whitespace) {
        false => STANDARD.decode(text),
        true => {
            let solid = text.iter().copied().filter(|b| !b.is_ascii_whitespace());
            STANDARD.decode(solid.collect::<Vec<u8>>())
        }
    }
    .map_err(broken)
}
