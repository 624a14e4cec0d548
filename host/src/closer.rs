//! What runs once for a request: `pre`, folding partials as they come, and `post`.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::outcome::Outcome;
use crate::report::Counts;
use crate::runtime::{Call, Instance, Returned};
use crate::stop::Stop;
use crate::worker::Shop;

/// So many partials are folded at once.
const FOLD: usize = 64;
/// Or so many bytes of them.
const FOLD_BYTES: usize = 1024 * 1024;

/// Keeps the partials of a request, in line order, and closes it.
pub struct Closer {
    shop: Arc<Shop>,
    partials: Vec<Vec<u8>>,
    bytes: usize,
    /// Fuel that `merge` and `post` used.
    pub fuel: u64,
}

impl Closer {
    /// Without partials yet.
    pub fn new(shop: Arc<Shop>) -> Self {
        Closer {
            shop,
            partials: Vec::new(),
            bytes: 0,
            fuel: 0,
        }
    }

    /// Adds the partials of one batch.
    ///
    /// # Errors
    /// They cannot be folded, or are more than `partials_bytes_max`.
    pub async fn add(&mut self, partials: Vec<Vec<u8>>) -> Result<()> {
        self.bytes += partials.iter().map(Vec::len).sum::<usize>();
        self.partials.extend(partials);
        if self.shop.plugin.reduces() && (self.partials.len() >= FOLD || self.bytes >= FOLD_BYTES) {
            let task = Task::Merge(std::mem::take(&mut self.partials));
            self.partials = self.call(task, self.closing_call()).await?.partials;
            self.bytes = self.partials.iter().map(Vec::len).sum();
        }
        let max = self.shop.config.partials_bytes_max;
        if self.bytes > max {
            return Err(Error::invalid(
                format!(
                    "the plugin's partials are {} bytes, more than partials_bytes_max = {max}",
                    self.bytes
                ),
                "export linemill:plugin/reducer so that they are folded as they come, or raise the limit",
            ));
        }
        Ok(())
    }

    /// Runs `post`; gives back what it adds, checked against the contract.
    ///
    /// # Errors
    /// `merge` or `post` failed or trapped.
    pub async fn post(&mut self, counts: Counts) -> Result<Outcome> {
        let task = Task::Post(counts, std::mem::take(&mut self.partials));
        let closing = self.call(task, self.closing_call()).await?;
        let output_bytes_max = self.shop.config.output_bytes_max;
        let checked = closing.checked(0, output_bytes_max);
        checked.map_err(|broken| failed(&self.shop, format!("post failed: {broken}")))
    }

    /// The deadline for work may have come already when partials are folded and `post` runs: half of what is left to
    /// the hard end bounds them.
    fn closing_call(&self) -> Call {
        let now = Instant::now();
        let deadline = &self.shop.guest.deadline;
        let half = now + deadline.hard.saturating_duration_since(now) / 2;
        self.shop.call(half.max(deadline.work), &Stop::default())
    }

    /// Does it on the plugin's threads, in the instance that `pre` ran in.
    async fn call(&mut self, task: Task, call: Call) -> Result<Outcome> {
        let shop = self.shop.clone();
        let running = self.shop.plugin.compute().spawn(async move {
            let mut instance = match shop.take_opener() {
                Some(instance) => instance,
                None => {
                    let started = Instance::start(&shop.plugin, &shop.guest, &call).await;
                    started.map_err(|trap| trap.to_string())?
                }
            };
            let mut fuel = 0;
            let done = task.run(&mut instance, &shop, &call, &mut fuel).await?;
            shop.keep_opener(instance);
            Ok::<_, String>((done, fuel))
        });
        let done = running.await.unwrap_or_else(|error| Err(error.to_string()));
        let (outcome, fuel) = done.map_err(|message| failed(&self.shop, message))?;
        self.fuel += fuel;
        Ok(outcome)
    }
}

/// Runs `pre`, here and now; what it returns reaches every instance. Its own is kept for folding and `post`.
///
/// # Errors
/// It failed or trapped.
pub async fn pre(shop: &Shop) -> Result<()> {
    let call = shop.call(shop.guest.deadline.work, &shop.stop);
    let started = Instance::start(&shop.plugin, &shop.guest, &call).await;
    let mut instance = started.map_err(|trap| failed(shop, trap.to_string()))?;
    let returned = instance.pre(&shop.guest, &call).await;
    let context = said("pre", returned).map_err(|message| failed(shop, message))?;
    shop.guest.open(context, instance.fuel_used(&call));
    shop.keep_opener(instance);
    Ok(())
}

fn failed(shop: &Shop, message: String) -> Error {
    Error::Plugin {
        plugin: shop.plugin.id.name.clone(),
        source: anyhow::anyhow!(message),
    }
}

/// What the instance is asked; what it answers is put into an outcome.
enum Task {
    Merge(Vec<Vec<u8>>),
    Post(Counts, Vec<Vec<u8>>),
}

impl Task {
    async fn run(
        self,
        instance: &mut Instance,
        shop: &Shop,
        call: &Call,
        fuel: &mut u64,
    ) -> Result<Outcome, String> {
        let partial = |bytes: Vec<u8>| Outcome {
            partials: vec![bytes],
            ..Outcome::default()
        };
        match self {
            Task::Merge(partials) => {
                let merged = said("merge", instance.merge(&partials, call).await)?;
                *fuel += instance.fuel_used(call);
                Ok(partial(merged))
            }
            Task::Post(counts, mut partials) => {
                if shop.plugin.reduces() && partials.len() > 1 {
                    partials = vec![said("merge", instance.merge(&partials, call).await)?];
                    *fuel += instance.fuel_used(call);
                }
                let post = instance.post(&shop.guest, &counts, &partials, call).await;
                let closing = said("post", post)?;
                *fuel += instance.fuel_used(call);
                Ok(closing)
            }
        }
    }
}

/// A failure and a trap are the same here: the request cannot be done.
fn said<T>(what: &str, returned: Returned<T>) -> Result<T, String> {
    match returned {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(failure)) => Err(format!("{what} failed: {failure}")),
        Err(trap) => Err(format!("{what} failed: {trap}")),
    }
}
