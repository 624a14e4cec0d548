//! A plugin: a component that was checked against the contract, compiled, and made ready to be instantiated.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

use super::cache::Cache;
use super::contract::reducing::ReducingPluginIndices;
use super::contract::{PROCESSOR, PluginIndices, REDUCER};
use super::engine::Runtime;
use super::instance::Instance;
use super::state::State;
use crate::report::PluginId;

/// First bytes of a component and of a core module.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Interfaces that every plugin may import. The linker defines just these, and those of HTTP where some is granted.
const GRANTED: &[&str] = &[
    "linemill:plugin/types",
    "linemill:plugin/host",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:clocks/wall-clock",
    "wasi:clocks/monotonic-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/exit",
    "wasi:cli/environment",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

/// Interfaces that a plugin may import when the configuration grants HTTP.
const HTTP: &[&str] = &["wasi:http/types", "wasi:http/outgoing-handler"];

/// A plugin that is ready to run. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    pub(super) runtime: Arc<Runtime>,
    pub(super) linked: InstancePre<State>,
    pub(super) processor: Arc<PluginIndices>,
    /// `merge`, where the plugin can fold partials.
    pub(super) reducer: Option<Arc<ReducingPluginIndices>>,
    /// Name, version and digest.
    pub id: PluginId,
    /// Size of the component, in bytes.
    pub size: usize,
    /// How long it took to compile it, or to load the compiled code.
    pub compile_time: Duration,
    /// Whether compiled code was found on disk.
    pub cached: bool,
    /// What it imports and exports.
    pub inspection: Arc<Inspection>,
}

/// What a component imports or exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// Its full name, version included.
    pub name: String,
    /// For an import: whether a plugin gets it. For an export: whether the host uses it.
    pub known: bool,
}

/// What a component is, whether it fits or not.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What it imports, and whether that is granted.
    pub imports: Vec<Extern>,
    /// What it exports, and whether the host uses it.
    pub exports: Vec<Extern>,
}

/// Compiled code, however it was come by.
pub(super) struct Code {
    pub(super) component: Component,
    /// Whether it was found on disk.
    pub(super) cached: bool,
    /// How long it took.
    pub(super) time: Duration,
    /// Size of the component, in bytes.
    pub(super) size: usize,
}

impl Plugin {
    /// Checks and compiles a component; `name` is its file name or URL.
    ///
    /// # Errors
    /// What does not fit, and what to do about it.
    pub fn load(runtime: &Arc<Runtime>, name: &str, bytes: &[u8]) -> Result<Self> {
        Self::load_inner(runtime, name, bytes).with_context(|| format!("plugin {name}"))
    }

    fn load_inner(runtime: &Arc<Runtime>, name: &str, bytes: &[u8]) -> Result<Self> {
        let plugin = Self::build(runtime, name, bytes, None)?;
        Instance::check(&plugin).map_err(misfit)?;
        Ok(plugin)
    }

    /// The same for a version that is to take the place of this one, at the lowest priority: requests go on.
    ///
    /// # Errors
    /// What does not fit, or what it imports that is not granted and that this one does not import.
    pub async fn load_next(&self, name: &str, bytes: Bytes) -> Result<Self> {
        let (old, given) = (self.clone(), name.to_owned());
        let loading = self.runtime.background()?.spawn(async move {
            let plugin = Self::build(&old.runtime, &given, &bytes, Some(&old.inspection))?;
            Instance::try_out(&plugin).await.map_err(misfit)?;
            anyhow::Ok(plugin)
        });
        let loaded = loading.await.unwrap_or_else(|panic| Err(panic.into()));
        loaded.with_context(|| format!("plugin {name}"))
    }

    fn build(
        runtime: &Arc<Runtime>,
        name: &str,
        bytes: &[u8],
        old: Option<&Inspection>,
    ) -> Result<Self> {
        let start = Instant::now();
        let id = PluginId {
            name: stem(name),
            version: version(bytes),
            digest: digest(bytes),
        };
        let (component, cached) = compile(runtime, bytes, &id.digest)?;
        let code = Code {
            component,
            cached,
            time: start.elapsed(),
            size: bytes.len(),
        };
        Self::link(runtime, id, code, old)
    }

    /// Makes code ready to be instantiated.
    pub(super) fn link(
        runtime: &Arc<Runtime>,
        id: PluginId,
        code: Code,
        old: Option<&Inspection>,
    ) -> Result<Self> {
        let inspection = inspect_component(runtime, &code.component, &id.digest);
        inspection.check_after(old)?;
        let linked = runtime.linker.instantiate_pre(&code.component);
        let linked = linked.map_err(misfit)?;
        let processor = PluginIndices::new(&linked).map_err(misfit)?;
        let reduces = inspection
            .exports
            .iter()
            .any(|export| export.name == REDUCER);
        let reducer = reduces
            .then(|| ReducingPluginIndices::new(&linked))
            .transpose()
            .map_err(misfit)?;
        Ok(Plugin {
            runtime: runtime.clone(),
            linked,
            processor: Arc::new(processor),
            reducer: reducer.map(Arc::new),
            id,
            size: code.size,
            compile_time: code.time,
            cached: code.cached,
            inspection: Arc::new(inspection),
        })
    }

    /// Whether partials are folded as they come.
    pub fn reduces(&self) -> bool {
        self.reducer.is_some()
    }

    /// The variables that it is granted, with their values.
    pub fn env(&self) -> &[(String, String)] {
        self.runtime.granted.env()
    }

    /// The folders that it is granted, by the names that it knows.
    pub fn folders(&self) -> Vec<String> {
        self.runtime.granted.folders()
    }

    /// Whether it can ask servers, and so wait for them.
    pub fn asks(&self) -> bool {
        let mut imports = self.inspection.imports.iter();
        imports.any(|import| HTTP.contains(&interface(&import.name)))
    }

    /// The threads that it runs on.
    pub fn compute(&self) -> &tokio::runtime::Handle {
        self.runtime.compute()
    }

    /// The thread for what nobody waits for.
    ///
    /// # Errors
    /// There can be no such thread.
    pub fn background(&self) -> Result<tokio::runtime::Handle> {
        self.runtime.background()
    }
}

impl Inspection {
    /// Looks at a component without asking that it fits.
    ///
    /// # Errors
    /// When it is no component, or cannot be compiled.
    pub fn of(runtime: &Arc<Runtime>, name: &str, bytes: &[u8]) -> Result<Self> {
        let digest = digest(bytes);
        let (component, _) =
            compile(runtime, bytes, &digest).with_context(|| format!("plugin {name}"))?;
        Ok(inspect_component(runtime, &component, &digest))
    }

    /// Whether the component fits.
    ///
    /// # Errors
    /// Names the missing export, or the imports that are not granted, and says what to do.
    pub fn check(&self) -> Result<()> {
        self.check_after(None)
    }

    /// Whether the component fits, as a version that is to take the place of another: what it asks for beyond that
    /// one is named.
    ///
    /// # Errors
    /// As [`Inspection::check`].
    pub fn check_after(&self, old: Option<&Inspection>) -> Result<()> {
        if !self.exports.iter().any(|export| export.name == PROCESSOR) {
            bail!("{}", self.missing_export());
        }
        let ungranted = self.imports.iter().filter(|import| !import.known);
        let ungranted = names(ungranted);
        if ungranted.is_empty() {
            return Ok(());
        }
        let more = match old {
            Some(old) => format!(
                "asks for more than the running version: it imports also {}; of these it ",
                names(self.imports_beyond(old))
            ),
            None => String::new(),
        };
        let http = |import: &Extern| HTTP.contains(&interface(&import.name));
        if self.imports.iter().filter(|import| !import.known).all(http) {
            bail!(
                "{more}imports {ungranted}, which is not granted: name each host that it may ask, \
                 `[[grants.http]]` and `host = \"…\"` in the configuration, or build it without HTTP"
            );
        }
        bail!(
            "{more}imports {ungranted}, which is not granted: a plugin gets no network here but HTTP (`grants.http`); \
             leave out the code or the crate that uses it"
        )
    }

    /// What it imports and `old` does not.
    pub fn imports_beyond<'a>(&'a self, old: &'a Inspection) -> impl Iterator<Item = &'a Extern> {
        let imports = self.imports.iter();
        imports.filter(|import| old.imports.iter().all(|known| known.name != import.name))
    }

    fn missing_export(&self) -> String {
        let mut text = format!("does not export {PROCESSOR}");
        let interface = PROCESSOR.split('@').next().unwrap_or(PROCESSOR);
        if let Some(other) = self
            .exports
            .iter()
            .find(|export| export.name.starts_with(interface))
        {
            let _ = write!(
                text,
                ", but {}: build it against the contract of this linemill (wit/)",
                other.name
            );
        } else {
            let names = match self.exports.as_slice() {
                [] => "nothing".to_owned(),
                exports => names(exports.iter()),
            };
            let _ = write!(
                text,
                " (it exports {names}): implement the world linemill:plugin/plugin of wit/, or use linemill-sdk's export!"
            );
        }
        text
    }
}

/// A name without its version.
fn interface(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn names<'a>(externs: impl Iterator<Item = &'a Extern>) -> String {
    let names: Vec<&str> = externs.map(|item| item.name.as_str()).collect();
    names.join(", ")
}

fn inspect_component(runtime: &Runtime, component: &Component, digest: &str) -> Inspection {
    let ty = component.component_type();
    let engine = &runtime.engine;
    let http = !runtime.limits.grants.http.is_empty();
    let imports = ty.imports(engine).map(|(name, _)| {
        let interface = interface(name);
        Extern {
            name: name.to_owned(),
            known: GRANTED.contains(&interface) || http && HTTP.contains(&interface),
        }
    });
    let exports = ty.exports(engine).map(|(name, item)| {
        let instance = matches!(item.ty, ComponentItem::ComponentInstance(_));
        Extern {
            name: name.to_owned(),
            known: instance && (name == PROCESSOR || name == REDUCER),
        }
    });
    Inspection {
        digest: digest.to_owned(),
        imports: imports.collect(),
        exports: exports.collect(),
    }
}

pub(super) fn misfit(what: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("does not fit the contract: {what:#}; build it against the wit/ of this linemill")
}

/// Compiles the component, or loads the code that was compiled before.
fn compile(runtime: &Runtime, bytes: &[u8], digest: &str) -> Result<(Component, bool)> {
    match bytes.get(..8) {
        Some(COMPONENT) => {}
        Some(MODULE) => bail!(
            "is a core WebAssembly module, not a component: build it for wasm32-wasip2, or turn it into one with \
             `wasm-tools component new`"
        ),
        _ => bail!("is not a WebAssembly component ({})", begins_with(bytes)),
    }
    let cache = Cache::open(runtime.limits.cache_dir.as_deref())
        .inspect_err(|error| tracing::warn!("compiled code is not cached: {error:#}"))
        .ok();
    let key = key(runtime, digest);
    if let Some(component) = cache
        .as_ref()
        .and_then(|cache| cached(runtime, cache, &key))
    {
        return Ok((component, true));
    }
    let component = Component::from_binary(&runtime.engine, bytes).map_err(not_compiled)?;
    if let Some(cache) = &cache
        && let Err(error) = component
            .serialize()
            .map_err(anyhow::Error::from)
            .and_then(|code| cache.keep(&key, &code))
    {
        tracing::warn!("compiled code is not cached: {error:#}");
    }
    Ok((component, false))
}

/// The engine tells in words only whether the component is at fault or the limits that it was given.
fn not_compiled(error: wasmtime::Error) -> anyhow::Error {
    match exceeds_limits(&error) {
        true => anyhow!("needs more than memory_bytes_max or table_elements_max allow: {error:#}"),
        false => anyhow!("is not a valid component (cut off, or of a newer format?): {error:#}"),
    }
}

pub(super) fn exceeds_limits(error: &wasmtime::Error) -> bool {
    format!("{error:#}").contains("pooling allocator")
}

fn cached(runtime: &Runtime, cache: &Cache, key: &str) -> Option<Component> {
    let path = cache.find(key)?;
    #[expect(
        unsafe_code,
        reason = "compiled code is trusted, which only its origin can justify"
    )]
    // SAFETY: the file and its folder belong to this user and nobody else can write to them; it was written whole
    // (renamed into its place) by this very version of the engine, which checks version and settings again.
    let loaded = unsafe { Component::deserialize_file(&runtime.engine, &path) };
    match loaded {
        Ok(component) => Some(component),
        // Code that only this run's limits keep out is left to others.
        Err(error) if exceeds_limits(&error) => None,
        Err(error) => {
            tracing::warn!(
                "compiled code {} is not usable, compiling anew: {error:#}",
                path.display()
            );
            None
        }
    }
}

/// Digest of the component, version of linemill, and everything of the engine that compiled code depends on.
fn key(runtime: &Runtime, digest: &str) -> String {
    let mut hasher = DefaultHasher::new();
    runtime
        .engine
        .precompile_compatibility_hash()
        .hash(&mut hasher);
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    format!(
        "{}-{:016x}",
        digest.trim_start_matches("sha256:"),
        hasher.finish()
    )
}

/// Digest of a component: `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn begins_with(bytes: &[u8]) -> String {
    match bytes {
        [] => "the file is empty".to_owned(),
        _ => format!(
            "it begins with {:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(8)])
        ),
    }
}

/// The last segment of a path or URL without its extension.
fn stem(name: &str) -> String {
    let segment = name.rsplit('/').next().unwrap_or(name);
    Path::new(segment)
        .file_stem()
        .unwrap_or(segment.as_ref())
        .to_string_lossy()
        .into_owned()
}

/// What the component says of its version: the custom section `version` at its top level (`wasm-tools metadata add`).
fn version(bytes: &[u8]) -> Option<String> {
    let mut rest = bytes.get(8..)?;
    while let [id, after @ ..] = rest {
        let (len, body) = leb128(after)?;
        let section = body.get(..len)?;
        if *id == 0 {
            let (name_len, named) = leb128(section)?;
            if named.get(..name_len)? == b"version" {
                return String::from_utf8(named[name_len..].to_vec()).ok();
            }
        }
        rest = &body[len..];
    }
    None
}

/// An unsigned LEB128 number of at most 32 bits, and what follows it.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        for (name, want) in [
            ("a/b/sum.wasm", "sum"),
            ("s3://b/sum-1.2.wasm", "sum-1.2"),
            ("sum", "sum"),
        ] {
            assert_eq!(stem(name), want);
        }
    }

    #[test]
    fn versions() {
        let mut component = COMPONENT.to_vec();
        assert_eq!(version(&component), None);
        component.extend([1, 2, 9, 9]);
        component.extend(b"\0\x0d\x07version1.2.3");
        assert_eq!(version(&component).as_deref(), Some("1.2.3"));
        component.truncate(16);
        assert_eq!(version(&component), None);
    }

    #[test]
    fn digests() {
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
