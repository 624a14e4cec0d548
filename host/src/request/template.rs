//! Templates of URLs: text with macros in it.

use thiserror::Error;

use crate::config::{closest, mask_secrets};

/// A template that cannot be expanded, and why.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("template `{template}`: {reason}")]
pub struct TemplateError {
    /// The template, with what is secret in it masked.
    pub template: String,
    /// What is wrong with it, and what to write instead.
    pub reason: String,
}

/// One thing a template stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Macro {
    Uuid,
    TimePath,
    Date,
    RequestId,
    SourceBucket,
    SourcePath,
    SourceName,
}

const MACROS: [(&str, Macro); 7] = [
    ("UUID", Macro::Uuid),
    ("TimePath", Macro::TimePath),
    ("Date", Macro::Date),
    ("RequestId", Macro::RequestId),
    ("SourceBucket", Macro::SourceBucket),
    ("SourcePath", Macro::SourcePath),
    ("SourceName", Macro::SourceName),
];

#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Macro(Macro),
}

impl Piece<'_> {
    /// Whether this makes the template name a whole object. `$SourceBucket` does not: a base
    /// that ends in it is a folder for each bucket.
    pub(super) fn names_the_source(&self) -> bool {
        matches!(self, Piece::Macro(Macro::SourcePath | Macro::SourceName))
    }
}

/// Whether `template` can be expanded.
pub fn check_template(template: &str) -> Result<(), TemplateError> {
    parse_template(template).map(drop)
}

/// Whether what `template` stands for tells the attempt by its name, as that of the source does:
/// nothing but a further extension follows the name in it. A base always does.
pub(crate) fn keeps_attempt(template: &str) -> bool {
    let pieces = parse_template(template).unwrap_or_default();
    let Some(at) = pieces.iter().rposition(Piece::names_the_source) else {
        return true;
    };
    let mut after = String::new();
    for piece in &pieces[at + 1..] {
        match piece {
            Piece::Text(text) => after.push_str(text),
            Piece::Macro(_) => return false,
        }
    }
    after.is_empty() || after.starts_with('.') && !after.contains('/')
}

pub(super) fn parse_template(template: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let refuse = |reason| TemplateError {
        template: mask_secrets(template),
        reason,
    };
    if template.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('$') {
        let (piece, remainder) = parse_macro(after).map_err(refuse)?;
        pieces.extend([Piece::Text(text), piece]);
        rest = remainder;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// What follows a `$`, and what follows that.
fn parse_macro(after: &str) -> Result<(Piece<'_>, &str), String> {
    if let Some(rest) = after.strip_prefix('$') {
        return Ok((Piece::Text("$"), rest));
    }
    let (name, rest) = match after.strip_prefix('{') {
        Some(braced) => braced
            .split_once('}')
            .ok_or("`${` is not closed by a `}`")?,
        None => {
            let end = after
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(after.len());
            after.split_at(end)
        }
    };
    match MACROS.iter().find(|(known, _)| *known == name) {
        Some((_, found)) => Ok((Piece::Macro(*found), rest)),
        None => Err(unknown_macro(name)),
    }
}

fn unknown_macro(name: &str) -> String {
    if name.is_empty() {
        return "a `$` stands alone: write `$$` for a dollar".to_owned();
    }
    match closest(name, MACROS.iter().map(|(known, _)| *known)) {
        Some(known) => format!("unknown macro `${name}`, did you mean `${known}`?"),
        None => {
            let known: Vec<_> = MACROS
                .iter()
                .map(|(known, _)| format!("`${known}`"))
                .collect();
            format!("unknown macro `${name}`: there are {}", known.join(", "))
        }
    }
}
