//! A case file cut into its sections, with the lines they are on. Pure.

use std::ops::Range;

use super::Mistake;
use crate::config::{closest, is_route_name};

/// What begins a section.
const MARK: &str = "---";
/// Names of sections.
const NAMES: [&str; 8] = [
    "settings", "config", "request", "input", "output", "faults", "metrics", "error",
];

/// What a section is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The plugin's settings, TOML.
    Settings,
    /// Limits, TOML.
    Config,
    /// What the plugin is told of the request, TOML.
    Request,
    /// The lines.
    Input,
    /// What is emitted for a route; the empty name is the request's own destination.
    Output(String),
    /// Lines that are not (wholly) processed.
    Faults,
    /// Metrics.
    Metrics,
    /// Why the request cannot be done.
    Error,
}

impl Kind {
    /// The mark that begins such a section.
    pub(super) fn mark(&self, escaped: bool) -> String {
        let escaped = if escaped { " escaped" } else { "" };
        format!("{MARK} {}{escaped}", self.title())
    }

    /// How it is called.
    pub(super) fn title(&self) -> String {
        match self {
            Kind::Settings => "settings".to_owned(),
            Kind::Config => "config".to_owned(),
            Kind::Request => "request".to_owned(),
            Kind::Input => "input".to_owned(),
            Kind::Output(route) if route.is_empty() => "output".to_owned(),
            Kind::Output(route) => format!("output {route}"),
            Kind::Faults => "faults".to_owned(),
            Kind::Metrics => "metrics".to_owned(),
            Kind::Error => "error".to_owned(),
        }
    }

    /// Whether it holds bytes, rather than entries.
    fn is_text(&self) -> bool {
        matches!(self, Kind::Input | Kind::Output(_))
    }
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// What it is about.
    pub(super) kind: Kind,
    /// Whether its text has escapes.
    pub(super) escaped: bool,
    /// The line of its mark, from 1.
    pub(super) line: usize,
    /// Where its mark stands, line end included, in bytes.
    pub(super) mark: Range<usize>,
    /// Where what it holds stands, without blank lines at the end.
    pub(super) body: Range<usize>,
}

impl Section {
    /// Its lines, with their numbers, without their ends.
    pub(super) fn lines<'a>(&self, text: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
        text[self.body.clone()]
            .split_inclusive('\n')
            .zip(self.line + 1..)
            .map(|(line, number)| (number, bare(line)))
    }
}

/// What some editors begin a text with.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A line without its end; a carriage return there comes from an editor, and means nothing.
fn bare(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// Cuts a case file. What stands before the first section is free text.
///
/// # Errors
/// All marks that are none, at once.
pub(super) fn cut(text: &str) -> Result<Vec<Section>, Vec<Mistake>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut mistakes = Vec::new();
    let mut at = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let range = at..at + line.len();
        at = range.end;
        let mut content = bare(line);
        if number == 1 {
            content = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
        }
        if content.starts_with(MARK) {
            match mark(content, &sections) {
                Ok((kind, escaped)) => sections.push(Section {
                    kind,
                    escaped,
                    line: number,
                    body: range.end..range.end,
                    mark: range,
                }),
                Err(message) => mistakes.push(Mistake::new(number, message)),
            }
        } else if let Some(section) = sections.last_mut()
            && !content.is_empty()
        {
            section.body.end = range.end;
        }
    }
    if sections.iter().all(|section| section.kind != Kind::Input) && mistakes.is_empty() {
        let message = "there is no `--- input`: add it, and below it the lines to run";
        mistakes.push(Mistake::new(1, message));
    }
    match mistakes.is_empty() {
        true => Ok(sections),
        false => Err(mistakes),
    }
}

/// What a mark says, and whether `escaped` stands behind it.
fn mark(line: &str, before: &[Section]) -> Result<(Kind, bool), String> {
    let mut words: Vec<&str> = line[MARK.len()..].split_ascii_whitespace().collect();
    let spaced = line[MARK.len()..].starts_with(' ');
    let name = match words.first() {
        Some(name) if spaced => *name,
        _ => return Err(no_section(line, None)),
    };
    let escaped = words.len() > 1 && words.last() == Some(&"escaped");
    words.truncate(words.len() - usize::from(escaped));
    let kind = kind(name).ok_or_else(|| no_section(line, closest(name, NAMES.into_iter())))?;
    let kind = match (kind, &words[1..]) {
        (Kind::Output(_), [route]) if is_route_name(route) => Kind::Output((*route).to_owned()),
        (Kind::Output(_), [route]) => {
            let route = route.escape_debug();
            return Err(format!(
                "`{route}` is no name of a route: it has letters, digits, `_` and `-`"
            ));
        }
        (kind, []) => kind,
        (kind, [word, ..]) => {
            let title = kind.title();
            return Err(format!(
                "`{word}` has no meaning behind `{MARK} {title}`: remove it"
            ));
        }
    };
    if escaped && !kind.is_text() {
        return Err(format!(
            "`escaped` is for input and output, not for {}: remove it",
            kind.title()
        ));
    }
    match before.iter().find(|section| section.kind == kind) {
        Some(first) => Err(format!(
            "`{}` is there already, on line {}: keep one",
            kind.mark(false),
            first.line
        )),
        None => Ok((kind, escaped)),
    }
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "settings" => Kind::Settings,
        "config" => Kind::Config,
        "request" => Kind::Request,
        "input" => Kind::Input,
        "output" => Kind::Output(String::new()),
        "faults" => Kind::Faults,
        "metrics" => Kind::Metrics,
        "error" => Kind::Error,
        _ => return None,
    })
}

fn no_section(line: &str, meant: Option<&str>) -> String {
    let line: String = line.chars().take(40).collect();
    let line = line.escape_debug();
    let meant = match meant {
        Some(name) => format!("did you mean `{MARK} {name}`?"),
        None => format!("there are {}.", NAMES.join(", ")),
    };
    format!(
        "`{line}` begins no section: {meant} A line of data that begins with `{MARK}` is written `\\{MARK}`, in a section that is marked `escaped`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections, a line each: line, mark, content.
    fn check(text: &str, expected: &[&str]) {
        let found = match cut(text) {
            Ok(sections) => sections
                .iter()
                .map(|section| shown(section, text))
                .collect(),
            Err(mistakes) => mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>(),
        };
        assert_eq!(found, expected, "{text}");
    }

    fn shown(section: &Section, text: &str) -> String {
        let lines: Vec<_> = section.lines(text).map(|(_, line)| line).collect();
        let mark = section.kind.mark(section.escaped);
        format!("{} {mark}: {}", section.line, lines.join("|"))
    }

    #[test]
    fn sections_end_where_the_next_begins() {
        check("--- input", &["1 --- input: "]);
        check(
            "free\n\n--- input\na\n\n b\n\n\n--- output\nx",
            &["3 --- input: a|| b", "9 --- output: x"],
        );
        check("\u{feff}--- input\n\u{feff}a", &["1 --- input: \u{feff}a"]);
        check(
            "--- input\r\na\r\n\r\n--- output  audit escaped\r\n\\-\r\n",
            &["1 --- input: a", "4 --- output audit escaped: \\-"],
        );
        check(
            "--- input\n--- settings\n--- config\n--- request\n--- faults\n--- metrics\n--- error\n",
            &[
                "1 --- input: ",
                "2 --- settings: ",
                "3 --- config: ",
                "4 --- request: ",
                "5 --- faults: ",
                "6 --- metrics: ",
                "7 --- error: ",
            ],
        );
    }

    #[test]
    fn marks_that_are_none() {
        let data = "A line of data that begins with `---` is written `\\---`, in a section that is marked `escaped`";
        let all = "there are settings, config, request, input, output, faults, metrics, error.";
        check(
            "a\n",
            &["1: there is no `--- input`: add it, and below it the lines to run"],
        );
        check(
            "--- inputs\n---\n---- x\n---input\n",
            &[
                &format!("1: `--- inputs` begins no section: did you mean `--- input`? {data}"),
                &format!("2: `---` begins no section: {all} {data}"),
                &format!("3: `---- x` begins no section: {all} {data}"),
                &format!("4: `---input` begins no section: {all} {data}"),
            ],
        );
        check(
            "--- input\n--- output\n\n--- output \n--- output a\n--- output a escaped",
            &[
                "4: `--- output` is there already, on line 2: keep one",
                "6: `--- output a` is there already, on line 5: keep one",
            ],
        );
        check(
            "--- input x\n--- output a b\n--- faults escaped\n",
            &[
                "1: `x` has no meaning behind `--- input`: remove it",
                "2: `a` has no meaning behind `--- output`: remove it",
                "3: `escaped` is for input and output, not for faults: remove it",
            ],
        );
    }
}
