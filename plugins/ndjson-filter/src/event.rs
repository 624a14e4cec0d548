//! Reads of an event only what is asked for, in place.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The values of an event that matter, as they are written in it. Of several fields of one name the
/// last one counts.
pub(crate) struct Event<'a> {
    pub(crate) ts: &'a RawValue,
    pub(crate) user: &'a RawValue,
    pub(crate) status: &'a RawValue,
    /// The field that the filter looks at, where the event has it.
    pub(crate) field: Option<&'a RawValue>,
}

impl<'a> Event<'a> {
    pub(crate) fn parse(json: &'a str, field: &str) -> serde_json::Result<Self> {
        let mut json = serde_json::Deserializer::from_str(json);
        let event = Wanted { field }.deserialize(&mut json)?;
        json.end()?;
        Ok(event)
    }
}

/// The text of a string; of anything else, how it is written.
pub(crate) fn text_of(value: &RawValue) -> Cow<'_, str> {
    let written = value.get();
    match written
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        None => Cow::Borrowed(written),
        Some(text) if !text.contains('\\') => Cow::Borrowed(text),
        Some(text) => serde_json::from_str(written).map_or(Cow::Borrowed(text), Cow::Owned),
    }
}

/// What to read: the values that are written, and that of this field.
struct Wanted<'f> {
    field: &'f str,
}

/// A field's name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = Event<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Event<'de>, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_> {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let (mut ts, mut user, mut status, mut field) = (None, None, None, None);
        while let Some(Name(name)) = map.next_key()? {
            let place = match &*name {
                "ts" => Some(&mut ts),
                "user" => Some(&mut user),
                "status" => Some(&mut status),
                _ => None,
            };
            let is_field = name == self.field;
            if place.is_none() && !is_field {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            if let Some(place) = place {
                *place = Some(value);
            }
            if is_field {
                field = Some(value);
            }
        }
        Ok(Event {
            ts: ts.ok_or_else(|| Error::missing_field("ts"))?,
            user: user.ok_or_else(|| Error::missing_field("user"))?,
            status: status.ok_or_else(|| Error::missing_field("status"))?,
            field,
        })
    }
}
