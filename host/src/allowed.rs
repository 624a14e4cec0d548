//! Which sources a request from outside may name: those below the places that the configuration lists.
//!
//! Places are compared as the storage will understand them, by whole segments. What the storage and the servers
//! behind it might understand in two ways (`..`, an encoded slash, a user before the host) is refused, whatever is
//! allowed. Links of local files are followed before they are compared.

use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::config::mask_secrets;
use crate::storage::Storage;

/// The places, as the configuration lists them.
#[derive(Clone, Debug, Default)]
pub struct AllowedSources(Vec<Place>);

/// Where a source is, or below where it may be.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    /// A path without links.
    File(PathBuf),
    /// An object of a store.
    Object {
        scheme: String,
        /// The bucket, or host and port; `None`: any.
        authority: Option<String>,
        segments: Vec<String>,
    },
}

impl AllowedSources {
    /// Sources below any of these URLs and paths.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new<T: AsRef<str>>(places: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let places = places.into_iter().map(|place| allowed(place.as_ref()));
        places.collect::<Result<_, _>>().map(AllowedSources)
    }

    /// Whether the source `url` is allowed. Asks the file system where a local one leads.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check(&self, storage: &Storage, url: &str) -> Result<(), String> {
        let refused = |why: &str| format!("source {} is refused: {why}", mask_secrets(url));
        let place = place_of(storage, url).map_err(|why| refused(&why))?;
        if self.0.iter().any(|allowed| place.is_below(allowed)) {
            return Ok(());
        }
        Err(refused(match self.0.is_empty() {
            true => "allowed_sources lists nothing, set it to where sources may be",
            false => "it lies below none of allowed_sources",
        }))
    }
}

impl Place {
    fn is_below(&self, allowed: &Place) -> bool {
        match (self, allowed) {
            (Place::File(path), Place::File(allowed)) => path.starts_with(allowed),
            (
                Place::Object {
                    scheme,
                    authority,
                    segments,
                },
                Place::Object {
                    scheme: allowed_scheme,
                    authority: allowed_authority,
                    segments: allowed_segments,
                },
            ) => {
                scheme == allowed_scheme
                    && (allowed_authority.is_none() || authority == allowed_authority)
                    && segments.starts_with(allowed_segments)
            }
            _ => false,
        }
    }
}

fn allowed(place: &str) -> Result<Place, String> {
    let all = place.strip_suffix("://").map(str::to_ascii_lowercase);
    match all.as_deref() {
        Some(scheme @ ("s3" | "gs" | "az")) => Ok(Place::Object {
            scheme: scheme.to_owned(),
            authority: None,
            segments: Vec::new(),
        }),
        Some("file") => Err(format!(
            "{place}: name a folder; file:/// allows every file"
        )),
        Some(_) => Err(format!("{place}: name a host")),
        None => place_of(&Storage::new(), place)
            .map_err(|why| format!("{}: {why}", mask_secrets(place))),
    }
}

/// Where the storage will look for `url`.
fn place_of(storage: &Storage, url: &str) -> Result<Place, String> {
    let located = storage.locate(url).map_err(|error| error.to_string())?;
    if located.is_stdio() {
        return Err("standard input is no source of a request".to_owned());
    }
    if let Some(path) = located.local_path() {
        return Ok(Place::File(resolved(path)?));
    }
    let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" | "https" => web_place(url),
        _ => {
            let (authority, key) = rest.split_once('/').unwrap_or((rest, ""));
            Ok(Place::Object {
                scheme,
                authority: Some(authority.to_owned()),
                segments: segments(key)?,
            })
        }
    }
}

/// Hosts and paths as a client of HTTP understands them: it resolves what the text leaves open.
fn web_place(url: &str) -> Result<Place, String> {
    let parsed = url::Url::parse(url).map_err(|error| error.to_string())?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("a user before the host is not allowed".to_owned());
    }
    let (host, port) = (parsed.host_str(), parsed.port_or_known_default());
    let (host, port) = host.zip(port).ok_or("it names no host")?;
    Ok(Place::Object {
        scheme: parsed.scheme().to_owned(),
        authority: Some(format!("{}:{port}", host.trim_end_matches('.'))),
        segments: segments(parsed.path().strip_prefix('/').unwrap_or_default())?,
    })
}

/// The segments of a path, unless one of them could mean another place.
fn segments(path: &str) -> Result<Vec<String>, String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let segments = path.split('/').map(|segment| {
        let mut text = segment.to_owned();
        // What is encoded twice is decoded by two who pass it on.
        for _ in 0..3 {
            if matches!(text.as_str(), "" | "." | "..") || text.contains(['/', '\\', '\0']) {
                return Err(format!(
                    "the segment {segment:?} of its path could mean another place"
                ));
            }
            text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        }
        Ok(segment.to_owned())
    });
    segments.collect()
}

/// The path without links; of what is not there, as far as it is.
fn resolved(path: &Path) -> Result<PathBuf, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match there.canonicalize() {
            Ok(found) => {
                return Ok(missing
                    .iter()
                    .rev()
                    .fold(found, |path, name| path.join(name)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.to_string()),
        }
        let is_link = there.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        match (there.components().next_back(), there.parent()) {
            (Some(Component::Normal(name)), Some(parent)) if !is_link => {
                missing.push(name.to_owned());
                there = parent;
            }
            _ => return Err("it leads nowhere".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_below_the_allowed_ones() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["in/deep", "inside", "out"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("in/a.txt"), "a").unwrap();
        std::fs::write(root.join("out/secret"), "s").unwrap();
        let link = |to: &str, at: &str| std::os::unix::fs::symlink(root.join(to), root.join(at));
        link("out/secret", "in/link").unwrap();
        link("out", "in/folder").unwrap();
        link("in/a.txt", "in/inner").unwrap();
        link("nowhere", "in/dangling").unwrap();
        let allowed = format!(
            "s3://b/in, GS://, http://h:8000/data/, https://web, {}/in",
            root.display()
        );
        let allowed = AllowedSources::new(allowed.split(", ")).unwrap();
        let table = [
            ("s3://b/in/a", true),
            ("S3://b/in/a", true),
            ("s3://b/in", true),
            ("s3://b/in/deep/a b%+", true),
            ("s3://b/in/a%20b", true),
            ("s3://b/inside/a", false),
            ("s3://b/IN/a", false),
            ("s3://B/in/a", false),
            ("s3://b/a", false),
            ("s3://b/in/../a", false),
            ("s3://b/in/./a", false),
            ("s3://b/in//a", false),
            ("s3://b//in/a", false),
            ("s3://b/in/%2e%2e/a", false),
            ("s3://b/in/%252E%252e/a", false),
            ("s3://b/in/..%2fa", false),
            ("s3://b/in/..\\a", false),
            ("s3://b@c/in/a", false),
            ("s3://other/in/a", false),
            ("gs://any/thing", true),
            ("gs://any/../thing", false),
            ("az://any/thing", false),
            ("http://h:8000/data/a?x=/../y", true),
            ("http://H:8000/data/a", true),
            ("http://h/data/a", false),
            ("http://h:8000/database", false),
            ("http://h:8000/data/../a", false),
            ("http://h:8000/data/%2e%2e/a", false),
            ("http://h:8000/data/..%2fa", false),
            ("http://h:8000/data/%252e%252e/a", false),
            ("http://h:8000\\@169.254.169.254/data/a", false),
            ("http://h:8000@169.254.169.254/data/a", false),
            ("http://u:p@h:8000/data/a", false),
            ("https://web/a", true),
            ("https://WEB:443/a", true),
            ("https://web:444/a", false),
            ("https://web.evil/a", false),
            ("https://evil/web", false),
            ("http://169.254.169.254/latest/meta-data/", false),
            ("http://2852039166/latest/meta-data/", false),
            ("http://[::ffff:169.254.169.254]/", false),
            ("ftp://h/a", false),
            ("memory://b/in/a", false),
            ("-", false),
            ("", false),
            ("/etc/passwd", false),
            ("file:///etc/passwd", false),
            ("FILE://localhost/etc/passwd", false),
            ("file:/etc/passwd", false),
            ("~/in/a.txt", false),
            ("$R/in/a.txt", true),
            ("file://$R/in/a.txt", true),
            ("file://localhost$R/in/a.txt", true),
            ("$R/in/not-there", true),
            ("$R/in/not/there", true),
            ("$R/in/deep/../a.txt", true),
            ("$R/in/inner", true),
            ("$R/in/link", false),
            ("$R/in/folder/secret", false),
            ("$R/in/folder/not-there", false),
            ("$R/in/dangling", false),
            ("$R/in/../out/secret", false),
            ("$R/in/deep/../../out/secret", false),
            ("$R/in/not-there/../../out/secret", false),
            ("$R/inside", false),
            ("$R/in/%2e%2e/out/secret", true), // a name like any other, and none that is there
        ];
        for (url, want) in table {
            let url = url.replace("$R", &root.to_string_lossy());
            let checked = allowed.check(&Storage::new(), &url);
            assert_eq!(checked.is_ok(), want, "{url}: {checked:?}");
        }
    }

    #[test]
    fn nothing_is_allowed_by_itself() {
        let nothing = AllowedSources::default();
        for url in ["s3://b/in/a", "/etc/passwd", "https://web/a"] {
            let why = nothing.check(&Storage::new(), url).unwrap_err();
            assert!(why.contains("allowed_sources"), "{why}");
        }
    }

    #[test]
    fn places_that_cannot_be_allowed() {
        for place in [
            "-",
            "http://",
            "file://",
            "ftp://h/a",
            "s3://b/../c",
            "https://u:p@h/a",
        ] {
            assert!(AllowedSources::new([place]).is_err(), "{place}");
        }
    }
}
