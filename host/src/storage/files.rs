//! What lies in local folders: all that is below one, and what matches a pattern.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::Listed;
use crate::error::{Error, Result};

pub(super) const GLOB_OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

pub(super) fn compiled(pattern: &str) -> Result<Pattern> {
    Pattern::new(pattern).map_err(|e| Error::invalid(pattern, e.to_string()))
}

/// Whether a URL or a part of one is a pattern.
pub(super) fn is_pattern(url: &str) -> bool {
    url.contains(['*', '?', '['])
}

/// The files below `folder`, whose URL is `base`.
pub(super) async fn list_folder(folder: PathBuf, base: String) -> Result<Vec<Listed>> {
    let task = tokio::task::spawn_blocking(move || {
        let mut listed = Vec::new();
        walk(&folder, &base, &mut listed).map(|()| listed)
    });
    task.await.expect("listing a folder does not panic")
}

fn walk(folder: &Path, base: &str, listed: &mut Vec<Listed>) -> Result<()> {
    let failed = |e| Error::from_io(base, e);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        let name = name.to_str().ok_or_else(|| not_unicode(&entry.path()))?;
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&entry.path(), &format!("{base}{name}/"), listed)?;
        } else if let Some(size) = file_size(&entry.path()).map_err(failed)? {
            let url = format!("{base}{name}");
            let size = Some(size);
            listed.push(Listed { url, size });
        }
    }
    Ok(())
}

/// The files that match `pattern`; their URLs are `before` and a path in the form of the pattern.
pub(super) async fn glob_files(before: &str, pattern: &str) -> Result<Vec<Listed>> {
    compiled(pattern)?;
    let segments = pattern.split('/').filter(|segment| !segment.is_empty());
    let segments = segments.map(Segment::new).collect::<Result<Vec<_>>>()?;
    let start = if pattern.starts_with('/') { "/" } else { "" };
    if pattern.ends_with('/') {
        return Ok(Vec::new());
    }
    let before = before.to_owned();
    let task = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        find(Path::new(start), &segments, &mut found)?;
        // Two `**` can lead to one file in several ways.
        found.sort();
        found.dedup();
        let listed = found.into_iter().map(|(file, size)| {
            let path = file.to_str().ok_or_else(|| not_unicode(&file))?;
            let url = format!("{before}{path}");
            let size = Some(size);
            Ok(Listed { url, size })
        });
        listed.collect()
    });
    task.await.expect("matching files does not panic")
}

/// A part of a pattern, between two slashes.
enum Segment {
    /// A name, which may be that of a hidden file too.
    Name(String),
    /// Names of one folder.
    Names(Pattern),
    /// `**`: the folder itself and all below it.
    Folders,
}

impl Segment {
    fn new(text: &str) -> Result<Self> {
        Ok(match text {
            "**" => Self::Folders,
            _ if is_pattern(text) => Self::Names(compiled(text)?),
            _ => Self::Name(text.to_owned()),
        })
    }
}

/// Adds the files in `folder` that match, and their sizes.
fn find(folder: &Path, segments: &[Segment], found: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let shown = folder.to_string_lossy();
    let failed = |e| Error::from_io(&shown, e);
    match segments {
        [] => {
            let size = file_size(folder).map_err(failed)?;
            found.extend(size.map(|size| (folder.to_owned(), size)));
            Ok(())
        }
        [Segment::Name(name), rest @ ..] => find(&folder.join(name), rest, found),
        [Segment::Names(names), rest @ ..] => {
            for entry in entries(folder).map_err(failed)? {
                let name = entry.file_name();
                if names.matches_with(&name.to_string_lossy(), GLOB_OPTIONS) {
                    find(&folder.join(name), rest, found)?;
                }
            }
            Ok(())
        }
        [Segment::Folders, rest @ ..] => {
            if !rest.is_empty() {
                find(folder, rest, found)?;
            }
            for entry in entries(folder).map_err(failed)? {
                let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
                if is_hidden(&name) {
                    continue;
                } else if kind.is_dir() {
                    find(&folder.join(name), segments, found)?;
                } else if rest.is_empty() {
                    find(&folder.join(name), rest, found)?;
                }
            }
            Ok(())
        }
    }
}

/// What is in a folder; nothing, if it is none.
fn entries(folder: &Path) -> std::io::Result<Vec<std::fs::DirEntry>> {
    let here = folder.as_os_str().is_empty();
    match std::fs::read_dir(if here { Path::new(".") } else { folder }) {
        Ok(entries) => entries.collect(),
        Err(e) if is_absent(&e) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// The size of a regular file; nothing for folders and for what is gone by now.
fn file_size(file: &Path) -> std::io::Result<Option<u64>> {
    match std::fs::metadata(file) {
        Ok(found) => Ok(found.is_file().then_some(found.len())),
        Err(e) if is_absent(&e) => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_absent(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn not_unicode(file: &Path) -> Error {
    Error::invalid(file.to_string_lossy(), "has a name that is not UTF-8")
}
