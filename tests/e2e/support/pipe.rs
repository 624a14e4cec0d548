//! Named pipes: they hold a run until the test wants it to go on.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A named pipe in the folder of a case.
pub(crate) struct Pipe(PathBuf);

impl Pipe {
    /// Makes one, and the folders that it needs.
    pub(crate) fn new(path: PathBuf) -> Pipe {
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).expect("the folder of a case can be written to");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "mkfifo {}",
            path.display()
        );
        Pipe(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Opens it for writing, once it is read.
    pub(crate) fn writer(&self) -> File {
        let opened = File::options().write(true).open(&self.0);
        opened.expect("the pipe is there")
    }

    /// Reads it to its end, in a thread of its own: whoever waits to write into it goes on.
    pub(crate) fn drain(&self) -> std::thread::JoinHandle<Vec<u8>> {
        let path = self.0.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut pipe = File::open(path).expect("the pipe is there");
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
            bytes
        })
    }
}
