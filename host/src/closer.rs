//! Folds the partials of committed batches as they come, and runs `post` over them once all are in.

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::outcome::{Outcome, Trap};
use crate::report::Counts;
use crate::runtime::{Call, GuestContext, Instance, Returned};
use crate::stop::Stop;
use crate::worker::Shop;

/// So many partials are folded at once.
const FOLD: usize = 64;
/// Or so many bytes of them.
const FOLD_BYTES: usize = 1024 * 1024;

/// The partials of a request, in line order.
pub struct Closer {
    shop: Arc<Shop>,
    instance: Option<Instance>,
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
            instance: None,
            partials: Vec::new(),
            bytes: 0,
            fuel: 0,
        }
    }

    /// Adds the partials of one batch.
    ///
    /// # Errors
    /// They cannot be folded, or are more than `partials_bytes_max`.
    pub async fn add(&mut self, partials: Vec<Vec<u8>>, cut_at: Instant) -> Result<()> {
        self.bytes += partials.iter().map(Vec::len).sum::<usize>();
        self.partials.extend(partials);
        if self.shop.plugin.reduces() && (self.partials.len() >= FOLD || self.bytes >= FOLD_BYTES) {
            self.fold(cut_at).await?;
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

    async fn fold(&mut self, cut_at: Instant) -> Result<()> {
        let task = Task::Merge(std::mem::take(&mut self.partials));
        let merged = self.call(task, cut_at).await?;
        self.bytes = merged.partials.iter().map(Vec::len).sum();
        self.partials = merged.partials;
        Ok(())
    }

    /// Runs `post`; gives back what it adds, checked against the contract.
    ///
    /// # Errors
    /// `merge` or `post` failed or trapped.
    pub async fn post(&mut self, counts: Counts, cut_at: Instant) -> Result<Outcome> {
        if self.shop.plugin.reduces() && self.partials.len() > 1 {
            self.fold(cut_at).await?;
        }
        let task = Task::Post(counts, std::mem::take(&mut self.partials));
        let closing = self.call(task, cut_at).await?;
        let output_bytes_max = self.shop.config.output_bytes_max;
        closing
            .checked(0, output_bytes_max)
            .map_err(|broken| self.failed("post", broken))
    }

    /// One call on the plugin's threads, in the instance that is kept for closing.
    async fn call(&mut self, task: Task, cut_at: Instant) -> Result<Outcome> {
        let what = task.name();
        // The deadline has come already when `post` runs at the end: `cut_at` is what bounds it.
        let call = self.shop.call(cut_at, &Stop::default());
        let (shop, instance) = (self.shop.clone(), self.instance.take());
        let running = self.shop.plugin.compute().spawn(async move {
            let mut instance = match instance {
                Some(instance) => instance,
                None => Instance::start(&shop.plugin, &shop.guest, &call).await?,
            };
            let returned = task.run(&mut instance, &shop.guest, &call).await?;
            let fuel = instance.fuel_used(&call);
            Ok::<_, Trap>((returned, instance, fuel))
        });
        match running.await {
            Ok(Ok((Ok(outcome), instance, fuel))) => {
                self.instance = Some(instance);
                self.fuel += fuel;
                Ok(outcome)
            }
            Ok(Ok((Err(failure), ..))) => Err(self.failed(what, failure.to_string())),
            Ok(Err(trap)) => Err(self.failed(what, trap.to_string())),
            Err(error) => Err(self.failed(what, error.to_string())),
        }
    }

    fn failed(&self, what: &str, message: String) -> Error {
        let plugin = self.shop.plugin.id.name.clone();
        Error::Plugin {
            plugin,
            source: anyhow::anyhow!("{what} failed: {message}"),
        }
    }
}

/// What a closing instance is asked.
enum Task {
    Merge(Vec<Vec<u8>>),
    Post(Counts, Vec<Vec<u8>>),
}

impl Task {
    fn name(&self) -> &'static str {
        match self {
            Task::Merge(_) => "merge",
            Task::Post(..) => "post",
        }
    }

    async fn run(
        self,
        instance: &mut Instance,
        guest: &GuestContext,
        call: &Call,
    ) -> Returned<Outcome> {
        match self {
            Task::Merge(partials) => {
                let merged = instance.merge(&partials, call).await?;
                Ok(merged.map(|merged| Outcome {
                    partials: vec![merged],
                    ..Outcome::default()
                }))
            }
            Task::Post(counts, partials) => instance.post(guest, &counts, &partials, call).await,
        }
    }
}
