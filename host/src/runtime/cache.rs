//! Compiled code on disk: keyed by the component's digest and the engine, in a folder that only its user can write to.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

/// How many compiled components are kept; the ones not used for longest go first.
const KEPT_MAX: usize = 64;

/// A folder of compiled components.
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens the folder, creating it when it is missing.
    ///
    /// # Errors
    /// When there is no such folder and none can be made, or when others can write to it: compiled code is run
    /// as it is, so it is taken from nowhere else.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self> {
        let dir = match dir {
            Some(dir) => dir.to_owned(),
            None => {
                user_dir().context("neither LINEMILL_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")?
            }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("could not make the folder {}", dir.display()))?;
        check_private(&dir)?;
        Ok(Cache { dir })
    }

    /// Where the code for a key is, if it is there and nobody else could have written it.
    pub(super) fn find(&self, key: &str) -> Option<PathBuf> {
        let path = self.path(key);
        check_private(&path).ok()?;
        // What is used stays: the time of use orders what is dropped. No harm if it cannot be set.
        let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(path)
    }

    /// Keeps compiled code. Two processes that do so at once both end with a whole file.
    pub(super) fn keep(&self, key: &str, code: &[u8]) -> Result<PathBuf> {
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.dir)?;
        std::io::Write::write_all(&mut file, code)?;
        file.as_file().sync_data()?;
        let path = self.path(key);
        file.persist(&path)?;
        self.drop_oldest();
        Ok(path)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.cwasm"))
    }

    fn drop_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .flatten()
            .filter(|entry| {
                entry
                    .path()
                    .extension()
                    .is_some_and(|suffix| suffix == "cwasm")
            })
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        for (_, path) in files.iter().take(files.len().saturating_sub(KEPT_MAX)) {
            let _ = fs::remove_file(path);
        }
    }
}

fn user_dir() -> Option<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    var("XDG_CACHE_HOME")
        .or_else(|| var("HOME").map(|home| home.join(".cache")))
        .map(|dir| dir.join("linemill"))
}

/// Whether nobody can write to it but its owner, who is this user or, if that is enough, root.
pub(super) fn is_private(meta: &fs::Metadata, or_root: bool) -> bool {
    #[expect(unsafe_code, reason = "the standard library does not tell the user")]
    // SAFETY: geteuid has no precondition and cannot fail.
    let user = unsafe { libc::geteuid() };
    (meta.uid() == user || or_root && meta.uid() == 0) && meta.mode() & 0o022 == 0
}

/// Ours, and writable by nobody else.
fn check_private(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).with_context(|| path.display().to_string())?;
    if meta.file_type().is_symlink() || !is_private(&meta, false) {
        bail!(
            "{} is not ours alone: others could write compiled code into it (chmod go-w, or set cache_dir)",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keeps_and_finds() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(Some(&dir.path().join("deep/er"))).expect("a cache");
        assert!(cache.find("k").is_none());
        let path = cache.keep("k", b"code").expect("kept");
        assert_eq!(cache.find("k").as_deref(), Some(&*path));
    }

    #[test]
    fn what_others_can_write_is_not_taken() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        let path = cache.keep("k", b"code").expect("kept");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
        assert!(cache.find("k").is_none());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(Cache::open(Some(dir.path())).is_err());
    }

    #[test]
    fn the_oldest_go_first() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        for n in 0..KEPT_MAX + 3 {
            let path = cache.keep(&format!("k{n:03}"), b"code").expect("kept");
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64);
            fs::File::open(&path)
                .expect("there")
                .set_modified(time)
                .expect("time");
        }
        cache.keep("last", b"code").expect("kept");
        assert!(cache.find("k000").is_none());
        assert!(cache.find("last").is_some());
    }
}
