//! The only place that knows wasmtime: plugins in, calls out, and every limit on what they may do.

mod cache;
mod compiled;
mod contract;
mod engine;
mod instance;
mod linker;
mod plugin;
mod said;
mod state;
mod stdio;
mod threads;

pub use compiled::Compiled;
pub use engine::{Limits, Runtime};
pub use instance::{Call, GuestContext, Instance, Returned};
pub use plugin::{Extern, Inspection, Plugin, digest};
