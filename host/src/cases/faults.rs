//! Lines of a case that are expected not to be (wholly) processed. Pure.
//!
//! `3 corrupt: not a number` is one; a reason that ends in `...` is the beginning of it, and without `: REASON` any
//! is meant. Of what is left to do of a line an indented `rest: TEXT` below it tells.

use super::Mistake;
use super::entry::{Entries, Expectation};
use super::observed::Fault;
use super::text::{escape, unescape_line};

const KINDS: [&str; 4] = ["corrupt", "retry", "partial", "failed"];
const REST: &str = "rest:";
const OPEN_END: &str = "...";

/// What is expected of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExpectedFault {
    line: u64,
    kind: String,
    reason: Reason,
    rest: Option<Vec<u8>>,
}

/// What a text has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Whatever it likes.
    Any,
    /// This.
    Is(String),
    /// Something that begins so.
    Begins(String),
}

impl Reason {
    /// # Errors
    /// An escape that is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (bytes, _) = unescape_line(text.trim())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.strip_suffix(OPEN_END) {
            Some("") => Reason::Any,
            Some(begin) => Reason::Begins(begin.to_owned()),
            None => Reason::Is(text),
        })
    }

    pub(super) fn fits(&self, text: &str) -> bool {
        match self {
            Reason::Any => true,
            Reason::Is(all) => text.trim() == all.trim(),
            Reason::Begins(begin) => text.trim_start().starts_with(begin),
        }
    }
}

impl Expectation for ExpectedFault {
    type Actual = Fault;
    type Key = u64;

    fn key(&self) -> u64 {
        self.line
    }

    fn key_of(fault: &Fault) -> u64 {
        fault.line
    }

    fn fits(&self, fault: &Fault) -> bool {
        self.line == fault.line
            && self.kind == fault.kind
            && self.reason.fits(&fault.reason)
            && self.rest.as_deref() == fault.rest.as_deref()
    }

    fn write(fault: &Fault) -> String {
        let reason = match escape(fault.reason.trim().as_bytes()) {
            reason if reason.is_empty() => String::new(),
            reason => format!(": {reason}"),
        };
        let rest = fault.rest.as_ref();
        let rest = rest.map_or_else(String::new, |rest| format!("\n  {REST} {}", escape(rest)));
        format!("{} {}{reason}{rest}", fault.line, fault.kind)
    }

    fn parse(lines: &[(usize, &str)]) -> Result<Self, Mistake> {
        let (number, first) = lines[0];
        let mut fault = parse_fault(first).map_err(|message| Mistake::new(number, message))?;
        for (number, line) in &lines[1..] {
            let rest = parse_rest(line).map_err(|message| Mistake::new(*number, message))?;
            if fault.rest.replace(rest).is_some() {
                return Err(Mistake::new(
                    *number,
                    "the line has a rest already: keep one",
                ));
            }
        }
        Ok(fault)
    }
}

fn parse_fault(line: &str) -> Result<ExpectedFault, String> {
    let expected = "`LINE KIND: REASON` is expected, such as `3 corrupt: not a number`";
    let (line, rest) = line.trim_end().split_once(' ').ok_or(expected)?;
    let line = line.parse().ok().filter(|line| *line > 0);
    let line = line.ok_or(expected)?;
    let (kind, reason) = match rest.split_once(':') {
        Some((kind, reason)) => (kind.trim(), Reason::parse(reason)?),
        None => (rest.trim(), Reason::Any),
    };
    if !KINDS.contains(&kind) {
        let kinds = KINDS.join(", ");
        let kind = kind.escape_debug();
        return Err(format!(
            "`{kind}` is no kind of fault, there are {kinds}; {expected}"
        ));
    }
    Ok(ExpectedFault {
        line,
        kind: kind.to_owned(),
        reason,
        rest: None,
    })
}

fn parse_rest(line: &str) -> Result<Vec<u8>, String> {
    let rest = line.trim_start().strip_prefix(REST);
    let rest = rest.ok_or("below a fault only `rest: TEXT` can be indented")?;
    let (bytes, _) = unescape_line(rest.strip_prefix(' ').unwrap_or(rest))?;
    Ok(bytes)
}

/// The faults of a section.
pub(super) type Faults = Entries<ExpectedFault>;
