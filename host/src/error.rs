//! Errors, by what the caller can do about them.

use std::io;

/// What a function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause beneath an [`Error`].
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why something could not be done. Each variant has its own remedy; causes are in `source`.
///
/// URLs are shown without credentials and, for `http(s)`, without their query,
/// which for a presigned URL is a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object is not there.
    #[error("{url} does not exist")]
    NotFound {
        /// What was looked for.
        url: String,
    },
    /// Credentials are missing or do not suffice.
    #[error("access to {url} denied, check its credentials and permissions")]
    Denied {
        /// What was accessed.
        url: String,
        /// What the store said.
        source: Cause,
    },
    /// Objects are created, never overwritten.
    #[error(
        "{url} already exists: remove it, or use $UUID, $RequestId or $SourceBucket in the template"
    )]
    AlreadyExists {
        /// What was to be created.
        url: String,
    },
    /// The other side is down, slow or out of reach: trying again later may help.
    #[error("{url} is unavailable")]
    Unavailable {
        /// What was accessed.
        url: String,
        /// What went wrong.
        source: Cause,
    },
    /// The disk or the quota is used up.
    #[error("no space left for {url}")]
    Full {
        /// What was written.
        url: String,
        /// What the system said.
        source: Cause,
    },
    /// Reading or writing failed in a way that no other variant names.
    #[error("cannot {action}")]
    Io {
        /// What was tried, such as `write s3://bucket/key`.
        action: String,
        /// What went wrong.
        source: Cause,
    },
    /// A URL, a setting or an argument that cannot be used.
    #[error("{what}: {hint}")]
    Invalid {
        /// The thing that is wrong.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// The configuration does not fit what is to be done with it, or linemill itself is at fault.
    #[error("{what}: {hint}")]
    Unfit {
        /// The thing that is wrong.
        what: String,
        /// What would be right.
        hint: String,
    },
    /// The source is not the object any more that was read.
    #[error("{url} changed while it was processed")]
    SourceChanged {
        /// The source.
        url: String,
    },
    /// The data are damaged, such as a truncated gzip stream.
    #[error("{url} is corrupt")]
    Corrupt {
        /// The source.
        url: String,
        /// What the decoder said.
        source: Cause,
    },
    /// Time was up.
    #[error("timed out: {action}")]
    Timeout {
        /// What took too long.
        action: String,
    },
    /// The plugin cannot be loaded or breaks the contract.
    #[error("plugin {plugin}")]
    Plugin {
        /// Its name or URL.
        plugin: String,
        /// What is wrong with it.
        source: anyhow::Error,
    },
}

/// What would help against an error: what whoever asked for the request is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// To ask for something else.
    AskOtherwise,
    /// To ask for something that is there.
    AskForWhatIsThere,
    /// To ask for something that may be asked for.
    AskForWhatIsAllowed,
    /// To send sound data.
    MendData,
    /// Nothing: what is to be written is there already.
    Nothing,
    /// To ask again later.
    AskAgain,
    /// To mend the configuration, permissions, disk or plugin, and to ask again then.
    MendHost,
}

impl Error {
    /// What would help.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::NotFound { .. } => Remedy::AskForWhatIsThere,
            Self::Invalid { .. } => Remedy::AskOtherwise,
            Self::Corrupt { .. } => Remedy::MendData,
            Self::AlreadyExists { .. } => Remedy::Nothing,
            Self::Unavailable { .. } | Self::Timeout { .. } | Self::SourceChanged { .. } => {
                Remedy::AskAgain
            }
            Self::Unfit { .. }
            | Self::Denied { .. }
            | Self::Full { .. }
            | Self::Io { .. }
            | Self::Plugin { .. } => Remedy::MendHost,
        }
    }

    /// Whether the same call may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. })
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// An [`Error::Unfit`].
    pub fn unfit(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Unfit {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// The error for what `object_store` said about `url`.
    pub fn from_store(url: &str, err: object_store::Error) -> Self {
        use object_store::Error as E;
        let shown = shown(url);
        match err {
            E::NotFound { .. } => Self::NotFound { url: shown },
            E::AlreadyExists { .. } => Self::AlreadyExists { url: shown },
            E::Precondition { .. } | E::NotModified { .. } => Self::SourceChanged { url: shown },
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Self::Denied {
                url: shown,
                source: discreet(url, err),
            },
            E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::InvalidPath { .. }
            | E::UnknownConfigurationKey { .. } => {
                Self::invalid(shown, discreet(url, err).to_string())
            }
            other => Self::from_generic(url, other),
        }
    }

    /// The error for what `object_store` said when `url` was half read: a content that broke off, or
    /// why it could not be resumed, such as a server that does not know ranges.
    pub(crate) fn broke_off(url: &str, err: object_store::Error) -> Self {
        match Self::from_store(url, err) {
            Self::Io { source, .. } => Self::unavailable(url, source),
            Self::Invalid { hint, .. } => Self::unavailable(url, hint.into()),
            other => other,
        }
    }

    /// `object_store` keeps its status codes to itself, so this reads them out of the text.
    fn from_generic(url: &str, err: object_store::Error) -> Self {
        let text = err.to_string();
        if let Some(kind) = io_kind(&err) {
            return Self::from_io(url, io::Error::new(kind, discreet(url, err)));
        }
        let no_credentials = ["169.254.169.254", "metadata.google.internal"];
        let (url, source) = (url, discreet(url, err));
        if no_credentials.iter().any(|host| text.contains(host)) {
            return Self::denied(url, source);
        }
        match status(&text) {
            Some(401 | 403) => Self::denied(url, source),
            Some(404 | 410) => Self::NotFound { url: shown(url) },
            Some(412) => Self::SourceChanged { url: shown(url) },
            Some(408 | 409 | 429 | 500..) => Self::unavailable(url, source),
            Some(_) => Self::Io {
                action: format!("use {}", shown(url)),
                source,
            },
            None => Self::unavailable(url, source),
        }
    }

    /// The error for what the operating system said about `url`.
    ///
    /// An [`Error`] that was carried inside of `err` comes out again as it was.
    pub fn from_io(url: &str, err: io::Error) -> Self {
        use io::ErrorKind as K;
        let err = match err.downcast::<Self>() {
            Ok(inner) => return inner,
            Err(err) => err,
        };
        let url = shown(url);
        match err.kind() {
            K::NotFound => Self::NotFound { url },
            K::AlreadyExists => Self::AlreadyExists { url },
            K::PermissionDenied | K::ReadOnlyFilesystem => Self::denied(&url, err.into()),
            K::StorageFull | K::QuotaExceeded => Self::Full {
                url,
                source: err.into(),
            },
            K::TimedOut | K::ConnectionReset | K::ConnectionAborted | K::ConnectionRefused => {
                Self::unavailable(&url, err.into())
            }
            _ => Self::Io {
                action: format!("use {url}"),
                source: err.into(),
            },
        }
    }

    fn denied(url: &str, source: Cause) -> Self {
        let url = shown(url);
        Self::Denied { url, source }
    }

    pub(crate) fn unavailable(url: &str, source: Cause) -> Self {
        let url = shown(url);
        Self::Unavailable { url, source }
    }
}

/// So that an [`Error`] can pass through an `AsyncRead`; [`Error::from_io`] gets it out again.
impl From<Error> for io::Error {
    fn from(err: Error) -> Self {
        Self::other(err)
    }
}

/// `url` as it may be printed: an `http(s)` URL loses its query and its password.
pub(crate) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return url.to_owned();
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// What `err` says on one line, without the secret part of `url` if there is one. `object_store`
/// repeats causes in its messages, so there are none beneath; but it leaves out the innermost.
fn discreet(url: &str, err: object_store::Error) -> Cause {
    let mut text = err.to_string();
    let innermost = innermost(&err).to_string();
    if !text.contains(&innermost) {
        text = format!("{text}: {innermost}");
    }
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let public = shown(url);
    if public != url {
        text = text.replace(url, &public);
    }
    match url.split_once('?') {
        Some((_, query)) if public != url && !query.is_empty() => text.replace(query, "…").into(),
        _ => text.into(),
    }
}

fn innermost<'a>(
    mut err: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = err.source() {
        err = cause;
    }
    err
}

/// The kind of an [`io::Error`] somewhere among the causes, unless it says nothing.
fn io_kind(err: &object_store::Error) -> Option<io::ErrorKind> {
    let mut next = std::error::Error::source(err);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<io::Error>() {
            return (found.kind() != io::ErrorKind::Other).then(|| found.kind());
        }
        next = cause.source();
    }
    None
}

/// The HTTP status in the text of an `object_store` error.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_secrets() {
        let check = |url: &str, want: &str| assert_eq!(shown(url), want);
        check("https://h/p%20q?X-Amz-Signature=abc", "https://h/p%20q");
        check("http://me:secret@h:80/p#f", "http://h:80/p");
        check("HTTPS://h?sig=1", "HTTPS://h");
        check("s3://b/k?v=1", "s3://b/k?v=1");
        check("/tmp/a?b", "/tmp/a?b");
        check("-", "-");
    }

    #[test]
    fn causes_are_shown_without_secrets() {
        let err = object_store::Error::PermissionDenied {
            path: String::new(),
            source: "GET https://h/p?sig=abc in 1ms".into(),
        };
        let err = anyhow::Error::from(Error::from_store("https://h/p?sig=abc", err));
        let text = format!("{err:#} {err:?}");
        assert!(!text.contains("abc"), "{text}");
        assert!(text.contains("https://h/p"), "{text}");
    }

    #[test]
    fn statuses_become_remedies() {
        let check = |status: &str, want: fn(&Error) -> bool| {
            let source = format!("Server returned non-2xx status code: {status}: <xml/>").into();
            let err = object_store::Error::Generic {
                store: "S3",
                source,
            };
            let err = Error::from_store("s3://b/k", err);
            assert!(want(&err), "{status}: {err:?}");
        };
        check("503 Service Unavailable", Error::is_transient);
        check("429 Too Many Requests", Error::is_transient);
        check("403 Forbidden", |e| matches!(e, Error::Denied { .. }));
        check("400 Bad Request", |e| matches!(e, Error::Io { .. }));
        check("404 Not Found", |e| matches!(e, Error::NotFound { .. }));
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let err = Error::Timeout {
            action: "read s3://b/k".into(),
        };
        let back = Error::from_io("s3://b/k", io::Error::from(err));
        assert!(matches!(back, Error::Timeout { .. }), "{back:?}");
    }

    #[test]
    fn a_full_disk_reads_as_such() {
        let err = io::Error::from_raw_os_error(libc::ENOSPC);
        let err = anyhow::Error::from(Error::from_io("/out/a.csv", err));
        let text = format!("{err:#}");
        assert!(
            text.starts_with("no space left for /out/a.csv: No space left"),
            "{text}"
        );
    }
}
