//! What a plugin did with the lines of a case, but for what differs from run to run. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::rehearsal::{Faulted, Rehearsal};
use crate::report::Measured;

/// What a plugin did with the lines of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// What was emitted, by route; never empty.
    pub(super) outputs: BTreeMap<String, Bytes>,
    /// In line order.
    pub(super) faults: Vec<Fault>,
    /// In the order of names and keys.
    pub(super) metrics: Vec<Metric>,
    /// Why the request could not be done, or not to its end.
    pub(super) error: Option<String>,
}

/// A line that was not (wholly) processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) kind: String,
    pub(super) reason: String,
    /// What is left to do, where it is not the line.
    pub(super) rest: Option<Vec<u8>>,
}

/// One series of the plugin's metrics.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) value: Measured,
}

impl Observed {
    /// What a rehearsal over `input` did.
    pub(super) fn of(rehearsal: Rehearsal, input: &[u8]) -> Self {
        let Rehearsal {
            report,
            mut outputs,
            faults,
            time: _,
        } = rehearsal;
        outputs.retain(|_, data| !data.is_empty());
        let stopped = report
            .status
            .split('|')
            .any(|flag| flag == "error" || flag == "stopped");
        let said = report.errors.first().unwrap_or(&report.status);
        let error = if stopped {
            Some(said.to_owned())
        } else if report.unread != Some(0) {
            Some("lines were left unread".to_owned())
        } else {
            None
        };
        let metrics = report.metrics.iter().map(|(name, key, value)| Metric {
            name: name.to_owned(),
            key: key.to_owned(),
            value,
        });
        Observed {
            metrics: metrics.collect(),
            faults: with_rests(faults, input),
            outputs,
            error,
        }
    }
}

fn with_rests(faults: Vec<Faulted>, input: &[u8]) -> Vec<Fault> {
    let mut lines = (1..).zip(input.split(|&byte| byte == b'\n')).peekable();
    let fault = |fault: Faulted| {
        // Both are in line order.
        while lines.next_if(|(number, _)| *number < fault.line).is_some() {}
        let line = lines.peek().map_or(&[][..], |(_, line)| *line);
        let whole = bare(line) == bare(&fault.text);
        Fault {
            line: fault.line,
            kind: fault.kind,
            reason: without_fuel(&fault.reason).to_owned(),
            rest: (!whole).then(|| fault.text.to_vec()),
        }
    };
    faults.into_iter().map(fault).collect()
}

fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A reason without the fuel that a trap tells: it is another one with each build of the plugin.
fn without_fuel(reason: &str) -> &str {
    let Some((rest, fuel)) = reason.rsplit_once(" (fuel ") else {
        return reason;
    };
    let digits = fuel.strip_suffix(')').unwrap_or_default();
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { rest } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuel_of_a_trap_is_left_out() {
        for (reason, without) in [
            ("trap: no (fuel 123)", "trap: no"),
            ("no (fuel )", "no (fuel )"),
            ("no (fuel 1) more", "no (fuel 1) more"),
            ("no (fuel x)", "no (fuel x)"),
            ("(fuel 1)", "(fuel 1)"),
        ] {
            assert_eq!(without_fuel(reason), without);
        }
    }

    #[test]
    fn a_rest_is_what_is_not_the_line() {
        let faulted = |line, text: &'static str| Faulted {
            line,
            offset: 0,
            kind: "retry".to_owned(),
            reason: String::new(),
            text: Bytes::from(text),
        };
        let faults = vec![
            faulted(1, "a"),
            faulted(2, "b\r"),
            faulted(4, "x"),
            faulted(5, ""),
        ];
        let rests: Vec<_> = with_rests(faults, b"a\r\nb\r\n\nd\n")
            .into_iter()
            .map(|fault| fault.rest)
            .collect();
        assert_eq!(rests, [None, None, Some(b"x".to_vec()), None]);
    }
}
