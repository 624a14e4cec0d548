//! Runs a case: its lines as one batch and one by one, in memory.

use std::sync::Arc;

use anyhow::Result;

use super::diff::{Difference, between, differences};
use super::observed::Observed;
use super::request::Setting;
use super::{Case, Mistake};
use crate::body::Body;
use crate::config::{Config, ConfigError, Layers, Origin};
use crate::rehearsal::Rehearsal;
use crate::runtime::Plugin;

/// So many batches a case is cut into at most; an instance for each costs some ten microseconds or, where an interpreter
/// is in it, half a millisecond.
const BATCHES_MAX: usize = 1000;

/// A case with the configuration in which it is run.
#[derive(Debug)]
pub struct Trial {
    case: Case,
    config: Config,
    /// How lines are cut into batches is said by the case.
    batches_given: bool,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// All is as expected.
    Passed,
    /// That differs from what is expected.
    Failed(Vec<Difference>, Observed),
    /// That differs when the same lines come in other batches.
    Unsteady(Vec<Difference>),
}

impl Trial {
    /// Puts what the case sets over `layers`.
    ///
    /// # Errors
    /// What is wrong with what it sets, and where.
    pub fn new(case: Case, layers: &Layers) -> Result<Self, Vec<Mistake>> {
        let mut layers = layers.clone();
        let origin = Origin::File(case.name.clone().into());
        let mut mistakes = Vec::new();
        let settings = case.settings.iter().map(|setting| ("settings.", setting));
        let limits = case.config.iter().map(|setting| ("", setting));
        for (prefix, setting) in settings.chain(limits) {
            let name = format!("{prefix}{}", setting.name);
            if let Err(error) = layers.set(&name, &setting.value, origin.clone()) {
                mistakes.extend(at(setting.line, error));
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let effective = layers
            .finish()
            .map_err(|error| located(&case.config, error))?;
        let has = |name: &str| case.config.iter().any(|setting| setting.name == name);
        let mut config = effective.config;
        // A busy machine must not change what a case does.
        if !has("max_exec_time_ms") {
            config.max_exec_time_ms = None;
        }
        if !has("concurrency") {
            config.concurrency = 1;
        }
        for route in case.outputs.keys().filter(|route| !route.is_empty()) {
            config.routes.entry(route.clone()).or_default();
        }
        Ok(Trial {
            batches_given: has("batch_lines") || has("batch_bytes"),
            case,
            config,
        })
    }

    /// How many instances work at once.
    pub fn instances(&self) -> usize {
        self.config.concurrency
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// Runs it.
    ///
    /// # Errors
    /// What was written cannot be read back.
    pub async fn run(&self, plugin: &Plugin) -> Result<Verdict> {
        let whole = self.observe(plugin, &self.whole()).await?;
        if !self.batches_given {
            let cut = self.observe(plugin, &self.cut()).await?;
            let unsteady = between(&whole, &cut);
            if !unsteady.is_empty() {
                return Ok(Verdict::Unsteady(unsteady));
            }
        }
        let found = differences(&self.case, &whole);
        Ok(match found.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed(found, whole),
        })
    }

    async fn observe(&self, plugin: &Plugin, config: &Config) -> Result<Observed> {
        let input = self.case.input.clone();
        let request = self.case.about.request(Body::bytes(input.clone()));
        let rehearsal = Rehearsal::of(plugin, config, request, Arc::default()).await?;
        Ok(Observed::of(rehearsal, &input))
    }

    /// Batches as large as they may be; one for most cases.
    fn whole(&self) -> Config {
        let mut config = self.config.clone();
        if !self.batches_given {
            config.batch_lines = None;
            config.batch_bytes = Some(config.batch_bytes_max);
        }
        config
    }

    /// Line by line, each in an instance of its own; many lines a few at a time.
    fn cut(&self) -> Config {
        let mut config = self.config.clone();
        let lines = self.case.input.split(|&byte| byte == b'\n').count();
        config.batch_bytes = None;
        config.batch_lines = Some(lines.div_ceil(BATCHES_MAX));
        config.instance_batches_max = Some(1);
        config
    }
}

fn at(line: usize, error: ConfigError) -> Vec<Mistake> {
    let problems = match error {
        ConfigError::Invalid(problems) => problems,
        other => return vec![Mistake::new(line, other.to_string())],
    };
    let mistake = |mut problem: crate::config::Problem| {
        problem.place = None;
        Mistake::new(line, problem.to_string())
    };
    problems.into_iter().map(mistake).collect()
}

/// What is wrong with the whole, at the line of the setting.
fn located(settings: &[Setting], error: ConfigError) -> Vec<Mistake> {
    let ConfigError::Invalid(problems) = error else {
        return at(1, error);
    };
    problems
        .into_iter()
        .flat_map(|problem| {
            let named = settings
                .iter()
                .find(|setting| setting.name == problem.setting);
            let line = named.or(settings.first()).map_or(1, |setting| setting.line);
            at(line, ConfigError::Invalid(vec![problem]))
        })
        .collect()
}
