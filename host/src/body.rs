//! Lines that come with a request itself, rather than from a place that is read: a message, an HTTP body.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncRead;

/// What is read of a body.
pub(crate) type BodyReader = Pin<Box<dyn AsyncRead + Send>>;

/// The bytes of a request that brings its own. Cheap to clone; a stream can be read once, by whoever takes it first.
#[derive(Clone)]
pub struct Body {
    content: Content,
    /// `gzip`, `zstd` or `identity`, as HTTP's Content-Encoding spells them; `None`: as the name's suffix says.
    pub encoding: Option<String>,
}

#[derive(Clone)]
enum Content {
    Bytes(Bytes),
    Stream(Arc<Mutex<Option<BodyReader>>>),
}

impl Body {
    /// Bytes that are there already.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Body {
            content: Content::Bytes(bytes.into()),
            encoding: None,
        }
    }

    /// Bytes that arrive while they are read.
    pub fn stream(reader: impl AsyncRead + Send + 'static) -> Self {
        Body {
            content: Content::Stream(Arc::new(Mutex::new(Some(Box::pin(reader))))),
            encoding: None,
        }
    }

    /// The same, compressed like this.
    #[must_use]
    pub fn encoded(mut self, encoding: impl Into<String>) -> Self {
        self.encoding = Some(encoding.into());
        self
    }

    /// The bytes, where they are there already.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Some(bytes),
            Content::Stream(_) => None,
        }
    }

    /// What reads it; `None`: somebody has taken the stream.
    pub(crate) fn take(&self) -> Option<BodyReader> {
        match &self.content {
            Content::Bytes(bytes) => Some(Box::pin(std::io::Cursor::new(bytes.clone()))),
            Content::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Bytes(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Content::Stream(_) => f.write_str("Body(stream)"),
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let content = match (&self.content, &other.content) {
            (Content::Bytes(one), Content::Bytes(two)) => one == two,
            (Content::Stream(one), Content::Stream(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        content && self.encoding == other.encoding
    }
}
