//! Sends what batches did to where it belongs: outputs, faulted lines and their reasons, and the books.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::mpsc;

use crate::batch::{Batch, count_lines, line_span};
use crate::capsule::{Capture, Ended, Keeper};
use crate::config::Config;
use crate::destination::{Destination, Published, Sealed};
use crate::error::{Error, Result};
use crate::outcome::{Fate, Fault, FaultKind, Outcome, Output, fate, unknown_route};
use crate::outlet::Outlet;
use crate::progress::Progress;
use crate::redrive::{Redrive, Rest};
use crate::report::{Counts, Distribution, Errors, Metrics, Written};
use crate::request::{self, Names, Request};
use crate::spool::{Record, Spool};
use crate::storage::Storage;
use crate::worker::Done;

/// So many bytes of a long line are kept on disk until its end has come: so it can be handed over when that does not
/// come in time. One that is longer still is written as it arrives.
const LONG_SPOOLED_MAX: usize = 64 * 1024 * 1024;

/// Everything that a request writes, and its books.
pub struct Router {
    storage: Storage,
    names: Names,
    config: Arc<Config>,
    attempt: u32,
    /// Takes what the default route emits.
    outlet: Option<Outlet>,
    digest: String,
    progress: Arc<Progress>,
    routes: BTreeSet<String>,
    outputs: BTreeMap<String, Destination>,
    faults: BTreeMap<Place, FaultSink>,
    /// Lines that are run again are told by where they are from.
    redrive: Option<Arc<Redrive>>,
    /// What of them was not run.
    rest: Option<Rest>,
    /// Corrupt lines from the first that trapped on, until it is known that the plugin is not at fault.
    held: Spool,
    /// Capsules of the same time, likewise.
    held_capsules: Spool,
    capsules: BTreeMap<Place, Destination>,
    /// Makes capsules.
    pub keeper: Option<Arc<Keeper>>,
    /// The last line that was copied unread has not ended.
    torn: bool,
    /// The books.
    pub counts: Counts,
    /// The plugin's metrics.
    pub metrics: Metrics,
    /// What went wrong.
    pub errors: Errors,
    /// Milliseconds for each batch.
    pub latency: Distribution,
    /// Fuel used.
    pub fuel: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Batches run.
    pub batches: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Where faulted lines go. The order is that in which their objects become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Corruption,
    /// Retry, or failed once attempts are used up.
    Again,
}

/// An object of raw lines, and beside it the object that says why they are there.
struct FaultSink {
    url: String,
    lines: Destination,
    /// Opened with its first row: lines that are handed over without a fault have none.
    sidecar: Option<Destination>,
}

/// What the sidecar says of a line.
#[derive(Debug, Clone, Serialize)]
pub struct FaultRow<'a> {
    /// Its number in the source, from 1.
    pub line: u64,
    /// Where it starts in the (decompressed) source.
    pub offset: u64,
    /// `corrupt`, `retry`, `partial` (only a remainder is left) or `failed`.
    pub kind: &'a str,
    /// Why.
    pub reason: &'a str,
    /// How often it had been tried before.
    pub attempt: u32,
    /// Digest of the plugin.
    pub plugin: &'a str,
    /// How many lines of the object it is about, where a remainder is several.
    #[serde(skip_serializing_if = "is_one")]
    pub lines: usize,
}

fn is_one(lines: &usize) -> bool {
    *lines == 1
}

/// All objects of a request, complete where they will be, but not visible yet.
pub struct SealedAll {
    objects: Vec<(Kind, Sealed)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Sidecar,
    Outlet,
    Route(String),
    Corruption,
    Retry,
    Failed,
    Pointer,
    Rest,
}

impl Router {
    /// Nothing is written before something is there to be written.
    pub fn new(
        storage: &Storage,
        names: Names,
        config: &Arc<Config>,
        request: &Request,
        digest: &str,
        progress: &Arc<Progress>,
    ) -> Self {
        let mut routes: BTreeSet<String> = config.routes.keys().cloned().collect();
        if config.destination_url.is_some() || request.outlet.is_some() {
            routes.insert(String::new());
        }
        Router {
            storage: storage.clone(),
            names,
            config: config.clone(),
            attempt: request.attempt,
            outlet: request.outlet.clone(),
            digest: digest.to_owned(),
            progress: progress.clone(),
            routes,
            outputs: BTreeMap::new(),
            faults: BTreeMap::new(),
            redrive: request.source.redrive.clone(),
            rest: None,
            held: Spool::default(),
            held_capsules: Spool::default(),
            capsules: BTreeMap::new(),
            keeper: None,
            torn: false,
            counts: Counts::default(),
            metrics: Metrics::default(),
            errors: Errors::default(),
            latency: Distribution::default(),
            fuel: 0,
            traps: 0,
            batches: 0,
            bytes: 0,
        }
    }

    /// Commits all that a batch did; gives back its partials.
    pub async fn commit(&mut self, done: Done) -> Result<Vec<Vec<u8>>> {
        self.batches += 1;
        self.bytes += done.batch.bytes().len() as u64;
        self.fuel += done.fuel;
        self.traps += done.traps;
        self.latency.add_time(done.time);
        let before = self.counts;
        self.counts.loaded += done.batch.lines as u64;
        self.counts.processed += (done.batch.lines - done.outcome.faults.len()) as u64;
        // All are counted before any is written: the books balance even if writing fails.
        for fault in &done.outcome.faults {
            self.count(self.fate(fault.kind), fault.remainder.is_some());
            self.errors.add(&fault.reason);
        }
        self.add_progress(before);
        if !done.outcome.faults.is_empty() {
            let ends = done.batch.line_ends();
            for fault in &done.outcome.faults {
                let span = line_span(&ends, fault.line);
                let line = done.batch.first_line + fault.line as u64;
                let offset = done.batch.offset + span.start as u64;
                let (line, offset) = self.origin(line, offset);
                self.fault(line, offset, &done.batch.bytes()[span], fault)
                    .await?;
            }
        }
        for capture in done.captures {
            self.keep(&done.batch, capture).await?;
        }
        self.emit(&done.outcome).await?;
        Ok(done.outcome.partials)
    }

    /// Blames all lines of a batch that was never finished.
    pub async fn abandon(&mut self, batch: Arc<Batch>, reason: &str) -> Result<()> {
        let mut outcome = Outcome::default();
        outcome.blame(
            0..batch.lines,
            FaultKind::Retry,
            &crate::outcome::reason(reason),
        );
        let time = std::time::Duration::ZERO;
        self.commit(Done {
            batch,
            outcome,
            fuel: 0,
            traps: 0,
            time,
            captures: Vec::new(),
        })
        .await?;
        Ok(())
    }

    /// Outputs and metrics, of a batch or of `post`.
    pub async fn emit(&mut self, outcome: &Outcome) -> Result<()> {
        outcome
            .metrics
            .iter()
            .for_each(|metric| self.metrics.add(metric));
        if let Some(route) = unknown_route(&outcome.outputs, &self.routes) {
            return Err(no_such_route(route));
        }
        for Output { route, data } in &outcome.outputs {
            if data.is_empty() {
                continue;
            }
            if !self.outputs.contains_key(route) {
                let opened = self.open_output(route).await?;
                self.outputs.insert(route.clone(), opened);
            }
            let destination = self.outputs.get_mut(route).expect("it was just put there");
            destination.write(data).await?;
        }
        Ok(())
    }

    async fn open_output(&self, route: &str) -> Result<Destination> {
        let url = match (route, &self.outlet) {
            ("", Some(outlet)) => return Ok(Destination::outlet("the output", outlet.clone())),
            ("", None) => self.names.destination(&self.config),
            (name, _) => self.names.route(&self.config, name),
        };
        let url = url.map_err(named)?.ok_or_else(|| no_such_route(route))?;
        Destination::create(&self.storage, &url).await
    }

    /// Number and offset of a line in the source that it is from.
    fn origin(&self, line: u64, offset: u64) -> (u64, u64) {
        let redrive = self.redrive.as_ref();
        let origin = redrive.and_then(|redrive| redrive.origin(line));
        origin.unwrap_or((line, offset))
    }

    fn fate(&self, kind: FaultKind) -> Fate {
        fate(kind, self.attempt, self.config.max_retries)
    }

    /// Sends a line that was not processed to where it belongs.
    async fn fault(&mut self, line: u64, offset: u64, bytes: &[u8], fault: &Fault) -> Result<()> {
        let fate = self.fate(fault.kind);
        let rest = fault.remainder.as_deref().unwrap_or(bytes);
        let record = Record {
            line,
            offset,
            reason: fault.reason.to_string(),
            trapped: fault.trapped,
        };
        if fate == Fate::Corruption && (fault.trapped || !self.held.is_empty()) {
            self.held.begin(&record)?;
            self.held.bytes(rest)?;
            return self.held.end();
        }
        let kind = kind_of(fate, fault.remainder.is_some());
        let lines = count_lines(rest).max(1);
        self.write_row(place_of(fate), &record, kind, lines).await?;
        self.write_line(place_of(fate), rest).await
    }

    fn count(&mut self, fate: Fate, partial: bool) {
        match fate {
            Fate::Corruption => self.counts.corrupted += 1,
            Fate::Retry => self.counts.retried += 1,
            Fate::Failed => self.counts.failed += 1,
        }
        self.counts.partial += u64::from(partial);
    }

    /// Sends a line that is longer than the limit to corruption, once its end has come or it is longer than is kept
    /// on disk. Gives its beginning back where it broke off: then it was not loaded.
    pub async fn long(
        &mut self,
        line: u64,
        offset: u64,
        bytes: &mut mpsc::Receiver<Vec<u8>>,
    ) -> Result<Option<Spool>> {
        let (line, offset) = self.origin(line, offset);
        let reason = format!(
            "the line is longer than line_bytes_max = {}",
            self.config.line_bytes_max
        );
        let record = Record {
            line,
            offset,
            reason,
            trapped: false,
        };
        let mut spool = Spool::default();
        spool.begin(&record)?;
        let mut spooled = 0;
        let ended = loop {
            match bytes.recv().await {
                None => return Ok(Some(spool)),
                Some(piece) if piece.is_empty() => break true,
                Some(piece) => {
                    spool.bytes(&piece)?;
                    spooled += piece.len();
                }
            }
            if spooled > LONG_SPOOLED_MAX {
                break false;
            }
        };
        self.errors.add(&record.reason);
        let before = self.counts;
        self.counts.loaded += 1;
        self.counts.corrupted += 1;
        self.add_progress(before);
        self.release_long(spool, &record, (!ended).then_some(bytes))
            .await?;
        Ok(None)
    }

    /// Writes a long line, or puts it behind those that wait for a verdict: what was spooled, and what still comes.
    async fn release_long(
        &mut self,
        mut spool: Spool,
        record: &Record,
        rest: Option<&mut mpsc::Receiver<Vec<u8>>>,
    ) -> Result<()> {
        let held = !self.held.is_empty();
        if held {
            self.held.append(spool)?;
        } else {
            self.write_row(Place::Corruption, record, "corrupt", 1)
                .await?;
            spool.rewind()?;
            spool.next_record()?;
            while let Some(piece) = spool.next_bytes()? {
                self.write(Place::Corruption, &piece).await?;
            }
        }
        if let Some(rest) = rest {
            loop {
                match rest.recv().await {
                    Some(piece) if piece.is_empty() => break,
                    Some(piece) if held => self.held.bytes(&piece)?,
                    Some(piece) => self.write(Place::Corruption, &piece).await?,
                    None => {
                        return Err(Error::Timeout {
                            action: format!(
                                "read line {} to its end, which is very long",
                                record.line
                            ),
                        });
                    }
                }
            }
        }
        match held {
            true => self.held.end(),
            false => self.write(Place::Corruption, b"\n").await,
        }
    }

    /// Settles the lines that trapped: they are corrupt, or are retried where the plugin is at fault.
    pub async fn settle(&mut self, systemic: bool) -> Result<()> {
        let trapped = match systemic {
            true => FaultKind::Retry,
            false => FaultKind::Corrupt,
        };
        self.settle_capsules(place_of(self.fate(trapped))).await?;
        let mut held = std::mem::take(&mut self.held);
        held.rewind()?;
        while let Some(record) = held.next_record()? {
            let mut fate_now = Fate::Corruption;
            if systemic && record.trapped {
                fate_now = self.fate(FaultKind::Retry);
                self.counts.corrupted -= 1;
                self.count(fate_now, false);
            }
            let kind = kind_of(fate_now, false);
            self.write_row(place_of(fate_now), &record, kind, 1).await?;
            let mut last = b'\n';
            while let Some(bytes) = held.next_bytes()? {
                last = bytes.last().copied().unwrap_or(last);
                self.write(place_of(fate_now), &bytes).await?;
            }
            if last != b'\n' {
                self.write(place_of(fate_now), b"\n").await?;
            }
        }
        Ok(())
    }

    /// Keeps a failure beside the lines that it is about. Those of a trap wait for the same verdict as they do.
    async fn keep(&mut self, batch: &Batch, capture: Capture) -> Result<()> {
        let trapped = matches!(capture.ended, Ended::Trap { .. });
        let fate = self.fate(capture.ended.blames());
        let Some(json) = self
            .keeper
            .as_ref()
            .and_then(|keeper| keeper.line(batch, capture))
        else {
            return Ok(());
        };
        if !trapped {
            return self.write_capsule(place_of(fate), &json).await;
        }
        self.held_capsules.begin(&Record {
            line: 0,
            offset: 0,
            reason: String::new(),
            trapped,
        })?;
        self.held_capsules.bytes(&json)?;
        self.held_capsules.end()
    }

    async fn settle_capsules(&mut self, place: Place) -> Result<()> {
        let mut held = std::mem::take(&mut self.held_capsules);
        held.rewind()?;
        while held.next_record()?.is_some() {
            while let Some(json) = held.next_bytes()? {
                self.write_capsule(place, &json).await?;
            }
        }
        Ok(())
    }

    async fn write_capsule(&mut self, place: Place, json: &[u8]) -> Result<()> {
        if !self.capsules.contains_key(&place) {
            let url = request::capsules(&self.url(place)?);
            let destination = Destination::create(&self.storage, &url).await?;
            self.capsules.insert(place, destination);
        }
        let destination = self.capsules.get_mut(&place);
        let destination = destination.expect("it was just put there");
        destination.write(json).await
    }

    /// Copies lines that were never loaded to the retry object, as they are, maybe in parts.
    pub async fn copy_unread(&mut self, bytes: &[u8]) -> Result<()> {
        self.torn = bytes.last().is_some_and(|&last| last != b'\n');
        self.write(Place::Again, bytes).await
    }

    /// Ends the last line that was copied, where its end did not come.
    pub async fn end_unread(&mut self) -> Result<()> {
        match std::mem::take(&mut self.torn) {
            true => self.write(Place::Again, b"\n").await,
            false => Ok(()),
        }
    }

    /// What was not run again becomes visible with all else.
    pub fn put_rest(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    async fn write_row(
        &mut self,
        place: Place,
        record: &Record,
        kind: &str,
        lines: usize,
    ) -> Result<()> {
        let row = FaultRow {
            line: record.line,
            offset: record.offset,
            kind,
            reason: &record.reason,
            attempt: self.attempt,
            plugin: &self.digest.clone(),
            lines,
        };
        let mut json = serde_json::to_vec(&row).expect("a row is plain data");
        json.push(b'\n');
        let storage = self.storage.clone();
        let sink = self.sink(place).await?;
        if sink.sidecar.is_none() {
            let url = request::sidecar(&sink.url);
            sink.sidecar = Some(Destination::create(&storage, &url).await?);
        }
        let sidecar = sink.sidecar.as_mut().expect("it was just put there");
        sidecar.write(&json).await
    }

    /// A raw line or remainder, ended by `\n`.
    async fn write_line(&mut self, place: Place, bytes: &[u8]) -> Result<()> {
        self.write(place, bytes).await?;
        if bytes.last() != Some(&b'\n') {
            self.write(place, b"\n").await?;
        }
        Ok(())
    }

    async fn write(&mut self, place: Place, bytes: &[u8]) -> Result<()> {
        self.sink(place).await?.lines.write(bytes).await
    }

    async fn sink(&mut self, place: Place) -> Result<&mut FaultSink> {
        if !self.faults.contains_key(&place) {
            let url = self.url(place)?;
            let lines = Destination::create(&self.storage, &url).await?;
            let sink = FaultSink {
                url,
                lines,
                sidecar: None,
            };
            self.faults.insert(place, sink);
        }
        Ok(self.faults.get_mut(&place).expect("it was just put there"))
    }

    fn url(&self, place: Place) -> Result<String> {
        let url = match place {
            Place::Corruption => self.names.corruption(&self.config),
            Place::Again => self.names.retry_or_failed(&self.config),
        };
        url.map_err(named)
    }

    fn add_progress(&self, before: Counts) {
        let now = self.counts;
        self.progress.add(&Counts {
            loaded: now.loaded - before.loaded,
            processed: now.processed - before.processed,
            corrupted: now.corrupted - before.corrupted,
            retried: now.retried - before.retried,
            failed: now.failed - before.failed,
            partial: 0,
        });
    }

    /// Stores every byte where it will be; nothing is visible yet. `pointer` is what hands the unread rest over.
    ///
    /// # Errors
    /// An object could not be stored; then none will become visible.
    pub async fn seal(&mut self, pointer: Option<&[u8]>) -> Result<SealedAll> {
        let again = if self.names.gives_up(&self.config) {
            Kind::Failed
        } else {
            Kind::Retry
        };
        let mut open = Vec::new();
        let capsules = std::mem::take(&mut self.capsules).into_values();
        open.extend(capsules.map(|capsules| (Kind::Sidecar, capsules)));
        for (place, sink) in std::mem::take(&mut self.faults) {
            open.extend(sink.sidecar.map(|sidecar| (Kind::Sidecar, sidecar)));
            let kind = if place == Place::Corruption {
                Kind::Corruption
            } else {
                again.clone()
            };
            open.push((kind, sink.lines));
        }
        for (route, destination) in std::mem::take(&mut self.outputs) {
            let kind = match route.is_empty() && self.outlet.is_some() {
                true => Kind::Outlet,
                false => Kind::Route(route),
            };
            open.push((kind, destination));
        }
        if let Some(pointer) = pointer {
            let url = request::pointer(&self.names.retry_or_failed(&self.config).map_err(named)?);
            let mut destination = Destination::create_verbatim(&self.storage, &url).await?;
            destination.write(pointer).await?;
            open.push((Kind::Pointer, destination));
        }
        // Last: where it stands, everything else does.
        if let Some(rest) = self.rest.take() {
            open.extend(rest.rows.map(|rows| (Kind::Sidecar, rows)));
            open.push((Kind::Rest, rest.lines));
        }
        let sealing = open.into_iter().map(async |(kind, destination)| {
            let sealed = destination.seal().await;
            sealed.map(|sealed| (kind, sealed))
        });
        let mut sealed = SealedAll {
            objects: Vec::new(),
        };
        let mut failed = None;
        for result in futures::future::join_all(sealing).await {
            match result {
                Ok(object) => sealed.objects.push(object),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            sealed.abort().await;
            return Err(error);
        }
        Ok(sealed)
    }

    /// Leaves nothing of all that was written.
    pub async fn abort(&mut self) {
        for (_, sink) in std::mem::take(&mut self.faults) {
            sink.lines.abort().await;
            if let Some(sidecar) = sink.sidecar {
                sidecar.abort().await;
            }
        }
        let others = std::mem::take(&mut self.outputs).into_values();
        for destination in others.chain(std::mem::take(&mut self.capsules).into_values()) {
            destination.abort().await;
        }
        if let Some(rest) = self.rest.take() {
            rest.lines.abort().await;
            if let Some(rows) = rest.rows {
                rows.abort().await;
            }
        }
    }
}

impl SealedAll {
    /// Makes all objects visible, or none: what was published is taken back when another cannot be.
    pub async fn publish(self) -> Result<Written> {
        let mut written = Written::default();
        let mut published: Vec<Published> = Vec::new();
        let mut objects = self.objects.into_iter();
        while let Some((kind, sealed)) = objects.next() {
            let url = sealed.url().to_owned();
            match sealed.publish().await {
                Ok(object) => {
                    tracing::info!(url = object.url(), bytes = object.bytes(), "written");
                    published.push(object);
                }
                Err(error) => {
                    take_back(published).await;
                    SealedAll {
                        objects: objects.collect(),
                    }
                    .abort()
                    .await;
                    return Err(error);
                }
            }
            match kind {
                Kind::Sidecar | Kind::Outlet => {}
                Kind::Route(route) if route.is_empty() => written.destination = Some(url),
                Kind::Route(route) => drop(written.routes.insert(route, url)),
                Kind::Corruption => written.corruption = Some(url),
                Kind::Retry => written.retry = Some(url),
                Kind::Failed => written.failed = Some(url),
                Kind::Pointer => written.resume = Some(url),
                Kind::Rest => written.rest = Some(url),
            }
        }
        Ok(written)
    }

    /// Leaves nothing.
    pub async fn abort(self) {
        for (_, sealed) in self.objects {
            sealed.abort().await;
        }
    }
}

async fn take_back(published: Vec<Published>) {
    for object in published {
        let url = object.url().to_owned();
        if let Err(error) = object.retract().await {
            tracing::error!(
                "{url} was written by a request that then failed, and could not be taken back: remove it ({error})"
            );
        }
    }
}

fn place_of(fate: Fate) -> Place {
    match fate {
        Fate::Corruption => Place::Corruption,
        Fate::Retry | Fate::Failed => Place::Again,
    }
}

fn kind_of(fate: Fate, partial: bool) -> &'static str {
    match (fate, partial) {
        (Fate::Corruption, _) => "corrupt",
        (Fate::Retry, false) => "retry",
        (Fate::Retry, true) => "partial",
        (Fate::Failed, _) => "failed",
    }
}

fn no_such_route(route: &str) -> Error {
    match route {
        "" => Error::unfit(
            "the plugin emits output, but destination_url is not set",
            "set it, or out_url",
        ),
        name => Error::unfit(
            format!("the plugin emits output for the route {name:?}, which is not configured"),
            format!("add {name} = \"URL\" under [routes]"),
        ),
    }
}

fn named(error: request::RequestError) -> Error {
    Error::invalid("cannot name what is to be written", error.to_string())
}
