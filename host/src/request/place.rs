//! Where a URL or path points, taken apart so that places can be compared.

use std::path::Path;

use super::name::is_number;

/// Where a URL or path points, in parts that can be compared.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// Lower case; `file` for paths too.
    pub(super) scheme: String,
    /// Bucket, container or host with port; empty for files.
    pub(super) authority: String,
    /// The path without empty and dot segments; absolute for files.
    pub(super) segments: Vec<String>,
}

impl Place {
    pub(super) fn parse(url: &str, cwd: &Path) -> Place {
        match split_scheme(url) {
            _ if url == "-" => Place::new("stdin", "", "stdin"),
            None => Place::new("file", "", &cwd.join(url).to_string_lossy()),
            Some((scheme, rest)) => {
                let scheme = scheme.to_ascii_lowercase();
                if scheme == "file" {
                    return Place::new("file", "", &cwd.join(file_path(rest)).to_string_lossy());
                }
                let rest = if is_http(&scheme) {
                    without_query(rest)
                } else {
                    rest
                };
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                Place::new(&scheme, without_user(&scheme, authority), path)
            }
        }
    }

    pub(super) fn new(scheme: &str, authority: &str, path: &str) -> Place {
        Place {
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            segments: resolve(path),
        }
    }

    /// What `$SourceBucket` stands for.
    pub(super) fn bucket(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if is_http(&self.scheme) && is_number(port) => host,
            _ => &self.authority,
        };
        if host.is_empty() { "local" } else { host }
    }

    /// The segments below `base`, if this place lies in it.
    pub(super) fn below(&self, base: &Place) -> Option<&[String]> {
        let same_root = self.scheme == base.scheme && self.authority == base.authority;
        self.segments
            .strip_prefix(&base.segments[..])
            .filter(|_| same_root)
    }
}

fn is_http(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

pub(super) fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    valid.then_some((scheme, rest))
}

/// The path of a `file://` URL: `file://localhost/x` is `/x`, and `file://x` is relative.
pub(super) fn file_path(rest: &str) -> &str {
    rest.strip_prefix("localhost")
        .filter(|path| path.starts_with('/'))
        .unwrap_or(rest)
}

fn without_query(rest: &str) -> &str {
    rest.split(['?', '#']).next().unwrap_or(rest)
}

/// Drops a user with password: it must not get into names. Without one, what stands before an
/// `@` may be a container (`abfss://container@account`).
fn without_user<'a>(scheme: &str, authority: &'a str) -> &'a str {
    match authority.rsplit_once('@') {
        Some((user, host)) if is_http(scheme) || user.contains(':') => host,
        _ => authority,
    }
}

/// The segments of a path, `..` resolved without looking, never above the top.
fn resolve(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.to_owned()),
        }
    }
    segments
}
