//! The WIT contract as Rust types, generated, and how they become the host's own.

use std::sync::Arc;

use crate::outcome::{self, Failure, Fault, FaultKind, Measure, Metric, Output};

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: { default: trappable },
    exports: { default: async },
});

pub(super) use linemill::plugin::{host, types};

/// The same for plugins that can fold partials.
pub(super) mod reducing {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "reducing-plugin",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "linemill:plugin/types": super::linemill::plugin::types,
            "linemill:plugin/host": super::linemill::plugin::host,
        },
    });
}

/// The interface that a plugin must export.
pub(super) const PROCESSOR: &str = "linemill:plugin/processor@0.1.0";
/// The interface that a plugin may export.
pub(super) const REDUCER: &str = "linemill:plugin/reducer@0.1.0";

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        let text = |message: String| outcome::reason(&message).to_string();
        match failure {
            types::Failure::Retry(message) => Failure::Retry(text(message)),
            types::Failure::Corrupt(message) => Failure::Corrupt(text(message)),
            types::Failure::Fatal(message) => Failure::Fatal(text(message)),
        }
    }
}

impl From<types::Outcome> for outcome::Outcome {
    fn from(said: types::Outcome) -> Self {
        outcome::Outcome {
            attempted: said.attempted.map(|lines| lines as usize),
            faults: said.faults.into_iter().map(Fault::from).collect(),
            outputs: said.outputs.into_iter().map(Output::from).collect(),
            metrics: said.metrics.into_iter().map(Metric::from).collect(),
            partials: said.partial.into_iter().collect(),
        }
    }
}

impl From<types::Closing> for outcome::Outcome {
    fn from(said: types::Closing) -> Self {
        outcome::Outcome {
            outputs: said.outputs.into_iter().map(Output::from).collect(),
            metrics: said.metrics.into_iter().map(Metric::from).collect(),
            ..outcome::Outcome::default()
        }
    }
}

impl From<types::Fault> for Fault {
    fn from(said: types::Fault) -> Self {
        let kind = match said.kind {
            types::FaultKind::Corrupt => FaultKind::Corrupt,
            types::FaultKind::Retry => FaultKind::Retry,
        };
        let reason: Arc<str> = outcome::reason(&said.reason);
        // A remainder of a corrupt line has no meaning: nothing is left to do.
        let remainder = said.remainder.filter(|_| kind == FaultKind::Retry);
        Fault {
            line: said.line as usize,
            kind,
            reason,
            remainder,
            trapped: false,
        }
    }
}

impl From<types::Output> for Output {
    fn from(said: types::Output) -> Self {
        Output {
            route: said.route,
            data: said.data,
        }
    }
}

impl From<types::Metric> for Metric {
    fn from(said: types::Metric) -> Self {
        let value = match said.value {
            types::Measure::Count(count) => Measure::Count(count),
            types::Measure::Sample(sample) => Measure::Sample(sample),
        };
        Metric {
            name: said.name,
            key: said.key,
            value,
        }
    }
}
