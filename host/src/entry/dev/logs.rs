//! What the plugin logs, kept for the page, beside the log on stderr.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Mutex;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::entry::shown;

/// So many are kept of a run.
const KEPT_MAX: usize = 200;
/// So much of each.
const MESSAGE_BYTES: usize = 1000;

/// One run's; runs follow one another.
static KEPT: Mutex<Logs> = Mutex::new(Logs {
    kept: Vec::new(),
    more: 0,
});

/// What a plugin logged in one run.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Logs {
    kept: Vec<Logged>,
    /// Those that were not kept.
    more: u64,
}

#[derive(Debug, Clone, Serialize)]
struct Logged {
    level: &'static str,
    /// `log`, `stdout` or `stderr`.
    stream: String,
    message: String,
}

/// All since the last time.
pub(super) fn take() -> Logs {
    std::mem::take(&mut *KEPT.lock().expect("nothing panics while it is held"))
}

/// Like that of other commands, and a copy of the plugin's events for the page.
pub(crate) fn start_tracing() {
    let filter = EnvFilter::try_from_env("LINEMILL_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,plugin=info"));
    let stderr = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(Keep)
        .with(stderr)
        .init();
}

struct Keep;

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "plugin" {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let mut logs = KEPT.lock().expect("nothing panics while it is held");
        if logs.kept.len() == KEPT_MAX {
            logs.more += 1;
            return;
        }
        logs.kept.push(Logged {
            level: level(*event.metadata().level()),
            stream: said.stream,
            message: shown::text(said.message.as_bytes(), MESSAGE_BYTES).to_string(),
        });
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Said {
    stream: String,
    message: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "stream" => self.stream = format!("{value:?}"),
            "message" => self.message = format!("{value:?}"),
            _ => {}
        }
    }
}
