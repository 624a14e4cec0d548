//! Compiled code that is shipped: a header that says what it was made of and for, and the code.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use super::cache::is_private;
use super::engine::Runtime;
use super::instance::Instance;
use super::plugin::{Code, Plugin, exceeds_limits, misfit};
use crate::report::PluginId;

/// How the file begins; the length of the header follows (4 bytes, little endian), the header as JSON, and the code.
const MAGIC: &[u8; 8] = b"LMCODE01";
/// A longer header is none.
const HEADER_MAX: usize = 64 * 1024;
/// A larger file is refused before it is read.
const BYTES_MAX: u64 = 1 << 30;

/// Code that `linemill compile` made of a component, taken from a place that only its owner can write to.
pub struct Compiled {
    path: PathBuf,
    header: Header,
    content: Vec<u8>,
    code: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// Version of linemill; what it is for besides, the engine says in the code itself.
    linemill: String,
    name: String,
    version: Option<String>,
    digest: String,
    size: usize,
}

impl Compiled {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It is not there, others could have written it, or it is something else.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = Self::open_inner(path);
        opened.with_context(|| format!("compiled plugin {}", path.display()))
    }

    fn open_inner(path: &Path) -> Result<Self> {
        let content = read_trusted(path)?;
        let none = || anyhow!("is not what `linemill compile` writes");
        let rest = content.strip_prefix(MAGIC).ok_or_else(none)?;
        let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(none)?;
        let len = u32::from_le_bytes(*len) as usize;
        let header = rest.get(..len).filter(|_| len <= HEADER_MAX);
        let header = serde_json::from_slice(header.ok_or_else(none)?).map_err(|_| none())?;
        Ok(Compiled {
            path: path.to_owned(),
            header,
            code: MAGIC.len() + 4 + len,
            content,
        })
    }

    /// Digest of the component that it was made of.
    pub fn digest(&self) -> &str {
        &self.header.digest
    }

    /// Makes it ready to be instantiated.
    ///
    /// # Errors
    /// It was made by another version of linemill, or for another processor, or does not fit.
    pub fn load(&self, runtime: &Arc<Runtime>) -> Result<Plugin> {
        let loaded = self.load_inner(runtime);
        loaded.with_context(|| format!("compiled plugin {}", self.path.display()))
    }

    fn load_inner(&self, runtime: &Arc<Runtime>) -> Result<Plugin> {
        let start = Instant::now();
        let header = &self.header;
        if header.linemill != env!("CARGO_PKG_VERSION") {
            bail!(
                "was made by linemill {}, this is {}: make it anew with `linemill compile`",
                header.linemill,
                env!("CARGO_PKG_VERSION")
            );
        }
        #[expect(
            unsafe_code,
            reason = "compiled code is trusted, which only its origin can justify"
        )]
        // SAFETY: the configuration names the file, and nobody but its owner, this user or root, can write to it or
        // to its folder; the engine checks version and settings again.
        let loaded = unsafe { Component::deserialize(&runtime.engine, &self.content[self.code..]) };
        let component = loaded.map_err(|error| match exceeds_limits(&error) {
            true => {
                anyhow!("needs more than memory_bytes_max or table_elements_max allow: {error:#}")
            }
            false => anyhow!(
                "is not usable (cut off, or for another processor, engine or limits?): {error:#}; \
                 make it anew with `linemill compile`, with the configuration that it is for"
            ),
        })?;
        let code = Code {
            component,
            cached: true,
            time: start.elapsed(),
            size: header.size,
        };
        let id = PluginId {
            name: header.name.clone(),
            version: header.version.clone(),
            digest: header.digest.clone(),
        };
        let plugin = Plugin::link(runtime, id, code, None)?;
        Instance::check(&plugin).map_err(misfit)?;
        Ok(plugin)
    }
}

impl Plugin {
    /// Its code, as [`Compiled::open`] reads it.
    ///
    /// # Errors
    /// The engine cannot write it down.
    pub fn compiled(&self) -> Result<Vec<u8>> {
        let code = self.linked.component().serialize()?;
        let header = serde_json::to_vec(&Header {
            linemill: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.id.name.clone(),
            version: self.id.version.clone(),
            digest: self.id.digest.clone(),
            size: self.size,
        })?;
        if header.len() > HEADER_MAX {
            bail!("the component's name and version are too long");
        }
        let len = u32::try_from(header.len())?.to_le_bytes();
        Ok([&MAGIC[..], &len[..], &header[..], &code[..]].concat())
    }
}

/// The file, if nobody but its owner, this user or root, can write to it or put another in its place.
fn read_trusted(path: &Path) -> Result<Vec<u8>> {
    let path = fs::canonicalize(path)?;
    let mut file = fs::File::open(&path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        bail!("is not a file");
    }
    let folder = path.parent().context("is not in a folder")?;
    if !is_private(&meta, true) || !is_private(&fs::metadata(folder)?, true) {
        bail!(
            "could have been written by others: it and its folder must belong to root or to this user, and be \
             writable by nobody else (chmod go-w)"
        );
    }
    if meta.len() > BYTES_MAX {
        bail!("has more than {BYTES_MAX} bytes");
    }
    let mut content = Vec::with_capacity(usize::try_from(meta.len())?);
    file.by_ref().take(BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}
