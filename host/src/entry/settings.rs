//! Flags that set the configuration, over its file and the environment.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use linemill::{Effective, Layers, Origin};

/// Names the configuration file, where no flag does.
const FILE_VARIABLE: &str = "LINEMILL_CONFIG";

/// Settings; each overrides the configuration file and `LINEMILL_…` variables.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Configuration file, TOML or JSON [env: LINEMILL_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Path or URL of the plugin, a WebAssembly component
    #[arg(long, short, value_name = "FILE")]
    plugin: Option<String>,
    /// Base for all that is written: destination, retry, failed and corruption below it
    #[arg(long, short, value_name = "URL")]
    out: Option<String>,
    /// Where the plugin's output goes; `-` for stdout
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    destination: Option<String>,
    /// Where lines to be run again go
    #[arg(long, value_name = "URL")]
    retry: Option<String>,
    /// Where lines go whose attempts are used up
    #[arg(long, value_name = "URL")]
    failed: Option<String>,
    /// Where corrupt lines go
    #[arg(long, value_name = "URL")]
    corruption: Option<String>,
    /// Where output for a named route goes (repeatable)
    #[arg(long = "route", value_name = "NAME=URL")]
    routes: Vec<String>,
    /// A setting of the plugin (repeatable)
    #[arg(long = "setting", short = 's', value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Instances that work at the same time [default: the number of cores]
    #[arg(long, value_name = "N")]
    concurrency: Option<String>,
    /// Time that a request has; what is not done by then is handed over
    #[arg(long, value_name = "MS")]
    max_exec_time_ms: Option<String>,
    /// Attempts after the first, before a line has failed
    #[arg(long, value_name = "N")]
    max_retries: Option<String>,
    /// How lines that were never read are handed over: pointer or copy
    #[arg(long, value_name = "HOW")]
    unread: Option<String>,
    /// What becomes of a source that was read to its end: keep, delete or move
    #[arg(long, value_name = "WHAT")]
    completion: Option<String>,
    /// Where the source is moved, with --completion move
    #[arg(long, value_name = "URL")]
    move_to: Option<String>,
    /// Any other setting, by its name in the configuration (repeatable)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    others: Vec<String>,
}

impl Settings {
    /// For a command that takes only the file and settings by their names.
    pub(crate) fn few(config: Option<PathBuf>, others: Vec<String>) -> Self {
        Settings {
            config,
            others,
            ..Settings::default()
        }
    }

    /// For the plugin that a command names beside its settings.
    pub(crate) fn set_plugin(&mut self, plugin: String) {
        self.plugin = Some(plugin);
    }

    /// The configuration file, where one was named.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let of_env = || std::env::var_os(FILE_VARIABLE).map(PathBuf::from);
        self.config.clone().or_else(of_env)
    }

    /// Whether a flag names a configuration file.
    pub(crate) fn has_file(&self) -> bool {
        self.config.is_some()
    }

    /// For a configuration file that a command finds itself; one that was named stays.
    pub(crate) fn set_file(&mut self, file: PathBuf) {
        self.config.get_or_insert(file);
    }

    /// For a setting that a command has a flag of its own for.
    pub(crate) fn set(&mut self, name: &str, value: Option<String>) {
        self.others
            .extend(value.map(|value| format!("{name}={value}")));
    }

    /// Puts the layers together: defaults, file, environment, flags.
    pub(crate) fn effective(&self) -> Result<Effective> {
        Ok(self.layers(|_| true)?.finish()?)
    }

    /// The layers; of the environment only the variables that `takes` wants.
    pub(crate) fn layers(&self, takes: impl Fn(&str) -> bool) -> Result<Layers> {
        let mut layers = Layers::new();
        let file = match takes(FILE_VARIABLE) {
            true => self.file(),
            false => self.config.clone(),
        };
        if let Some(file) = file {
            layers.file(file)?;
        }
        let ours = std::env::vars_os().filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| name.starts_with("LINEMILL_") && takes(name))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        layers.env(ours)?;
        for (flag, key, value) in self.named() {
            if let Some(value) = value {
                layers.set(key, value, Origin::Flag(flag.to_owned()))?;
            }
        }
        for (flag, prefix, pairs) in [
            ("--route", "routes.", &self.routes),
            ("--setting", "settings.", &self.settings),
            ("--set", "", &self.others),
        ] {
            for pair in pairs {
                let (key, value) = pair
                    .split_once('=')
                    .with_context(|| format!("{flag} {pair}: NAME=VALUE is expected"))?;
                layers.set(
                    &format!("{prefix}{key}"),
                    value,
                    Origin::Flag(flag.to_owned()),
                )?;
            }
        }
        Ok(layers)
    }

    fn named(&self) -> [(&str, &str, Option<&String>); 12] {
        [
            ("--plugin", "plugin", self.plugin.as_ref()),
            ("--out", "out_url", self.out.as_ref()),
            (
                "--destination",
                "destination_url",
                self.destination.as_ref(),
            ),
            ("--retry", "retry_url", self.retry.as_ref()),
            ("--failed", "failed_url", self.failed.as_ref()),
            ("--corruption", "corruption_url", self.corruption.as_ref()),
            ("--concurrency", "concurrency", self.concurrency.as_ref()),
            (
                "--max-exec-time-ms",
                "max_exec_time_ms",
                self.max_exec_time_ms.as_ref(),
            ),
            ("--max-retries", "max_retries", self.max_retries.as_ref()),
            ("--unread", "unread", self.unread.as_ref()),
            ("--completion", "completion", self.completion.as_ref()),
            ("--move-to", "move_url", self.move_to.as_ref()),
        ]
    }
}
