//! A small disk of its own, mounted in the folder of a case.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip::skip;

/// A file system in memory, until it is dropped.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many bytes at `path`. None where that is not allowed, which it says.
    pub(crate) fn mount(path: &Path, bytes: usize) -> Option<Disk> {
        std::fs::create_dir_all(path).expect("the folder of a case can be written to");
        let size = format!("size={bytes}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path);
        match mount.output() {
            Ok(done) if done.status.success() => Some(Disk(path.to_owned())),
            why => {
                skip(&format!("a small disk cannot be mounted: {why:?}"));
                None
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("-l").arg(&self.0).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}
