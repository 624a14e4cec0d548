//! What the command line names as sources: paths, globs, prefixes, URLs, `-`, and pointers to what was left.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use linemill::{Host, Pointer, Request, Source, Storage, is_pointer, is_sidecar};

/// A pointer is a small object; anything larger is none.
const POINTER_BYTES_MAX: u64 = 64 * 1024;

/// The progress bar is not worth more.
const SIZE_WAIT: Duration = Duration::from_secs(2);

/// A source and its size as stored, where it is known without reading it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) url: String,
    pub(crate) size: Option<u64>,
}

/// The sources that the arguments stand for, in their order; those of a prefix or glob are sorted.
/// `sizes`: looks the size of each up, which costs a call, unless it takes long.
pub(crate) async fn find(
    storage: &Storage,
    arguments: &[String],
    sizes: bool,
) -> Result<Vec<Found>> {
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
                size: object.size,
            }));
            if found.len() == before {
                bail!("source {argument}: nothing is there");
            }
        } else {
            let size = match sizes {
                true => size(storage, argument).await,
                false => None,
            };
            found.push(Found {
                url: argument.clone(),
                size,
            });
        }
    }
    Ok(found)
}

async fn size(storage: &Storage, url: &str) -> Option<u64> {
    let head = tokio::time::timeout(SIZE_WAIT, storage.head(url)).await;
    head.ok()?.ok()?.size
}

/// A prefix, or a pattern that is not the very name of a file.
pub(crate) fn is_many(storage: &Storage, argument: &str) -> bool {
    let web = argument.starts_with("http://") || argument.starts_with("https://");
    let pattern = !web && argument.contains(['*', '?', '[']);
    let file = || {
        storage
            .locate(argument)
            .is_ok_and(|at| at.local_path().is_some_and(std::path::Path::is_file))
    };
    argument.ends_with('/') || (pattern && !file())
}

/// The request itself, or where its source is a pointer, the one over what that points at.
/// Reading the pointer takes at most the time that a request has.
pub(crate) async fn follow(host: &Host, request: Request) -> Result<Request> {
    let Source {
        url, range, body, ..
    } = &request.source;
    if body.is_some() || !is_pointer(url) {
        return Ok(request);
    }
    if range.is_some() {
        bail!("{url} is a pointer, which names its range itself: leave out offset and length");
    }
    let limit = host.config.max_exec_time_ms;
    let limit = limit.map_or(Duration::MAX, Duration::from_millis);
    let reading = host.storage.get_small(url, POINTER_BYTES_MAX);
    let bytes = tokio::time::timeout(limit, reading)
        .await
        .with_context(|| format!("{url} could not be read in max_exec_time_ms"))??;
    let followed = Request::from_pointer(url, &Pointer::parse(url, &bytes)?);
    Ok(Request {
        source: followed.source,
        attempt: followed.attempt,
        ..request
    })
}
