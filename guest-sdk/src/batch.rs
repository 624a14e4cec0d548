//! What a batch did, while it is being run.

use std::io::{self, Write};

use serde::Serialize;

use crate::bindings::{Fault, Outcome};
use crate::component;
use crate::effects::Effects;
use crate::error::{Error, Result};
use crate::host;
use crate::line::{self, Line, Lines};
use crate::output::Output;
use crate::pace::Pace;

/// What a batch did: what it wrote, measured, added to the aggregate, and which lines failed.
///
/// The host commits it whole, or, when the call fails or traps, not at all. As a writer it writes to
/// the request's own destination.
#[derive(Debug)]
pub struct Batch<P> {
    effects: Effects,
    partial: P,
    touched: bool,
    /// In line order, one for each line at most.
    faults: Vec<Fault>,
    fatal: Option<Error>,
    attempted: Option<u32>,
    pace: Pace,
}

impl<P> Batch<P> {
    /// Appends `bytes` to the request's own destination.
    #[inline]
    pub fn emit(&mut self, bytes: impl AsRef<[u8]>) {
        self.effects.main.emit(bytes);
    }

    /// Appends `bytes` and a line end to the request's own destination.
    #[inline]
    pub fn emit_line(&mut self, bytes: impl AsRef<[u8]>) {
        self.effects.main.emit_line(bytes);
    }

    /// The output to a named route of the configuration. Writing to a route that is not
    /// configured ends the request in error.
    pub fn route(&mut self, name: &str) -> &mut Output {
        self.effects.route(name)
    }

    /// Adds `n` to the count `name`, under `key` (a response code, say; may be empty). It is summed
    /// up here, so it may be called for each line. Each key is kept until the report, so take it
    /// from a small set; one that is too long or has control characters is cut and cleaned.
    ///
    /// # Panics
    ///
    /// When `name` is not `[A-Za-z_][A-Za-z0-9_]*` of at most 64 characters.
    pub fn count(&mut self, name: &str, key: &str, n: i64) {
        self.effects.count(name, key, n);
    }

    /// Adds a sample to `name`, under `key`; the report tells count, minimum, maximum, mean and
    /// percentiles. Every sample crosses to the host: for some lines, not for each.
    ///
    /// # Panics
    ///
    /// As [`count`](Batch::count) does.
    pub fn sample(&mut self, name: &str, key: &str, value: f64) {
        self.effects.sample(name, key, value);
    }

    /// What this batch adds to the request's aggregate; sent when it was asked for. It is not
    /// rolled back when a line fails: touch it last.
    #[inline]
    pub fn partial(&mut self) -> &mut P {
        self.touched = true;
        &mut self.partial
    }

    /// Says that the line at `index` of the batch ([`Line::index`]) failed: for implementations of
    /// [`Processor::batch`](crate::Processor::batch), where it takes nothing back. Of several
    /// faults of one line the last one counts. A fatal error fails the whole batch.
    pub fn fault(&mut self, index: u32, error: Error) {
        let fault = match error.into_fault(index) {
            Ok(fault) => fault,
            Err(fatal) => {
                self.fatal.get_or_insert(fatal);
                return;
            }
        };
        match self.faults.binary_search_by_key(&index, |fault| fault.line) {
            Ok(at) => self.faults[at] = fault,
            Err(at) => self.faults.insert(at, fault),
        }
    }

    /// Hands the lines from index `lines` on back, to be run another time. What was
    /// said about them is forgotten, but not what was written for them.
    pub fn attempted(&mut self, lines: u32) {
        self.attempted = Some(lines);
    }

    /// Runs `step` on each line, as [`Processor::batch`](crate::Processor::batch) does by default:
    /// a line that fails leaves a fault and nothing else, and the lines that time does not
    /// suffice for are handed back.
    #[inline]
    pub fn each<'a>(
        &mut self,
        lines: Lines<'a>,
        mut step: impl FnMut(Line<'a>, &mut Self) -> Result<()>,
    ) -> Result<()> {
        self.effects.keep();
        if lines.as_bytes().is_empty() {
            return Ok(());
        }
        self.pace.start(lines.next_index(), host::remaining_ms());
        // One place that calls `step`, so that it is inlined.
        for line in lines {
            if line.index() == self.pace.next && self.must_stop(line.index()) {
                break;
            }
            match step(line, self) {
                Ok(()) => self.effects.keep(),
                Err(error) => self.fail(line.index(), error)?,
            }
        }
        Ok(())
    }

    #[cold]
    fn must_stop(&mut self, index: u32) -> bool {
        let stop = self.pace.must_stop(index, host::remaining_ms());
        if stop {
            self.attempted = Some(index);
        }
        stop
    }

    #[cold]
    fn fail(&mut self, index: u32, error: Error) -> Result<()> {
        self.effects.undo();
        self.fault(index, error);
        self.fatal.take().map_or(Ok(()), Err)
    }
}

impl<P: Default + Serialize> Batch<P> {
    /// An empty batch that will write about `expected` bytes.
    pub(crate) fn new(pace: Pace, expected: usize) -> Self {
        let mut effects = Effects::default();
        effects.main.reserve(expected);
        Self {
            effects,
            partial: P::default(),
            touched: false,
            faults: Vec::new(),
            fatal: None,
            attempted: None,
            pace,
        }
    }

    /// Takes the pace out, for the next batch.
    pub(crate) fn take_pace(&mut self) -> Pace {
        std::mem::take(&mut self.pace)
    }

    /// Bytes written to the request's own destination.
    pub(crate) fn written(&self) -> usize {
        self.effects.main.len()
    }

    /// What to tell the host about a batch of `input`.
    pub(crate) fn into_outcome(mut self, input: &[u8]) -> Result<Outcome> {
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        // Lines are only counted when something depends on it.
        if self.attempted.is_some() || !self.faults.is_empty() {
            let lines = line::count(input);
            self.attempted = self.attempted.filter(|&attempted| attempted < lines);
            if let Some(beyond) = self.faults.last().filter(|fault| fault.line >= lines) {
                let index = beyond.line;
                let message = format_args!("fault of line {index} in a batch of {lines} lines");
                return Err(Error::fatal(message));
            }
            let attempted = self.attempted.unwrap_or(lines);
            self.faults.retain(|fault| fault.line < attempted);
        }
        let partial = match self.touched && size_of::<P>() > 0 {
            true => Some(component::encode(&self.partial)?),
            false => None,
        };
        let (outputs, metrics) = self.effects.into_wit();
        Ok(Outcome {
            attempted: self.attempted,
            faults: self.faults,
            outputs,
            metrics,
            partial,
        })
    }
}

impl<P> Write for Batch<P> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.effects.main.write(bytes)
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.effects.main.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
