//! Resume pointers, as the cases see them.

use serde_json::Value;

/// What a pointer says.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    pub(crate) source: String,
    pub(crate) offset: u64,
    pub(crate) length: Option<u64>,
    pub(crate) first_line: u64,
    pub(crate) attempt: u64,
}

pub(super) const SUFFIX: &str = ".resume.json";

impl Pointer {
    /// Reads one; all its fields must be there.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Pointer {
        let json: Value = serde_json::from_slice(bytes).expect("a pointer is JSON");
        let number = |name: &str| {
            let value = json[name].as_u64();
            value.unwrap_or_else(|| panic!("no number {name} in the pointer {json}"))
        };
        assert!(json.get("etag").is_some(), "no etag in the pointer {json}");
        Pointer {
            source: json["source"].as_str().expect("a source").to_owned(),
            offset: number("offset"),
            length: json["length"].as_u64(),
            first_line: number("first_line"),
            attempt: number("attempt"),
        }
    }
}
