//! The content of an object on its way to another: copied by the store itself, or read.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use tokio_util::io::ReaderStream;

use super::Location;
use crate::error::{Error, Result};

/// A local file is read in pieces of this size.
const PIECE_BYTES: usize = 256 * 1024;

impl Location {
    /// Lets the store copy the object to `target`, where there must be none yet. False if the two do
    /// not share a store, or if the store cannot do this, so that it must be copied otherwise.
    pub(crate) async fn copy_within_store(&self, target: &Self) -> Result<bool> {
        use object_store::Error as E;
        if !self.shares_store_with(target) {
            return Ok(false);
        }
        let copied = self.store().copy_if_not_exists(self.path(), target.path());
        match copied.await {
            Ok(()) => Ok(true),
            Err(E::AlreadyExists { .. } | E::Precondition { .. }) => Err(target.already_exists()),
            // Too large for one copy, or not in the store's repertoire.
            Err(E::NotSupported { .. } | E::NotImplemented { .. } | E::Generic { .. }) => Ok(false),
            Err(e) => Err(Error::from_store(self.url(), e)),
        }
    }

    /// The content as it is stored.
    pub(crate) async fn read(&self) -> Result<BoxStream<'static, Result<Bytes>>> {
        let url = self.url().to_owned();
        if let Some(file) = self.local_path() {
            let file = tokio::fs::File::open(file).await;
            let file = file.map_err(|e| Error::from_io(&url, e))?;
            let content = ReaderStream::with_capacity(file, PIECE_BYTES);
            return Ok(content.map_err(move |e| Error::from_io(&url, e)).boxed());
        }
        let read = self.store().get(self.path()).await;
        let content = read.map_err(|e| Error::from_store(&url, e))?.into_stream();
        Ok(content.map_err(move |e| Error::broke_off(&url, e)).boxed())
    }
}
