//! A local file being written: without a name until it is published.

use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use super::{Mark, Sink, failed};
use crate::error::{Error, Result};
use crate::storage::Location;

/// So much is handed to the file at a time.
const BUFFER_BYTES: usize = 256 * 1024;
/// After so many bytes the file is synchronised while it is still written: at the end, which may be the deadline,
/// there is never more left to do than twice that.
const SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// A buffered file, and how much went into it.
struct Buffered {
    file: File,
    buffer: Vec<u8>,
    bytes: u64,
    /// So many of them are on disk, or on their way.
    synced: u64,
    syncing: Option<JoinHandle<io::Result<()>>>,
}

/// A file that has no name, or a hidden one where the file system knows no files without.
pub(super) struct FileSink {
    out: Buffered,
    hidden: Option<TempPath>,
    target: PathBuf,
}

/// A file that is on disk, and still has no name.
pub(super) struct SealedFile {
    file: std::fs::File,
    hidden: Option<TempPath>,
    target: PathBuf,
}

/// Standard output, a device or a named pipe: bytes are gone when they are written.
pub(super) struct StreamSink(Buffered);

/// Opens what `target` is: a file to be, or a device or pipe that is there already.
pub(super) async fn open(location: &Location, target: &Path) -> Result<Sink> {
    let target = target.to_owned();
    let opened = unblocked(move || Opened::at(&target)).await;
    match opened.map_err(|e| failed(location, e))? {
        Opened::Folder => Err(Error::invalid(location.url(), "is a folder")),
        Opened::Taken => Err(location.already_exists()),
        Opened::Stream(file) => Ok(Sink::Stream(StreamSink(Buffered::new(file)))),
        Opened::File(sink) => Ok(Sink::File(sink)),
    }
}

/// What opening found. All of it blocks.
enum Opened {
    Folder,
    Taken,
    Stream(std::fs::File),
    File(FileSink),
}

impl Opened {
    fn at(target: &Path) -> io::Result<Self> {
        match std::fs::metadata(target) {
            Ok(found) if found.is_dir() => Ok(Self::Folder),
            Ok(found) if found.file_type().is_char_device() || found.file_type().is_fifo() => {
                let file = std::fs::OpenOptions::new().write(true).open(target)?;
                Ok(Self::Stream(file))
            }
            Ok(_) => Ok(Self::Taken),
            // A link that leads nowhere is in the way, too.
            Err(_) if std::fs::symlink_metadata(target).is_ok() => Ok(Self::Taken),
            Err(_) => Ok(Self::File(FileSink::open(target)?)),
        }
    }
}

impl FileSink {
    fn open(target: &Path) -> io::Result<Self> {
        let folder = target.parent().unwrap_or(Path::new("/"));
        create_folder(folder)?;
        match open_nameless(folder)? {
            Some(file) => Ok(Self::new(target, file, None)),
            None => Self::hidden(target, folder),
        }
    }

    /// In a hidden file that is removed when it is dropped, but stays when the process is killed.
    fn hidden(target: &Path, folder: &Path) -> io::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".linemill-").suffix(".tmp");
        builder.permissions(std::fs::Permissions::from_mode(0o666));
        let (file, path) = builder.tempfile_in(folder)?.into_parts();
        Ok(Self::new(target, file, Some(path)))
    }

    fn new(target: &Path, file: std::fs::File, hidden: Option<TempPath>) -> Self {
        Self {
            out: Buffered::new(file),
            hidden,
            target: target.to_owned(),
        }
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write(bytes).await?;
        self.out.sync_some().await
    }

    pub(super) async fn seal(self) -> io::Result<(SealedFile, u64)> {
        let (mut file, rest, bytes) = self.out.into_parts().await?;
        let file = unblocked(move || {
            file.write_all(&rest)?;
            file.sync_all()?;
            Ok(file)
        });
        let sealed = SealedFile {
            file: file.await?,
            hidden: self.hidden,
            target: self.target,
        };
        Ok((sealed, bytes))
    }
}

impl SealedFile {
    pub(super) async fn publish(self) -> io::Result<Mark> {
        unblocked(move || {
            match self.hidden {
                Some(hidden) => hidden.persist_noclobber(&self.target)?,
                None => name(&self.file, &self.target)?,
            }
            sync_folder(&self.target)?;
            Ok(Mark::File(self.file))
        })
        .await
    }
}

impl StreamSink {
    pub(super) fn stdout() -> io::Result<Self> {
        use std::os::fd::AsFd;
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self(Buffered::new(out.into())))
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write(bytes).await
    }

    pub(super) async fn seal(mut self) -> io::Result<u64> {
        self.0.flush().await?;
        Ok(self.0.bytes)
    }
}

impl Buffered {
    fn new(file: std::fs::File) -> Self {
        let mut file = File::from_std(file);
        file.set_max_buf_size(BUFFER_BYTES);
        Self {
            file,
            buffer: Vec::new(),
            bytes: 0,
            synced: 0,
            syncing: None,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.file.write_all(&self.buffer).await?;
            self.buffer.clear();
        }
        if bytes.len() >= BUFFER_BYTES {
            return self.file.write_all(bytes).await;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer).await?;
        self.buffer.clear();
        self.file.flush().await
    }

    /// Waits for what is on its way to the disk, and sends what came meanwhile.
    async fn sync_some(&mut self) -> io::Result<()> {
        if self.bytes - self.synced < SYNC_BYTES {
            return Ok(());
        }
        self.join_sync().await?;
        let file = self.file.try_clone().await?.into_std().await;
        self.synced = self.bytes;
        self.syncing = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        Ok(())
    }

    async fn join_sync(&mut self) -> io::Result<()> {
        match self.syncing.take() {
            Some(syncing) => syncing.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }

    /// The file, once all is in it but these last bytes, and how many bytes there are.
    async fn into_parts(mut self) -> io::Result<(std::fs::File, Vec<u8>, u64)> {
        self.join_sync().await?;
        self.file.flush().await?;
        Ok((self.file.into_std().await, self.buffer, self.bytes))
    }
}

/// Creates `folder` where there is none. That there is a file is not what "exists" should mean.
fn create_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::ErrorKind::NotADirectory.into())
        }
        other => other,
    }
}

/// A file that goes away with its descriptor, even when the process is killed.
/// Nothing where the file system, or a missing `/proc`, does not allow for it.
fn open_nameless(folder: &Path) -> io::Result<Option<std::fs::File>> {
    if !cfg!(target_os = "linux") || !Path::new("/proc/self/fd").exists() {
        return Ok(None);
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).custom_flags(nameless_flag());
    match options.open(folder) {
        Ok(file) => Ok(Some(file)),
        Err(e) => match e.raw_os_error() {
            Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL) => Ok(None),
            _ => Err(e),
        },
    }
}

#[cfg(target_os = "linux")]
fn nameless_flag() -> i32 {
    libc::O_TMPFILE
}

#[cfg(not(target_os = "linux"))]
fn nameless_flag() -> i32 {
    0
}

/// Gives the file its name; of all that try, one succeeds.
#[expect(
    unsafe_code,
    reason = "std links by path without following /proc/self/fd"
)]
fn name(file: &std::fs::File, target: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let from = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let to = std::ffi::CString::new(target.as_os_str().as_bytes())?;
    let here = libc::AT_FDCWD;
    // SAFETY: both paths are strings that end in NUL and outlive the call.
    let done = unsafe {
        libc::linkat(
            here,
            from.as_ptr(),
            here,
            to.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the name as durable as the content, where folders can be synchronised.
pub(crate) fn sync_folder(target: &Path) -> io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    match std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(e) if e.raw_os_error() != Some(libc::EINVAL) => Err(e),
        _ => Ok(()),
    }
}

/// Removes `target` if it is still `file`, whose number is not given to another while it is open.
pub(super) async fn remove(target: PathBuf, file: std::fs::File) -> io::Result<()> {
    let number = |found: &std::fs::Metadata| (found.dev(), found.ino());
    unblocked(move || match std::fs::symlink_metadata(&target) {
        Ok(found) if number(&found) == number(&file.metadata()?) => std::fs::remove_file(&target),
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    })
    .await
}

async fn unblocked<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let name = |e: io::Result<std::fs::DirEntry>| e.unwrap().file_name().into_string().unwrap();
        entries.map(name).collect()
    }

    async fn publish(mut sink: FileSink) -> io::Result<Mark> {
        sink.write(b"x\n").await?;
        sink.seal().await?.0.publish().await
    }

    #[tokio::test]
    async fn a_hidden_file_serves_where_there_are_none_without_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.csv");
        let open = || FileSink::hidden(&target, folder.path()).unwrap();
        let (first, second, third) = (open(), open(), open());
        assert!(
            names(folder.path())
                .iter()
                .all(|n| n.starts_with(".linemill-"))
        );
        publish(first).await.unwrap();
        let err = publish(second).await.map(drop).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::AlreadyExists);
        drop(third);
        assert_eq!(names(folder.path()), ["a.csv"]);
    }

    #[tokio::test]
    async fn both_kinds_of_file_get_the_usual_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("usual"), "").unwrap();
        publish(FileSink::open(&at("nameless")).unwrap())
            .await
            .unwrap();
        let hidden = FileSink::hidden(&at("hidden"), folder.path()).unwrap();
        publish(hidden).await.unwrap();
        let mode = |name: &str| std::fs::metadata(at(name)).unwrap().mode();
        assert_eq!(mode("nameless"), mode("usual"));
        assert_eq!(mode("hidden"), mode("usual"));
    }
}
