//! Runs what a capsule holds: the same call, in a fresh instance, with the same answers of the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::batch::count_lines;
use crate::capsule::{Capsule, Ended, Memory, Recorded, Secrets, Shrink};
use crate::deadline::Deadline;
use crate::outcome::{self, Failure, Outcome, Trap};
use crate::runtime::{Call, GuestContext, Instance, Plugin};

/// Another machine may be so many times slower than the one that recorded.
const SLOWER: u64 = 10;
/// The least and the most time that a call gets.
const CALL_MIN: Duration = Duration::from_secs(60);
const CALL_MAX: Duration = Duration::from_secs(600);
/// A plugin may log so much in a replay.
const LOG_EVENTS_MAX: u64 = 1000;
const LOG_BYTES_MAX: usize = 4096;

/// A capsule that is ready to run in a plugin. Cheap to clone.
#[derive(Clone)]
pub struct Replay {
    plugin: Plugin,
    capsule: Arc<Capsule>,
    guest: Arc<GuestContext>,
    secrets: Arc<Secrets>,
}

/// How a replay ended.
#[derive(Debug)]
pub struct Replayed {
    returned: Result<Result<Outcome, Failure>, Trap>,
    fuel: u64,
    redacted: bool,
    secrets: Arc<Secrets>,
    recorded: Recorded,
    /// How the plugin's questions to the host differ from those that were recorded.
    pub divergence: Option<String>,
}

impl Replay {
    /// Of `capsule` in `plugin`, which is given what `completed` says besides the batch: it may know values that the
    /// capsule hides, and that never get into a capsule that is made of it.
    pub fn new(plugin: &Plugin, capsule: Capsule, completed: &Capsule) -> Self {
        Replay {
            plugin: plugin.clone(),
            guest: Arc::new(guest(completed)),
            secrets: Arc::new(Secrets::between(completed, &capsule)),
            capsule: Arc::new(capsule),
        }
    }

    /// Runs the batch of the capsule.
    pub async fn run(&self) -> Replayed {
        self.run_lines(self.capsule.batch.clone()).await
    }

    /// Runs other lines in its place, on the plugin's threads.
    async fn run_lines(&self, lines: Vec<u8>) -> Replayed {
        let replay = self.clone();
        let running = self.plugin.compute().spawn(async move {
            let call = replay.call(lines.len());
            replay.run_here(&lines, &call).await
        });
        running.await.expect("a call does not panic")
    }

    async fn run_here(&self, lines: &[u8], call: &Call) -> Replayed {
        let capsule = &self.capsule;
        let mut replayed = Replayed {
            returned: Ok(Ok(Outcome::default())),
            fuel: 0,
            redacted: capsule.redacted.iter().any(|part| part == "line"),
            secrets: self.secrets.clone(),
            recorded: Recorded::default(),
            divergence: None,
        };
        let mut instance = match Instance::start(&self.plugin, &self.guest, call).await {
            Ok(instance) => instance,
            Err(trap) => {
                replayed.returned = Err(trap);
                return replayed;
            }
        };
        let returned = instance.process(capsule.first_line, lines, call).await;
        replayed.fuel = instance.fuel_used(call);
        let (count, output_max) = (count_lines(lines), call.output_bytes_max);
        replayed.returned = outcome::settled(returned, count, output_max, replayed.fuel);
        replayed.divergence = instance.divergence();
        replayed.recorded = instance.take_answers();
        replayed
    }

    fn call(&self, bytes: usize) -> Call {
        let limits = &self.capsule.limits;
        let time = Duration::from_millis(limits.batch_ms_max.saturating_mul(SLOWER));
        let until = Instant::now() + time.clamp(CALL_MIN, CALL_MAX);
        Call {
            fuel: limits.fuel(bytes),
            until,
            cut_at: until,
            cut: CancellationToken::new(),
            output_bytes_max: limits.output_bytes_max,
        }
    }

    /// The capsule of the shortest lines that fail in the same way: at most `tries` are tried, until `until`, and
    /// each is told. None when the capsule itself does not fail so here.
    pub async fn minimise(
        &self,
        tries: usize,
        until: Instant,
        mut told: impl FnMut(&Shrink),
    ) -> Option<Capsule> {
        let expected = &self.capsule.ended;
        self.run().await.alike(expected)?;
        let mut shrink = Shrink::new(&self.capsule.batch, tries);
        while Instant::now() < until
            && let Some(lines) = shrink.offer()
        {
            let fails = self.run_lines(lines).await.alike(expected).is_some();
            shrink.tell(fails);
            told(&shrink);
        }
        self.smaller(shrink.best().to_vec()).await
    }

    /// The capsule with other lines, which fail in the same way.
    async fn smaller(&self, lines: Vec<u8>) -> Option<Capsule> {
        let replayed = self.run_lines(lines.clone()).await;
        let ended = replayed.alike(&self.capsule.ended)?;
        let before = &self.capsule;
        Some(Capsule {
            line: before.first_line + ended.index().unwrap_or(0) as u64,
            minimised_from: before.minimised_from.or(Some(before.batch.len() as u64)),
            batch: lines,
            ended,
            answers: replayed.recorded.said,
            answers_cut: replayed.recorded.cut,
            ..Capsule::clone(before)
        })
    }
}

impl Replayed {
    /// How it ended for the line at `index` of the batch, or as a whole; in the words that the capsule has.
    pub fn ended(&self, index: Option<usize>) -> Ended {
        let ended = Ended::of(&self.returned, self.fuel, index).without(&self.secrets);
        match self.redacted {
            true => ended.redacted(),
            false => ended,
        }
    }

    /// How it ended, if that is like `expected`, whichever line it is about.
    fn alike(&self, expected: &Ended) -> Option<Ended> {
        let alike = |ended: &Ended| ended.is_alike(expected);
        match (&self.returned, expected.index()) {
            (Ok(Ok(outcome)), Some(_)) => {
                let indices = outcome.faults.iter().map(|fault| Some(fault.line));
                indices.map(|index| self.ended(index)).find(alike)
            }
            _ => Some(self.ended(None)).filter(alike),
        }
    }
}

fn guest(capsule: &Capsule) -> GuestContext {
    let deadline = Deadline::new(Instant::now(), None, None);
    let name = &capsule.plugin.name;
    let mut guest = GuestContext::new(name, deadline, LOG_EVENTS_MAX, LOG_BYTES_MAX);
    let request = &capsule.request;
    guest.id.clone_from(&request.id);
    guest.source.clone_from(&request.source);
    guest.attempt = request.attempt;
    guest.started_at = request.started_at;
    guest.attributes.clone_from(&request.attributes);
    guest.settings = Arc::new(capsule.settings.clone());
    guest.env = Some(capsule.env.clone());
    guest.answers = Memory::Earlier(capsule.answers.clone().into());
    guest.open(capsule.context.clone(), 0);
    guest
}
