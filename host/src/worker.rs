//! Keeps an instance and runs batches in it; after a trap it halves the batch until the poison lines stand alone.

mod capture;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::batch::Batch;
use crate::capsule::{Capture, Keeper, Recorded};
use crate::config::Config;
use crate::outcome::{self, Failure, Fault, FaultKind, Outcome, Trap, TrapKind};
use crate::runtime::{Call, GuestContext, Instance, Plugin, Returned};
use crate::shadow::Beside;
use crate::stop::{Reason, Stop};

/// What became of a batch.
#[derive(Debug)]
pub struct Done {
    /// The batch.
    pub batch: Arc<Batch>,
    /// All that it did; faults by index in the batch.
    pub outcome: Outcome,
    /// Fuel used, by calls that trapped too.
    pub fuel: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// How long it took.
    pub time: Duration,
    /// Failures to be kept, in no order.
    pub captures: Vec<Capture>,
}

/// What the workers of one request share.
pub struct Shop {
    /// What runs.
    pub plugin: Plugin,
    /// What its instances can ask for.
    pub guest: Arc<GuestContext>,
    /// The limits.
    pub config: Arc<Config>,
    /// Why and how to stop.
    pub stop: Arc<Stop>,
    /// How many lines trap.
    pub poison: Poison,
    /// The instance in which `pre` ran; it folds partials and runs `post`.
    pub opener: Mutex<Option<Instance>>,
    /// Another version that runs along.
    pub beside: Option<Beside>,
    /// Keeps failures.
    pub keeper: Option<Arc<Keeper>>,
}

impl Shop {
    /// Takes the instance that opened the request, if it is there.
    pub fn take_opener(&self) -> Option<Instance> {
        let mut opener = self.opener.lock().expect("nothing panics while it is held");
        opener.take()
    }

    /// Keeps the instance that opened the request, for closing it.
    pub fn keep_opener(&self, instance: Instance) {
        *self.opener.lock().expect("nothing panics while it is held") = Some(instance);
    }

    /// The budget of `pre`, `post` and `merge`, which ends at `cut_at` at the latest.
    pub fn call(&self, cut_at: Instant, stop: &Stop) -> Call {
        Call {
            fuel: self.config.call_fuel,
            until: Instant::now() + Duration::from_millis(self.config.call_ms_max),
            cut_at,
            cut: stop.cutting().clone(),
            output_bytes_max: self.config.output_bytes_max,
        }
    }

    fn batch_call(&self, bytes: usize) -> Call {
        let config = &self.config;
        Call {
            fuel: config
                .fuel_base
                .saturating_add(config.fuel_per_byte.saturating_mul(bytes as u64)),
            until: Instant::now() + Duration::from_millis(config.batch_ms_max),
            cut_at: self.guest.deadline.work,
            cut: self.stop.cutting().clone(),
            output_bytes_max: config.output_bytes_max,
        }
    }
}

/// Tells poison lines from a plugin that traps on most of what it gets.
#[derive(Debug)]
pub struct Poison {
    ratio_max: f64,
    lines_min: u64,
    attempted: AtomicU64,
    trapped: AtomicU64,
}

impl Poison {
    /// Systemic is more than `ratio_max` of at least `lines_min` lines.
    pub fn new(ratio_max: f64, lines_min: u64) -> Self {
        Poison {
            ratio_max,
            lines_min,
            attempted: AtomicU64::new(0),
            trapped: AtomicU64::new(0),
        }
    }

    /// Counts lines that were attempted, and those of them that trapped; says why to stop, if it is time to.
    fn add(&self, attempted: u64, trapped: u64) -> Option<String> {
        let attempted = self.attempted.fetch_add(attempted, Relaxed) + attempted;
        let trapped = self.trapped.fetch_add(trapped, Relaxed) + trapped;
        let systemic =
            attempted >= self.lines_min && trapped as f64 > self.ratio_max * attempted as f64;
        systemic.then(|| {
            format!("{trapped} of {attempted} lines trapped: the plugin is at fault, not the lines")
        })
    }
}

/// Runs batches, one at a time.
pub struct Worker {
    shop: Arc<Shop>,
    instance: Option<Instance>,
    /// Batches until its place is taken by a fresh one.
    batches_left: u64,
}

/// Lines of a batch that are still to be run.
struct Part {
    lines: Range<usize>,
    /// Of something that trapped: it gets an instance of its own.
    half: Option<Half>,
    /// The other half is clean, so this one traps for sure: it is halved without being run whole.
    traps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Left,
    Right,
    /// All of it, a line that trapped in a used instance.
    Whole,
}

/// How one call ended.
struct Called {
    /// Checked against the contract.
    returned: Returned<Outcome>,
    fuel: u64,
    /// What the host answered, if the instance was fresh.
    fresh: Option<Recorded>,
}

/// A batch in the making.
struct Run<'a> {
    batch: &'a Arc<Batch>,
    ends: Vec<usize>,
    parts: Vec<Part>,
    done: Done,
    witness: Option<capture::Witness>,
}

impl Worker {
    /// A worker without an instance; it makes one when it needs one.
    pub fn new(shop: Arc<Shop>) -> Self {
        Worker {
            shop,
            instance: None,
            batches_left: 0,
        }
    }

    /// Where it is to work.
    pub fn thread(&self) -> tokio::runtime::Handle {
        self.shop.plugin.compute().clone()
    }

    /// Runs a batch to its end: every line of it is processed or a fault when this returns.
    pub async fn run(&mut self, batch: &Arc<Batch>) -> Done {
        let start = Instant::now();
        self.renew();
        let outcome = Outcome::default();
        let done = Done {
            batch: batch.clone(),
            outcome,
            fuel: 0,
            traps: 0,
            time: Duration::ZERO,
            captures: Vec::new(),
        };
        let whole = Part {
            lines: 0..batch.lines,
            half: None,
            traps: false,
        };
        let mut run = Run {
            batch,
            ends: Vec::new(),
            parts: vec![whole],
            done,
            witness: self.shop.keeper.clone().map(capture::Witness::new),
        };
        while let Some(part) = run.parts.pop() {
            self.run_part(&mut run, part).await;
        }
        if let Some(witness) = run.witness.take() {
            run.done.captures = self.capture(&mut run, witness).await;
        }
        run.done.time = start.elapsed();
        if let Some(beside) = &self.shop.beside {
            beside.offer(&run.done);
        }
        run.done
    }

    /// Drops the instance when it has had its batches.
    fn renew(&mut self) {
        if let Some(batches_max) = self.shop.config.instance_batches_max {
            if self.batches_left == 0 {
                (self.instance, self.batches_left) = (None, batches_max);
            }
            self.batches_left -= 1;
        }
    }

    async fn run_part(&mut self, run: &mut Run<'_>, part: Part) {
        if self.shop.stop.cutting().is_cancelled()
            || matches!(self.shop.stop.reason(), Some(Reason::Systemic(_)))
        {
            return run.blame(
                part.lines,
                FaultKind::Retry,
                "the request stopped before the line was done",
            );
        }
        if part.traps && part.lines.len() > 1 {
            return run.halve(part);
        }
        if part.half.is_some() {
            self.instance = None;
        }
        run.find_line_ends(&part.lines);
        let bytes = run.bytes(&part.lines);
        let call = self.shop.batch_call(bytes.len());
        let first_line = run.batch.first_line + part.lines.start as u64;
        let called = self
            .process(first_line, bytes, part.lines.len(), &call)
            .await;
        if let Some(witness) = &mut run.witness {
            witness.saw(&part.lines, &called);
        }
        let fuel = called.fuel;
        match called.returned {
            Ok(Ok(outcome)) => self.commit(run, part, outcome, fuel),
            Ok(Err(failure)) => self.fail(run, part, failure, fuel),
            Err(trap) => self.trap(run, part, &trap, called.fresh.is_some()),
        }
    }

    /// One call. A returned outcome is checked against the contract; breaking it is a trap.
    async fn process(
        &mut self,
        first_line: u64,
        bytes: &[u8],
        lines: usize,
        call: &Call,
    ) -> Called {
        let fresh = self.instance.is_none();
        let started = match self.instance.take() {
            Some(instance) => Ok(instance),
            None => Instance::start(&self.shop.plugin, &self.shop.guest, call).await,
        };
        let mut instance = match started {
            Ok(instance) => instance,
            Err(trap) => {
                return Called {
                    fuel: trap.fuel,
                    returned: Err(trap),
                    fresh: Some(Recorded::default()),
                };
            }
        };
        let returned = instance.process(first_line, bytes, call).await;
        let fuel = instance.fuel_used(call);
        let returned = outcome::settled(returned, lines, call.output_bytes_max, fuel);
        let answers = instance.take_answers();
        if returned.is_ok() {
            self.instance = Some(instance);
        }
        Called {
            returned,
            fuel,
            fresh: fresh.then_some(answers),
        }
    }

    fn commit(&self, run: &mut Run<'_>, part: Part, outcome: Outcome, fuel: u64) {
        run.done.fuel += fuel;
        let lines = part.lines.len();
        let attempted = outcome.attempted.unwrap_or(lines);
        run.done.outcome.append(outcome, part.lines.start);
        self.count(attempted as u64, 0);
        let rest = part.lines.start + attempted..part.lines.end;
        if attempted == lines {
            run.is_clean(&part);
        } else if attempted == 0 {
            run.blame(
                rest,
                FaultKind::Retry,
                "the plugin handed the line back without attempting any",
            );
        } else {
            run.parts.push(Part {
                lines: rest,
                half: None,
                traps: false,
            });
        }
    }

    fn fail(&self, run: &mut Run<'_>, part: Part, failure: Failure, fuel: u64) {
        run.done.fuel += fuel;
        let kind = match &failure {
            Failure::Corrupt(_) => FaultKind::Corrupt,
            Failure::Retry(_) | Failure::Fatal(_) => FaultKind::Retry,
        };
        self.count(part.lines.len() as u64, 0);
        run.blame(part.lines, kind, &failure.to_string());
        if let Failure::Fatal(message) = failure {
            self.shop.stop.stop(Reason::Fatal(message));
            let rest: Vec<Part> = run.parts.drain(..).rev().collect();
            for part in rest {
                run.blame(
                    part.lines,
                    FaultKind::Retry,
                    "the request stopped before the line was done",
                );
            }
        }
    }

    fn trap(&self, run: &mut Run<'_>, part: Part, trap: &Trap, fresh: bool) {
        run.done.fuel += trap.fuel;
        if trap.kind == TrapKind::Cut {
            return run.blame(part.lines, FaultKind::Retry, &trap.to_string());
        }
        run.done.traps += 1;
        if part.lines.len() > 1 {
            return run.halve(part);
        }
        if !fresh && trap.kind != TrapKind::Time {
            // What ran in it before may be what is wrong with it.
            return run.parts.push(Part {
                half: Some(Half::Whole),
                ..part
            });
        }
        // Time depends on the machine and on whom the plugin waits for: that is not the line's fault.
        let (kind, trapped) = match trap.kind {
            TrapKind::Time => (FaultKind::Retry, false),
            _ => (FaultKind::Corrupt, true),
        };
        let reason = outcome::reason(&trap.to_string());
        run.done.outcome.faults.push(Fault {
            line: part.lines.start,
            kind,
            reason,
            remainder: None,
            trapped,
        });
        self.count(1, u64::from(trapped));
    }

    fn count(&self, attempted: u64, trapped: u64) {
        if let Some(why) = self.shop.poison.add(attempted, trapped) {
            self.shop.stop.stop(Reason::Systemic(why));
        }
    }
}

impl Run<'_> {
    /// Line ends are needed once a part is not the whole batch.
    fn find_line_ends(&mut self, lines: &Range<usize>) {
        if self.ends.is_empty() && lines.len() < self.batch.lines {
            self.ends = self.batch.line_ends();
        }
    }

    fn bytes(&self, lines: &Range<usize>) -> &[u8] {
        if lines.len() == self.batch.lines {
            return self.batch.bytes();
        }
        let start = lines
            .start
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        &self.batch.bytes()[start..self.ends[lines.end - 1]]
    }

    fn blame(&mut self, lines: Range<usize>, kind: FaultKind, reason: &str) {
        self.done
            .outcome
            .blame(lines, kind, &outcome::reason(reason));
    }

    /// The left half runs first; what it does comes first.
    fn halve(&mut self, part: Part) {
        let middle = part.lines.start + part.lines.len() / 2;
        self.parts.push(Part {
            lines: middle..part.lines.end,
            half: Some(Half::Right),
            traps: false,
        });
        self.parts.push(Part {
            lines: part.lines.start..middle,
            half: Some(Half::Left),
            traps: false,
        });
    }

    /// If `part` is the left half of something that trapped, the right half, next in turn, is what trapped.
    fn is_clean(&mut self, part: &Part) {
        if part.half == Some(Half::Left)
            && let Some(right) = self.parts.last_mut()
        {
            right.traps = true;
        }
    }
}
