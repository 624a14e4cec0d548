//! A guest whose lines tell it how to misbehave: one command for every way in which a plugin can
//! trap, hang, hoard, flood, lie or fail. It is written against the bare interface, without the SDK,
//! because it must be able to break the rules that the SDK keeps.
//!
//! A line that does not begin with `!` is echoed. A command that traps or ends the call says so here;
//! `…` is the rest of the line.
//!
//! | line | what it does |
//! | --- | --- |
//! | `!trap` | `unreachable` |
//! | `!panic …` | panics with the message |
//! | `!exit N` | ends the process with that code |
//! | `!spin` | computes without end |
//! | `!fill` | fills 64 MiB over and over: few instructions, much time |
//! | `!recurse` | recurses without end |
//! | `!grow` | allocates, and touches, without end |
//! | `!sleep MS` | sleeps, then echoes the line |
//! | `!log N` | logs N messages `message 0` …, then echoes the line |
//! | `!biglog N` | logs one message of N bytes, then echoes the line |
//! | `!stdout N`, `!stderr N` | prints N lines of 100 bytes (line end included), then echoes the line |
//! | `!flood N` | writes N bytes, lines of 100 bytes as far as they go |
//! | `!fault-range` | a fault of a line far outside the batch |
//! | `!fault-twice` | two faults of this line |
//! | `!attempted-beyond` | says that one line more was attempted than there are |
//! | `!attempted-none` | says that no line was attempted |
//! | `!attempted` | hands the lines from this one on back; as the first of a batch it is echoed |
//! | `!metric-name` | counts under a name that is none |
//! | `!metric NAME KEY N` | counts |
//! | `!sample NAME X` | a sample |
//! | `!retry …`, `!corrupt …` | a fault of this line, with the reason |
//! | `!rest …` | a fault with that remainder |
//! | `!fail-retry …`, `!fail-corrupt …`, `!fatal …` | the call fails with the reason |
//! | `!route NAME …` | writes the text, as a line, to the route |
//! | `!partial …`, `!sum …` | adds the text and a comma to the batch's partial |
//! | `!context` | writes what `pre` returned |
//! | `!setting NAME` | writes the setting, or `(not set)` |
//! | `!remaining` | writes the milliseconds left |
//! | `!env` | writes the number of environment variables |
//! | `!fs PATH` | tries to open a file, writes `fs: opened` or `fs: ERROR` |
//! | `!number` | writes the line's number in the source |
//! | `!state` | writes how often this instance was called |
//! | `!random` | writes a number that depends on the random seed |
//! | `!var NAME` | writes the environment variable, or `(not set)` |
//! | `!clock`, `!ticks` | writes the time of day, or that of a clock that never goes back |
//! | `!dice` | writes bytes that are different each time |
//! | `!tell COMMAND …` | panics with what that command would write |
//! | `!hoard N` | keeps N MiB as long as the instance lives, then echoes the line |
//!
//! The settings `pre` and `post` make those calls misbehave: `fail-retry`, `fail-corrupt`,
//! `fail-fatal`, `trap`, `panic`, `spin`, `sleep:MS`, `hang` (says so first). The setting `context` is what `pre` returns.
//! With `post = emit`, or a route in `post-route`, `post` writes one line of all it was told.

#![allow(unsafe_code)] // in generated code, and to ask for random numbers

mod commands;
mod misbehave;

use std::fmt::Write;

use bindings::exports::linemill::plugin::processor::{
    Closing, Counts, Failure, Guest, Outcome, Request,
};
use bindings::linemill::plugin::host;
use bindings::linemill::plugin::types::Output;

use commands::Batch;

#[allow(missing_docs, unreachable_pub, clippy::undocumented_unsafe_blocks)]
mod bindings {
    //! What wit-bindgen makes of `wit/`.
    wit_bindgen::generate!({ world: "plugin", path: "../../../wit" });
}

struct Unruly;

impl Guest for Unruly {
    fn pre(request: Request) -> Result<Vec<u8>, Failure> {
        misbehave::as_set("pre")?;
        let context = host::setting("context");
        let context = context.unwrap_or_else(|| format!("context of {}", request.id));
        Ok(context.into_bytes())
    }

    fn process(first_line: u64, lines: Vec<u8>) -> Result<Outcome, Failure> {
        let mut batch = Batch::new(first_line);
        batch.run(&lines)?;
        Ok(batch.into_outcome())
    }

    fn post(_: Request, counts: Counts, partials: Vec<Vec<u8>>) -> Result<Closing, Failure> {
        misbehave::as_set("post")?;
        let route = match host::setting("post-route") {
            None if host::setting("post").as_deref() != Some("emit") => None,
            route => Some(route.unwrap_or_default()),
        };
        let output = |route| Output {
            route,
            data: told(&counts, &partials).into_bytes(),
        };
        Ok(Closing {
            outputs: route.map(output).into_iter().collect(),
            metrics: Vec::new(),
        })
    }
}

/// What `post` was told, in one line.
fn told(counts: &Counts, partials: &[Vec<u8>]) -> String {
    let mut line = format!(
        "post: loaded={} processed={} corrupted={} retried={} partials=",
        counts.loaded, counts.processed, counts.corrupted, counts.retried
    );
    for (at, partial) in partials.iter().enumerate() {
        let bar = if at == 0 { "" } else { "|" };
        let _ = write!(line, "{bar}{}", String::from_utf8_lossy(partial));
    }
    line.push('\n');
    line
}

#[cfg(target_arch = "wasm32")]
bindings::export!(Unruly with_types_in bindings);
