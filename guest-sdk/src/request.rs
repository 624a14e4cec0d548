//! What a request is about, and how its lines ended.

use crate::bindings;

/// What a request is about: one source, run once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Unique for each run of a request.
    pub id: String,
    /// Where the lines come from, as a URL.
    pub source: String,
    /// 0 for the first run, 1 for the first retry, and so on.
    pub attempt: u32,
    /// Milliseconds since the Unix epoch.
    pub started_at: u64,
    /// What the event said besides: message attributes, object metadata.
    pub attributes: Vec<(String, String)>,
}

impl Request {
    /// The (first) attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

impl From<bindings::Request> for Request {
    fn from(request: bindings::Request) -> Self {
        Self {
            id: request.id,
            source: request.source,
            attempt: request.attempt,
            started_at: request.started_at,
            attributes: request.attributes,
        }
    }
}

/// How the lines of a request ended: `loaded` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines read.
    pub loaded: u64,
    /// Lines without a fault.
    pub processed: u64,
    /// Lines whose data are at fault.
    pub corrupted: u64,
    /// Lines to be run again.
    pub retried: u64,
}

impl From<bindings::Counts> for Counts {
    fn from(counts: bindings::Counts) -> Self {
        Self {
            loaded: counts.loaded,
            processed: counts.processed,
            corrupted: counts.corrupted,
            retried: counts.retried,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attribute_of_a_name_counts() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let request = Request {
            attributes: vec![pair("a", "1"), pair("b", "2"), pair("a", "3")],
            ..Request::default()
        };
        assert_eq!(request.attribute("a"), Some("1"));
        assert_eq!(request.attribute("c"), None);
    }
}
