//! The URLs of all that is written for a request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::name::{attempt_name, range_name, retry_name};
use super::place::{Place, split_scheme};
use super::template::{Macro, Piece, TemplateError, parse_template};
use super::{POINTER_SUFFIX, Request, RequestError, pointer};
use crate::config::{Config, mask_secrets};

/// What `template` stands for.
///
/// `$UUID`, `$TimePath`, `$Date`, `$RequestId`, `$SourceBucket`, `$SourcePath` and `$SourceName`
/// are replaced, `${UUID}` likewise, `$$` is a dollar. A template with neither `$SourcePath` nor
/// `$SourceName` is a base: the source's path is appended, or what of it is below the base when
/// the source lies in there already. `-` stays `-`.
pub fn expand(template: &str, names: &Names) -> Result<String, TemplateError> {
    if template == "-" {
        return Ok(template.to_owned());
    }
    let pieces = parse_template(template)?;
    let text: String = pieces.iter().map(|piece| names.text_of(piece)).collect();
    if pieces.iter().any(Piece::names_the_source) {
        return Ok(text);
    }
    Ok(join(&text, &names.path_in(&text)))
}

/// Base and path with one `/` between them; the slashes of `scheme://` are no part of a path.
pub(crate) fn join(base: &str, path: &str) -> String {
    let root = split_scheme(base).map_or(0, |(scheme, _)| scheme.len() + "://".len());
    format!(
        "{}{}/{path}",
        &base[..root],
        base[root..].trim_end_matches('/')
    )
}

/// The names of a request: what its templates are filled with.
///
/// They are the source's own, but for a range. Its names must not meet those of the whole
/// source, so `-at<offset>` is put before `-retryNN` and the extension; and the range that a
/// resume pointer hands over is named after the pointer, which carries the attempt. Lines that are
/// run again are named after the attempt that this is, so that `a.csv` of corrupt lines becomes
/// `a-retry01.csv`, of what is corrupt still.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    id: String,
    started_at: DateTime<Utc>,
    attempt: u32,
    cwd: PathBuf,
    /// The source that is read.
    source: Place,
    /// The folder of the logical source.
    folder: Place,
    /// The folder as part of `$SourcePath`: below the working directory for files in there.
    path: Vec<String>,
    name: String,
}

impl Names {
    /// The names of `request`; `cwd` is what relative paths are relative to.
    pub fn of(request: &Request, cwd: &Path) -> Result<Names, RequestError> {
        let source = &request.source;
        let logical = source.pointer.as_deref().unwrap_or(&source.url);
        let logical = logical.strip_suffix(POINTER_SUFFIX).unwrap_or(logical);
        let mut folder = Place::parse(logical, cwd);
        let name = folder
            .segments
            .pop()
            .ok_or_else(|| RequestError::Nameless(mask_secrets(logical)))?;
        let name = match &source.redrive {
            Some(_) => attempt_name(&name, request.attempt),
            None => name,
        };
        let here = Place::new("file", "", &cwd.to_string_lossy());
        Ok(Names {
            id: request.id.clone(),
            started_at: request.started_at,
            attempt: request.attempt,
            cwd: cwd.to_owned(),
            source: Place::parse(&source.url, cwd),
            path: folder.below(&here).unwrap_or(&folder.segments).to_vec(),
            folder,
            name: source
                .range
                .map_or_else(|| name.clone(), |r| range_name(&name, r.offset)),
        })
    }

    /// Where the plugin's output goes; none without a `destination_url`.
    pub fn destination(&self, config: &Config) -> Result<Option<String>, RequestError> {
        self.optional("destination_url", config.destination_url.as_deref())
    }

    /// Where what the plugin sends to the route `name` goes; none when there is no such route.
    pub fn route(&self, config: &Config, name: &str) -> Result<Option<String>, RequestError> {
        self.optional(
            &format!("routes.{name}"),
            config.routes.get(name).map(String::as_str),
        )
    }

    /// Where the source goes when it is moved after use; none without a `move_url`.
    pub fn moved(&self, config: &Config) -> Result<Option<String>, RequestError> {
        self.optional("move_url", config.move_url.as_deref())
    }

    /// Whether the attempts are used up: what would be retried has failed.
    pub fn gives_up(&self, config: &Config) -> bool {
        self.attempt >= config.max_retries
    }

    /// Where lines to retry go: to the retry URL, or to the failed URL when the attempts are
    /// used up. The name carries the next attempt in both.
    pub fn retry_or_failed(&self, config: &Config) -> Result<String, RequestError> {
        let (setting, template) = match self.gives_up(config) {
            false => ("retry_url", &config.retry_url),
            true => ("failed_url", &config.failed_url),
        };
        let next = Names {
            name: retry_name(&self.name, self.attempt),
            ..self.clone()
        };
        next.required(setting, template.as_deref())
    }

    /// Where corrupt lines go, under the source's own name.
    pub fn corruption(&self, config: &Config) -> Result<String, RequestError> {
        self.required("corruption_url", config.corruption_url.as_deref())
    }

    /// All of them at once, before anything is read.
    pub fn written(&self, config: &Config) -> Result<Written, RequestError> {
        let mut routes = BTreeMap::new();
        for name in config.routes.keys() {
            routes.extend(self.route(config, name)?.map(|url| (name.clone(), url)));
        }
        let again = self.retry_or_failed(config)?;
        Ok(Written {
            destination: self.destination(config)?,
            gives_up: self.gives_up(config),
            pointer: pointer(&again),
            again,
            corruption: self.corruption(config)?,
            routes,
        })
    }

    fn required(
        &self,
        setting: &'static str,
        template: Option<&str>,
    ) -> Result<String, RequestError> {
        self.optional(setting, template)?
            .ok_or(RequestError::Unset(setting))
    }

    fn optional(
        &self,
        setting: &str,
        template: Option<&str>,
    ) -> Result<Option<String>, RequestError> {
        let Some(template) = template else {
            return Ok(None);
        };
        let url = expand(template, self)?;
        if url != "-" && Place::parse(&url, &self.cwd) == self.source {
            return Err(RequestError::OntoItself {
                setting: setting.to_owned(),
                url: mask_secrets(&url),
            });
        }
        Ok(Some(url))
    }

    /// The path to append to `base`.
    fn path_in(&self, base: &str) -> String {
        let base = Place::parse(base, &self.cwd);
        self.path_of(self.folder.below(&base).unwrap_or(&self.path))
    }

    fn path_of(&self, folder: &[String]) -> String {
        let mut path = String::new();
        for segment in folder {
            path.extend([segment, "/"]);
        }
        path + &self.name
    }

    fn text_of(&self, piece: &Piece<'_>) -> String {
        match piece {
            Piece::Text(text) => (*text).to_owned(),
            Piece::Macro(Macro::Uuid | Macro::RequestId) => self.id.clone(),
            Piece::Macro(Macro::TimePath) => self.started_at.format("%Y/%m/%d/%H").to_string(),
            Piece::Macro(Macro::Date) => self.started_at.format("%Y-%m-%d").to_string(),
            Piece::Macro(Macro::SourceBucket) => self.folder.bucket().to_owned(),
            Piece::Macro(Macro::SourcePath) => self.path_of(&self.path),
            Piece::Macro(Macro::SourceName) => self.name.clone(),
        }
    }
}

/// Every URL that a request may write to.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The plugin's output; none when there is no `destination_url`.
    pub destination: Option<String>,
    /// Lines to try again: the retry object, or the failed object when `gives_up`.
    pub again: String,
    /// Whether the attempts are used up, so that `again` and `pointer` are under the failed URL.
    pub gives_up: bool,
    /// The resume pointer for what is not read.
    pub pointer: String,
    /// Corrupt lines.
    pub corruption: String,
    /// What the plugin sends to a route, by its name.
    pub routes: BTreeMap<String, String>,
}
