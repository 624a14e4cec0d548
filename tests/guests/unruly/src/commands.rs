//! What each line of a batch asks for.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::bindings::exports::linemill::plugin::processor::{Failure, Outcome};
use crate::bindings::linemill::plugin::host::{self, Level};
use crate::bindings::linemill::plugin::types::{Fault, FaultKind, Measure, Metric, Output};
use crate::misbehave;

/// A line of this many bytes, line end included, is what floods are made of.
const FLOOD_LINE: usize = 100;

thread_local! {
    /// How often this instance was called.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// A batch, as far as it was run.
pub(crate) struct Batch {
    first_line: u64,
    /// Index of the line at hand.
    line: u32,
    lines: u32,
    attempted: Option<u32>,
    faults: Vec<Fault>,
    main: Vec<u8>,
    routed: Vec<Output>,
    metrics: Vec<Metric>,
    partial: Option<Vec<u8>>,
}

impl Batch {
    pub(crate) fn new(first_line: u64) -> Self {
        CALLS.set(CALLS.get() + 1);
        Self {
            first_line,
            line: 0,
            lines: 0,
            attempted: None,
            faults: Vec::new(),
            main: Vec::new(),
            routed: Vec::new(),
            metrics: Vec::new(),
            partial: None,
        }
    }

    /// Runs lines until one of them hands the rest back.
    pub(crate) fn run(&mut self, lines: &[u8]) -> Result<(), Failure> {
        let lines: Vec<_> = lines.split_inclusive(|&byte| byte == b'\n').collect();
        self.lines = lines.len() as u32;
        for (index, line) in lines.into_iter().enumerate() {
            self.line = index as u32;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"!attempted" || line.starts_with(b"!attempted ") {
                if index > 0 {
                    self.attempted = Some(self.line);
                    return Ok(());
                }
                self.write(line);
            } else {
                self.run_line(line)?;
            }
        }
        Ok(())
    }

    pub(crate) fn into_outcome(self) -> Outcome {
        let main = Output {
            route: String::new(),
            data: self.main,
        };
        let main = (!main.data.is_empty()).then_some(main);
        Outcome {
            attempted: self.attempted,
            faults: self.faults,
            outputs: main.into_iter().chain(self.routed).collect(),
            metrics: self.metrics,
            partial: self.partial,
        }
    }

    fn run_line(&mut self, line: &[u8]) -> Result<(), Failure> {
        let text = String::from_utf8_lossy(line);
        let Some(command) = text.strip_prefix('!') else {
            self.write(line);
            return Ok(());
        };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        match name {
            "trap" | "panic" | "exit" | "spin" | "fill" | "recurse" | "grow" => never(name, rest),
            "tell" => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                panic!("{}", self.answer(name, rest));
            }
            "hoard" => {
                misbehave::hoard(number(rest));
                self.write(line);
            }
            "sleep" | "log" | "biglog" | "stdout" | "stderr" => {
                with_noise(name, rest);
                self.write(line);
            }
            "fail-retry" => return Err(Failure::Retry(rest.to_owned())),
            "fail-corrupt" => return Err(Failure::Corrupt(rest.to_owned())),
            "fatal" => return Err(Failure::Fatal(rest.to_owned())),
            "flood" => self.flood(number(rest)),
            "partial" | "sum" => self.add_partial(rest),
            "route" => self.write_to_route(rest),
            "fault-range" | "fault-twice" | "retry" | "corrupt" | "rest" => self.blame(name, rest),
            "attempted-beyond" => self.attempted = Some(self.lines + 1),
            "attempted-none" => self.attempted = Some(0),
            "metric-name" | "metric" | "sample" => self.measure(name, rest),
            _ => {
                let answer = self.answer(name, rest);
                self.write(answer.as_bytes());
            }
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) {
        self.main.extend_from_slice(line);
        self.main.push(b'\n');
    }

    fn flood(&mut self, bytes: usize) {
        let flood = flood_line().into_bytes().into_iter().cycle();
        self.main.extend(flood.take(bytes));
    }

    fn add_partial(&mut self, text: &str) {
        let partial = self.partial.get_or_insert_default();
        partial.extend_from_slice(text.as_bytes());
        partial.push(b',');
    }

    fn write_to_route(&mut self, rest: &str) {
        let (route, text) = rest.split_once(' ').unwrap_or((rest, ""));
        self.routed.push(Output {
            route: route.to_owned(),
            data: format!("{text}\n").into_bytes(),
        });
    }

    fn blame(&mut self, how: &str, text: &str) {
        let fault = |line, kind, reason: &str, remainder: Option<&str>| Fault {
            line,
            kind,
            reason: reason.to_owned(),
            remainder: remainder.map(|text| text.as_bytes().to_vec()),
        };
        let line = self.line;
        self.faults.push(match how {
            "fault-range" => fault(line + 1_000_000, FaultKind::Corrupt, "out of range", None),
            "retry" => fault(line, FaultKind::Retry, text, None),
            "rest" => fault(line, FaultKind::Retry, "part is done", Some(text)),
            "corrupt" => fault(line, FaultKind::Corrupt, text, None),
            _ => fault(line, FaultKind::Retry, "the first of two", None),
        });
        if how == "fault-twice" {
            let second = fault(line, FaultKind::Corrupt, "the second of two", None);
            self.faults.push(second);
        }
    }

    fn measure(&mut self, how: &str, rest: &str) {
        let words: Vec<_> = rest.split(' ').collect();
        let (name, key, value) = match (how, &words[..]) {
            ("metric", [name, key, n]) => (*name, *key, Measure::Count(n.parse().unwrap_or(0))),
            ("sample", [name, x]) => (*name, "", Measure::Sample(x.parse().unwrap_or(0.0))),
            _ => ("not a name!", "", Measure::Count(1)),
        };
        self.metrics.push(Metric {
            name: name.to_owned(),
            key: key.to_owned(),
            value,
        });
    }

    fn answer(&self, name: &str, rest: &str) -> String {
        match name {
            "context" => String::from_utf8_lossy(&host::context()).into_owned(),
            "setting" => host::setting(rest).unwrap_or_else(|| "(not set)".to_owned()),
            "remaining" => host::remaining_ms().to_string(),
            "env" => std::env::vars_os().count().to_string(),
            "fs" => match File::open(rest) {
                Ok(_) => "fs: opened".to_owned(),
                Err(error) => format!("fs: {error}"),
            },
            "number" => (self.first_line + u64::from(self.line)).to_string(),
            "state" => CALLS.get().to_string(),
            "random" => random().to_string(),
            "var" => std::env::var(rest).unwrap_or_else(|_| "(not set)".to_owned()),
            "clock" => format!("{:?}", SystemTime::now().duration_since(UNIX_EPOCH)),
            "ticks" => format!("{:?}", Instant::now()),
            "dice" => format!("{:?}", misbehave::dice()),
            _ => format!("unknown command `{name}`"),
        }
    }
}

/// Commands that do not return.
fn never(name: &str, rest: &str) {
    match name {
        "trap" => misbehave::trap(),
        "panic" => panic!("{rest}"),
        "exit" => std::process::exit(rest.parse().unwrap_or(0)),
        "spin" => misbehave::spin(),
        "fill" => misbehave::fill(),
        "recurse" => drop(misbehave::recurse(0).to_string()),
        _ => misbehave::grow(),
    }
}

/// Commands that take time or say much, and then go on.
fn with_noise(name: &str, rest: &str) {
    let n = number(rest);
    match name {
        "sleep" => misbehave::sleep(rest),
        "biglog" => host::log(Level::Info, &"x".repeat(n)),
        "log" => (0..n).for_each(|at| host::log(Level::Info, &format!("message {at}"))),
        "stdout" => (0..n).for_each(|_| print!("{}", flood_line())),
        _ => (0..n).for_each(|_| eprint!("{}", flood_line())),
    }
}

fn flood_line() -> String {
    format!("{}\n", "f".repeat(FLOOD_LINE - 1))
}

fn number(text: &str) -> usize {
    text.trim().parse().unwrap_or(0)
}

/// The order in which a hash map hands out its keys depends on the seed that the host gives.
fn random() -> u64 {
    let map: HashMap<u64, ()> = (0..64).map(|key| (key, ())).collect();
    let mix = |mixed: u64, key: &u64| mixed.wrapping_mul(6_364_136_223_846_793_005) ^ key;
    map.keys().fold(1, mix)
}
