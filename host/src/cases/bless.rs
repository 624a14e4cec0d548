//! A case rewritten so that it expects what a plugin did: what fits stays as its author wrote it. Pure.

use std::ops::Range;

use super::Case;
use super::diff::{error_fits, outputs};
use super::entry::{self, Entries, Expectation};
use super::observed::Observed;
use super::section::Kind;
use super::text::{escape, escape_lines, needs_escapes};

/// Changes of a text, by byte ranges, and what is added at its end.
#[derive(Default)]
struct Edits {
    changes: Vec<(Range<usize>, String)>,
    added: String,
}

impl Case {
    /// The file as it would have to be for `observed`; `None`: as it is.
    ///
    /// # Errors
    /// The request failed, which the case does not expect: nobody wants that by accident.
    pub fn blessed(&self, observed: &Observed) -> Result<Option<String>, String> {
        let mut edits = Edits::default();
        self.bless_error(observed, &mut edits)?;
        for (route, expected, actual) in outputs(self, observed) {
            if expected != actual {
                self.bless_output(Kind::Output(route), actual, &mut edits);
            }
        }
        self.bless_entries(Kind::Faults, &self.faults, &observed.faults, &mut edits);
        self.bless_entries(Kind::Metrics, &self.metrics, &observed.metrics, &mut edits);
        Ok(edits.apply(&self.text))
    }

    fn bless_error(&self, observed: &Observed, edits: &mut Edits) -> Result<(), String> {
        let error = observed.error.as_deref();
        if error_fits(self, error) {
            return Ok(());
        }
        match (self.section(&Kind::Error), error) {
            (Some(section), Some(error)) => {
                let text = format!("{}\n", escape(error.as_bytes()));
                edits.changes.push((section.body.clone(), text));
            }
            (Some(section), None) => {
                let all = section.mark.start..section.body.end;
                edits.changes.push((all, String::new()));
            }
            (None, error) => {
                return Err(format!(
                    "the request failed: {}. If that is what has to happen, add `--- error` and below it `...`",
                    escape(error.unwrap_or_default().as_bytes())
                ));
            }
        }
        Ok(())
    }

    fn bless_output(&self, kind: Kind, data: &[u8], edits: &mut Edits) {
        let was_escaped = self.section(&kind).is_some_and(|section| section.escaped);
        let escaped = was_escaped || needs_escapes(data);
        let body = match escaped {
            true => escape_lines(data),
            false => String::from_utf8_lossy(data).into_owned(),
        };
        match self.section(&kind) {
            Some(section) if escaped == was_escaped => {
                edits.changes.push((section.body.clone(), body))
            }
            Some(section) => {
                let text = format!("{}\n{body}", kind.mark(escaped));
                edits
                    .changes
                    .push((section.mark.start..section.body.end, text));
            }
            None => edits.add(&kind, escaped, &body),
        }
    }

    fn bless_entries<E: Expectation>(
        &self,
        kind: Kind,
        entries: &Entries<E>,
        actual: &[E::Actual],
        edits: &mut Edits,
    ) {
        if entry::fit(entries, actual) {
            return;
        }
        let body = entry::blessed(entries, actual);
        match self.section(&kind) {
            Some(section) => edits.changes.push((section.body.clone(), body)),
            None => edits.add(&kind, false, &body),
        }
    }
}

impl Edits {
    fn add(&mut self, kind: &Kind, escaped: bool, body: &str) {
        self.added
            .push_str(&format!("\n{}\n{body}", kind.mark(escaped)));
    }

    fn apply(mut self, text: &str) -> Option<String> {
        if self.changes.is_empty() && self.added.is_empty() {
            return None;
        }
        // As the author's editor ends lines.
        let crlf = text
            .split_once('\n')
            .is_some_and(|(line, _)| line.ends_with('\r'));
        let ended = |text: &str| {
            if crlf {
                text.replace('\n', "\r\n")
            } else {
                text.to_owned()
            }
        };
        self.changes
            .sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = text.to_owned();
        for (range, replacement) in &self.changes {
            let open =
                range.start > 0 && !text[..range.start].ends_with('\n') && !replacement.is_empty();
            let start = if open { "\n" } else { "" };
            text.replace_range(range.clone(), &ended(&format!("{start}{replacement}")));
        }
        if !self.added.is_empty() {
            let kept = text.trim_end_matches(['\r', '\n']).len();
            text.truncate(kept);
            text.push_str(&ended(&format!("\n{}", self.added)));
        }
        Some(text)
    }
}
