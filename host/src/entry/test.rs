//! `linemill test`: the cases of a plugin; what differs goes to stdout, mistakes in cases to stderr.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use linemill::{
    Case, Config, Difference, Layers, Observed, Origin, Plugin, Sign, Storage, Trial, Verdict,
};
use serde_json::{Value, json};

use super::{ALL_PROCESSED, COULD_NOT_RUN, SOME_LEFT, say};

/// What a project's configuration is called.
const CONFIG: &str = "linemill.toml";
/// What the folder of cases is called.
const CASES: &str = "cases";
/// A case is read whole.
const CASE_BYTES_MAX: u64 = 64 << 20;
/// Mistakes of one file that are told.
const MISTAKES_MAX: usize = 20;
/// Of the environment only this: a case must not depend on where it is run.
const MACHINE: &str = "LINEMILL_CACHE_DIR";

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// What `test` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A case is a text: --- settings, --- input, --- output, --- faults, --- metrics. What it leaves unsaid must be empty.

Exit codes: 0 all cases pass; 1 some do not; 2 could not run (no cases, mistakes in them, no plugin)."
)]
pub(crate) struct Args {
    /// A project's folder, its linemill.toml, or a component
    #[arg(default_value = ".", value_name = "PLUGIN")]
    plugin: PathBuf,
    /// Only cases with one of these in their names
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Where the cases are [default: `cases` beside the component, or in the project]
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Rewrite the cases so that they expect what the plugin does
    #[arg(long)]
    bless: bool,
    /// Only what differs, and the summary
    #[arg(long, short)]
    quiet: bool,
    /// A JSON object for each case on stdout, and nothing else
    #[arg(long)]
    json: bool,
    /// Configuration file, TOML or JSON [default: that of the project]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, by its name in the configuration; over those of cases (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Runs the cases.
pub(crate) async fn test(args: Args) -> Result<ExitCode> {
    let project = Project::find(&args)?;
    let layers = project.layers(&args.set)?;
    let Some(trials) = read_all(&project.cases, &args.words, &layers)? else {
        return Ok(ExitCode::from(COULD_NOT_RUN));
    };
    let mut config = layers.finish()?.config;
    project.prepare(&mut config)?;
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let most = trials.iter().map(Trial::instances).max().unwrap_or(1);
    config.concurrency = most;
    let runtime = super::engine(&config, at_once)?;
    let plugin = linemill::load_plugin(&runtime, &Storage::new(), &Arc::new(config)).await?;
    let mut tally = Tally::new(&args);
    let mut verdicts = futures::stream::iter(&trials)
        .map(|trial| run_one(trial, &plugin))
        .buffered(at_once);
    while let Some((trial, verdict)) = verdicts.next().await {
        let verdict = verdict.with_context(|| format!("could not run {}", trial.case().name))?;
        tally.add(trial.case(), &verdict)?;
    }
    tally.end()
}

async fn run_one<'a>(trial: &'a Trial, plugin: &Plugin) -> (&'a Trial, Result<Verdict>) {
    (trial, trial.run(plugin).await)
}

/// What is tested, and where its things are.
struct Project {
    /// The component, if it was named; otherwise the configuration names it.
    component: Option<String>,
    /// Where relative paths in the configuration start from.
    folder: PathBuf,
    config: Option<PathBuf>,
    cases: PathBuf,
}

impl Project {
    fn find(args: &Args) -> Result<Self> {
        let path = &args.plugin;
        let is_config = path
            .extension()
            .is_some_and(|suffix| suffix == "toml" || suffix == "json");
        let project = if path.is_dir() || is_config {
            let (folder, config) = match is_config {
                true => (parent(path), path.clone()),
                false => (
                    path.clone(),
                    args.config.clone().unwrap_or_else(|| path.join(CONFIG)),
                ),
            };
            if !config.is_file() {
                bail!(
                    "there is no {}: name a project's folder or a component, or begin one with `linemill new`",
                    config.display()
                );
            }
            Project {
                component: None,
                cases: folder.join(CASES),
                folder,
                config: Some(config),
            }
        } else {
            Project {
                component: Some(path.to_string_lossy().into_owned()),
                folder: parent(path),
                config: args.config.clone(),
                cases: parent(path).join(CASES),
            }
        };
        let cases = args.cases.clone().unwrap_or(project.cases);
        Ok(Project { cases, ..project })
    }

    fn layers(&self, set: &[String]) -> Result<Layers> {
        let mut layers = Layers::new();
        if let Some(config) = &self.config {
            layers.file(config)?;
        }
        layers.env(
            std::env::var(MACHINE)
                .ok()
                .map(|dir| (MACHINE.to_owned(), dir)),
        )?;
        for pair in set {
            let (name, value) = pair
                .split_once('=')
                .with_context(|| format!("--set {pair}: NAME=VALUE is expected"))?;
            layers.set(name, value, Origin::Flag("--set".to_owned()))?;
        }
        Ok(layers)
    }

    /// The component itself is tested, not what was made of it, and just these cases.
    fn prepare(&self, config: &mut Config) -> Result<()> {
        config.plugin_compiled = None;
        config.canary = None;
        if let Some(component) = &self.component {
            config.plugin = Some(component.clone());
            return Ok(());
        }
        let file = self
            .config
            .as_deref()
            .unwrap_or(Path::new(CONFIG))
            .display();
        let named = config.plugin.take();
        let named = named
            .with_context(|| format!("{file} names no `plugin`: add the path of the component"))?;
        if named.contains("://") {
            config.plugin = Some(named);
            return Ok(());
        }
        let path = self.folder.join(&named);
        if !path.is_file() {
            bail!(
                "the plugin {} that {file} names is not there: build it, as the project's README says",
                path.display()
            );
        }
        config.plugin = Some(path.to_string_lossy().into_owned());
        Ok(())
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Reads the cases, sorted by name; `None`: there are mistakes in them, which have been told.
fn read_all(folder: &Path, words: &[String], layers: &Layers) -> Result<Option<Vec<Trial>>> {
    let files = find(folder, words)?;
    let (mut trials, mut wrong) = (Vec::new(), 0);
    for path in files {
        let name = path
            .strip_prefix(".")
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = read(&path).with_context(|| format!("could not read the case {name}"))?;
        let trial = Case::parse(&name, &bytes).and_then(|case| Trial::new(case, layers));
        match trial {
            Ok(trial) => trials.push(trial),
            Err(mistakes) => {
                wrong += 1;
                for mistake in mistakes.iter().take(MISTAKES_MAX) {
                    say(&format!("{name}:{mistake}"));
                }
                if mistakes.len() > MISTAKES_MAX {
                    say(&format!("{name}: {} more", mistakes.len() - MISTAKES_MAX));
                }
            }
        }
    }
    if wrong > 0 {
        say(&format!(
            "linemill: mistakes in {wrong} of the cases, none was run"
        ));
        return Ok(None);
    }
    Ok(Some(trials))
}

fn find(folder: &Path, words: &[String]) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "there are no cases in {}: write some, or name their folder with --cases",
            folder.display()
        )
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("could not read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|suffix| suffix == "txt") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(
            "there are no cases in {}: a case is a file whose name ends in .txt",
            folder.display()
        );
    }
    files.sort();
    let count = files.len();
    let name = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    files.retain(|path| words.is_empty() || words.iter().any(|word| name(path).contains(word)));
    if files.is_empty() {
        bail!(
            "none of the {count} cases in {} has {} in its name",
            folder.display(),
            words.join(" or ")
        );
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > CASE_BYTES_MAX {
        bail!("it has {size} bytes, more than {CASE_BYTES_MAX}: shorten its input");
    }
    Ok(std::fs::read(path)?)
}

/// Tells how cases end, and counts them.
struct Tally<'a> {
    args: &'a Args,
    coloured: bool,
    passed: usize,
    failed: usize,
    blessed: usize,
}

impl<'a> Tally<'a> {
    fn new(args: &'a Args) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Tally {
            args,
            coloured: std::io::stdout().is_terminal() && !no_color,
            passed: 0,
            failed: 0,
            blessed: 0,
        }
    }

    fn add(&mut self, case: &Case, verdict: &Verdict) -> Result<()> {
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
            return super::print(&as_json(case, outcome, differences, why).to_string());
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
        super::print(&text)
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

    fn end(self) -> Result<ExitCode> {
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
            super::print(&format!(
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
        .tempfile_in(parent(&path))?;
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
