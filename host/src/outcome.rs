//! What a batch did: outputs, metrics, partials and faults, traps included as values. Pure.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest name of a metric, in bytes.
const METRIC_NAME_MAX: usize = 64;
/// Longest key of a metric, in bytes.
const METRIC_KEY_MAX: usize = 128;
/// Longest reason that is kept of a fault, in bytes; the rest is cut.
const REASON_MAX: usize = 4096;

/// What a plugin says of a line that was not (wholly) processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The data are at fault: running the line again cannot help.
    Corrupt,
    /// Something else is at fault: running the line again may help.
    Retry,
}

/// One line that was not (wholly) processed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Index in the batch, from 0.
    pub line: usize,
    /// Whom the plugin blames.
    pub kind: FaultKind,
    /// For a person.
    pub reason: Arc<str>,
    /// With [`FaultKind::Retry`]: only this is left to do.
    pub remainder: Option<Vec<u8>>,
    /// The line trapped alone: it is corrupt unless the whole request turns out to trap.
    pub trapped: bool,
}

/// Bytes for a named destination; the empty name is the request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Name of the route.
    pub route: String,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A value of a plugin's metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// Adds up.
    Count(i64),
    /// One observation of a distribution.
    Sample(f64),
}

/// One metric of a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// `[A-Za-z_][A-Za-z0-9_]*`, at most 64 bytes.
    pub name: String,
    /// Sub-key; may be empty, at most 128 bytes.
    pub key: String,
    /// The value.
    pub value: Measure,
}

/// What one call returned, as the plugin said it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Lines attempted, from the first; `None`: all of them.
    pub attempted: Option<usize>,
    /// Lines that were not processed, by index in the call's lines.
    pub faults: Vec<Fault>,
    /// Bytes to be written.
    pub outputs: Vec<Output>,
    /// Metrics to be added.
    pub metrics: Vec<Metric>,
    /// What the call adds to the request's aggregate.
    pub partials: Vec<Vec<u8>>,
}

impl Outcome {
    /// Checks it against the contract for a call with `lines` lines and brings the faults into line order.
    ///
    /// # Errors
    /// What the contract does not allow, for a person.
    pub fn checked(mut self, lines: usize, output_bytes_max: usize) -> Result<Self, String> {
        let attempted = self.attempted.unwrap_or(lines);
        if attempted > lines {
            return Err(format!(
                "the plugin says it attempted {attempted} lines of a batch of {lines}"
            ));
        }
        self.faults.sort_by_key(|fault| fault.line);
        if let Some(fault) = self.faults.last()
            && fault.line >= attempted
        {
            return Err(format!(
                "the plugin reports a fault at index {} of {attempted} lines",
                fault.line
            ));
        }
        if let Some(pair) = self
            .faults
            .windows(2)
            .find(|pair| pair[0].line == pair[1].line)
        {
            return Err(format!(
                "the plugin reports two faults at index {}",
                pair[0].line
            ));
        }
        self.metrics.iter().try_for_each(check_metric)?;
        let bytes: usize = self.outputs.iter().map(|output| output.data.len()).sum();
        if bytes > output_bytes_max {
            return Err(format!(
                "the plugin emitted {bytes} bytes for one batch, more than output_bytes_max = {output_bytes_max}"
            ));
        }
        Ok(self)
    }

    /// Adds what a later part of the same batch did; `line` is the index in the batch of the part's first line.
    pub fn append(&mut self, part: Outcome, line: usize) {
        self.faults
            .extend(part.faults.into_iter().map(|fault| Fault {
                line: fault.line + line,
                ..fault
            }));
        for output in part.outputs {
            match self
                .outputs
                .iter_mut()
                .find(|known| known.route == output.route)
            {
                Some(known) => known.data.extend_from_slice(&output.data),
                None => self.outputs.push(output),
            }
        }
        self.metrics.extend(part.metrics);
        self.partials.extend(part.partials);
    }

    /// Marks `lines` (indices in the batch) as faults of one kind.
    pub fn blame(&mut self, lines: std::ops::Range<usize>, kind: FaultKind, reason: &Arc<str>) {
        let fault = |line| Fault {
            line,
            kind,
            reason: reason.clone(),
            remainder: None,
            trapped: false,
        };
        self.faults.extend(lines.map(fault));
    }
}

/// What a call of `lines` lines ended in, with what it returned checked against the contract: breaking it is a trap.
pub fn settled(
    returned: Result<Result<Outcome, Failure>, Trap>,
    lines: usize,
    output_bytes_max: usize,
    fuel: u64,
) -> Result<Result<Outcome, Failure>, Trap> {
    match returned? {
        Err(failure) => Ok(Err(failure)),
        Ok(outcome) => match outcome.checked(lines, output_bytes_max) {
            Ok(outcome) => Ok(Ok(outcome)),
            Err(message) => Err(Trap {
                kind: TrapKind::Contract,
                message,
                fuel,
            }),
        },
    }
}

/// Whether a metric's name and key are what the contract allows.
pub fn check_metric(metric: &Metric) -> Result<(), String> {
    let name = metric.name.as_bytes();
    let named = name
        .first()
        .is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if !named || name.len() > METRIC_NAME_MAX {
        return Err(format!(
            "the plugin's metric name {:?} is not valid: letters, digits and _, not a digit first, at most {METRIC_NAME_MAX}",
            cut(&metric.name, 80)
        ));
    }
    if metric.key.len() > METRIC_KEY_MAX || metric.key.chars().any(char::is_control) {
        return Err(format!(
            "a key of the plugin's metric {} is not valid: at most {METRIC_KEY_MAX} bytes, no control characters",
            metric.name
        ));
    }
    if matches!(metric.value, Measure::Sample(sample) if !sample.is_finite()) {
        return Err(format!(
            "a sample of the plugin's metric {} is not a finite number",
            metric.name
        ));
    }
    Ok(())
}

/// At most `max` bytes of `text`, cut at a character.
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A plugin's reason in the length that is kept.
pub fn reason(text: &str) -> Arc<str> {
    cut(text, REASON_MAX).into()
}

/// How a call into a plugin ended when it did not return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrapKind {
    /// A WebAssembly trap: a panic, unreachable code, an access out of bounds, a stack overflow …
    Trap,
    /// The fuel of the batch was used up.
    Fuel,
    /// Memory or tables grew to their limit and the plugin gave up.
    Memory,
    /// The plugin ended itself.
    Exit,
    /// What it returned is not what the contract allows, too much output included.
    Contract,
    /// It took longer than `batch_ms_max`.
    Time,
    /// It was cut off by the deadline, or because the request stops.
    Cut,
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrapKind::Trap => "trap",
            TrapKind::Fuel => "out of fuel",
            TrapKind::Memory => "out of memory",
            TrapKind::Exit => "exit",
            TrapKind::Contract => "contract violated",
            TrapKind::Time => "out of time",
            TrapKind::Cut => "cut off",
        })
    }
}

/// A call that did not return normally; it left nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// What happened.
    pub kind: TrapKind,
    /// The panic message, or what the runtime says.
    pub message: String,
    /// Fuel that the call used until then.
    pub fuel: u64,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (fuel {})", self.kind, self.message, self.fuel)
    }
}

/// Why a whole call failed, as the plugin said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Every line of the batch is retried.
    Retry(String),
    /// Every line of the batch is corrupt.
    Corrupt(String),
    /// No batch of this request can succeed now.
    Fatal(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Failure::Retry(message) | Failure::Corrupt(message) | Failure::Fatal(message)) = self;
        f.write_str(message)
    }
}

/// Where a faulted line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// To be run again.
    Retry,
    /// Attempts are used up.
    Failed,
    /// Running it again cannot help.
    Corruption,
}

/// The one place that decides it.
pub fn fate(kind: FaultKind, attempt: u32, max_retries: u32) -> Fate {
    match kind {
        FaultKind::Corrupt => Fate::Corruption,
        FaultKind::Retry if attempt >= max_retries => Fate::Failed,
        FaultKind::Retry => Fate::Retry,
    }
}

/// The routes that outcomes may write to; an unknown one is an error of the configuration, not of a line.
pub fn unknown_route<'a>(outputs: &'a [Output], routes: &BTreeSet<String>) -> Option<&'a str> {
    let unknown = |output: &&Output| !output.data.is_empty() && !routes.contains(&output.route);
    outputs
        .iter()
        .find(unknown)
        .map(|output| output.route.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: usize) -> Fault {
        Fault {
            line,
            kind: FaultKind::Retry,
            reason: "x".into(),
            remainder: None,
            trapped: false,
        }
    }

    fn with_faults(lines: &[usize], attempted: Option<usize>) -> Outcome {
        Outcome {
            attempted,
            faults: lines.iter().copied().map(fault).collect(),
            ..Outcome::default()
        }
    }

    #[test]
    fn faults_are_within_the_batch_and_single() {
        // faults, attempted, lines -> allowed
        let table: &[(&[usize], Option<usize>, usize, bool)] = &[
            (&[], None, 0, true),
            (&[0, 3], None, 4, true),
            (&[3, 0], None, 4, true),
            (&[4], None, 4, false),
            (&[1, 1], None, 4, false),
            (&[], Some(4), 4, true),
            (&[], Some(5), 4, false),
            (&[2], Some(2), 4, false),
            (&[1], Some(2), 4, true),
        ];
        for (faults, attempted, lines, allowed) in table {
            let checked = with_faults(faults, *attempted).checked(*lines, 10);
            assert_eq!(
                checked.is_ok(),
                *allowed,
                "{faults:?} {attempted:?} {lines}: {checked:?}"
            );
            if let Ok(outcome) = checked {
                assert!(outcome.faults.is_sorted_by_key(|fault| fault.line));
            }
        }
    }

    #[test]
    fn output_is_limited() {
        let output = |len: usize| Output {
            route: String::new(),
            data: vec![0; len],
        };
        let outcome = Outcome {
            outputs: vec![output(6), output(5)],
            ..Outcome::default()
        };
        assert!(outcome.clone().checked(1, 11).is_ok());
        assert!(
            outcome
                .checked(1, 10)
                .expect_err("too much")
                .contains("output_bytes_max")
        );
    }

    #[test]
    fn metric_names() {
        let table = [
            ("a", "", true),
            ("by_response_code", "200", true),
            ("_x9", "a b/é", true),
            ("", "", false),
            ("9a", "", false),
            ("a-b", "", false),
            ("a b", "", false),
            ("é", "", false),
            ("a", "line\nbreak", false),
        ];
        for (name, key, allowed) in table {
            let metric = Metric {
                name: name.into(),
                key: key.into(),
                value: Measure::Count(1),
            };
            assert_eq!(check_metric(&metric).is_ok(), allowed, "{name:?} {key:?}");
        }
        let long = Metric {
            name: "a".repeat(65),
            key: String::new(),
            value: Measure::Count(1),
        };
        assert!(check_metric(&long).is_err());
        let nan = Metric {
            name: "a".into(),
            key: String::new(),
            value: Measure::Sample(f64::NAN),
        };
        assert!(check_metric(&nan).is_err());
    }

    #[test]
    fn parts_add_up_in_line_order() {
        let part = |line: usize, text: &str| Outcome {
            faults: vec![fault(line)],
            outputs: vec![Output {
                route: String::new(),
                data: text.into(),
            }],
            partials: vec![text.into()],
            ..Outcome::default()
        };
        let mut whole = Outcome::default();
        whole.append(part(1, "a"), 0);
        whole.append(part(0, "b"), 4);
        assert_eq!(
            whole
                .faults
                .iter()
                .map(|fault| fault.line)
                .collect::<Vec<_>>(),
            [1, 4]
        );
        assert_eq!(
            whole.outputs,
            [Output {
                route: String::new(),
                data: b"ab".to_vec()
            }]
        );
        assert_eq!(whole.partials, [b"a", b"b"]);
    }

    #[test]
    fn fates() {
        assert_eq!(fate(FaultKind::Corrupt, 99, 1), Fate::Corruption);
        assert_eq!(fate(FaultKind::Retry, 4, 5), Fate::Retry);
        assert_eq!(fate(FaultKind::Retry, 5, 5), Fate::Failed);
    }

    #[test]
    fn cutting_keeps_characters_whole() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
    }
}
