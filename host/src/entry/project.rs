//! What a command names as its plugin: a component, or a project folder whose `linemill.toml` names it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use linemill::{Config, Effective, Layers, Origin};

use super::settings::Settings;

/// The configuration file of a project.
const FILE: &str = "linemill.toml";
/// Where the cases of a project, or those beside a component, are.
const CASES: &str = "cases";

/// A plugin and the settings that go with it.
pub(crate) struct Project {
    settings: Settings,
    /// That of the project, or of the component.
    folder: PathBuf,
}

impl Project {
    /// `target`: path or URL of a component, a project's folder, or its configuration file.
    ///
    /// # Errors
    /// A folder that is none of a project, or two configuration files.
    pub(crate) fn new(target: &str, mut settings: Settings) -> Result<Self> {
        let path = Path::new(target);
        let suffix = path.extension().unwrap_or_default();
        let folder = if path.is_dir() {
            let file = path.join(FILE);
            if !settings.has_file() && !file.is_file() {
                bail!(
                    "there is no {}: name a project's folder or a component, or begin one with `linemill new`",
                    file.display()
                );
            }
            settings.set_file(file);
            path.to_owned()
        } else if suffix == "toml" || suffix == "json" {
            if settings.has_file() {
                bail!("{target} and --config are two configuration files: name one");
            }
            settings.set_file(path.to_owned());
            parent(path)
        } else {
            settings.set_plugin(target.to_owned());
            parent(path)
        };
        Ok(Project { settings, folder })
    }

    /// The configuration as it is now; see [`Project::config_of`].
    ///
    /// # Errors
    /// The configuration is wrong, or names no plugin.
    pub(crate) fn config(&self) -> Result<Config> {
        self.config_of(self.settings.effective()?)
    }

    /// The layers of the configuration; of the environment only what `takes` wants.
    ///
    /// # Errors
    /// What is wrong in one of them.
    pub(crate) fn layers(&self, takes: impl Fn(&str) -> bool) -> Result<Layers> {
        self.settings.layers(takes)
    }

    /// What becomes of the configuration for a plugin's author: its `plugin` is set, and it is the component itself
    /// that is meant, not what was made of it. What a file says of the plugin and of folders that are granted is
    /// relative to that file, so that it does not matter where the command is run.
    ///
    /// # Errors
    /// It names no plugin.
    pub(crate) fn config_of(&self, effective: Effective) -> Result<Config> {
        let Effective {
            mut config,
            origins,
        } = effective;
        config.plugin_compiled = None;
        config.canary = None;
        let folder = |setting: &str| match origins.get(setting) {
            Some(Origin::File(file)) => Some(parent(file)),
            _ => None,
        };
        if let Some(folder) = folder("grants.dirs") {
            for dir in &mut config.grants.dirs {
                dir.host = folder.join(&dir.host);
            }
        }
        let named = config.plugin.take().with_context(|| {
            let file = self.file().unwrap_or_else(|| self.folder.join(FILE));
            format!(
                "{} names no `plugin`: add the path of the component",
                file.display()
            )
        })?;
        config.plugin = Some(match folder("plugin") {
            Some(folder) if !named.contains("://") => {
                folder.join(&named).to_string_lossy().into_owned()
            }
            _ => named,
        });
        Ok(config)
    }

    /// Whether the component can be there. For one that is named by a file, which its author has not built yet.
    ///
    /// # Errors
    /// It is a local file, and there is none.
    pub(crate) fn check_built(config: &Config) -> Result<()> {
        let plugin = config.plugin.as_deref().unwrap_or_default();
        if !plugin.contains("://") && !Path::new(plugin).exists() {
            bail!(
                "the plugin {plugin} is not there: build it, as the project's README.md says, or name another"
            );
        }
        Ok(())
    }

    /// The configuration file, where there is one.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.settings.file()
    }

    /// Where its cases are, if nobody says anything else.
    pub(crate) fn cases(&self) -> PathBuf {
        self.folder.join(CASES)
    }
}

/// The folder that a file is in.
pub(crate) fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_a_file_start_at_it() {
        let dir = tempfile::tempdir().expect("there is room");
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::create_dir(at("p")).expect("writable");
        let text = "plugin = \"bin/x.wasm\"\n[[grants.dirs]]\nhost = \"geo\"\nguest = \"/geo\"\n";
        std::fs::write(at("p/linemill.toml"), text).expect("writable");
        let file = |file: &str| Settings::few(Some(at(file).into()), Vec::new());
        let table = [
            (at("p"), Settings::default(), at("p/bin/x.wasm")),
            (
                at("p/linemill.toml"),
                Settings::default(),
                at("p/bin/x.wasm"),
            ),
            (at("p"), file("p/linemill.toml"), at("p/bin/x.wasm")),
            (
                "y.wasm".to_owned(),
                file("p/linemill.toml"),
                "y.wasm".to_owned(),
            ),
            (
                "s3://b/y.wasm".to_owned(),
                file("p/linemill.toml"),
                "s3://b/y.wasm".to_owned(),
            ),
        ];
        for (target, settings, plugin) in table {
            let project = Project::new(&target, settings).expect("it is there");
            let layers = project.layers(|_| false).expect("it is right");
            let effective = layers.finish().expect("it is right");
            let config = project.config_of(effective).expect("it names a plugin");
            assert_eq!(config.plugin, Some(plugin), "{target}");
            let host = &config.grants.dirs[0].host;
            assert_eq!(host.to_string_lossy(), at("p/geo"), "{target}");
        }
    }
}
