//! What wit-bindgen makes of `wit/`: the same types in a component and in native tests.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::undocumented_unsafe_blocks
)]

wit_bindgen::generate!({
    world: "reducing-plugin",
    path: "../wit",
    pub_export_macro: true,
});

pub(crate) use exports::linemill::plugin::processor::{Closing, Counts, Failure, Outcome, Request};
#[cfg(target_arch = "wasm32")]
pub(crate) use linemill::plugin::host;
pub(crate) use linemill::plugin::types::{Fault, FaultKind, Measure, Metric, Output};
