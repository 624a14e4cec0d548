//! One object being written; visible only when published, and never in another's place.
//!
//! `create` → `write`… → `seal` → `publish`. Whatever ends before the last step, by an error,
//! a drop or a kill, leaves no object that anybody can see.

use std::sync::Arc;

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use tokio::io::AsyncWriteExt;

use crate::error::{Error, Result};
use crate::outlet::Outlet;
use crate::storage::{Location, Room, Storage};

mod file;
mod upload;

pub(crate) use file::sync_folder;
use file::{FileSink, SealedFile, StreamSink};
use upload::{SealedUpload, Upload};

/// So much goes through an encoder at a time, so that its output stays small.
const ENCODE_BYTES: usize = 256 * 1024;

/// An object that takes bytes. Nothing of it is visible, and dropping it leaves nothing.
///
/// Standard output (`-`), devices and named pipes are the exception: what is written there is
/// out of hand as soon as it is flushed, so publishing and taking back do nothing.
pub struct Destination {
    location: Location,
    encoder: Encoder,
    sink: Sink,
    /// What may be written is limited.
    room: Option<Arc<Room>>,
    /// A write failed or was cancelled in the middle: what is stored is not what was meant.
    broken: bool,
}

/// An object of which every byte is stored where it will be, but which is not visible yet.
pub struct Sealed {
    location: Location,
    body: SealedBody,
    bytes: u64,
}

/// An object that is complete and visible.
pub struct Published {
    location: Location,
    mark: Mark,
    bytes: u64,
}

enum Sink {
    File(FileSink),
    Stream(StreamSink),
    Outlet(Outlet),
    Upload(Upload),
}

enum SealedBody {
    File(SealedFile),
    Stream,
    Upload(SealedUpload),
}

/// By what a published object is known to be the one that was written here.
enum Mark {
    File(std::fs::File),
    Stream,
    Object { etag: Option<String> },
}

impl Destination {
    /// Opens `url`, compressed if its name ends in `.gz` or `.zst`.
    ///
    /// That the object exists already, that its folder cannot be written and that the store
    /// cannot be reached show here, before any work is done for it.
    pub async fn create(storage: &Storage, url: &str) -> Result<Self> {
        let location = storage.locate(url)?;
        let encoder = Encoder::for_name(location.name());
        Self::open(location, encoder, storage.room()).await
    }

    /// Opens `url` for bytes that are stored as they are, whatever the name.
    pub async fn create_verbatim(storage: &Storage, url: &str) -> Result<Self> {
        Self::open(storage.locate(url)?, Encoder::Plain, storage.room()).await
    }

    /// Bytes for whoever made the request, which cannot be taken back either; `name` says where they come from.
    pub fn outlet(name: &str, outlet: Outlet) -> Self {
        Self {
            location: Location::nowhere(name),
            encoder: Encoder::Plain,
            sink: Sink::Outlet(outlet),
            room: None,
            broken: false,
        }
    }

    async fn open(location: Location, encoder: Encoder, room: Option<Arc<Room>>) -> Result<Self> {
        location.refuse_http("write")?;
        let sink = if location.is_stdio() {
            Sink::Stream(StreamSink::stdout().map_err(|e| failed(&location, e))?)
        } else {
            location.refuse_folder()?;
            match location.local_path() {
                Some(target) => file::open(&location, target).await?,
                None => Sink::Upload(Upload::open(&location).await?),
            }
        };
        Ok(Self {
            location,
            encoder,
            sink,
            room,
            broken: false,
        })
    }

    /// Adds `bytes`. After an error, or when dropped before it is done, only [`Destination::abort`] is left.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.refuse_broken()?;
        self.broken = true;
        if let Some(room) = &self.room {
            room.take(bytes.len())?;
        }
        if matches!(self.encoder, Encoder::Plain) {
            self.sink.write(&self.location, bytes).await?;
        } else {
            self.write_encoded(bytes).await?;
        }
        self.broken = false;
        Ok(())
    }

    async fn write_encoded(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(ENCODE_BYTES) {
            let encoded = self.encoder.encode(piece).await;
            let encoded = encoded.map_err(|e| failed(&self.location, e))?;
            self.sink.write(&self.location, &encoded).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Stores all bytes for good: on disk, or at the server. They are not visible yet.
    pub async fn seal(mut self) -> Result<Sealed> {
        self.refuse_broken()?;
        let rest = self.encoder.finish().await;
        let rest = rest.map_err(|e| failed(&self.location, e))?;
        self.sink.write(&self.location, &rest).await?;
        let (body, bytes) = match self.sink {
            Sink::File(sink) => sink.seal().await.map(|(f, n)| (SealedBody::File(f), n)),
            Sink::Stream(sink) => sink.seal().await.map(|n| (SealedBody::Stream, n)),
            Sink::Outlet(_) => Ok((SealedBody::Stream, 0)),
            Sink::Upload(upload) => {
                let (sealed, bytes) = upload.seal(&self.location).await?;
                Ok((SealedBody::Upload(sealed), bytes))
            }
        }
        .map_err(|e| failed(&self.location, e))?;
        Ok(Sealed {
            location: self.location,
            body,
            bytes,
        })
    }

    /// Leaves nothing behind. Dropping does the same, but does not wait for the server.
    pub async fn abort(self) {
        if let Sink::Upload(upload) = self.sink {
            upload.abort().await;
        }
    }

    fn refuse_broken(&self) -> Result<()> {
        match self.broken {
            true => Err(Error::Io {
                action: format!("write {}", self.location.url()),
                source: "an earlier write did not succeed".into(),
            }),
            false => Ok(()),
        }
    }
}

impl Sink {
    async fn write(&mut self, location: &Location, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(sink) => sink.write(bytes).await.map_err(|e| failed(location, e)),
            Self::Stream(sink) => sink.write(bytes).await.map_err(|e| failed(location, e)),
            Self::Outlet(outlet) => outlet.write(bytes).await.map_err(|e| failed(location, e)),
            Self::Upload(upload) => upload.write(location, bytes).await,
        }
    }
}

impl Sealed {
    /// Makes the object visible at once and whole, unless there is one of that name by now.
    pub async fn publish(self) -> Result<Published> {
        let mark = match self.body {
            SealedBody::File(file) => {
                let published = file.publish().await;
                published.map_err(|e| failed(&self.location, e))?
            }
            SealedBody::Stream => Mark::Stream,
            SealedBody::Upload(upload) => {
                let etag = upload.publish(&self.location).await?;
                Mark::Object { etag }
            }
        };
        Ok(Published {
            location: self.location,
            mark,
            bytes: self.bytes,
        })
    }

    /// Leaves nothing behind. Dropping does the same, but does not wait for the server.
    pub async fn abort(self) {
        if let SealedBody::Upload(upload) = self.body {
            upload.abort().await;
        }
    }

    /// The URL that will be published.
    pub fn url(&self) -> &str {
        self.location.url()
    }
}

impl Published {
    /// The object's URL.
    pub fn url(&self) -> &str {
        self.location.url()
    }

    /// Its size in bytes, as stored.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Deletes the object again, because one that belongs to it could not be published.
    /// If it is gone or somebody has put another in its place, there is nothing to do.
    pub async fn retract(self) -> Result<()> {
        match self.mark {
            Mark::Stream => Ok(()),
            Mark::File(file) => {
                let target = self.location.local_path().unwrap_or("".as_ref());
                let removed = file::remove(target.to_owned(), file).await;
                removed.map_err(|e| failed(&self.location, e))
            }
            Mark::Object { etag } => upload::remove(&self.location, etag).await,
        }
    }
}

fn failed(location: &Location, err: std::io::Error) -> Error {
    match Error::from_io(location.url(), err) {
        Error::Io { source, .. } => Error::Io {
            action: format!("write {}", location.url()),
            source,
        },
        other => other,
    }
}

enum Encoder {
    Plain,
    Gzip(GzipEncoder<Vec<u8>>),
    Zstd(ZstdEncoder<Vec<u8>>),
}

impl Encoder {
    fn for_name(name: &str) -> Self {
        match name.rsplit_once('.') {
            Some((_, "gz")) => Self::Gzip(GzipEncoder::new(Vec::new())),
            Some((_, "zst")) => Self::Zstd(ZstdEncoder::new(Vec::new())),
            _ => Self::Plain,
        }
    }

    /// What comes out for `bytes`, which may be nothing yet.
    async fn encode(&mut self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => return Ok(bytes.to_vec()),
            Self::Gzip(encoder) => encoder.write_all(bytes).await?,
            Self::Zstd(encoder) => encoder.write_all(bytes).await?,
        }
        Ok(self.take())
    }

    /// The end of the compressed stream.
    async fn finish(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Plain => {}
            Self::Gzip(encoder) => encoder.shutdown().await?,
            Self::Zstd(encoder) => encoder.shutdown().await?,
        }
        Ok(self.take())
    }

    fn take(&mut self) -> Vec<u8> {
        match self {
            Self::Plain => Vec::new(),
            Self::Gzip(encoder) => std::mem::take(encoder.get_mut()),
            Self::Zstd(encoder) => std::mem::take(encoder.get_mut()),
        }
    }
}

#[cfg(test)]
mod tests;
