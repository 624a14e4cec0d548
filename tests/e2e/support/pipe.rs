//! Named pipes: they hold a run until the test wants it to go on.

use std::fs::File;
use std::path::PathBuf;
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

    /// Opens it for writing, once it is read.
    pub(crate) fn writer(&self) -> File {
        let opened = File::options().write(true).open(&self.0);
        opened.expect("the pipe is there")
    }

    /// Lets those who wait to write into it go on, as long as what is given back lives. What they write is not read.
    pub(crate) fn release(&self) -> File {
        // Opened for both, a pipe waits for nobody.
        let opened = File::options().read(true).write(true).open(&self.0);
        opened.expect("the pipe is there")
    }
}
