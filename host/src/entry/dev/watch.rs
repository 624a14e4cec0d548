//! Tells when files have changed. What counts is how they look to the file system; its notices only say when to look,
//! so that files which are replaced, deleted and made again, linked elsewhere, or on a file system without notices
//! are all seen.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// How often is looked without a notice.
const POLL: Duration = Duration::from_millis(500);
/// A file is whole when nothing happened to it for so long.
const QUIET: Duration = Duration::from_millis(120);
/// What does not come to rest is looked at all the same.
const RESTLESS: Duration = Duration::from_secs(5);

/// How a file looks; `None`: it is not there.
type Look = Option<[i64; 6]>;

/// Files that are watched.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Look>,
    notice: Arc<Notify>,
    /// Gone where the system has no notices (left).
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Looks at the files: changes count from here on.
    pub(super) fn new(files: Vec<PathBuf>) -> Self {
        let notice = Arc::new(Notify::new());
        let watcher = notices(&files, notice.clone());
        if let Err(error) = &watcher {
            tracing::debug!("no notices of changes, files are looked at every {POLL:?}: {error}");
        }
        Watch {
            seen: look(&files),
            files,
            notice,
            _watcher: watcher.ok(),
        }
    }

    /// Waits until something has changed and come to rest. Nothing is lost when it is dropped before.
    pub(super) async fn changed(&mut self) {
        loop {
            let now = look(&self.files);
            if now != self.seen {
                self.seen = self.settled(now).await;
                return;
            }
            tokio::select! {
                () = self.notice.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn settled(&self, mut now: Vec<Look>) -> Vec<Look> {
        let until = Instant::now() + RESTLESS;
        loop {
            tokio::time::sleep(QUIET).await;
            let later = look(&self.files);
            if later == now || Instant::now() >= until {
                return later;
            }
            now = later;
        }
    }
}

fn look(files: &[PathBuf]) -> Vec<Look> {
    let one = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        let (mtime, ctime) = (meta.mtime(), meta.ctime());
        let nanos = (meta.mtime_nsec(), meta.ctime_nsec());
        let (size, inode) = (meta.size() as i64, meta.ino() as i64);
        Some([mtime, nanos.0, ctime, nanos.1, size, inode])
    };
    files.iter().map(one).collect()
}

/// The folders are watched, not the files: who replaces a file leaves a watch on the old one.
fn notices(files: &[PathBuf], notice: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |_| notice.notify_one())?;
    let mut folders: Vec<&Path> = files.iter().filter_map(|file| folder(file)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        // One that is not there (yet) is looked for now and then.
        let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
    }
    Ok(watcher)
}

fn folder(file: &Path) -> Option<&Path> {
    match file.parent()? {
        empty if empty.as_os_str().is_empty() => Some(Path::new(".")),
        folder => Some(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    type Change = fn(&Path);

    /// What can become of a file, by what does it.
    const CHANGES: [(&str, Change); 5] = [
        ("written again", |file| {
            fs::write(file, "more").expect("writable");
        }),
        ("replaced", |file| {
            let new = file.with_extension("new");
            fs::write(&new, "test").expect("writable");
            fs::rename(new, file).expect("same folder");
        }),
        ("deleted", |file| fs::remove_file(file).expect("there")),
        ("made again", |file| {
            fs::write(file, "test").expect("writable");
        }),
        ("folder and all", |file| {
            let folder = file.parent().expect("it has one");
            fs::remove_dir_all(folder).expect("there");
            fs::create_dir(folder).expect("writable");
            fs::write(file, "test").expect("writable");
        }),
    ];

    #[tokio::test]
    async fn changes_are_seen() {
        let dir = tempfile::tempdir().expect("there is room");
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).expect("writable");
        let file = folder.join("file");
        fs::write(&file, "test").expect("writable");
        let mut watch = Watch::new(vec![file.clone(), dir.path().join("none")]);
        for (what, change) in CHANGES {
            change(&file);
            let seen = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await;
            seen.unwrap_or_else(|_| panic!("{what}: not seen"));
        }
    }

    #[tokio::test]
    async fn what_does_not_change_is_not_seen() {
        let dir = tempfile::tempdir().expect("there is room");
        let file = dir.path().join("file");
        fs::write(&file, "test").expect("writable");
        let mut watch = Watch::new(vec![file.clone()]);
        fs::read(&file).expect("readable");
        fs::write(dir.path().join("beside"), "x").expect("writable");
        let seen = tokio::time::timeout(POLL * 2, watch.changed()).await;
        assert!(seen.is_err(), "nothing happened to the file");
    }

    #[tokio::test]
    async fn a_link_is_followed() {
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.expect("there is room"), two.expect("there is room"));
        let (link, file) = (one.path().join("link"), two.path().join("file"));
        fs::write(&file, "test").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("writable");
        let mut watch = Watch::new(vec![link]);
        fs::write(&file, "more").expect("writable");
        let seen = tokio::time::timeout(Duration::from_secs(30), watch.changed()).await;
        seen.expect("the file behind the link has changed");
    }
}
