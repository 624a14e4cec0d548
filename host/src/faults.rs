//! What is known of lines that were not processed: faults files, read row by row, picked from and grouped.
//!
//! Beside each object of faulted lines stands its faults file: the k-th row is about the k-th line of the object. A
//! remainder of several lines has one row, which says how many they are; lines that were handed over without having
//! been run stand behind all others and have none.

mod groups;
mod pattern;
mod pick;
mod rows;
mod survey;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use groups::{Example, Group, printable};
pub use pattern::pattern;
pub use pick::Pick;
pub(crate) use rows::{Read, Rows};
pub use survey::{FaultFile, Survey, Surveyed};

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Its data are at fault.
    Corrupt,
    /// It is to be run again.
    Retry,
    /// Only a remainder of it is to be run again.
    Partial,
    /// Its attempts are used up.
    Failed,
    /// It was never run: it has no row.
    #[serde(skip_deserializing)]
    Unread,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] = [
        Kind::Corrupt,
        Kind::Retry,
        Kind::Partial,
        Kind::Failed,
        Kind::Unread,
    ];

    /// As rows and the command line spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Corrupt => "corrupt",
            Kind::Retry => "retry",
            Kind::Partial => "partial",
            Kind::Failed => "failed",
            Kind::Unread => "unread",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a faults file says of a line. What a later version says besides is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Row<'a> {
    /// Its number in the source, from 1.
    pub line: u64,
    /// Where it starts in the (decompressed) source.
    pub offset: u64,
    /// What became of it.
    pub kind: Kind,
    /// Why.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// How often it had been tried before.
    pub attempt: u32,
    /// Digest of the plugin.
    #[serde(borrow)]
    pub plugin: Cow<'a, str>,
    /// How many lines of the object it is about.
    #[serde(default = "one")]
    pub lines: u64,
}

/// A remainder has no more lines.
const LINES_MAX: u64 = u32::MAX as u64;

fn one() -> u64 {
    1
}

impl<'a> Row<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// Why it cannot be one, for a person.
    pub fn parse(json: &'a [u8]) -> Result<Self, String> {
        let row: Row<'a> = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        match (row.line, row.lines) {
            (0, _) => Err("line is 0, lines count from 1".to_owned()),
            (_, 0) => Err("lines is 0".to_owned()),
            (_, lines) if lines > LINES_MAX => Err(format!("no row is about {lines} lines")),
            _ => Ok(row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_or_refused() {
        let good = r#"{"line":3,"offset":9,"kind":"corrupt","reason":"a \"b\"","attempt":0,"plugin":"sha256:0"}"#;
        let row = Row::parse(good.as_bytes()).expect("it is one");
        assert_eq!((row.line, row.lines, &*row.reason), (3, 1, "a \"b\""));
        let with = |from: &str, to: &str| good.replace(from, to);
        assert!(Row::parse(with("\"line\":3", "\"line\":3,\"later\":[1]").as_bytes()).is_ok());
        for (bad, why) in [
            (String::new(), "EOF"),
            (good[..50].to_owned(), "EOF"),
            (format!("{good}{good}"), "trailing"),
            ("[]".to_owned(), "invalid"),
            (with("\"offset\":9,", ""), "missing field `offset`"),
            (with("\"line\":3", "\"line\":0"), "line is 0"),
            (with("\"line\":3", "\"line\":-3"), "invalid value"),
            (with("\"line\":3", "\"line\":3,\"lines\":0"), "lines is 0"),
            (
                with("\"line\":3", "\"line\":3,\"lines\":99999999999"),
                "no row is about",
            ),
            (with("corrupt", "unread"), "unknown variant"),
            (with("corrupt", "odd"), "unknown variant"),
        ] {
            let error = Row::parse(bad.as_bytes()).expect_err(&bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
