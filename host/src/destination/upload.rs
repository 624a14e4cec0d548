//! An object being written to an object store: in one put, or in parts that appear at once.

use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions,
};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::storage::Location;

/// The smallest part, and the largest object that is put whole.
const PART_BYTES: u64 = 8 << 20;
/// Besides the part that is being filled, so many are under way.
const PARTS_UNDER_WAY: usize = 2;
/// Metadata by which a writer knows its own object again. Azure allows no dashes in the name.
const WRITER_KEY: &str = "linemillwriter";

pub(super) struct Upload {
    writer: String,
    /// What is not under way yet: at most one part.
    buffer: Vec<u8>,
    /// How much of the object is in parts.
    sent: u64,
    parts: Option<Parts>,
}

pub(super) struct SealedUpload {
    writer: String,
    body: Body,
}

enum Body {
    Whole(Bytes),
    Parts(Parts),
}

impl Upload {
    pub(super) async fn open(location: &Location) -> Result<Self> {
        match location.head().await {
            Ok(_) => return Err(location.already_exists()),
            Err(Error::NotFound { .. }) => {}
            // Who may write need not be allowed to look; publishing will tell.
            Err(Error::Denied { .. }) => {}
            Err(e) => return Err(e),
        }
        Ok(Self {
            writer: uuid::Uuid::new_v4().to_string(),
            buffer: Vec::new(),
            sent: 0,
            parts: None,
        })
    }

    pub(super) async fn write(&mut self, location: &Location, mut bytes: &[u8]) -> Result<()> {
        let whole = location.parts().is_none();
        while !bytes.is_empty() {
            let room = match whole {
                true => bytes.len(),
                false => part_bytes(self.sent).saturating_sub(self.buffer.len()),
            };
            if room == 0 {
                self.send(location).await?;
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Sends what is buffered as the next part.
    async fn send(&mut self, location: &Location) -> Result<()> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => self
                .parts
                .insert(Parts::start(location, &self.writer).await?),
        };
        let size = self.buffer.len();
        let sent = parts.send(std::mem::take(&mut self.buffer)).await;
        sent.map_err(|e| failed(location, e))?;
        self.sent += size as u64;
        self.buffer.reserve_exact(part_bytes(self.sent));
        Ok(())
    }

    pub(super) async fn seal(mut self, location: &Location) -> Result<(SealedUpload, u64)> {
        let bytes = self.sent + self.buffer.len() as u64;
        if self.parts.is_some() && !self.buffer.is_empty() {
            self.send(location).await?;
        }
        let body = match self.parts {
            None => Body::Whole(self.buffer.into()),
            Some(mut parts) => {
                let stored = parts.wait_for_all().await;
                stored.map_err(|e| failed(location, e))?;
                Body::Parts(parts)
            }
        };
        let writer = self.writer;
        Ok((SealedUpload { writer, body }, bytes))
    }

    pub(super) async fn abort(self) {
        if let Some(parts) = self.parts {
            parts.abort().await;
        }
    }
}

impl SealedUpload {
    /// Creates the object; the entity tag that it got.
    pub(super) async fn publish(self, location: &Location) -> Result<Option<String>> {
        let created = match self.body {
            Body::Whole(bytes) => put(location, bytes, &self.writer).await,
            Body::Parts(parts) => parts.complete(location).await,
        };
        match created {
            Ok(etag) => Ok(etag),
            Err(e) => settle(location, &self.writer, e).await,
        }
    }

    pub(super) async fn abort(self) {
        if let Body::Parts(parts) = self.body {
            parts.abort().await;
        }
    }
}

async fn put(
    location: &Location,
    bytes: Bytes,
    writer: &str,
) -> object_store::Result<Option<String>> {
    let options = PutOptions {
        mode: PutMode::Create,
        attributes: attributes(writer),
        ..PutOptions::default()
    };
    let store = location.store();
    let result = store
        .put_opts(location.path(), bytes.into(), options)
        .await?;
    Ok(result.e_tag)
}

fn attributes(writer: &str) -> Attributes {
    let key = Attribute::Metadata(WRITER_KEY.into());
    Attributes::from_iter([(key, writer.to_owned())])
}

/// Finds out what an error at publishing means. An answer that got lost, or a repeated request
/// that met the first one's object, is a success; only the object itself can tell.
async fn settle(
    location: &Location,
    writer: &str,
    err: object_store::Error,
) -> Result<Option<String>> {
    use object_store::Error as E;
    let refused = matches!(
        err,
        E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. }
    );
    let options = GetOptions::new().with_head(true);
    let key = Attribute::Metadata(WRITER_KEY.into());
    match location.store().get_opts(location.path(), options).await {
        Ok(found) if found.attributes.get(&key).is_some_and(|by| **by == *writer) => {
            Ok(found.meta.e_tag)
        }
        Ok(_) => Err(location.already_exists()),
        // Somebody was first, and has deleted it since: a conflict that can be tried again.
        Err(E::NotFound { .. }) if refused => Err(Error::unavailable(location.url(), err.into())),
        Err(_) if refused => Err(location.already_exists()),
        Err(_) => Err(failed(location, err)),
    }
}

/// When an object is written, it is not the object that can be missing.
fn failed(location: &Location, err: object_store::Error) -> Error {
    match Error::from_store(location.url(), err) {
        Error::NotFound { url } => Error::invalid(url, "cannot be written, its bucket is missing"),
        other => other,
    }
}

/// Deletes the object if it is still the one with that entity tag.
pub(super) async fn remove(location: &Location, etag: Option<String>) -> Result<()> {
    match location.head().await {
        Ok(found) if !found.may_be(etag.as_deref()) => return Ok(()),
        Err(Error::NotFound { .. }) => return Ok(()),
        Ok(_) => {}
        Err(e) => return Err(e),
    }
    match location.store().delete(location.path()).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(e) => Err(Error::from_store(location.url(), e)),
    }
}

/// The size of the next part when `sent` bytes are in parts already: from 11 GB on parts grow with
/// the object, so that 10 000 of them, the most that S3 takes, make up its largest object of 5 TiB.
fn part_bytes(sent: u64) -> usize {
    PART_BYTES.max(sent / 1350) as usize
}

/// An upload in parts. Until it is completed, dropping it makes the server forget it.
struct Parts {
    store: Arc<dyn MultipartStore>,
    path: Path,
    id: String,
    under_way: JoinSet<object_store::Result<(usize, PartId)>>,
    stored: Vec<Option<PartId>>,
    over: bool,
}

impl Parts {
    async fn start(location: &Location, writer: &str) -> Result<Self> {
        let store = location.parts().expect("only asked of stores with parts");
        let options = PutMultipartOptions {
            attributes: attributes(writer),
            ..PutMultipartOptions::default()
        };
        let id = match store.create_multipart_opts(location.path(), options).await {
            // Azure takes metadata only with the list of blocks, which has no room for them here.
            Err(object_store::Error::NotSupported { .. }) => {
                store.create_multipart(location.path()).await
            }
            other => other,
        };
        Ok(Self {
            id: id.map_err(|e| failed(location, e))?,
            store: Arc::clone(store),
            path: location.path().clone(),
            under_way: JoinSet::new(),
            stored: Vec::new(),
            over: false,
        })
    }

    /// Starts sending a part, as soon as there is room for it.
    async fn send(&mut self, part: Vec<u8>) -> object_store::Result<()> {
        while self.under_way.len() >= PARTS_UNDER_WAY {
            self.wait_for_one().await?;
        }
        let index = self.stored.len();
        self.stored.push(None);
        let (store, path, id) = (Arc::clone(&self.store), self.path.clone(), self.id.clone());
        self.under_way.spawn(async move {
            let part = store.put_part(&path, &id, index, part.into()).await?;
            Ok((index, part))
        });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> object_store::Result<()> {
        if let Some(done) = self.under_way.join_next().await {
            let (index, part) = done??;
            self.stored[index] = Some(part);
        }
        Ok(())
    }

    async fn wait_for_all(&mut self) -> object_store::Result<()> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    /// Makes one object of the parts, on condition that there is none yet.
    async fn complete(mut self, location: &Location) -> object_store::Result<Option<String>> {
        // The condition is the store's to check; this one is for stores that do not know it.
        if let Ok(found) = location.store().head(&self.path).await {
            self.forget().await;
            return Err(object_store::Error::AlreadyExists {
                path: found.location.into(),
                source: "there before the upload was completed".into(),
            });
        }
        let parts: Vec<_> = self.stored.drain(..).flatten().collect();
        let done = self
            .store
            .complete_multipart(&self.path, &self.id, parts)
            .await;
        match done {
            Ok(result) => {
                self.over = true;
                Ok(result.e_tag)
            }
            Err(e) => {
                self.forget().await;
                Err(e)
            }
        }
    }

    async fn abort(mut self) {
        self.under_way.shutdown().await;
        self.forget().await;
    }

    /// Makes the server forget the parts, as far as it can be reached.
    async fn forget(&mut self) {
        self.over = true;
        if let Err(error) = self.store.abort_multipart(&self.path, &self.id).await {
            tracing::warn!(path = %self.path, %error, "parts of an upload may be left at the store");
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.over {
            let (store, path) = (Arc::clone(&self.store), std::mem::take(&mut self.path));
            let id = std::mem::take(&mut self.id);
            runtime.spawn(async move { store.abort_multipart(&path, &id).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_object_fits_in_as_many_parts_as_there_may_be() {
        let (mut sent, mut parts) = (0, 0);
        while sent < 5 << 40 {
            sent += part_bytes(sent) as u64;
            parts += 1;
        }
        assert!(parts <= 10_000, "{parts}");
        assert_eq!(part_bytes(0), 8 << 20);
        assert_eq!(part_bytes(10 << 30), 8 << 20);
        assert!(part_bytes(5 << 40) < 5 << 30);
    }
}
