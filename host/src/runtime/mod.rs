//! The only place that knows wasmtime: plugins in, calls out, and every limit on what they may do.

mod answers;
mod cache;
mod compiled;
mod contract;
mod engine;
mod granted;
mod http;
mod instance;
mod linker;
mod network;
mod plugin;
mod said;
mod state;
mod stdio;
mod taped;
mod taped_http;
mod threads;

pub use answers::{
    Answer, Answering, Answers, Body as HttpBody, HttpFailure, HttpFailureKind, Patience, Question,
};
pub use compiled::Compiled;
pub use engine::{ENGINE, Limits, Runtime};
pub use instance::{Call, GuestContext, Instance, Returned};
pub use plugin::{Extern, Inspection, Plugin, digest};
