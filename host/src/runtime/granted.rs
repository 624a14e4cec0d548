//! Variables and folders that are granted, looked up once for the process.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use crate::config::{DirGrant, Grants};

/// What every instance is given of this machine. It holds secrets, so it cannot be printed.
pub(super) struct Granted {
    /// Names and values.
    env: Vec<(String, String)>,
    /// Folders without links, and what they are called for the plugin.
    dirs: Vec<(PathBuf, String)>,
}

impl Granted {
    /// Takes the values of variables, and looks at folders.
    ///
    /// # Errors
    /// What is not as the grant says, naming it and never its value.
    pub(super) fn new(grants: &Grants) -> Result<Self> {
        let mut env = Vec::new();
        for name in &grants.env {
            let value = variable(name, grants.env_bytes_max);
            let value = value.with_context(|| format!("grants.env: the variable {name}"))?;
            env.extend(value.map(|value| (name.clone(), value)));
        }
        let dirs = grants.dirs.iter().map(|dir| {
            let folder = folder(dir, grants);
            folder.with_context(|| format!("grants.dirs: the folder {}", dir.host.display()))
        });
        let dirs = dirs.collect::<Result<_>>()?;
        Ok(Granted { env, dirs })
    }

    pub(super) fn env(&self) -> &[(String, String)] {
        &self.env
    }

    pub(super) fn folders(&self) -> Vec<String> {
        self.dirs.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Gives it to an instance; `env` stands in for the variables.
    ///
    /// # Errors
    /// A folder cannot be opened any more.
    pub(super) fn give(
        &self,
        wasi: &mut WasiCtxBuilder,
        env: Option<&[(String, String)]>,
    ) -> Result<(), String> {
        wasi.envs(env.unwrap_or(&self.env));
        for (folder, name) in &self.dirs {
            let opened = wasi.preopened_dir(folder, name, FsPerms::ReadOnly);
            opened.map_err(|error| {
                format!(
                    "grants.dirs: cannot open the folder {}: {error:#}",
                    folder.display()
                )
            })?;
        }
        Ok(())
    }
}

fn variable(name: &str, bytes_max: usize) -> Result<Option<String>> {
    let Some(value) = std::env::var_os(name) else {
        tracing::warn!("grants.env: the variable {name} is not set, plugins will not see it");
        return Ok(None);
    };
    // The error would show the value.
    let Ok(value) = value.into_string() else {
        bail!("is not UTF-8");
    };
    if value.len() > bytes_max {
        bail!(
            "has {} bytes, and grants.env_bytes_max allows {bytes_max}",
            value.len()
        );
    }
    Ok(Some(value))
}

fn folder(dir: &DirGrant, grants: &Grants) -> Result<(PathBuf, String)> {
    let path = fs::canonicalize(&dir.host)?;
    if !path.is_dir() {
        bail!("is a file: name the folder that it is in");
    }
    measure(&path, grants)?;
    Ok((path, dir.guest.clone()))
}

/// Links are not followed: a plugin cannot follow them out of the folder either.
fn measure(path: &Path, grants: &Grants) -> Result<()> {
    let (mut files, mut bytes) = (0, 0);
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let meta = entry.metadata()?;
            files += 1;
            let kind = meta.file_type();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() || kind.is_symlink() {
                bytes += meta.len();
            } else {
                bail!(
                    "has {}, which is a pipe, a socket or a device: whoever opens it may wait for ever",
                    entry.path().display()
                );
            }
            if files > grants.dir_files_max {
                bail!(
                    "has more files than grants.dir_files_max = {} allows",
                    grants.dir_files_max
                );
            }
            if bytes > grants.dir_bytes_max as u64 {
                bail!(
                    "has more bytes than grants.dir_bytes_max = {} allows",
                    grants.dir_bytes_max
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(set: impl Fn(&mut Grants), expected: &str) {
        let mut grants = Grants::default();
        set(&mut grants);
        let error = Granted::new(&grants).err().expect("it is refused");
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_not_as_granted_is_said_at_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.csv");
        fs::write(&file, "0123456789").expect("written");
        std::os::unix::fs::symlink("/", folder.path().join("out")).expect("a link");
        let dir = |host: &Path| DirGrant {
            host: host.to_owned(),
            guest: "/geo".to_owned(),
        };
        check(
            |g| g.dirs = vec![dir(Path::new("/does/not/exist"))],
            "/does/not/exist",
        );
        check(|g| g.dirs = vec![dir(&file)], "is a file");
        let small = |g: &mut Grants| {
            g.dirs = vec![dir(folder.path())];
            g.dir_bytes_max = 9;
        };
        check(small, "dir_bytes_max = 9");
        let few = |g: &mut Grants| {
            g.dirs = vec![dir(folder.path())];
            g.dir_files_max = 1;
        };
        check(few, "dir_files_max = 1");
        let granted = Granted::new(&Grants {
            dirs: vec![dir(folder.path())],
            ..Grants::default()
        });
        assert_eq!(granted.expect("granted").dirs.len(), 1);
    }

    #[test]
    fn variables_are_limited_and_never_shown() {
        let path = std::env::var("PATH").expect("it is set");
        let short = |g: &mut Grants| {
            g.env = vec!["PATH".to_owned()];
            g.env_bytes_max = 1;
        };
        check(short, "env_bytes_max allows 1");
        let grants = Grants {
            env: vec!["PATH".to_owned(), "LINEMILL_TEST_UNSET".to_owned()],
            ..Grants::default()
        };
        let granted = Granted::new(&grants).expect("granted");
        assert_eq!(granted.env, [("PATH".to_owned(), path)]);
    }
}
