//! What `post` adds once every batch is in.

use std::io::{self, Write};

use crate::bindings;
use crate::effects::Effects;
use crate::output::Output;

/// What [`Processor::post`](crate::Processor::post) adds once every batch is in.
/// As a writer it writes to the request's own destination.
#[derive(Debug, Default)]
pub struct Closing {
    effects: Effects,
}

impl Closing {
    /// Appends `bytes` to the request's own destination.
    pub fn emit(&mut self, bytes: impl AsRef<[u8]>) {
        self.effects.main.emit(bytes);
    }

    /// Appends `bytes` and a line end to the request's own destination.
    pub fn emit_line(&mut self, bytes: impl AsRef<[u8]>) {
        self.effects.main.emit_line(bytes);
    }

    /// The output to a named route of the configuration.
    pub fn route(&mut self, name: &str) -> &mut Output {
        self.effects.route(name)
    }

    /// Adds `n` to a count; see [`Batch::count`](crate::Batch::count).
    pub fn count(&mut self, name: &str, key: &str, n: i64) {
        self.effects.count(name, key, n);
    }

    /// Adds a sample; see [`Batch::sample`](crate::Batch::sample).
    pub fn sample(&mut self, name: &str, key: &str, value: f64) {
        self.effects.sample(name, key, value);
    }

    pub(crate) fn into_wit(self) -> bindings::Closing {
        let (outputs, metrics) = self.effects.into_wit();
        bindings::Closing { outputs, metrics }
    }
}

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.effects.main.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
