//! Keeps, deletes or moves the source when all that was made of it is safe.

use std::io::ErrorKind;
use std::path::Path;

use futures::StreamExt;

use crate::destination::{Destination, sync_folder};
use crate::error::{Error, Result};
use crate::request::beside;
use crate::storage::{Location, Storage};

/// What is to become of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Action {
    /// It stays where it is.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
    /// It goes to another place, where there must be nothing yet.
    Move {
        /// The URL that it gets.
        to_url: String,
    },
}

/// Does `action` to the source, provided that it is still what was read: `etag` is the entity
/// tag from then. At no moment is the source neither in its old place nor in its new one.
pub async fn complete(
    storage: &Storage,
    source_url: &str,
    etag: Option<&str>,
    action: Action,
) -> Result<()> {
    if action == Action::Keep {
        return Ok(());
    }
    let source = storage.locate(source_url)?;
    if source.is_stdio() {
        return Ok(());
    }
    refuse(storage, source_url, &action)?;
    refuse_changed(&source, etag).await?;
    match action {
        Action::Keep => Ok(()),
        Action::Delete => storage.delete(source_url).await,
        Action::Move { to_url } => move_to(storage, &source, etag, &to_url).await,
    }
}

/// Does `action` to what stands beside the source, which is gone by now: its faults file, and the capsules of its
/// failures unless some of its lines are `left` to be mended, those that failed again among them. That there is none is no error.
pub async fn complete_beside(
    storage: &Storage,
    source_url: &str,
    action: &Action,
    left: bool,
) -> Result<()> {
    let [rows, capsules] = beside(source_url);
    match action {
        Action::Keep => Ok(()),
        Action::Delete if left => storage.delete(&rows).await,
        Action::Delete => {
            storage.delete(&rows).await?;
            storage.delete(&capsules).await
        }
        Action::Move { to_url } => {
            for (from, to) in [rows, capsules].iter().zip(beside(to_url)) {
                if storage.exists(from).await? {
                    move_to(storage, &storage.locate(from)?, None, &to).await?;
                }
            }
            Ok(())
        }
    }
}

/// Whether [`complete`] would do `action` at all, as far as the URLs tell. Nothing is asked of any store.
///
/// # Errors
/// [`Error::Invalid`], such as for a source that is read over `http`.
pub fn refuse(storage: &Storage, source_url: &str, action: &Action) -> Result<()> {
    if *action == Action::Keep {
        return Ok(());
    }
    let source = storage.locate(source_url)?;
    if source.is_stdio() {
        return Ok(());
    }
    source.refuse_http("delete or move")?;
    source.refuse_folder()?;
    if let Action::Move { to_url } = action {
        let target = storage.locate(to_url)?;
        target.refuse_stdio("move to")?;
        target.refuse_http("move to")?;
        target.refuse_folder()?;
    }
    Ok(())
}

/// Whether the source still is what was read: `etag` is the entity tag from then. That of standard
/// input is never another.
///
/// # Errors
/// [`Error::SourceChanged`], [`Error::NotFound`], or why it cannot be looked up.
pub async fn check_unchanged(
    storage: &Storage,
    source_url: &str,
    etag: Option<&str>,
) -> Result<()> {
    let source = storage.locate(source_url)?;
    match source.is_stdio() {
        true => Ok(()),
        false => refuse_changed(&source, etag).await,
    }
}

/// All for which [`complete`] would refuse `action`, without doing anything: [`refuse`],
/// [`check_unchanged`], and a place to move to that is taken.
///
/// # Errors
/// Those of the two, and [`Error::AlreadyExists`].
pub async fn check(
    storage: &Storage,
    source_url: &str,
    etag: Option<&str>,
    action: &Action,
) -> Result<()> {
    if *action == Action::Keep || storage.locate(source_url)?.is_stdio() {
        return Ok(());
    }
    refuse(storage, source_url, action)?;
    check_unchanged(storage, source_url, etag).await?;
    if let Action::Move { to_url } = action {
        let target = storage.locate(to_url)?;
        // That it cannot be looked up does not mean that it cannot be written.
        if target.head().await.is_ok() {
            return Err(target.already_exists());
        }
    }
    Ok(())
}

async fn refuse_changed(source: &Location, etag: Option<&str>) -> Result<()> {
    match source.head().await?.may_be(etag) {
        true => Ok(()),
        false => Err(Error::SourceChanged {
            url: source.shown(),
        }),
    }
}

async fn move_to(
    storage: &Storage,
    source: &Location,
    etag: Option<&str>,
    to_url: &str,
) -> Result<()> {
    let target = storage.locate(to_url)?;
    if let (Some(from), Some(to)) = (source.local_path(), target.local_path())
        && rename(from, to)
            .await
            .map_err(|e| Error::from_io(to_url, e))?
    {
        return Ok(());
    }
    if !source.copy_within_store(&target).await? {
        copy_through(storage, source, to_url).await?;
    }
    // While it was copied, the source may have been replaced.
    if let Err(e) = refuse_changed(source, etag).await {
        storage.delete(to_url).await?;
        return Err(e);
    }
    storage.delete(source.url()).await
}

/// Gives a file another name without taking anybody's place; false if it must be copied.
async fn rename(from: &Path, to: &Path) -> std::io::Result<bool> {
    if let Some(folder) = to.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    match tokio::fs::hard_link(from, to).await {
        Ok(()) => {
            sync_folder(to)?;
            tokio::fs::remove_file(from).await.map(|()| true)
        }
        Err(e) => match e.kind() {
            ErrorKind::CrossesDevices
            | ErrorKind::Unsupported
            | ErrorKind::PermissionDenied
            | ErrorKind::TooManyLinks => Ok(false),
            _ => Err(e),
        },
    }
}

/// Reads the source once more and writes it to `to_url`, byte for byte.
async fn copy_through(storage: &Storage, source: &Location, to_url: &str) -> Result<()> {
    let mut content = source.read().await?;
    let mut target = Destination::create_verbatim(storage, to_url).await?;
    while let Some(bytes) = content.next().await {
        target.write(&bytes?).await?;
    }
    target.seal().await?.publish().await.map(drop)
}

#[cfg(test)]
mod tests;
