//! Fetches a plugin: whole, unchanged while it was read, not too large, with the digest and signature that it must have.

use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use bytes::Bytes;

use crate::config::Config;
use crate::error;
use crate::runtime::digest;
use crate::signature::PublicKey;
use crate::storage::Storage;

/// A component larger than that is refused, before it is read where its size is known.
const PLUGIN_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A signature is 64 bytes, or a line of text.
const SIGNATURE_BYTES_MAX: u64 = 1024;
/// Whoever has not delivered by then is too slow.
const FETCH_TIME_MAX: Duration = Duration::from_secs(60);

/// A component as it was fetched, verified.
#[derive(Debug)]
pub struct Fetched {
    /// The component.
    pub bytes: Bytes,
    /// Its digest.
    pub digest: String,
    /// What tells whether it is still the same.
    pub tags: Tags,
}

/// The entity tags of a plugin and its signature; `None`: nobody can tell from them whether it has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(Option<Vec<String>>);

impl Tags {
    /// Whether what has `other` is the same for sure.
    pub fn same(&self, other: &Tags) -> bool {
        self.0.is_some() && self == other
    }
}

/// Why there is no plugin.
#[derive(Debug)]
pub struct Failed {
    /// What went wrong.
    pub error: Error,
    /// It will go wrong again with the same content, which has these tags; `None`: it may go well the next time.
    pub tags: Option<Tags>,
    /// Digest of the content, if it was read.
    pub digest: Option<String>,
}

impl Failed {
    /// It may go well the next time.
    pub fn for_now(error: Error) -> Self {
        Failed {
            error,
            tags: None,
            digest: None,
        }
    }
}

/// Where a plugin comes from, and what it must be.
pub struct Origin<'a> {
    /// Where objects are.
    pub storage: &'a Storage,
    /// The plugin's path or URL.
    pub url: &'a str,
    /// Digest and key.
    pub config: &'a Config,
    time_max: Duration,
}

impl<'a> Origin<'a> {
    /// A plugin of the configuration, at `url`.
    pub fn new(storage: &'a Storage, url: &'a str, config: &'a Config) -> Self {
        Origin {
            storage,
            url,
            config,
            time_max: FETCH_TIME_MAX,
        }
    }

    /// What tells whether the plugin has changed, without reading it.
    pub async fn tags(&self) -> Result<Tags, Failed> {
        let looking = self.look();
        let looked = tokio::time::timeout(self.time_max, looking).await;
        let (_, tags) = looked.map_err(|_| self.late())?.map_err(Failed::for_now)?;
        Ok(tags)
    }

    /// The plugin, verified.
    pub async fn fetch(&self) -> Result<Fetched, Failed> {
        let fetched = tokio::time::timeout(self.time_max, self.fetch_inner()).await;
        fetched.map_err(|_| self.late())?
    }

    async fn fetch_inner(&self) -> Result<Fetched, Failed> {
        let (size, tags) = self.look().await.map_err(Failed::for_now)?;
        let for_good = |error: Error| Failed {
            error,
            tags: Some(tags.clone()),
            digest: None,
        };
        if size.is_some_and(|size| size > PLUGIN_BYTES_MAX) {
            let error = anyhow!(
                "the plugin {} has more than {PLUGIN_BYTES_MAX} bytes",
                self.shown()
            );
            return Err(for_good(error));
        }
        let bytes = self.storage.get_small(self.url, PLUGIN_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| {
            let final_ = matches!(error, error::Error::Invalid { .. });
            let error = Error::new(error).context(self.unreadable());
            match final_ {
                true => for_good(error),
                false => Failed::for_now(error),
            }
        })?;
        let signature = self.signature().await.map_err(Failed::for_now)?;
        let (size, after) = self.look().await.map_err(Failed::for_now)?;
        if after != tags || size.is_some_and(|size| size != bytes.len() as u64) {
            return Err(Failed::for_now(anyhow!(
                "the plugin {} changed while it was read: is it being uploaded?",
                self.shown()
            )));
        }
        let (digest, verified) = self.verify(bytes.clone(), signature).await;
        match verified {
            Ok(()) => Ok(Fetched {
                bytes,
                digest,
                tags,
            }),
            Err(error) => Err(Failed {
                digest: Some(digest),
                ..for_good(error)
            }),
        }
    }

    /// The digest, and whether it is what it should be. On a thread of its own: a large plugin takes its time.
    async fn verify(&self, bytes: Bytes, signature: Option<Bytes>) -> (String, Result<(), Error>) {
        let (url, config) = (self.url.to_owned(), self.config.clone());
        let verifying = tokio::task::spawn_blocking(move || {
            let digest = digest(&bytes);
            let verified = verify(&url, &config, &bytes, &digest, signature.as_deref());
            (digest, verified)
        });
        let verified = verifying.await;
        verified.unwrap_or_else(|panic| (String::new(), Err(panic.into())))
    }

    /// Size and tags of what is there now.
    async fn look(&self) -> Result<(Option<u64>, Tags), Error> {
        let meta = self.storage.head(self.url).await;
        let meta = meta.with_context(|| self.unreadable())?;
        let mut tags: Option<Vec<String>> = meta.etag.map(|etag| vec![etag]);
        if self.config.plugin_public_key.is_some() {
            let signature = self.storage.head(&signature_url(self.url)).await;
            let tag = match signature {
                Err(error::Error::NotFound { .. }) => Some(String::new()),
                signature => signature.with_context(|| self.unreadable())?.etag,
            };
            tags = tags.zip(tag).map(|(mut tags, tag)| {
                tags.push(tag);
                tags
            });
        }
        Ok((meta.size, Tags(tags)))
    }

    /// The signature, where one is asked for; empty: there is none.
    async fn signature(&self) -> Result<Option<Bytes>, Error> {
        if self.config.plugin_public_key.is_none() {
            return Ok(None);
        }
        let url = signature_url(self.url);
        match self.storage.get_small(&url, SIGNATURE_BYTES_MAX).await {
            Err(error::Error::NotFound { .. }) => Ok(Some(Bytes::new())),
            got => got.map(Some).with_context(|| self.unreadable()),
        }
    }

    /// The URL as it may be printed.
    pub fn shown(&self) -> String {
        error::shown(self.url)
    }

    fn unreadable(&self) -> String {
        format!("could not read the plugin {}", self.shown())
    }

    fn late(&self) -> Failed {
        Failed::for_now(anyhow!(
            "the plugin {} was not read within {:?}",
            self.shown(),
            self.time_max
        ))
    }
}

fn verify(
    url: &str,
    config: &Config,
    bytes: &[u8],
    digest: &str,
    signature: Option<&[u8]>,
) -> Result<(), Error> {
    let shown = error::shown(url);
    if let Some(pinned) = config.plugin_digest.as_deref()
        && !pinned.eq_ignore_ascii_case(digest)
    {
        return Err(anyhow!(
            "plugin {shown} has the digest {digest}, but plugin_digest = {pinned}: \
                 fetch the pinned build, or pin this one after checking it"
        ));
    }
    let (Some(key), Some(signature)) = (&config.plugin_public_key, signature) else {
        return Ok(());
    };
    if signature.is_empty() {
        return Err(anyhow!(
            "plugin {shown} is not signed: plugin_public_key is set, but {} does not exist",
            error::shown(&signature_url(url))
        ));
    }
    let key = PublicKey::parse(key).map_err(|wrong| anyhow!("plugin_public_key {wrong}"))?;
    key.verify(bytes, signature)
        .map_err(|wrong| anyhow!("the signature of plugin {shown} {wrong}"))
}

/// Beside the plugin: `.sig` behind its path, before a query.
fn signature_url(url: &str) -> String {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let http = scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    match url.split_once('?') {
        Some((path, query)) if http => format!("{path}.sig?{query}"),
        _ => format!("{url}.sig"),
    }
}

#[cfg(test)]
mod tests;
