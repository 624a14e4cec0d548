//! The progress bar: lines and bytes as they pass, what became of them, and when it will be done.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use linemill::Progress;

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Shows progress until it is dropped.
pub(crate) struct Shown {
    bar: ProgressBar,
    task: tokio::task::JoinHandle<()>,
}

/// `bytes`: of all sources, where they are known.
pub(crate) fn show(bars: &MultiProgress, progress: &Arc<Progress>, bytes: Option<u64>) -> Shown {
    let bar = bars.add(bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
    let template = match bytes {
        Some(_) => "{bar:24} {percent:>3}% {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}",
        None => "{spinner} {bytes} {bytes_per_sec} {msg}",
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
    let task = tokio::spawn(tick(bar.clone(), progress.clone()));
    Shown { bar, task }
}

async fn tick(bar: ProgressBar, progress: Arc<Progress>) {
    let mut last = 0;
    let mut rate = 0.0;
    loop {
        tokio::time::sleep(TICK).await;
        let good = progress.processed.load(Relaxed);
        let (corrupt, retry) = (
            progress.corrupted.load(Relaxed),
            progress.retried.load(Relaxed),
        );
        let lines = good + corrupt + retry;
        // A moving mean over about a second.
        rate = 0.9 * rate + 0.1 * (lines - last) as f64 / TICK.as_secs_f64();
        last = lines;
        bar.set_position(progress.bytes.load(Relaxed));
        let count = |n: u64| HumanCount(n).to_string();
        bar.set_message(format!(
            "{} lines/s, {} good, {} corrupt, {} retry",
            count(rate as u64),
            count(good),
            count(corrupt),
            count(retry)
        ));
        bar.tick();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}
