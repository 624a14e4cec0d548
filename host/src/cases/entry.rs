//! Sections that hold one entry for each thing: what is expected, beside what is. Pure.

use std::fmt::Write;

use super::Mistake;

/// Something that an entry expects.
pub(super) trait Expectation: Sized {
    /// What is compared with it.
    type Actual;
    /// What tells which of them belong together; a section has one entry for each.
    type Key: Ord;

    /// The key of what is expected.
    fn key(&self) -> Self::Key;
    /// The key of what is.
    fn key_of(actual: &Self::Actual) -> Self::Key;
    /// Whether it is as expected.
    fn fits(&self, actual: &Self::Actual) -> bool;
    /// The entry that expects just this.
    fn write(actual: &Self::Actual) -> String;
    /// Reads an entry; the lines behind the first are indented.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    fn parse(lines: &[(usize, &str)]) -> Result<Self, Mistake>;
}

/// An entry as its author wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry<E> {
    /// What it expects.
    expected: E,
    /// Comments and blank lines before it.
    before: String,
    /// Its own lines.
    text: String,
}

/// The entries of a section.
#[derive(Clone, Debug)]
pub(super) struct Entries<E> {
    entries: Vec<Entry<E>>,
    /// Comments behind the last.
    after: String,
}

impl<E> Default for Entries<E> {
    fn default() -> Self {
        Entries {
            entries: Vec::new(),
            after: String::new(),
        }
    }
}

/// Reads the entries of a section; a line that begins with `#` is a comment.
///
/// # Errors
/// All that is wrong, at once.
pub(super) fn parse<'a, E: Expectation>(
    lines: impl Iterator<Item = (usize, &'a str)>,
) -> Result<Entries<E>, Vec<Mistake>> {
    let mut groups: Vec<(String, Vec<(usize, &str)>)> = Vec::new();
    let (mut before, mut mistakes) = (String::new(), Vec::new());
    for (number, line) in lines {
        if line.trim().is_empty() || line.starts_with('#') {
            let _ = writeln!(before, "{line}");
        } else if !line.starts_with([' ', '\t']) {
            groups.push((std::mem::take(&mut before), vec![(number, line)]));
        } else if let Some((_, group)) = groups.last_mut() {
            group.push((number, line));
        } else {
            mistakes.push(Mistake::new(
                number,
                "begin the first entry without a space",
            ));
        }
    }
    let mut entries: Vec<Entry<E>> = Vec::new();
    for (before, group) in groups {
        let parsed = E::parse(&group).and_then(|expected| {
            match entries
                .iter()
                .any(|entry| entry.expected.key() == expected.key())
            {
                true => Err(Mistake::new(group[0].0, "is there already: keep one")),
                false => Ok(expected),
            }
        });
        let text: Vec<&str> = group.iter().map(|(_, line)| *line).collect();
        match parsed {
            Ok(expected) => entries.push(Entry {
                expected,
                before,
                text: text.join("\n"),
            }),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    match mistakes.is_empty() {
        true => Ok(Entries {
            entries,
            after: before,
        }),
        false => Err(mistakes),
    }
}

/// Whether all is as expected, and nothing besides.
pub(super) fn fit<E: Expectation>(entries: &Entries<E>, actual: &[E::Actual]) -> bool {
    entries.entries.len() == actual.len()
        && actual
            .iter()
            .all(|actual| find(entries, actual).is_some_and(|entry| entry.expected.fits(actual)))
}

fn find<'a, E: Expectation>(entries: &'a Entries<E>, actual: &E::Actual) -> Option<&'a Entry<E>> {
    let key = E::key_of(actual);
    entries
        .entries
        .iter()
        .find(|entry| entry.expected.key() == key)
}

/// What is expected and what is, as texts with a line for each; what fits is the same in both.
pub(super) fn texts<E: Expectation>(
    entries: &Entries<E>,
    actual: &[E::Actual],
) -> (String, String) {
    let mut expected: Vec<(E::Key, String)> = entries
        .entries
        .iter()
        .map(|entry| {
            let fitting = actual.iter().find(|actual| entry.expected.fits(actual));
            let text = fitting.map_or_else(|| entry.text.clone(), E::write);
            (entry.expected.key(), text)
        })
        .collect();
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    let lines = |texts: Vec<String>| {
        texts
            .iter()
            .fold(String::new(), |all, text| all + text + "\n")
    };
    let expected = expected.into_iter().map(|(_, text)| text).collect();
    (
        lines(expected),
        lines(actual.iter().map(E::write).collect()),
    )
}

/// The section as it has to be for `actual`, which is in order: comments, order and whatever fits stay as they are.
pub(super) fn blessed<E: Expectation>(entries: &Entries<E>, actual: &[E::Actual]) -> String {
    let mut parts: Vec<(E::Key, String)> = Vec::new();
    let mut comments = String::new();
    for entry in &entries.entries {
        comments.push_str(&entry.before);
        let key = entry.expected.key();
        let Some(actual) = actual.iter().find(|actual| E::key_of(actual) == key) else {
            continue;
        };
        let text = match entry.expected.fits(actual) {
            true => entry.text.clone(),
            false => E::write(actual),
        };
        parts.push((key, format!("{}{text}\n", std::mem::take(&mut comments))));
    }
    for actual in actual
        .iter()
        .filter(|actual| find(entries, actual).is_none())
    {
        let key = E::key_of(actual);
        // Behind all that come before it.
        let at = parts
            .iter()
            .rposition(|(other, _)| *other < key)
            .map_or(0, |at| at + 1);
        parts.insert(at, (key, format!("{}\n", E::write(actual))));
    }
    let text: String = parts.into_iter().map(|(_, text)| text).collect();
    text + &comments + &entries.after
}
