//! What the host offers; in native tests, what [`testing`](crate::testing) offers in its place.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How much a log message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following a single line.
    Trace,
    /// For finding a mistake.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth looking at.
    Warn,
    /// Something failed.
    Error,
}

/// A value of the configuration's `settings`.
pub fn setting(name: &str) -> Option<String> {
    backend::setting(name)
}

/// A value of the configuration's `settings`, or `default` where it is not set.
pub fn setting_or(name: &str, default: &str) -> String {
    setting(name).unwrap_or_else(|| default.to_owned())
}

/// A value of the configuration's `settings`, parsed. A value that cannot be parsed stops the
/// request, and says which setting it is.
pub fn parse_setting<T: FromStr<Err: Display>>(name: &str) -> Result<Option<T>> {
    let Some(value) = setting(name) else {
        return Ok(None);
    };
    let parsed = value.trim().parse().map_err(|error: T::Err| {
        Error::fatal(format_args!(
            "setting `{name}` cannot be `{value}`: {error}"
        ))
    });
    parsed.map(Some)
}

/// As [`parse_setting`], or `default` where it is not set.
pub fn parse_setting_or<T: FromStr<Err: Display>>(name: &str, default: T) -> Result<T> {
    Ok(parse_setting(name)?.unwrap_or(default))
}

/// Milliseconds until work on this request stops. [`Processor::batch`](crate::Processor::batch)
/// looks at it by default, so that lines are handed back in time.
pub fn remaining_ms() -> u64 {
    backend::remaining_ms()
}

/// Tells the operator something; see [`info!`](crate::info) and its siblings.
pub fn log(level: Level, message: impl Display) {
    backend::log(level, &message.to_string());
}

pub(crate) fn context() -> Vec<u8> {
    backend::context()
}

#[cfg(target_arch = "wasm32")]
mod backend {
    use super::Level;
    use crate::bindings::host;

    pub(super) use host::{context, remaining_ms, setting};

    pub(super) fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => host::Level::Trace,
            Level::Debug => host::Level::Debug,
            Level::Info => host::Level::Info,
            Level::Warn => host::Level::Warn,
            Level::Error => host::Level::Error,
        };
        host::log(level, message);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod backend {
    pub(super) use crate::testing::fake::{context, log, remaining_ms, setting};
}

/// Logs for following a single line: `trace!("{id}")`.
#[macro_export]
macro_rules! trace {
    ($($message:tt)+) => { $crate::log($crate::Level::Trace, ::std::format_args!($($message)+)) };
}

/// Logs what helps to find a mistake: `debug!("{id} is known")`.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log($crate::Level::Debug, ::std::format_args!($($message)+)) };
}

/// Logs what is worth knowing: `info!("{n} ids")`.
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => { $crate::log($crate::Level::Info, ::std::format_args!($($message)+)) };
}

/// Logs what is worth looking at: `warn!("no reply in {ms} ms")`.
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => { $crate::log($crate::Level::Warn, ::std::format_args!($($message)+)) };
}

/// Logs that something failed: `error!("HTTP {code}")`.
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => { $crate::log($crate::Level::Error, ::std::format_args!($($message)+)) };
}
