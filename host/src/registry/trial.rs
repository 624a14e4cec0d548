//! Tries a version out as a request would use it, with nothing emitted: `pre`, and the sample lines.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use tokio::runtime::Handle;

use crate::batch::Batch;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::shown;
use crate::runtime::{GuestContext, Instance, Plugin};
use crate::stop::{Reason, Stop};
use crate::storage::Storage;
use crate::worker::{Poison, Shop, Worker};

/// Sample lines are few.
const SAMPLE_BYTES_MAX: u64 = 1024 * 1024;
/// No trial takes longer, whatever the limits of calls are.
const TIME_MAX: Duration = Duration::from_secs(600);

/// The sample lines, if there are any.
pub async fn sample(storage: &Storage, config: &Config) -> Result<Option<Bytes>> {
    let Some(url) = config.canary.as_deref() else {
        return Ok(None);
    };
    let lines = storage.get_small(url, SAMPLE_BYTES_MAX).await;
    let lines = lines.with_context(|| format!("could not read the canary {}", shown(url)))?;
    Ok(Some(lines))
}

/// Runs the version on the thread `on`. Gives back the share of sample lines that ended in a fault.
///
/// # Errors
/// It trapped, or took too long; with sample lines also when `pre` fails.
pub async fn run(
    plugin: &Plugin,
    lines: Option<Bytes>,
    config: &Arc<Config>,
    on: &Handle,
) -> Result<f64> {
    let (plugin, config) = (plugin.clone(), config.clone());
    let trial = on.spawn(async move {
        let shop = Arc::new(shop(&plugin, &config));
        pre(&shop, lines.is_some()).await?;
        match lines {
            Some(lines) if !lines.is_empty() => process(&shop, &lines).await,
            _ => Ok(0.0),
        }
    });
    trial.await.unwrap_or_else(|panic| Err(panic.into()))
}

fn shop(plugin: &Plugin, config: &Arc<Config>) -> Shop {
    let millis = config.call_ms_max.saturating_add(config.batch_ms_max);
    let whole = TIME_MAX.min(Duration::from_millis(millis));
    let deadline = Deadline::new(Instant::now(), Some(whole), Some(Duration::ZERO));
    let mut guest = GuestContext::new(
        &plugin.id.name,
        deadline,
        config.log_events_max,
        config.log_bytes_max,
    );
    guest.id = "canary".to_owned();
    guest.source = "canary".to_owned();
    guest.settings = Arc::new(config.settings.clone());
    Shop {
        plugin: plugin.clone(),
        guest: Arc::new(guest),
        config: config.clone(),
        stop: Arc::default(),
        // The first line that traps is enough.
        poison: Poison::new(0.0, 1),
        opener: Mutex::default(),
        beside: None,
        keeper: None,
    }
}

/// Without sample lines it is not known what `pre` should be given: that it fails is then no reason to refuse it.
async fn pre(shop: &Shop, must_succeed: bool) -> Result<()> {
    let call = shop.call(shop.guest.deadline.work, &Stop::default());
    let started = Instance::start(&shop.plugin, &shop.guest, &call).await;
    let mut instance = started.map_err(|trap| anyhow!("{trap}"))?;
    match instance.pre(&shop.guest, &call).await {
        Ok(Ok(context)) => {
            shop.guest.open(context, instance.fuel_used(&call));
            Ok(())
        }
        Ok(Err(failure)) if must_succeed => bail!("pre failed: {failure}"),
        Ok(Err(_)) => Ok(()),
        Err(trap) => bail!("pre failed: {trap}"),
    }
}

async fn process(shop: &Arc<Shop>, lines: &[u8]) -> Result<f64> {
    let batch = Arc::new(Batch::of(lines));
    let done = Worker::new(shop.clone()).run(&batch).await;
    if let Some(Reason::Fatal(message)) = shop.stop.reason() {
        bail!("it gives up on the sample lines: {message}");
    }
    if done.traps > 0 {
        let mut faults = done.outcome.faults.iter();
        let trapped = faults.find(|fault| fault.trapped).or(faults.next());
        let reason = trapped.map_or("a batch of them traps as a whole", |fault| &fault.reason);
        bail!("it traps on the sample lines: {reason}");
    }
    Ok(done.outcome.faults.len() as f64 / batch.lines as f64)
}
