//! What a command names as its plugin: a component, or a project folder whose `linemill.toml` names it.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use linemill::Config;

use super::settings::Settings;

/// The configuration file of a project.
const FILE: &str = "linemill.toml";

/// A plugin and the settings that go with it.
pub(crate) struct Project {
    settings: Settings,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
}

impl Project {
    /// `target`: path or URL of a component, a project's folder, or its configuration file.
    ///
    /// # Errors
    /// A folder that is none of a project.
    pub(crate) fn new(target: &str, mut settings: Settings) -> Result<Self> {
        let path = Path::new(target);
        let suffix = path.extension().unwrap_or_default();
        let folder = if path.is_dir() {
            settings.set_file(path.join(FILE));
            if settings.file().is_some_and(|file| !file.is_file()) {
                bail!(
                    "{target} is a folder without {FILE}: name a component, or a project's folder"
                );
            }
            Some(path.to_owned())
        } else if suffix == "toml" || suffix == "json" {
            settings.set_file(path.to_owned());
            Some(path.parent().unwrap_or(Path::new("")).to_owned())
        } else {
            settings.set_plugin(target.to_owned());
            None
        };
        Ok(Project { settings, folder })
    }

    /// The configuration as it is now; its `plugin` is set, and it is the component itself that is meant, not what was
    /// made of it. In a project's file, a relative path of the plugin starts
    /// at the project's folder.
    ///
    /// # Errors
    /// The configuration is wrong, or names no plugin.
    pub(crate) fn config(&self) -> Result<Config> {
        let mut config = self.settings.effective()?.config;
        config.plugin_compiled = None;
        config.canary = None;
        if let Some(folder) = &self.folder {
            let Some(plugin) = &config.plugin else {
                let file = self.settings.file().unwrap_or_else(|| folder.join(FILE));
                bail!("{} names no plugin: set `plugin`", file.display());
            };
            if !plugin.contains("://") {
                let path = folder.join(plugin);
                config.plugin = Some(path.to_string_lossy().into_owned());
            }
        }
        Ok(config)
    }

    /// The configuration file, where there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.settings.file()
    }
}
