//! Runs a plugin natively, without a host: for the tests of a plugin.
//!
//! The plugin is called as the component would be, in the same order, with everything that crosses
//! the boundary encoded and decoded.
//!
//! ```
//! # use linemill_sdk::{Batch, Line, Processor, Result, corrupt, setting_or};
//! # #[derive(Default)]
//! # struct Tag;
//! # impl Processor for Tag {
//! #     type Context = ();
//! #     type Partial = ();
//! #     fn line(&mut self, line: Line<'_>, batch: &mut Batch<()>) -> Result<()> {
//! #         if line.is_blank() { return Err(corrupt!("nothing to tag")); }
//! #         batch.emit(setting_or("tag", "-"));
//! #         batch.emit_line(line);
//! #         Ok(())
//! #     }
//! # }
//! use linemill_sdk::testing::Run;
//!
//! let report = Run::<Tag>::new().setting("tag", "* ").batch_lines(2).run("a\nb\n\n");
//! assert_eq!(report.text(""), "* a\n* b\n");
//! assert_eq!((report.processed(), report.faults[0].line), (2, 3));
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crate::bindings::{self, Failure, FaultKind, Measure, Outcome};
use crate::component::{self, Slot};
use crate::error::{Error, Kind};
use crate::host::Level;
use crate::line::{self, Lines};
use crate::processor::Processor;
use crate::request::{Counts, Request};

/// Runs `P` over `input` with no settings, in one batch.
pub fn run<P: Processor>(input: impl AsRef<[u8]>) -> Report<P> {
    Run::new().run(input)
}

/// How to run a plugin.
pub struct Run<P> {
    request: Request,
    settings: BTreeMap<String, String>,
    batch_lines: usize,
    instances: usize,
    clock: Box<dyn FnMut() -> u64>,
    #[cfg(feature = "http")]
    server: Option<fake::Server>,
    plugin: PhantomData<P>,
}

impl<P: Processor> Default for Run<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for Run<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("request", &self.request)
            .field("settings", &self.settings)
            .field("batch_lines", &self.batch_lines)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

impl<P: Processor> Run<P> {
    /// No settings, all lines in one batch, a minute left.
    pub fn new() -> Self {
        Self {
            request: Request {
                id: "test".to_owned(),
                source: "memory://test/lines".to_owned(),
                ..Request::default()
            },
            settings: BTreeMap::new(),
            batch_lines: usize::MAX,
            instances: 1,
            clock: Box::new(|| 60_000),
            #[cfg(feature = "http")]
            server: None,
            plugin: PhantomData,
        }
    }

    /// Sets a value of the configuration's `settings`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Cuts the input into batches of so many lines.
    #[must_use]
    pub fn batch_lines(mut self, lines: usize) -> Self {
        assert!(lines > 0, "a batch has at least one line");
        self.batch_lines = lines;
        self
    }

    /// Hands the batches to so many instances in turn.
    #[must_use]
    pub fn instances(mut self, instances: usize) -> Self {
        assert!(instances > 0, "at least one instance is needed");
        self.instances = instances;
        self
    }

    /// Lets the clock stand still with so much time left.
    #[must_use]
    pub fn remaining_ms(self, ms: u64) -> Self {
        self.clock(move || ms)
    }

    /// Answers each look at the clock with the time left.
    #[must_use]
    pub fn clock(mut self, clock: impl FnMut() -> u64 + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Answers the plugin's HTTP requests; without it every one is denied.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(
        mut self,
        server: impl FnMut(&crate::http::Request) -> Result<crate::http::Response, crate::http::Failure>
        + 'static,
    ) -> Self {
        self.server = Some(Box::new(server));
        self
    }

    /// Runs as this request.
    #[must_use]
    pub fn request(mut self, request: Request) -> Self {
        self.request = request;
        self
    }

    /// Runs the plugin over `input`.
    ///
    /// # Panics
    ///
    /// When the plugin does.
    pub fn run(self, input: impl AsRef<[u8]>) -> Report<P> {
        fake::with(self.settings, self.clock, || {
            #[cfg(feature = "http")]
            fake::serve(self.server);
            let mut report = Report::default();
            let stages = Stages {
                request: self.request,
                batch_lines: self.batch_lines,
                slots: (0..self.instances).map(|_| Slot::<P>::default()).collect(),
            };
            report.failure = stages.run(input.as_ref(), &mut report).err();
            report.logs = fake::take_logs();
            report
        })
    }
}

/// A request on its way through `pre`, the batches and `post`.
struct Stages<P> {
    request: Request,
    batch_lines: usize,
    slots: Vec<Slot<P>>,
}

impl<P: Processor> Stages<P> {
    fn run(&self, input: &[u8], report: &mut Report<P>) -> Result<(), Error> {
        fake::set_context(component::pre::<P>(&self.request).map_err(as_error)?);
        let partials = self.run_batches(input, report)?;
        report.total = component::total::<P>(&partials)?;
        let counts = bindings::Counts {
            loaded: report.counts.loaded,
            processed: report.counts.processed,
            corrupted: report.counts.corrupted,
            retried: report.counts.retried,
        };
        let closing = component::post::<P>(&self.request, counts, &partials).map_err(as_error)?;
        report.write(closing.outputs);
        report.measure(closing.metrics);
        Ok(())
    }

    /// Runs every batch, and merges the partials as the host would.
    fn run_batches(&self, input: &[u8], report: &mut Report<P>) -> Result<Vec<Vec<u8>>, Error> {
        let mut partials = Vec::new();
        let mut first_line = 1;
        for (batch, slot) in batches(input, self.batch_lines).zip(self.slots.iter().cycle()) {
            match component::process(slot, first_line, batch) {
                Ok(outcome) => partials.extend(report.commit(first_line, batch, outcome)),
                Err(failure) => report.fail(first_line, batch, as_error(failure))?,
            }
            first_line += u64::from(line::count(batch));
        }
        if partials.len() > 1 {
            partials = vec![component::merge::<P>(&partials).map_err(as_error)?];
        }
        Ok(partials)
    }
}

/// Cuts `input` into batches of whole lines.
fn batches(mut input: &[u8], batch_lines: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let mut lines = Lines::new(1, input);
        lines.by_ref().take(batch_lines).for_each(drop);
        let (batch, rest) = input.split_at(input.len() - lines.as_bytes().len());
        input = rest;
        (!batch.is_empty()).then_some(batch)
    })
}

fn as_error(failure: Failure) -> Error {
    match failure {
        Failure::Corrupt(reason) => Error::corrupt(reason),
        Failure::Retry(reason) => Error::retry(reason),
        Failure::Fatal(reason) => Error::fatal(reason),
    }
}

/// A line that was not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the line stands in the source, from 1.
    pub line: u64,
    /// Who is to blame.
    pub kind: Kind,
    /// Why.
    pub reason: String,
    /// What is left to do, where it is not the whole line.
    pub remainder: Option<Vec<u8>>,
}

/// What became of the lines, and what the plugin did.
pub struct Report<P: Processor> {
    /// How the lines ended. Lines that were handed back count as retried.
    pub counts: Counts,
    /// The lines that were not processed, in order.
    pub faults: Vec<Fault>,
    /// The numbers of the lines that were handed back for want of time.
    pub handed_back: Vec<u64>,
    /// The total that `post` got.
    pub total: P::Partial,
    /// Why `pre`, `post`, `merge` or (when it is fatal) a batch failed: then the request ended there.
    pub failure: Option<Error>,
    /// What was logged.
    pub logs: Vec<(Level, String)>,
    outputs: BTreeMap<String, Vec<u8>>,
    counted: BTreeMap<(String, String), i64>,
    samples: BTreeMap<(String, String), Vec<f64>>,
}

impl<P: Processor> Default for Report<P> {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            faults: Vec::new(),
            handed_back: Vec::new(),
            total: P::Partial::default(),
            failure: None,
            logs: Vec::new(),
            outputs: BTreeMap::new(),
            counted: BTreeMap::new(),
            samples: BTreeMap::new(),
        }
    }
}

impl<P: Processor> fmt::Debug for Report<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("counts", &self.counts)
            .field("faults", &self.faults)
            .field("failure", &self.failure)
            .field("outputs", &self.outputs.keys())
            .field("counted", &self.counted)
            .finish_non_exhaustive()
    }
}

impl<P: Processor> Report<P> {
    /// Lines without a fault.
    pub fn processed(&self) -> u64 {
        self.counts.processed
    }

    /// The bytes written to a route; the empty name is the request's own destination.
    pub fn output(&self, route: &str) -> &[u8] {
        self.outputs.get(route).map_or(&[], Vec::as_slice)
    }

    /// The same as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    pub fn text(&self, route: &str) -> &str {
        std::str::from_utf8(self.output(route)).expect("output is UTF-8")
    }

    /// The names of the routes written to.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.outputs.keys().map(String::as_str)
    }

    /// The sum of a count; 0 where nothing was counted.
    pub fn counted(&self, name: &str, key: &str) -> i64 {
        let place = (name.to_owned(), key.to_owned());
        self.counted.get(&place).copied().unwrap_or(0)
    }

    /// The samples under a name and a key.
    pub fn samples(&self, name: &str, key: &str) -> &[f64] {
        let place = (name.to_owned(), key.to_owned());
        self.samples.get(&place).map_or(&[], Vec::as_slice)
    }

    /// Takes in what a batch did, and hands out its partial.
    fn commit(&mut self, first_line: u64, batch: &[u8], outcome: Outcome) -> Option<Vec<u8>> {
        let lines = u64::from(line::count(batch));
        let attempted = outcome.attempted.map_or(lines, u64::from);
        self.counts.loaded += lines;
        self.counts.processed += attempted - outcome.faults.len() as u64;
        self.counts.retried += lines - attempted;
        self.handed_back
            .extend(first_line + attempted..first_line + lines);
        for fault in outcome.faults {
            let kind = match fault.kind {
                FaultKind::Corrupt => Kind::Corrupt,
                FaultKind::Retry => Kind::Retry,
            };
            self.fault(Fault {
                line: first_line + u64::from(fault.line),
                kind,
                reason: fault.reason,
                remainder: fault.remainder,
            });
        }
        self.write(outcome.outputs);
        self.measure(outcome.metrics);
        outcome.partial
    }

    /// Blames every line of a batch, unless the request must stop.
    fn fail(&mut self, first_line: u64, batch: &[u8], error: Error) -> Result<(), Error> {
        if error.kind() == Kind::Fatal {
            return Err(error);
        }
        for line in Lines::new(first_line, batch) {
            self.counts.loaded += 1;
            self.fault(Fault {
                line: line.number(),
                kind: error.kind(),
                reason: error.reason().to_owned(),
                remainder: None,
            });
        }
        Ok(())
    }

    fn fault(&mut self, fault: Fault) {
        match fault.kind {
            Kind::Corrupt => self.counts.corrupted += 1,
            Kind::Retry | Kind::Fatal => self.counts.retried += 1,
        }
        self.faults.push(fault);
    }

    fn write(&mut self, outputs: Vec<bindings::Output>) {
        for output in outputs {
            let written = self.outputs.entry(output.route).or_default();
            written.extend_from_slice(&output.data);
        }
    }

    fn measure(&mut self, metrics: Vec<bindings::Metric>) {
        for metric in metrics {
            let place = (metric.name, metric.key);
            match metric.value {
                Measure::Count(n) => *self.counted.entry(place).or_default() += n,
                Measure::Sample(value) => self.samples.entry(place).or_default().push(value),
            }
        }
    }
}

/// What stands in for the host, one for each thread.
pub(crate) mod fake {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use crate::host::Level;
    #[cfg(feature = "http")]
    use crate::http::{Failure, FailureKind, Request, Response};

    struct Host {
        settings: BTreeMap<String, String>,
        clock: Box<dyn FnMut() -> u64>,
        context: Vec<u8>,
        logs: Vec<(Level, String)>,
        #[cfg(feature = "http")]
        server: Option<Server>,
    }

    /// What answers HTTP requests.
    #[cfg(feature = "http")]
    pub(crate) type Server = Box<dyn FnMut(&Request) -> Result<Response, Failure>>;

    thread_local! {
        static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
    }

    /// Lets `run` find a host. Afterwards, and when it panics, there is none.
    pub(crate) fn with<T>(
        settings: BTreeMap<String, String>,
        clock: Box<dyn FnMut() -> u64>,
        run: impl FnOnce() -> T,
    ) -> T {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                HOST.set(None);
            }
        }
        HOST.set(Some(Host {
            settings,
            clock,
            context: Vec::new(),
            logs: Vec::new(),
            #[cfg(feature = "http")]
            server: None,
        }));
        let _leave = Leave;
        run()
    }

    /// Without a host: no settings, no end of time, and logs go nowhere.
    fn ask<T>(none: T, ask: impl FnOnce(&mut Host) -> T) -> T {
        HOST.with_borrow_mut(|host| host.as_mut().map_or(none, ask))
    }

    pub(crate) fn set_context(context: Vec<u8>) {
        ask((), |host| host.context = context);
    }

    #[cfg(feature = "http")]
    pub(crate) fn serve(server: Option<Server>) {
        ask((), |host| host.server = server);
    }

    #[cfg(feature = "http")]
    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn send(request: &Request) -> Result<Response, Failure> {
        let denied = || Failure::new(FailureKind::Denied, "the test has no server".to_owned());
        ask(None, |host| {
            host.server.as_mut().map(|server| server(request))
        })
        .unwrap_or_else(|| Err(denied()))
    }

    pub(crate) fn take_logs() -> Vec<(Level, String)> {
        ask(Vec::new(), |host| std::mem::take(&mut host.logs))
    }

    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn context() -> Vec<u8> {
        ask(Vec::new(), |host| host.context.clone())
    }

    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn setting(name: &str) -> Option<String> {
        ask(None, |host| host.settings.get(name).cloned())
    }

    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn remaining_ms() -> u64 {
        ask(u64::MAX, |host| (host.clock)())
    }

    #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
    pub(crate) fn log(level: Level, message: &str) {
        ask((), |host| host.logs.push((level, message.to_owned())));
    }
}
