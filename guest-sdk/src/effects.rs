//! What a call wrote and measured, and how a failed line takes its share back.

use crate::bindings;
use crate::metrics::Metrics;
use crate::output::Output;

/// What a call wrote and measured.
///
/// What the current step (a line) did is pending until [`Effects::keep`] or [`Effects::undo`]: for the
/// main output that is what lies beyond `kept`; for the rest `dirty` tells whether there is any, so that a
/// line that only writes to the main output costs one store.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) main: Output,
    kept: usize,
    dirty: bool,
    routes: Vec<Route>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Route {
    name: String,
    output: Output,
    kept: usize,
}

impl Effects {
    pub(crate) fn route(&mut self, name: &str) -> &mut Output {
        if name.is_empty() {
            return &mut self.main;
        }
        self.dirty = true;
        let known = self.routes.iter().position(|route| route.name == name);
        let at = known.unwrap_or_else(|| {
            self.routes.push(Route {
                name: name.to_owned(),
                output: Output::default(),
                kept: 0,
            });
            self.routes.len() - 1
        });
        &mut self.routes[at].output
    }

    pub(crate) fn count(&mut self, name: &str, key: &str, n: i64) {
        self.dirty = true;
        self.metrics.count(name, key, n);
    }

    pub(crate) fn sample(&mut self, name: &str, key: &str, value: f64) {
        self.dirty = true;
        self.metrics.sample(name, key, value);
    }

    /// The step succeeded: what it did stays.
    #[inline]
    pub(crate) fn keep(&mut self) {
        self.kept = self.main.len();
        if self.dirty {
            self.keep_rest();
        }
    }

    fn keep_rest(&mut self) {
        for route in &mut self.routes {
            route.kept = route.output.len();
        }
        self.metrics.keep();
        self.dirty = false;
    }

    /// The step failed: what it did never happened.
    #[cold]
    pub(crate) fn undo(&mut self) {
        self.main.truncate(self.kept);
        for route in &mut self.routes {
            route.output.truncate(route.kept);
        }
        self.metrics.drop_pending();
        self.dirty = false;
    }

    /// What is left of it all, for the host; outputs without a byte are left out.
    pub(crate) fn into_wit(mut self) -> (Vec<bindings::Output>, Vec<bindings::Metric>) {
        self.keep();
        let main = (String::new(), self.main);
        let routes = self
            .routes
            .into_iter()
            .map(|route| (route.name, route.output));
        let outputs = std::iter::once(main)
            .chain(routes)
            .filter(|(_, output)| output.len() > 0)
            .map(|(route, output)| bindings::Output {
                route,
                data: output.into_bytes(),
            });
        (outputs.collect(), self.metrics.into_wit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undo_takes_back_every_output_and_metric_of_the_step() {
        let mut effects = Effects::default();
        effects.main.emit("a");
        effects.route("r").emit("b");
        effects.count("n", "", 1);
        effects.keep();
        effects.route("").emit("A");
        effects.route("r").emit("B");
        effects.route("new").emit("C");
        effects.count("n", "", 5);
        effects.sample("s", "", 5.0);
        effects.undo();
        effects.route("r").emit("c");

        let (outputs, metrics) = effects.into_wit();
        let outputs: Vec<_> = (outputs.iter())
            .map(|output| (output.route.as_str(), output.data.as_slice()))
            .collect();
        assert_eq!(outputs, [("", &b"a"[..]), ("r", b"bc")]);
        assert_eq!(metrics.len(), 1);
    }
}
