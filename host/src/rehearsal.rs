//! Lines through a plugin at its author's desk: the whole life of a request, with all that it writes kept in memory.

pub mod costs;
pub mod sample;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Deserialize;

use crate::body::Body;
use crate::config::{CapsuleMode, Completion, Config};
use crate::pipeline::{self, Host};
use crate::progress::Progress;
use crate::report::Report;
use crate::request::{self, Request};
use crate::runtime::Plugin;
use crate::stop::Stop;
use crate::storage::Storage;

/// A request that writes more in all ends in an error: samples are small, and memory is not for ever.
const WRITTEN_BYTES_MAX: u64 = 1 << 30;

/// What a request did.
#[derive(Debug)]
pub struct Rehearsal {
    /// The report, as `run` prints it; the URLs in it are those of memory, and empty by now.
    pub report: Report,
    /// What was emitted, by route; the empty name is the request's own destination.
    pub outputs: BTreeMap<String, Bytes>,
    /// The lines that were not (wholly) processed, in line order.
    pub faults: Vec<Faulted>,
    /// How long the request took, to the microsecond, without reading back what it wrote.
    pub time: Duration,
}

/// A line that was not (wholly) processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulted {
    /// Its number, from 1.
    pub line: u64,
    /// Where it starts, in bytes.
    pub offset: u64,
    /// `corrupt`, `retry`, `partial` (only a remainder is left) or `failed`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// What is kept of it: the line, or the remainder; without its end.
    pub text: Bytes,
}

#[derive(Deserialize)]
struct Row {
    line: u64,
    offset: u64,
    kind: String,
    reason: String,
}

impl Rehearsal {
    /// Runs `lines`, which `name` (a file name without a suffix of compression) stands for in what the plugin is told.
    /// The configuration holds but for where things are written and what becomes of the source; each of its `routes`
    /// is kept.
    ///
    /// # Errors
    /// What was written cannot be read back. What goes wrong in the request itself is in the report.
    pub async fn run(
        plugin: &Plugin,
        config: &Config,
        name: &str,
        lines: Bytes,
        stop: Arc<Stop>,
    ) -> Result<Self> {
        let request = Request::with_body(name, Body::bytes(lines));
        Self::of(plugin, config, request, stop).await
    }

    /// The same with a request that says more; its lines come with it.
    ///
    /// # Errors
    /// What was written cannot be read back. What goes wrong in the request itself is in the report.
    pub async fn of(
        plugin: &Plugin,
        config: &Config,
        request: Request,
        stop: Arc<Stop>,
    ) -> Result<Self> {
        let base = format!("memory://rehearsal/{}", uuid::Uuid::new_v4());
        let storage = Storage::new().with_room(WRITTEN_BYTES_MAX);
        let host = Host {
            storage: storage.clone(),
            config: Arc::new(in_memory(config, &base)),
            progress: Arc::new(Progress::default()),
            cwd: "/".into(),
        };
        let start = Instant::now();
        let report = pipeline::run(&host, plugin, request, stop).await;
        let time = start.elapsed();
        let read = Self::read(&storage, report, time).await;
        forget(&storage, &base).await?;
        read
    }

    async fn read(storage: &Storage, report: Report, time: Duration) -> Result<Self> {
        let written = &report.written;
        let mut outputs = BTreeMap::new();
        if let Some(url) = &written.destination {
            outputs.insert(String::new(), get(storage, url).await?);
        }
        for (route, url) in &written.routes {
            outputs.insert(route.clone(), get(storage, url).await?);
        }
        let mut faults = Vec::new();
        let urls = [&written.corruption, &written.retry, &written.failed];
        for url in urls.into_iter().flatten() {
            faults.extend(faulted(storage, url).await?);
        }
        faults.sort_by_key(|fault| fault.line);
        Ok(Rehearsal {
            report,
            outputs,
            faults,
            time,
        })
    }
}

fn in_memory(config: &Config, base: &str) -> Config {
    let at = |folder: &str| Some(format!("{base}/{folder}/$SourceName"));
    let mut config = config.clone();
    config.destination_url = at("destination");
    config.retry_url = at("retry");
    config.failed_url = at("failed");
    config.corruption_url = at("corruption");
    for (route, url) in &mut config.routes {
        *url = format!("{base}/routes/{route}/$SourceName");
    }
    config.completion = Completion::Keep;
    config.capsules = CapsuleMode::Off;
    config
}

/// The lines of an object and what is said of each beside it.
async fn faulted(storage: &Storage, url: &str) -> Result<Vec<Faulted>> {
    let sidecar = get(storage, &request::sidecar(url)).await?;
    let lines = get(storage, url).await?;
    let rows = sidecar.split(|&byte| byte == b'\n');
    let rows = rows.filter(|row| !row.is_empty());
    let texts = lines.split(|&byte| byte == b'\n');
    rows.zip(texts)
        .map(|(row, text)| {
            let row: Row =
                serde_json::from_slice(row).context("a row of faults is not readable")?;
            Ok(Faulted {
                line: row.line,
                offset: row.offset,
                kind: row.kind,
                reason: row.reason,
                text: lines.slice_ref(text),
            })
        })
        .collect()
}

async fn get(storage: &Storage, url: &str) -> Result<Bytes> {
    let read = storage.get_small(url, WRITTEN_BYTES_MAX).await;
    read.with_context(|| format!("could not read back {url}"))
}

/// Memory is given back.
async fn forget(storage: &Storage, base: &str) -> Result<()> {
    for object in storage.list(&format!("{base}/")).await? {
        storage.delete(&object.url).await?;
    }
    Ok(())
}
