//! How a call ended, as a capsule keeps it, and whether two calls ended in the same way. Pure.

use serde::{Deserialize, Serialize};

use super::Secrets;
use super::redact::redact_text;
use crate::outcome::{Failure, FaultKind, Outcome, Trap, TrapKind};

/// How a call into a plugin ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ended {
    /// It trapped.
    Trap {
        /// What happened.
        kind: TrapKind,
        /// The panic message, or what the runtime says.
        message: String,
        /// Fuel used until then.
        fuel: u64,
    },
    /// It returned, and the plugin blames the line.
    Fault {
        /// Index of the line in the batch, from 0.
        index: usize,
        /// Whom it blames.
        kind: FaultKind,
        /// Why.
        reason: String,
        /// Fuel used.
        fuel: u64,
    },
    /// The whole call failed, as the plugin said it.
    Failure {
        /// What is to be done.
        kind: FailureKind,
        /// Why.
        reason: String,
        /// Fuel used.
        fuel: u64,
    },
    /// Nothing is wrong.
    Passed {
        /// Fuel used.
        fuel: u64,
    },
}

/// What is to be done after a call that failed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Its lines are retried.
    Retry,
    /// Its lines are corrupt.
    Corrupt,
    /// The request stops.
    Fatal,
}

impl Ended {
    /// How a call ended, looked at for the line at `index` of its batch; without one, for the call as a whole.
    pub fn of(
        returned: &Result<Result<Outcome, Failure>, Trap>,
        fuel: u64,
        index: Option<usize>,
    ) -> Ended {
        match returned {
            Err(trap) => Ended::trap(trap),
            Ok(Err(failure)) => Ended::failure(failure, fuel),
            Ok(Ok(outcome)) => {
                let mut faults = outcome.faults.iter();
                let fault = index.and_then(|index| faults.find(|fault| fault.line == index));
                fault.map_or(Ended::Passed { fuel }, |fault| Ended::Fault {
                    index: fault.line,
                    kind: fault.kind,
                    reason: fault.reason.to_string(),
                    fuel,
                })
            }
        }
    }

    /// It trapped.
    pub fn trap(trap: &Trap) -> Ended {
        Ended::Trap {
            kind: trap.kind,
            message: trap.message.clone(),
            fuel: trap.fuel,
        }
    }

    /// It failed.
    pub fn failure(failure: &Failure, fuel: u64) -> Ended {
        let kind = match failure {
            Failure::Retry(_) => FailureKind::Retry,
            Failure::Corrupt(_) => FailureKind::Corrupt,
            Failure::Fatal(_) => FailureKind::Fatal,
        };
        Ended::Failure {
            kind,
            reason: failure.to_string(),
            fuel,
        }
    }

    /// Fuel that the call used.
    pub fn fuel(&self) -> u64 {
        match self {
            Ended::Trap { fuel, .. }
            | Ended::Fault { fuel, .. }
            | Ended::Failure { fuel, .. }
            | Ended::Passed { fuel } => *fuel,
        }
    }

    /// What is at fault, as far as the fate of lines goes.
    pub fn blames(&self) -> FaultKind {
        match self {
            Ended::Fault { kind, .. } => *kind,
            Ended::Failure {
                kind: FailureKind::Retry | FailureKind::Fatal,
                ..
            } => FaultKind::Retry,
            _ => FaultKind::Corrupt,
        }
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        matches!(self, Ended::Passed { .. })
    }

    /// The index of the line that is looked at.
    pub fn index(&self) -> Option<usize> {
        match self {
            Ended::Fault { index, .. } => Some(*index),
            _ => None,
        }
    }

    /// Whether it depends on the machine, so that nobody can reproduce it: how long something took.
    pub fn depends_on_time(&self) -> bool {
        let timed = [TrapKind::Time, TrapKind::Cut];
        matches!(self, Ended::Trap { kind, .. } if timed.contains(kind))
    }

    /// Whom it blames, in one word or two.
    pub fn kind(&self) -> String {
        match self {
            Ended::Trap { kind, .. } => kind.to_string(),
            Ended::Fault { kind, .. } => match kind {
                FaultKind::Corrupt => "corrupt".to_owned(),
                FaultKind::Retry => "retry".to_owned(),
            },
            Ended::Failure { kind, .. } => match kind {
                FailureKind::Retry => "call failed, retry".to_owned(),
                FailureKind::Corrupt => "call failed, corrupt".to_owned(),
                FailureKind::Fatal => "call failed, fatal".to_owned(),
            },
            Ended::Passed { .. } => "processed".to_owned(),
        }
    }

    /// What was said of it.
    pub fn message(&self) -> &str {
        match self {
            Ended::Trap { message, .. } => message,
            Ended::Fault { reason, .. } | Ended::Failure { reason, .. } => reason,
            Ended::Passed { .. } => "",
        }
    }

    fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Ended::Trap { message, .. } => Some(message),
            Ended::Fault { reason, .. } | Ended::Failure { reason, .. } => Some(reason),
            Ended::Passed { .. } => None,
        }
    }

    /// The same without what of the message may be taken from a line: where a panic was stays.
    #[must_use]
    pub fn redacted(mut self) -> Ended {
        if let Some(message) = self.message_mut()
            && !message.starts_with("wasm trap: ")
        {
            let (place, rest) = split_place(message);
            *message = format!("{place}{}", redact_text(rest));
        }
        self
    }

    /// The same without secret values.
    #[must_use]
    pub fn without(mut self, secrets: &Secrets) -> Ended {
        if let Some(message) = self.message_mut() {
            secrets.hide(message);
        }
        self
    }

    /// Whether both are the same to the letter, fuel included.
    pub fn is_exactly(&self, other: &Ended) -> bool {
        self.says_the_same(other) && self.fuel() == other.fuel()
    }

    /// Whether both are the same to the letter, but for the fuel and the place in the batch.
    pub fn says_the_same(&self, other: &Ended) -> bool {
        self.kind() == other.kind() && self.message() == other.message()
    }

    /// Whether the same plugin failed in the same way on other lines: a panic at the same place, or else the same
    /// message but for numbers and what is quoted.
    pub fn is_alike(&self, other: &Ended) -> bool {
        let (ours, theirs) = (split_place(self.message()), split_place(other.message()));
        self.kind() == other.kind()
            && match (ours.0, theirs.0) {
                ("", "") => class(ours.1) == class(theirs.1),
                (ours, theirs) => ours == theirs,
            }
    }

    /// The same for another build of a plugin, in which lines of code have other numbers.
    pub fn is_alike_elsewhere(&self, other: &Ended) -> bool {
        self.kind() == other.kind() && class(self.message()) == class(other.message())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.message();
        let colon = if message.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{message} (fuel {})", self.kind(), self.fuel())
    }
}

/// `panicked at FILE:LINE:COLUMN: ` and what follows; the first is empty where it is no panic.
fn split_place(message: &str) -> (&str, &str) {
    let place = message.strip_prefix("panicked at ").and_then(|rest| {
        let mut colons = rest.match_indices(':').map(|(at, _)| at);
        let (_, _, third) = (colons.next()?, colons.next()?, colons.next()?);
        Some("panicked at ".len() + third + 1)
    });
    message.split_at(place.unwrap_or(0))
}

/// What messages of one kind have in common: numbers and what is quoted are taken out.
fn class(message: &str) -> String {
    let mut class = String::new();
    let mut characters = message.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '0'..='9' => {
                while characters.next_if(char::is_ascii_digit).is_some() {}
                class.push('9');
            }
            '"' | '`' | '\'' => {
                // An apostrophe quotes nothing.
                let rest = characters.clone();
                let length = rest.take_while(|&other| other != character).count();
                if characters.clone().nth(length).is_some() {
                    characters.nth(length);
                }
                class.push(character);
            }
            other => class.push(other),
        }
    }
    class
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panic(message: &str) -> Ended {
        Ended::trap(&Trap {
            kind: TrapKind::Trap,
            message: message.to_owned(),
            fuel: 1,
        })
    }

    #[test]
    fn ways_to_end() {
        // Two messages -> alike in the same plugin, alike in another build.
        let table = [
            ("a", "a", true, true),
            ("a", "b", false, false),
            ("index 7 of 12", "index 900 of 3", true, true),
            ("bad `x y`", "bad `z`", true, true),
            ("bad \"x\"", "bad \"y\" too", false, false),
            ("it's x", "it's y", false, false),
            (
                "panicked at a.rs:5:9: bad x",
                "panicked at a.rs:5:9: bad y",
                true,
                false,
            ),
            (
                "panicked at a.rs:5:9: bad `x`",
                "panicked at a.rs:17:3: bad `y`",
                false,
                true,
            ),
            ("panicked at a.rs:5:9: x", "x", false, false),
            ("panicked at nothing", "panicked at nothing", true, true),
        ];
        for (one, other, alike, elsewhere) in table {
            let (one, other) = (panic(one), panic(other));
            assert_eq!(one.is_alike(&other), alike, "{one} / {other}");
            assert_eq!(one.is_alike_elsewhere(&other), elsewhere, "{one} / {other}");
        }
    }

    #[test]
    fn kinds_differ() {
        let trap = panic("x");
        let fault = |kind| Ended::Fault {
            index: 0,
            kind,
            reason: "x".into(),
            fuel: 1,
        };
        assert!(!trap.is_alike(&fault(FaultKind::Retry)));
        assert!(!fault(FaultKind::Corrupt).is_alike(&fault(FaultKind::Retry)));
        assert!(fault(FaultKind::Retry).is_exactly(&fault(FaultKind::Retry)));
        assert!(!Ended::Passed { fuel: 1 }.is_exactly(&Ended::Passed { fuel: 2 }));
    }

    #[test]
    fn redacted_messages() {
        let table = [
            (
                "panicked at src/a.rs:5:9: bad `Jo 1`",
                "panicked at src/a.rs:5:9: xxx `Xx 9`",
            ),
            (
                "wasm trap: integer divide by zero",
                "wasm trap: integer divide by zero",
            ),
            ("Traceback\nKey 7", "Xxxxxxxxx\nXxx 9"),
        ];
        for (plain, hidden) in table {
            assert_eq!(panic(plain).redacted().message(), hidden);
        }
    }
}
