//! Cases that the author of a plugin writes: a text with settings, lines, and what is expected to become of them.
//!
//! [`Case::parse`] reads one, [`Trial::run`] runs it in memory, and the [`Verdict`] says what differs. What a case leaves
//! unsaid must be empty.

mod bless;
mod diff;
mod entry;
mod faults;
mod measures;
mod observed;
mod request;
mod section;
mod text;
mod trial;

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

pub use diff::{DiffLine, Difference, Sign};
pub use observed::Observed;
pub use trial::{Trial, Verdict};

use faults::{Faults, Reason};
use measures::Metrics;
use request::{About, Setting};
use section::{Kind, Section};

/// What is wrong with a case file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Mistake {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Mistake {
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// A case as its author wrote it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name, for messages.
    pub name: String,
    text: String,
    sections: Vec<Section>,
    settings: Vec<Setting>,
    config: Vec<Setting>,
    about: About,
    input: Bytes,
    outputs: BTreeMap<String, Bytes>,
    faults: Faults,
    metrics: Metrics,
    error: Option<Reason>,
}

impl Case {
    /// Reads a case file.
    ///
    /// # Errors
    /// All that is wrong with it, at once.
    pub fn parse(name: impl Into<String>, bytes: &[u8]) -> Result<Self, Vec<Mistake>> {
        let text = std::str::from_utf8(bytes).map_err(|error| vec![not_text(bytes, &error)])?;
        let sections = section::cut(text)?;
        let mut case = Case {
            name: name.into(),
            text: text.to_owned(),
            sections: Vec::new(),
            settings: Vec::new(),
            config: Vec::new(),
            about: About::default(),
            input: Bytes::new(),
            outputs: BTreeMap::new(),
            faults: Faults::default(),
            metrics: Metrics::default(),
            error: None,
        };
        let mut mistakes = Vec::new();
        for section in &sections {
            mistakes.extend(case.read(section, text).err().unwrap_or_default());
        }
        case.sections = sections;
        match mistakes.is_empty() {
            true => Ok(case),
            false => Err(mistakes),
        }
    }

    fn read(&mut self, section: &Section, text: &str) -> Result<(), Vec<Mistake>> {
        match &section.kind {
            Kind::Settings => self.settings = request::settings(section, text)?,
            Kind::Config => self.config = request::limits(section, text)?,
            Kind::Request => self.about = About::parse(section, text)?,
            Kind::Input => self.input = bytes_of(section, text)?,
            Kind::Output(route) => {
                let data = bytes_of(section, text)?;
                drop(self.outputs.insert(route.clone(), data));
            }
            Kind::Faults => self.faults = entry::parse(section.lines(text))?,
            Kind::Metrics => self.metrics = entry::parse(section.lines(text))?,
            Kind::Error => {
                self.error = Some(error_of(section, text).map_err(|mistake| vec![mistake])?)
            }
        }
        Ok(())
    }

    fn section(&self, kind: &Kind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == *kind)
    }
}

fn not_text(bytes: &[u8], error: &std::str::Utf8Error) -> Mistake {
    let before = &bytes[..error.valid_up_to()];
    let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
    let message =
        "is not UTF-8: write such bytes as `\\xNN`, in a section that is marked `escaped`";
    Mistake::new(line, message)
}

fn bytes_of(section: &Section, text: &str) -> Result<Bytes, Vec<Mistake>> {
    let mut bytes = Vec::with_capacity(section.body.len());
    let mut mistakes = Vec::new();
    for (number, line) in section.lines(text) {
        if !section.escaped {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            continue;
        }
        match text::unescape_line(line) {
            Ok((line, ended)) => {
                bytes.extend(line);
                bytes.extend(ended.then_some(b'\n'));
            }
            Err(message) => mistakes.push(Mistake::new(number, message)),
        }
    }
    match mistakes.is_empty() {
        true => Ok(bytes.into()),
        false => Err(mistakes),
    }
}

fn error_of(section: &Section, text: &str) -> Result<Reason, Mistake> {
    let mut lines = section
        .lines(text)
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let Some((number, line)) = lines.next() else {
        let message = "says nothing: write the error, `...` for any, or remove the section";
        return Err(Mistake::new(section.line, message));
    };
    if let Some((number, _)) = lines.next() {
        return Err(Mistake::new(
            number,
            "an error is one line: remove the others",
        ));
    }
    Reason::parse(line).map_err(|message| Mistake::new(number, message))
}

#[cfg(test)]
mod tests;
