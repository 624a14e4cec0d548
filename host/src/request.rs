//! A request, and the names of what is written for it: pure.
//!
//! A request is one source, or a byte range of one, to run through one plugin. Every URL that it
//! writes to follows from its source's URL, its attempt and the configured templates, so that a
//! retry is a source again and two requests do not write to one object.
//!
//! Names are text: nothing is percent-decoded or encoded on the way from a source to what is
//! written for it, so that a key with a space, a `%` or a `+` keeps it.

mod name;
mod names;
mod place;
mod template;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::body::Body;
use crate::config::mask_secrets;
use crate::outlet::Outlet;
use crate::redrive::Redrive;

use name::{Parts, rest_name};
use place::{Place, file_path, split_scheme};

pub use names::Names;
pub use template::{TemplateError, check_template};

pub(crate) use names::join;
pub(crate) use template::keeps_attempt;

const POINTER_SUFFIX: &str = ".resume.json";
const SIDECAR_SUFFIX: &str = ".faults.ndjson";
const CAPSULES_SUFFIX: &str = ".capsules.ndjson";
/// No object is larger; a larger number is a damaged pointer.
const OFFSET_MAX: u64 = i64::MAX as u64;

/// Why a request could not be made or its names not be found.
#[derive(Debug, Error)]
pub enum RequestError {
    /// A source whose URL ends in no name.
    #[error("`{0}` does not name an object: its path is empty")]
    Nameless(String),
    /// A template that cannot be expanded.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Something would be written over the source that it is made from.
    #[error("`{setting}` would write to `{url}`, the source itself: set another `{setting}`")]
    OntoItself {
        /// The setting that holds the template.
        setting: String,
        /// The source, with what is secret in it masked.
        url: String,
    },
    /// Something is to be written, and nothing says where.
    #[error("`{0}` is not set: set it, or `out_url`")]
    Unset(&'static str),
    /// A resume pointer that cannot be followed.
    #[error("resume pointer `{url}`: {reason}")]
    Pointer {
        /// Where the pointer stands.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What was left unread of this source cannot be read again.
    #[error("cannot hand over the rest of `{source_url}` by pointer: {reason}")]
    NotResumable {
        /// The source.
        source_url: String,
        /// Why not.
        reason: String,
    },
}

/// One source to run through one plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// A random UUID; `$RequestId` and `$UUID` in templates.
    pub id: String,
    /// What is read.
    pub source: Source,
    /// How often these data have been tried before.
    pub attempt: u32,
    /// When the request began; `$TimePath` and `$Date` in templates.
    pub started_at: DateTime<Utc>,
    /// What the event said beside the source, handed to the plugin.
    pub attributes: Vec<(String, String)>,
    /// Takes the output, in the place of `destination_url`.
    pub outlet: Option<Outlet>,
}

impl Request {
    /// A request over all of `url`, which begins now; its attempt is told by the name.
    pub fn new(url: impl Into<String>) -> Request {
        let url = url.into();
        Request {
            id: uuid::Uuid::new_v4().to_string(),
            attempt: attempt_of(&url),
            started_at: Utc::now(),
            attributes: Vec::new(),
            outlet: None,
            source: Source {
                url,
                range: None,
                etag: None,
                first_line: 1,
                pointer: None,
                body: None,
                redrive: None,
            },
        }
    }

    /// A request over lines that come with it. `url` only names them, in what is written and reported
    /// (`sqs://orders/5fea7756`); nothing is read from there.
    pub fn with_body(url: impl Into<String>, body: Body) -> Request {
        let mut request = Request::new(url);
        request.source.body = Some(body);
        request
    }

    /// A request over the range that the pointer at `pointer_url` names.
    pub fn from_pointer(pointer_url: impl Into<String>, pointer: &Pointer) -> Request {
        let mut request = Request::new(pointer.source.clone());
        request.attempt = pointer.attempt;
        request.source.range = Some(Range {
            offset: pointer.offset,
            length: pointer.length,
        });
        request.source.etag = pointer.etag.clone();
        request.source.first_line = pointer.first_line;
        request.source.pointer = Some(pointer_url.into());
        request
    }

    /// The same request over a byte range of its source.
    #[must_use]
    pub fn with_range(mut self, range: Range) -> Request {
        self.source.range = Some(range);
        self
    }

    /// The pointer to what is left unread: all from byte `offset` of the source on, the first
    /// line of which is line `first_line` of the source.
    ///
    /// A relative path becomes absolute, since whoever follows the pointer may stand elsewhere.
    pub fn leftover(
        &self,
        cwd: &Path,
        offset: u64,
        first_line: u64,
    ) -> Result<Pointer, RequestError> {
        let refuse = |reason: &str| RequestError::NotResumable {
            source_url: mask_secrets(&self.source.url),
            reason: reason.to_owned(),
        };
        if self.source.url == "-" {
            return Err(refuse("standard input cannot be read twice"));
        }
        if self.source.body.is_some() {
            return Err(refuse("it came with the request"));
        }
        let length = match self.source.range {
            Some(range) => range
                .after(offset)
                .ok_or_else(|| refuse("it is outside the range"))?,
            None => None,
        };
        Ok(Pointer {
            source: absolute(&self.source.url, cwd),
            offset,
            length,
            etag: self.source.etag.clone(),
            first_line,
            attempt: self.attempt.saturating_add(1),
        })
    }
}

/// What a request reads.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Where the data are: a URL, a path, or `-` for standard input.
    pub url: String,
    /// The bytes to read; none for all.
    pub range: Option<Range>,
    /// The version that the range belongs to; another version must not be read.
    pub etag: Option<String>,
    /// The number of the first line read, counted from 1.
    pub first_line: u64,
    /// The resume pointer that named this source, if one did.
    pub pointer: Option<String>,
    /// The lines themselves, where they come with the request; `url` is then no more than a name.
    pub body: Option<Body>,
    /// Of an object of faulted lines: those that are run again.
    pub redrive: Option<Arc<Redrive>>,
}

/// A range of bytes of a source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The first byte.
    pub offset: u64,
    /// How many bytes; none for all that follow.
    pub length: Option<u64>,
}

impl Range {
    /// The length of what this range holds from `offset` on; `None` when `offset` is outside.
    fn after(self, offset: u64) -> Option<Option<u64>> {
        let skipped = offset.checked_sub(self.offset)?;
        match self.length {
            Some(length) => length.checked_sub(skipped).map(Some),
            None => Some(None),
        }
    }
}

/// What was never read of a source, as the object that hands it over says it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// The source.
    pub source: String,
    /// The first byte that was not read.
    pub offset: u64,
    /// How many bytes from there; none for all.
    #[serde(default)]
    pub length: Option<u64>,
    /// The version of the source that `offset` counts in.
    #[serde(default)]
    pub etag: Option<String>,
    /// The number of the line at `offset`, counted from 1.
    pub first_line: u64,
    /// The attempt that following the pointer is.
    pub attempt: u32,
}

impl Pointer {
    /// Reads the pointer that stands at `url`.
    pub fn parse(url: &str, bytes: &[u8]) -> Result<Pointer, RequestError> {
        let pointer: Pointer =
            serde_json::from_slice(bytes).map_err(|e| bad_pointer(url, e.to_string()))?;
        match pointer.problem() {
            Some(reason) => Err(bad_pointer(url, reason)),
            None => Ok(pointer),
        }
    }

    /// The object that [`Pointer::parse`] reads.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        json.push(b'\n');
        json
    }

    /// Why it cannot be followed, if it cannot.
    pub(crate) fn problem(&self) -> Option<String> {
        let end = self.offset.checked_add(self.length.unwrap_or(0));
        if self.source.is_empty() || self.source == "-" {
            Some(format!("source `{}` cannot be read again", self.source))
        } else if is_pointer(&self.source) {
            Some("its source is a resume pointer too".to_owned())
        } else if end.is_none_or(|end| end > OFFSET_MAX) {
            Some(format!(
                "no object reaches to offset {} and beyond",
                self.offset
            ))
        } else if self.first_line == 0 {
            Some("first_line is 0, lines count from 1".to_owned())
        } else {
            None
        }
    }
}

fn bad_pointer(url: &str, reason: String) -> RequestError {
    RequestError::Pointer {
        url: mask_secrets(url),
        reason,
    }
}

/// Whether `url` is a resume pointer, by its name.
pub fn is_pointer(url: &str) -> bool {
    url.ends_with(POINTER_SUFFIX)
}

/// Whether `url` is what is said of faults beside an object, by its name: no source of lines.
pub fn is_sidecar(url: &str) -> bool {
    url.ends_with(SIDECAR_SUFFIX) || url.ends_with(CAPSULES_SUFFIX)
}

/// The resume pointer of a request whose retry object is, or would be, `retry_url`.
pub fn pointer(retry_url: &str) -> String {
    format!("{retry_url}{POINTER_SUFFIX}")
}

/// What may stand beside the object `url` and is about it: its faults file, and capsules of failures.
pub(crate) fn beside(url: &str) -> [String; 2] {
    [sidecar(url), capsules(url)]
}

/// The list of faults that stands beside the object `url`.
pub fn sidecar(url: &str) -> String {
    format!("{url}{SIDECAR_SUFFIX}")
}

/// The capsules that stand beside the object `url`.
pub fn capsules(url: &str) -> String {
    format!("{url}{CAPSULES_SUFFIX}")
}

/// The object that holds what was not run again of the object `url`: `a-rest02-1-retry02.csv` for `a-retry02.csv`.
pub(crate) fn rest_of(url: &str) -> String {
    let name = url.rfind('/').map_or(0, |slash| slash + 1);
    format!("{}{}", &url[..name], rest_name(&url[name..]))
}

/// The attempt that the name at the end of `url` tells: 0 without a `-retryNN` in it.
///
/// A number too large to count is the largest there is, so such a source is given up, not
/// tried from the start.
pub fn attempt_of(url: &str) -> u32 {
    let place = Place::parse(url, Path::new(""));
    place
        .segments
        .last()
        .map_or(0, |name| Parts::of(name).attempt())
}

fn absolute(url: &str, cwd: &Path) -> String {
    let path = match split_scheme(url) {
        None => url,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => file_path(rest),
        Some(_) => return url.to_owned(),
    };
    cwd.join(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
