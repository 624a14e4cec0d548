//! The log of a function: a JSON object a line on stderr, each with the id of the invocation.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{SecondsFormat, Utc};
use linemill::Report;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What is logged unless `LINEMILL_LOG` says otherwise.
const FILTER: &str = "warn,plugin=info,lambda=info,report=info";
/// Lambda cuts a line of 256 KiB, and what is cut is no JSON any more.
const LINE_BYTES_MAX: usize = 200 * 1024;

/// The id of the invocation at hand, which a process has one of at a time: what is logged in threads that know
/// nothing of it belongs to it all the same.
static INVOCATION: Mutex<String> = Mutex::new(String::new());

fn invocation() -> MutexGuard<'static, String> {
    INVOCATION.lock().unwrap_or_else(PoisonError::into_inner)
}

/// While it lives, what is logged has this id.
pub(super) struct Named;

impl Named {
    pub(super) fn new(id: &str) -> Self {
        id.clone_into(&mut invocation());
        Named
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        invocation().clear();
    }
}

/// Log events go to stderr as JSON; `LINEMILL_LOG` filters them.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("LINEMILL_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .event_format(Lines)
        .init();
}

/// Logs a report as it is, not as text within text; without the plugin's metrics where they are too many for a line.
pub(super) fn report(report: &Report) {
    if !tracing::enabled!(target: "report", Level::INFO) {
        return;
    }
    let level = match report.is_error() {
        true => Level::ERROR,
        false => Level::INFO,
    };
    let Ok(mut content) = serde_json::to_value(report) else {
        return;
    };
    let mut text = line(level, "report", json!({ "report": content }));
    if text.len() > LINE_BYTES_MAX {
        for large in ["Metrics", "Routes"] {
            content[large] = json!("left out: too large for the log");
        }
        text = line(level, "report", json!({ "report": content }));
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn line(level: Level, target: &str, fields: Value) -> String {
    let mut line = match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let time = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
    line.insert("timestamp".to_owned(), time.into());
    line.insert("level".to_owned(), level.as_str().into());
    line.insert("target".to_owned(), target.into());
    let id = invocation().clone();
    if !id.is_empty() {
        line.insert("requestId".to_owned(), id.into());
    }
    format!("{}\n", Value::Object(line))
}

struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let about = event.metadata();
        writer.write_str(&line(*about.level(), about.target(), fields.0.into()))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}
