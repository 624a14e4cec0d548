//! What is told of a capsule and its replay, to a person and as JSON.

use std::fmt;

use linemill::{Capsule, Ended, PluginId, Replayed};
use serde_json::{Value, json};

/// So much of a line is shown.
const SHOWN_CHARS: usize = 200;
/// So many lines of a batch.
const SHOWN_LINES: usize = 5;

/// What a replay came to; the later ones are worse, whatever their exit codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It was not run.
    Shown,
    /// The same, at the same fuel.
    Reproduced,
    /// With another plugin: all is well.
    Fixed,
    /// With another plugin: it traps no more, it blames the line.
    Handled,
    /// The same, at other fuel.
    OtherFuel,
    /// Something else came of it.
    Differs,
    /// With another plugin: the same.
    FailsTheSame,
    /// With another plugin: something else.
    FailsOtherwise,
    /// It could not be run.
    CouldNotRun,
}

impl Verdict {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Verdict::Shown | Verdict::Reproduced | Verdict::Fixed | Verdict::Handled => 0,
            Verdict::OtherFuel | Verdict::Differs | Verdict::FailsTheSame => 1,
            Verdict::CouldNotRun => super::super::COULD_NOT_RUN,
            Verdict::FailsOtherwise => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Verdict::Shown => "shown",
            Verdict::Reproduced => "reproduced",
            Verdict::Fixed => "fixed",
            Verdict::Handled => "handled",
            Verdict::OtherFuel => "other-fuel",
            Verdict::Differs => "differs",
            Verdict::FailsTheSame => "fails-the-same",
            Verdict::FailsOtherwise => "fails-otherwise",
            Verdict::CouldNotRun => "could-not-run",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Verdict::Shown => "not run",
            Verdict::Reproduced => "reproduced: the same, at the same fuel",
            Verdict::Fixed => "fixed: it does not fail any more",
            Verdict::Handled => "fixed: it does not trap any more, but blames the line",
            Verdict::OtherFuel => "NOT reproduced: the same, but at other fuel",
            Verdict::Differs => "NOT reproduced",
            Verdict::FailsTheSame => "not fixed: it fails the same",
            Verdict::FailsOtherwise => "not fixed: it fails otherwise",
            Verdict::CouldNotRun => "could not be run",
        }
    }

    /// The plugin that was recorded.
    fn of_same(expected: &Ended, got: &Ended) -> Verdict {
        match got {
            got if got.is_exactly(expected) => Verdict::Reproduced,
            got if got.says_the_same(expected) => Verdict::OtherFuel,
            _ => Verdict::Differs,
        }
    }

    /// Another one.
    fn of_other(expected: &Ended, got: &Ended) -> Verdict {
        match (expected, got) {
            (_, got) if got.passed() => Verdict::Fixed,
            (_, got) if got.is_alike_elsewhere(expected) => Verdict::FailsTheSame,
            (Ended::Trap { .. }, Ended::Fault { .. }) => Verdict::Handled,
            _ => Verdict::FailsOtherwise,
        }
    }
}

/// All that is told of one capsule.
pub(super) struct Account {
    place: String,
    rows: Vec<(&'static str, String)>,
    json: Value,
    pub(super) verdict: Verdict,
}

impl Account {
    pub(super) fn new(place: &str, capsule: &Capsule, intact: bool) -> Self {
        let mut account = Account {
            place: place.to_owned(),
            rows: Vec::new(),
            json: json!({
                "Capsule": place,
                "Line": capsule.line,
                "Source": capsule.request.source,
                "Plugin": {"Name": capsule.plugin.name, "Digest": capsule.plugin.digest},
                "Intact": intact,
                "Whole": capsule.is_whole(),
                "Expected": ended_json(&capsule.ended),
            }),
            verdict: Verdict::Shown,
        };
        account.tell_origin(capsule);
        account.tell_lines(capsule);
        account.tell_what_is_missing(capsule, intact);
        account.row("expected", capsule.ended.to_string());
        account
    }

    fn tell_origin(&mut self, capsule: &Capsule) {
        let (plugin, request, made_by) = (&capsule.plugin, &capsule.request, &capsule.made_by);
        let source = escaped(request.source.as_bytes());
        self.row(
            "of",
            format!(
                "line {} of {source}, attempt {}",
                capsule.line, request.attempt
            ),
        );
        let version = plugin.version.as_deref().unwrap_or("");
        let named = format!("{} {version}", plugin.name);
        self.row("plugin", format!("{} {}", named.trim_end(), plugin.digest));
        self.row(
            "made by",
            format!(
                "linemill {}, {}, {}",
                made_by.linemill, made_by.engine, made_by.platform
            ),
        );
    }

    fn tell_lines(&mut self, capsule: &Capsule) {
        let smaller = capsule.minimised_from.map_or(String::new(), |bytes| {
            format!(" (minimised from {bytes} bytes)")
        });
        self.row(
            "batch",
            format!(
                "{} line(s), {} bytes, from line {}{smaller}",
                capsule.lines(),
                capsule.batch.len(),
                capsule.first_line
            ),
        );
        let lines: Vec<&[u8]> = capsule
            .line_bytes()
            .split_inclusive(|&byte| byte == b'\n')
            .collect();
        for (index, line) in lines.iter().take(SHOWN_LINES).enumerate() {
            let name = if index == 0 { "text" } else { "" };
            self.row(name, escaped(line));
        }
        if lines.len() > SHOWN_LINES {
            self.row("", format!("… and {} more", lines.len() - SHOWN_LINES));
        }
        let answers: u64 = capsule.answers.iter().map(|said| said.times).sum();
        if answers > 0 {
            self.row("answers", format!("{answers} of the host"));
        }
    }

    fn tell_what_is_missing(&mut self, capsule: &Capsule, intact: bool) {
        if !intact {
            self.row("EDITED", "its checksum does not fit".to_owned());
        }
        for (name, what) in [("redacted", &capsule.redacted), ("masked", &capsule.masked)] {
            if !what.is_empty() {
                let what = what.join(", ");
                self.row(name, format!("{what}; a replay may differ"));
            }
        }
        if capsule.answers_cut {
            let why = "of the host's answers only the first are kept; a replay may differ";
            self.row("cut", why.to_owned());
        }
    }

    /// Adds what came of it.
    pub(super) fn ran(&mut self, capsule: &Capsule, plugin: &PluginId, replayed: &Replayed) {
        let index = match capsule.lines() {
            1 => Some(0),
            _ => capsule.ended.index(),
        };
        let same = plugin.digest == capsule.plugin.digest;
        let got = replayed.ended(if same { capsule.ended.index() } else { index });
        self.verdict = match same {
            true => Verdict::of_same(&capsule.ended, &got),
            false => Verdict::of_other(&capsule.ended, &got),
        };
        if !same {
            self.row("ran", format!("{} {}", plugin.name, plugin.digest));
        }
        self.row("got", got.to_string());
        if let Some(divergence) = &replayed.divergence {
            self.row("diverged", divergence.clone());
        }
        self.row("verdict", self.verdict.text().to_owned());
        self.json["Got"] = ended_json(&got);
        self.json["Diverged"] = json!(replayed.divergence);
    }

    /// Adds what it was made of.
    pub(super) fn minimised(&mut self, smaller: Option<&Capsule>) {
        let told = match smaller {
            None => "not possible: it does not fail in that way here".to_owned(),
            Some(capsule) => format!(
                "to {} line(s), {} bytes: {}",
                capsule.lines(),
                capsule.batch.len(),
                escaped(&capsule.batch)
            ),
        };
        self.row("minimised", told);
        self.json["MinimisedBytes"] = json!(smaller.map(|capsule| capsule.batch.len()));
    }

    /// What a capsule says may hold anything: nothing of it reaches the terminal but text.
    fn row(&mut self, name: &'static str, text: String) {
        let lines = text.split('\n').map(|line| {
            line.chars().fold(String::new(), |mut shown, character| {
                match character.is_control() {
                    true => shown.extend(character.escape_default()),
                    false => shown.push(character),
                }
                shown
            })
        });
        self.rows.push((name, lines.collect::<Vec<_>>().join("\n")));
    }

    /// The same for programs.
    pub(super) fn to_json(&self) -> Value {
        let mut json = self.json.clone();
        json["Verdict"] = json!(self.verdict.name());
        json
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.place)?;
        for (name, text) in &self.rows {
            // A message may have lines of its own.
            writeln!(f, "  {name:10} {}", text.replace('\n', "\n             "))?;
        }
        Ok(())
    }
}

fn ended_json(ended: &Ended) -> Value {
    json!({"Kind": ended.kind(), "Message": ended.message(), "Fuel": ended.fuel()})
}

/// Bytes of a line as text that no terminal takes for anything else, cut.
fn escaped(bytes: &[u8]) -> String {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let shown = &line[..line.len().min(4 * SHOWN_CHARS)];
    let text = String::from_utf8_lossy(shown);
    let mut escaped = String::new();
    for character in text.chars().take(SHOWN_CHARS) {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    if text.chars().count() > SHOWN_CHARS || shown.len() < line.len() {
        escaped.push_str(&format!("… ({} bytes)", line.len()));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_and_escaped() {
        let long = "é".repeat(300);
        let table: &[(&[u8], String)] = &[
            (b"", String::new()),
            (b"a\tb\r\n", "a\\tb\\r".to_owned()),
            (b"\x1b[31mred\xff", "\\u{1b}[31mred\u{fffd}".to_owned()),
            (
                long.as_bytes(),
                format!("{}… (600 bytes)", "é".repeat(SHOWN_CHARS)),
            ),
        ];
        for (bytes, shown) in table {
            assert_eq!(&escaped(bytes), shown);
        }
    }
}
