//! From a URL to an object store and a path in it, and what can be asked of an object there.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result, shown};

mod client;
mod files;
mod room;
#[cfg(test)]
pub(crate) mod testing;
mod transfer;

use client::{Client, SIZE_UNKNOWN, Settings};
pub(crate) use room::Room;

use files::{GLOB_OPTIONS, compiled, glob_files, is_pattern, list_folder};

const SCHEMES: &str =
    "a plain path, file://, s3://, gs://, az://, http://, https://, memory:// or -";

/// Finds the object store behind a URL, and keeps one client for each bucket. Cheap to clone.
#[derive(Clone, Default)]
pub struct Storage {
    settings: Arc<Settings>,
    clients: Arc<Mutex<HashMap<String, Client>>>,
    stays: bool,
    room: Option<Arc<Room>>,
}

/// One object, or a folder of them, that a URL names.
#[derive(Clone)]
pub struct Location {
    url: String,
    path: Path,
    local: Option<PathBuf>,
    client: Client,
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its size in bytes, as stored; not every HTTP server says it.
    pub size: Option<u64>,
    /// Its entity tag, which changes with its content; not every HTTP server gives one.
    pub etag: Option<String>,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its URL, in the form of the URL that was listed.
    pub url: String,
    /// Its size in bytes, as stored, where it is known.
    pub size: Option<u64>,
}

impl Storage {
    /// With the credentials and endpoints of the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Storage::new`], with some of those variables set otherwise, such as `AWS_ENDPOINT_URL`.
    pub fn with_settings<K, V>(settings: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        let pairs = settings.into_iter().map(|(k, v)| (k.into(), v.into()));
        Self {
            settings: Arc::new(Settings(pairs.collect())),
            ..Self::default()
        }
    }

    /// The same, for URLs that others name: an `http(s)` server cannot lead it to another one.
    #[must_use]
    pub fn staying(self) -> Self {
        Self {
            clients: Arc::default(),
            stays: true,
            ..self
        }
    }

    /// The same, but all that is written by it has at most so many bytes: for what is kept in memory.
    #[must_use]
    pub fn with_room(self, bytes_max: u64) -> Self {
        Self {
            room: Some(Arc::new(Room::new(bytes_max))),
            ..self
        }
    }

    pub(crate) fn room(&self) -> Option<Arc<Room>> {
        self.room.clone()
    }

    /// The place that `url` names. Nothing is asked of it yet.
    ///
    /// Names are taken as they are, so the key of `s3://b/a%20b` is literally `a%20b`;
    /// only `http(s)` URLs are percent-encoded. Relative paths start at the working directory.
    pub fn locate(&self, url: &str) -> Result<Location> {
        if url == "-" {
            return Ok(Location::new(url, Path::ROOT, Client::nothing()));
        }
        let Some((scheme, rest)) = split_scheme(url) else {
            return local(url, url);
        };
        match scheme.as_str() {
            "file" => local(url, without_localhost(rest)),
            "http" | "https" => self.http(url),
            "s3" | "gs" | "az" | "memory" => self.bucket(&scheme, url, rest),
            _ => Err(Error::invalid(
                shown(url),
                format!("unknown scheme {scheme}://, use {SCHEMES}"),
            )),
        }
    }

    fn bucket(&self, scheme: &str, url: &str, rest: &str) -> Result<Location> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(Error::invalid(url, "names no bucket"));
        }
        let path = key_path(url, key)?;
        let client = self.client(&format!("{scheme}://{bucket}"), || match scheme {
            "s3" => client::s3(bucket, &self.settings),
            "gs" => client::gcs(bucket, &self.settings),
            "az" => client::azure(bucket, &self.settings),
            _ => Ok(memory(bucket)),
        });
        let client = client.map_err(|e| Error::invalid(url, e.to_string()))?;
        Ok(Location::new(url, path, client))
    }

    /// The whole URL is the base of the store, so that its query and encoding stay as they are.
    fn http(&self, url: &str) -> Result<Location> {
        let invalid = |e: &dyn std::fmt::Display| Error::invalid(shown(url), e.to_string());
        let parsed = url::Url::parse(url).map_err(|e| invalid(&e))?;
        let transport = self.client("http", || client::http_transport(self.stays));
        let store = transport.and_then(|t| t.http_store(&parsed));
        let client = store.map_err(|e| invalid(&e))?;
        Ok(Location::new(url, Path::ROOT, client))
    }

    fn client(
        &self,
        name: &str,
        make: impl FnOnce() -> object_store::Result<Client>,
    ) -> object_store::Result<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(name) {
            return Ok(client.clone());
        }
        let client = make()?;
        clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    /// Size and entity tag of an object.
    pub async fn head(&self, url: &str) -> Result<Meta> {
        self.locate(url)?.head().await
    }

    /// Whether there is such an object.
    pub async fn exists(&self, url: &str) -> Result<bool> {
        match self.head(url).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// The whole object, unless it has more than `limit` bytes.
    pub async fn get_small(&self, url: &str, limit: u64) -> Result<Bytes> {
        let location = self.locate(url)?;
        location.refuse_stdio("read")?;
        let too_big = || Error::invalid(shown(url), format!("has more than {limit} bytes"));
        if let Some(file) = location.local_path() {
            let read = read_small(file.to_owned(), limit).await;
            return read
                .map_err(|e| Error::from_io(url, e))?
                .ok_or_else(too_big);
        }
        let result = location.store().get(location.path()).await;
        let result = result.map_err(|e| Error::from_store(url, e))?;
        if known(result.meta.size).is_some_and(|size| size > limit) {
            return Err(too_big());
        }
        let (mut content, mut small) = (result.into_stream(), BytesMut::new());
        while let Some(bytes) = content.next().await {
            small.extend_from_slice(&bytes.map_err(|e| Error::broke_off(url, e))?);
            if small.len() as u64 > limit {
                return Err(too_big());
            }
        }
        Ok(small.freeze())
    }

    /// Deletes an object. That it is gone already is no error.
    pub async fn delete(&self, url: &str) -> Result<()> {
        let location = self.locate(url)?;
        location.refuse_stdio("delete")?;
        location.refuse_http("delete")?;
        location.refuse_folder()?;
        let gone = match location.local_path() {
            Some(file) => {
                let removed = tokio::fs::remove_file(file).await;
                removed.map_err(|e| Error::from_io(url, e))
            }
            None => {
                let deleted = location.store().delete(location.path()).await;
                deleted.map_err(|e| Error::from_store(url, e))
            }
        };
        match gone {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    /// All objects below a prefix or folder, sorted by URL.
    ///
    /// In local folders, what has a name that begins with `.` is left out, and links to folders are not followed.
    pub async fn list(&self, prefix_url: &str) -> Result<Vec<Listed>> {
        let location = self.locate(prefix_url)?;
        location.refuse_stdio("list")?;
        location.refuse_http("list")?;
        let base = format!("{}/", prefix_url.trim_end_matches('/'));
        let mut listed = match location.local_path() {
            Some(folder) => list_folder(folder.to_owned(), base).await?,
            None => list_prefix(&location, &bucket_url(prefix_url)).await?,
        };
        listed.sort();
        Ok(listed)
    }

    /// All objects that match a pattern with `*`, `?`, `[…]` and `**`, sorted by URL.
    ///
    /// `*` stays within one folder, `**` does not. Neither stands for a leading `.`, and `**` does not
    /// follow local links to folders. What exists under that very name is taken as it is, and so is a
    /// URL without any of those characters, which must exist.
    pub async fn glob(&self, pattern: &str) -> Result<Vec<Listed>> {
        let location = self.locate(pattern);
        if let Ok(location) = &location
            && (!is_pattern(pattern) || location.is_local_object().await)
        {
            let size = location.head().await?.size;
            let url = pattern.to_owned();
            return Ok(vec![Listed { url, size }]);
        }
        let mut listed = match split_scheme(pattern) {
            None => glob_files("", pattern).await?,
            Some((scheme, rest)) if scheme == "file" => {
                let files = without_localhost(rest);
                glob_files(&pattern[..pattern.len() - files.len()], files).await?
            }
            Some(_) => self.glob_objects(pattern).await?,
        };
        listed.sort();
        Ok(listed)
    }

    async fn glob_objects(&self, pattern: &str) -> Result<Vec<Listed>> {
        let matcher = compiled(pattern)?;
        let special = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
        let folder = pattern[..special].rfind('/').map_or(0, |slash| slash + 1);
        let mut listed = self.list(&pattern[..folder]).await?;
        listed.retain(|object| matcher.matches_with(&object.url, GLOB_OPTIONS));
        Ok(listed)
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

impl Location {
    /// A name of something that is not read from anywhere.
    pub(crate) fn nowhere(url: &str) -> Self {
        Location::new(url, Path::ROOT, Client::nothing())
    }

    fn new(url: &str, path: Path, client: Client) -> Self {
        Self {
            url: url.to_owned(),
            path,
            local: None,
            client,
        }
    }

    /// The URL as it was given; it may hold a secret, see [`Location::shown`].
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL as it may be printed.
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// The store that holds the object.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.client.store
    }

    /// The object's path in its store. For a local file, use [`Location::local_path`] where possible.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a local file or folder.
    pub fn local_path(&self) -> Option<&FilePath> {
        self.local.as_deref()
    }

    /// Whether this is standard input or output.
    pub fn is_stdio(&self) -> bool {
        self.url == "-"
    }

    /// Whether this is an `http(s)` URL, which can only be read.
    pub fn is_http(&self) -> bool {
        self.client.read_only
    }

    /// The last segment of the URL's path, without a query.
    pub fn name(&self) -> &str {
        let path = match self.is_http() {
            true => self.url.split(['?', '#']).next().unwrap_or_default(),
            false => &self.url,
        };
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Size and entity tag of the object.
    pub async fn head(&self) -> Result<Meta> {
        self.refuse_stdio("look up")?;
        self.refuse_folder()?;
        if let Some(file) = self.local_path() {
            let found = tokio::fs::metadata(file).await;
            let found = found.map_err(|e| Error::from_io(&self.url, e))?;
            return match found.is_dir() {
                true => Err(Error::invalid(&self.url, "is a folder, not a file")),
                false => Ok(Meta::of_file(&found)),
            };
        }
        let meta = match self.store().head(&self.path).await {
            Err(object_store::Error::NotFound { .. }) => return Err(self.not_found()),
            // A URL can be signed for GET alone, and some servers tell sizes with GET alone.
            Err(_) if self.is_http() => self.peek().await,
            Ok(meta) if known(meta.size).is_none() => self.peek().await,
            other => other,
        };
        let meta = meta.map_err(|e| Error::from_store(&self.url, e))?;
        Ok(Meta::from(&meta))
    }

    async fn peek(&self) -> object_store::Result<ObjectMeta> {
        let options = GetOptions::default();
        let result = self.store().get_opts(&self.path, options).await?;
        Ok(result.meta)
    }

    /// Low-level uploads in parts, where the store has them.
    pub(crate) fn parts(&self) -> Option<&Arc<dyn MultipartStore>> {
        self.client.parts.as_ref()
    }

    /// Whether `other` lies in the same bucket, so that the store can copy between the two.
    pub(crate) fn shares_store_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.store(), other.store()) && self.local.is_none()
    }

    pub(crate) fn already_exists(&self) -> Error {
        Error::AlreadyExists { url: self.shown() }
    }

    pub(crate) fn not_found(&self) -> Error {
        Error::NotFound { url: self.shown() }
    }

    pub(crate) fn refuse_stdio(&self, action: &str) -> Result<()> {
        match self.is_stdio() {
            true => Err(Error::invalid(
                "-",
                format!("cannot {action} standard input or output"),
            )),
            false => Ok(()),
        }
    }

    pub(crate) fn refuse_http(&self, action: &str) -> Result<()> {
        match self.is_http() {
            true => Err(Error::invalid(
                self.shown(),
                format!("cannot {action} over http, which is only read; use the store's own URL"),
            )),
            false => Ok(()),
        }
    }

    pub(crate) fn refuse_folder(&self) -> Result<()> {
        match !self.is_http() && (self.url.ends_with('/') || self.path.is_root()) {
            true => Err(Error::invalid(&self.url, "names a folder, not an object")),
            false => Ok(()),
        }
    }

    async fn is_local_object(&self) -> bool {
        match self.local_path() {
            Some(file) => tokio::fs::metadata(file).await.is_ok_and(|m| !m.is_dir()),
            None => false,
        }
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Location").field(&self.shown()).finish()
    }
}

impl Meta {
    /// Whether this can be the object that had `etag`: unless both have one, nobody can tell.
    /// Quotes do not count, since events and some answers leave them out.
    pub fn may_be(&self, etag: Option<&str>) -> bool {
        let bare = |etag: &str| etag.trim_matches('"').to_owned();
        match (self.etag.as_deref(), etag) {
            (Some(found), Some(etag)) => bare(found) == bare(etag),
            _ => true,
        }
    }

    /// The same entity tag that `object_store` gives for a local file.
    pub(crate) fn of_file(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let len = found.len();
        let micros = found.mtime() as u64 * 1_000_000 + found.mtime_nsec() as u64 / 1000;
        let etag = Some(format!("\"{:x}-{micros:x}-{len:x}\"", found.ino()));
        let size = found.is_file().then_some(len);
        Self { size, etag }
    }
}

impl From<&ObjectMeta> for Meta {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            size: known(meta.size),
            etag: meta.e_tag.clone(),
        }
    }
}

fn known(size: u64) -> Option<u64> {
    (size != SIZE_UNKNOWN).then_some(size)
}

/// The scheme in lower case, and what follows `://`; a path like `a/b://c` has none.
fn split_scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(word);
    valid.then(|| (scheme.to_ascii_lowercase(), rest))
}

/// `file://localhost/x` is `/x`, and `file://x` is relative.
fn without_localhost(rest: &str) -> &str {
    match rest.strip_prefix("localhost") {
        Some(path) if path.starts_with('/') => path,
        _ => rest,
    }
}

/// `s3://bucket/` of `s3://bucket/any/key`.
fn bucket_url(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    format!("{}/", &url[..end])
}

fn local(url: &str, path: &str) -> Result<Location> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(url, "names no file"));
    }
    let file = std::path::absolute(path).map_err(|e| Error::from_io(url, e))?;
    // Names that object_store cannot express are encoded; readers and writers go by `local`.
    let in_store = Path::from_absolute_path(&file);
    let in_store = in_store.unwrap_or_else(|_| Path::from(file.to_string_lossy().as_ref()));
    let mut location = Location::new(url, in_store, Client::local());
    location.local = Some(file);
    Ok(location)
}

/// The key as it is, or an error: `object_store` would silently drop slashes at its ends.
fn key_path(url: &str, key: &str) -> Result<Path> {
    let path = Path::parse(key).map_err(|e| Error::invalid(url, e.to_string()))?;
    match path.as_ref() == key.strip_suffix('/').unwrap_or(key) {
        true => Ok(path),
        false => Err(Error::invalid(url, "has an empty path segment")),
    }
}

/// In-memory buckets are shared by the whole process.
fn memory(bucket: &str) -> Client {
    static BUCKETS: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut buckets = BUCKETS.lock().unwrap_or_else(PoisonError::into_inner);
    let store = buckets.entry(bucket.to_owned()).or_default();
    Client::whole(Arc::clone(store) as _)
}

async fn read_small(file: PathBuf, limit: u64) -> std::io::Result<Option<Bytes>> {
    use tokio::io::AsyncReadExt;
    let mut content = Vec::new();
    let opened = tokio::fs::File::open(file).await?;
    opened.take(limit + 1).read_to_end(&mut content).await?;
    Ok((content.len() as u64 <= limit).then(|| content.into()))
}

async fn list_prefix(location: &Location, bucket_url: &str) -> Result<Vec<Listed>> {
    let found = location.store().list(Some(location.path()));
    let found = found.try_filter_map(|meta| async {
        match meta.size == 0 && is_folder_marker(location, &meta).await? {
            true => Ok(None),
            false => Ok(Some(meta)),
        }
    });
    let listed = found.map_ok(|meta| Listed {
        url: format!("{bucket_url}{}", meta.location),
        size: known(meta.size),
    });
    let listed: object_store::Result<_> = listed.try_collect().await;
    listed.map_err(|e| Error::from_store(location.url(), e))
}

/// Some tools create an empty object `folder/`, which comes out of a listing as `folder`.
async fn is_folder_marker(location: &Location, meta: &ObjectMeta) -> object_store::Result<bool> {
    match location.store().head(&meta.location).await {
        Ok(_) => Ok(false),
        Err(object_store::Error::NotFound { .. }) => Ok(true),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
