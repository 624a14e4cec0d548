//! What the command line names as sources: paths, globs, prefixes, URLs, `-`, and pointers to what was left.

use anyhow::{Context, Result, bail};
use linemill::{Pointer, Range, Request, Storage, is_pointer, is_sidecar};

/// A pointer is a small object; anything larger is none.
const POINTER_BYTES_MAX: u64 = 64 * 1024;

/// A source and its size as stored, where it is known without reading it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) size: Option<u64>,
}

/// The sources that the arguments stand for, in their order; those of a prefix or glob are sorted.
pub(crate) async fn find(storage: &Storage, arguments: &[String]) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for argument in arguments {
        let before = found.len();
        if is_many(storage, argument) {
            let listed = match argument.ends_with('/') {
                true => storage.list(argument).await,
                false => storage.glob(argument).await,
            };
            let listed = listed.with_context(|| format!("source {argument}"))?;
            // What says why lines are in an object is no source itself.
            let sources = listed.into_iter().filter(|object| !is_sidecar(&object.url));
            found.extend(sources.map(|object| Found {
                url: object.url,
                size: Some(object.size),
            }));
            if found.len() == before {
                bail!("source {argument}: nothing is there");
            }
        } else {
            let size = storage.head(argument).await.ok().map(|meta| meta.size);
            found.push(Found {
                url: argument.clone(),
                size,
            });
        }
    }
    Ok(found)
}

/// A prefix, or a pattern that is not the very name of a file.
fn is_many(storage: &Storage, argument: &str) -> bool {
    let web = argument.starts_with("http://") || argument.starts_with("https://");
    let pattern = !web && argument.contains(['*', '?', '[']);
    let file = || {
        storage
            .locate(argument)
            .is_ok_and(|at| at.local_path().is_some_and(std::path::Path::is_file))
    };
    argument.ends_with('/') || (pattern && !file())
}

/// The request for a source; a pointer is followed to what it points at.
pub(crate) async fn request(storage: &Storage, url: &str, range: Option<Range>) -> Result<Request> {
    if !is_pointer(url) {
        let request = Request::new(url);
        return Ok(match range {
            Some(range) => request.with_range(range),
            None => request,
        });
    }
    if range.is_some() {
        bail!("{url} is a pointer, which names its range itself: leave out --offset and --length");
    }
    let bytes = storage.get_small(url, POINTER_BYTES_MAX).await?;
    Ok(Request::from_pointer(url, &Pointer::parse(url, &bytes)?))
}
