//! Names of lines that come with an event: they go into the names of what is written, so they must be safe in paths.

use sha2::{Digest, Sha256};

use crate::request::{is_pointer, is_sidecar};

use super::field::shown;

/// Bytes of a whole name: what S3 takes for a key, less what a base and suffixes need.
const NAME_BYTES_MAX: usize = 800;
/// Bytes of one part: file systems take 255, and `-retryNN` and `.capsules.ndjson` come on top.
const PART_BYTES_MAX: usize = 200;
/// Schemes whose names say where something can be had; lines that somebody sent are not from there.
const PLACES: [&str; 3] = ["file", "http", "https"];

/// What lines are called.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Name {
    /// As their sender said.
    Given(String),
    /// After the place they came through and the first record that brought some.
    Under {
        /// The place, such as `kinesis://orders`.
        base: String,
        /// The record.
        id: String,
    },
}

impl Name {
    /// What a sender calls its lines: a URL, or a path that is then one below `base`. It only names; nothing is ever
    /// read from there.
    pub(super) fn given(text: &str, base: &str) -> Result<Name, String> {
        let url = match text.split_once("://") {
            Some(_) => text.to_owned(),
            None => format!("{base}/{text}"),
        };
        match flaw(&url) {
            None => Ok(Name::Given(url)),
            Some(flaw) => Err(format!("{} cannot be a name: {flaw}", shown(text))),
        }
    }

    /// `id` below `base`, which [`base()`] made.
    pub(super) fn under(base: &str, id: &str) -> Name {
        Name::Under {
            base: base.to_owned(),
            id: unique(id),
        }
    }

    /// Whether lines of that name may join those of this one.
    pub(super) fn continues_with(&self, next: &Name) -> bool {
        match (self, next) {
            (Name::Given(one), Name::Given(two)) => one == two,
            (Name::Under { base, .. }, Name::Under { base: other, .. }) => base == other,
            _ => false,
        }
    }

    /// As a URL.
    pub(super) fn url(&self) -> String {
        match self {
            Name::Given(url) => url.clone(),
            Name::Under { base, id } => format!("{base}/{id}"),
        }
    }
}

/// Where lines came through, such as `kinesis://orders`: what the platform calls it, with what is awkward in paths
/// replaced by `_`. Below the first part, `/` stays.
pub(super) fn base(scheme: &str, place: &str, below: &str) -> String {
    let mut base = format!("{scheme}://{}", tame(place.trim_matches('/')));
    for part in below.split('/').filter(|part| !part.is_empty()).take(8) {
        base.extend(["/", &tame(part)]);
    }
    base
}

/// The last part of an ARN or resource name, such as the queue in `arn:aws:sqs:eu-west-1:1:queue`.
pub(super) fn last_part(resource: &str) -> &str {
    resource.rsplit([':', '/']).next().unwrap_or(resource)
}

/// Whether a bucket can be called that, in any store; what it is is the store's to say.
pub(super) fn check_bucket(bucket: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let sound = !bucket.is_empty()
        && bucket.len() <= 255
        && bucket.chars().all(plain)
        && bucket.chars().any(|c| c.is_ascii_alphanumeric());
    match sound {
        true => Ok(()),
        false => Err(format!("{} is not the name of a bucket", shown(bucket))),
    }
}

/// What makes a URL unfit for a name.
fn flaw(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if url.len() > NAME_BYTES_MAX {
        return Some(format!("it has more than {NAME_BYTES_MAX} bytes"));
    }
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(word) {
        return Some("its scheme is none".to_owned());
    }
    if PLACES.contains(&scheme) {
        return Some(format!("{scheme}:// says where to get something"));
    }
    if url.contains(char::is_control) {
        return Some("it has control characters".to_owned());
    }
    if is_pointer(url) || is_sidecar(url) {
        return Some("linemill keeps its suffix for itself".to_owned());
    }
    check_bucket(place)
        .err()
        .or_else(|| path.split('/').find_map(flaw_of_part))
}

fn flaw_of_part(part: &str) -> Option<String> {
    match part {
        "" => Some("it has an empty part".to_owned()),
        "." | ".." => Some(format!("it has the part `{part}`")),
        long if long.len() > PART_BYTES_MAX => {
            Some(format!("a part has more than {PART_BYTES_MAX} bytes"))
        }
        _ => None,
    }
}

/// The text with everything replaced that a path, a shell or an object store may take amiss.
fn tame(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
    let tamed: String = text
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .take(PART_BYTES_MAX / 2)
        .collect();
    match tamed.trim_start_matches('.') {
        "" => "_".to_owned(),
        named => named.to_owned(),
    }
}

/// As [`tame`], but two texts never come out the same. A dot would begin an extension, which an id has not.
fn unique(id: &str) -> String {
    let tamed = tame(id).replace('.', "_");
    if tamed == id {
        return tamed;
    }
    let digest = Sha256::digest(id.as_bytes());
    let digest: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    format!("{tamed}-{digest}")
}
