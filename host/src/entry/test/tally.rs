//! How cases end, told one by one and counted; and cases that are rewritten.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use linemill::{Case, Difference, Observed, Sign, Verdict};
use serde_json::{Value, json};

use super::Args;
use crate::entry::{ALL_PROCESSED, SOME_LEFT, project};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Tells how cases end, and counts them.
pub(super) struct Tally<'a> {
    args: &'a Args,
    coloured: bool,
    passed: usize,
    failed: usize,
    blessed: usize,
}

impl<'a> Tally<'a> {
    pub(super) fn new(args: &'a Args) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Tally {
            args,
            coloured: std::io::stdout().is_terminal() && !no_color,
            passed: 0,
            failed: 0,
            blessed: 0,
        }
    }

    pub(super) fn add(&mut self, case: &Case, verdict: &Verdict) -> Result<()> {
        let (differences, why) = match verdict {
            Verdict::Passed => {
                self.passed += 1;
                self.tell(case, "ok", "passed", &[], None)?;
                return Ok(());
            }
            Verdict::Failed(differences, observed) => match self.args.bless {
                true => match bless(case, observed) {
                    Ok(()) => {
                        self.blessed += 1;
                        return self.tell(case, "blessed", "blessed", &[], None);
                    }
                    Err(error) => (differences, Some(format!("not blessed: {error:#}"))),
                },
                false => (differences, None),
            },
            Verdict::Unsteady(differences) => (differences, Some(UNSTEADY.to_owned())),
        };
        self.failed += 1;
        self.tell(case, "FAILED", "failed", differences, why.as_deref())
    }

    fn tell(
        &self,
        case: &Case,
        word: &str,
        outcome: &str,
        differences: &[Difference],
        why: Option<&str>,
    ) -> Result<()> {
        if self.args.json {
            return crate::entry::print(&as_json(case, outcome, differences, why).to_string());
        }
        if self.args.quiet && outcome == "passed" {
            return Ok(());
        }
        let colour = if outcome == "failed" { RED } else { GREEN };
        let mut text = format!("{} {}", self.paint(colour, &format!("{word:7}")), case.name);
        if let Some(why) = why {
            text.push_str(&format!("\n  {why}"));
        }
        for difference in differences {
            text.push_str(&self.difference(case, difference, matches!(why, Some(UNSTEADY))));
        }
        crate::entry::print(&text)
    }

    fn difference(&self, case: &Case, difference: &Difference, unsteady: bool) -> String {
        let place = match difference.line {
            Some(line) => format!("{}:{line}", case.name),
            None if unsteady => case.name.clone(),
            None => format!("{}: there is no `--- {}`", case.name, difference.section),
        };
        let (expected, actual) = match unsteady {
            true => ("in one batch", "line by line"),
            false => ("expected", "what the plugin did"),
        };
        let verb = match difference.section.as_str() {
            "faults" | "metrics" => "differ",
            _ => "differs",
        };
        let mut text = format!(
            "\n  {} {verb} ({place}): {}, {}",
            difference.section,
            self.paint(RED, &format!("- {expected}")),
            self.paint(GREEN, &format!("+ {actual}"))
        );
        for line in &difference.lines {
            let line = match line.sign {
                Sign::Both => format!("  {}", line.text),
                Sign::Expected => self.paint(RED, &format!("- {}", line.text)),
                Sign::Actual => self.paint(GREEN, &format!("+ {}", line.text)),
                Sign::Skipped => self.paint(DIM, &format!("@ {}", line.text)),
            };
            text.push_str(&format!("\n    {line}"));
        }
        text
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        match self.coloured {
            true => format!("{colour}{text}{PLAIN}"),
            false => text.to_owned(),
        }
    }

    pub(super) fn end(self) -> Result<ExitCode> {
        let Tally {
            passed,
            failed,
            blessed,
            ..
        } = self;
        if !self.args.json {
            let blessed = if blessed > 0 {
                format!(", {blessed} blessed")
            } else {
                String::new()
            };
            let remedy = match failed > 0 && !self.args.bless {
                true => "\nIf what the plugin did is right, --bless makes it what is expected.",
                false => "",
            };
            crate::entry::print(&format!(
                "{passed} passed, {failed} failed{blessed}{remedy}"
            ))?;
        }
        Ok(ExitCode::from(if failed > 0 {
            SOME_LEFT
        } else {
            ALL_PROCESSED
        }))
    }
}

const UNSTEADY: &str = "the plugin does something else when the same lines come in other batches, in fresh instances: what a line does must not depend on the lines before it in a batch. A case whose plugin may do so says how lines are cut: `batch_lines` in `--- config`";

fn bless(case: &Case, observed: &Observed) -> Result<()> {
    let text = case.blessed(observed).map_err(anyhow::Error::msg)?;
    let Some(text) = text else {
        bail!("nothing would change, this is a bug of linemill");
    };
    write(Path::new(&case.name), &text).with_context(|| format!("could not write {}", case.name))
}

/// Whole or not at all; who may read it stays.
fn write(path: &Path, text: &str) -> Result<()> {
    // A link stays one.
    let path = path.canonicalize()?;
    let mut file = tempfile::Builder::new()
        .prefix(".bless-")
        .tempfile_in(project::parent(&path))?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.persist(&path)?;
    Ok(())
}

fn as_json(case: &Case, outcome: &str, differences: &[Difference], why: Option<&str>) -> Value {
    let difference = |difference: &Difference| {
        let lines = difference.lines.iter().map(|line| {
            let sign = match line.sign {
                Sign::Both => " ",
                Sign::Expected => "-",
                Sign::Actual => "+",
                Sign::Skipped => "@",
            };
            format!("{sign} {}", line.text)
        });
        json!({
            "Section": difference.section,
            "Line": difference.line,
            "Diff": lines.collect::<Vec<_>>(),
        })
    };
    json!({
        "Case": case.name,
        "Outcome": outcome,
        "Why": why,
        "Differences": differences.iter().map(difference).collect::<Vec<_>>(),
    })
}
