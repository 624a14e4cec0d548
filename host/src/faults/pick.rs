//! Which faults are meant: by kind and by reason. Pure.

use regex::Regex;

use super::{Kind, pattern};

/// A choice among faults. Without anything said, all of them.
#[derive(Debug, Clone, Default)]
pub struct Pick {
    kinds: Vec<Kind>,
    reasons: Vec<Reason>,
}

#[derive(Debug, Clone)]
enum Reason {
    Text(String),
    Regex(Regex),
}

impl Pick {
    /// Faults of one of these kinds and for one of these reasons; where none is named, for any. A reason is a part of
    /// the text, or of its [`pattern`](fn@pattern), or a regular expression between slashes.
    ///
    /// # Errors
    /// What is wrong with a regular expression.
    pub fn new(kinds: &[Kind], reasons: &[String]) -> Result<Self, String> {
        let reasons: Result<_, String> = reasons.iter().map(|text| Reason::new(text)).collect();
        Ok(Pick {
            kinds: kinds.to_vec(),
            reasons: reasons?,
        })
    }

    /// Whether a fault is meant. Lines without a row have no reason.
    pub fn takes(&self, kind: Kind, reason: Option<&str>) -> bool {
        let for_it = |wanted: &Reason| reason.is_some_and(|reason| wanted.fits(reason));
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.reasons.is_empty() || self.reasons.iter().any(for_it))
    }
}

impl Reason {
    fn new(text: &str) -> Result<Self, String> {
        let inner = text
            .strip_prefix('/')
            .and_then(|text| text.strip_suffix('/'));
        match inner.filter(|inner| !inner.is_empty()) {
            Some(inner) => Regex::new(inner)
                .map(Reason::Regex)
                .map_err(|error| format!("reason {text}: {error}")),
            None if text.is_empty() => Err("an empty reason fits all: leave it out".to_owned()),
            None => Ok(Reason::Text(text.to_owned())),
        }
    }

    fn fits(&self, reason: &str) -> bool {
        match self {
            Reason::Regex(regex) => regex.is_match(reason),
            // What a pattern has and a reason need not have is a mark of a number or a value.
            Reason::Text(text) => {
                reason.contains(text) || text.contains(['#', '…']) && pattern(reason).contains(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks() {
        let reason = "bad number \"17x\" at 3";
        // kinds, reasons, kind, takes it with this reason
        let table: &[(&[Kind], &[&str], Kind, bool)] = &[
            (&[], &[], Kind::Corrupt, true),
            (&[Kind::Corrupt], &[], Kind::Corrupt, true),
            (&[Kind::Retry, Kind::Partial], &[], Kind::Corrupt, false),
            (&[], &["bad number"], Kind::Corrupt, true),
            (&[], &["17x"], Kind::Corrupt, true),
            (&[], &["bad number \"…\" at #"], Kind::Corrupt, true),
            (&[], &["number \"…\""], Kind::Corrupt, true),
            (&[], &["number #"], Kind::Corrupt, false),
            (&[], &["Bad"], Kind::Corrupt, false),
            (&[], &["other", "bad"], Kind::Corrupt, true),
            (&[], &["/^bad .* at \\d$/"], Kind::Corrupt, true),
            (&[], &["/(?i)^BAD/"], Kind::Corrupt, true),
            (&[], &["/^number/"], Kind::Corrupt, false),
            (&[], &["/"], Kind::Corrupt, false),
            (&[Kind::Retry], &["bad"], Kind::Corrupt, false),
        ];
        for (kinds, reasons, kind, expected) in table {
            let reasons: Vec<_> = reasons.iter().map(|text| (*text).to_owned()).collect();
            let pick = Pick::new(kinds, &reasons).expect("it is one");
            let takes = pick.takes(*kind, Some(reason));
            assert_eq!(takes, *expected, "{kinds:?} {reasons:?}");
        }
    }

    #[test]
    fn lines_without_a_row_are_picked_by_kind_alone() {
        let pick =
            |kinds: &[Kind], reasons: &[String]| Pick::new(kinds, reasons).expect("it is one");
        assert!(Pick::default().takes(Kind::Unread, None));
        assert!(pick(&[Kind::Unread], &[]).takes(Kind::Unread, None));
        assert!(!pick(&[Kind::Corrupt], &[]).takes(Kind::Unread, None));
        assert!(!pick(&[], &["/.*/".to_owned()]).takes(Kind::Unread, None));
    }

    #[test]
    fn what_cannot_be_a_reason() {
        for bad in ["/(/", ""] {
            assert!(Pick::new(&[], &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
