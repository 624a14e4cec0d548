//! What the page shows: the last run that came to its end, and what goes on now. Whoever watches is told of changes.

use std::sync::{Arc, Mutex};

use anyhow::Error;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::trial::Trial;
use super::view;

/// The state of affairs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Board {
    shared: Arc<Shared>,
}

struct Shared {
    /// Names this process: a page that was open before another was started takes nothing for known.
    session: String,
    about: Value,
    kept: Mutex<Kept>,
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    /// `running`, `ready` or `broken`.
    state: &'static str,
    /// Why it is broken.
    error: Option<String>,
    /// The last run, and how it is shown.
    last: Option<(Arc<Trial>, Value)>,
}

impl Board {
    /// `about`: what the page says of itself.
    pub(super) fn new(about: Value) -> Self {
        let kept = Kept {
            state: "running",
            ..Kept::default()
        };
        Board {
            shared: Arc::new(Shared {
                session: uuid::Uuid::new_v4().to_string(),
                about,
                kept: Mutex::new(kept),
                version: watch::Sender::new(1),
            }),
        }
    }

    /// A run begins.
    pub(super) fn running(&self) {
        self.change(|kept| kept.state = "running");
    }

    /// There is nothing new: the last run holds.
    pub(super) fn unchanged(&self) {
        self.change(|kept| {
            kept.state = "ready";
            kept.error = None;
        });
    }

    /// A run came to its end.
    pub(super) fn ready(&self, trial: Trial) {
        let before = self.last();
        let shown = view::view(&trial, before.as_deref());
        self.change(|kept| {
            kept.state = "ready";
            kept.error = None;
            kept.last = Some((Arc::new(trial), shown));
        });
    }

    /// There can be no run now; what the last one did stays.
    pub(super) fn broken(&self, error: &Error) {
        let error = crate::entry::shown::text(format!("{error:#}").as_bytes(), 4000).to_string();
        self.change(|kept| {
            kept.state = "broken";
            kept.error = Some(error);
        });
    }

    fn last(&self) -> Option<Arc<Trial>> {
        let kept = self.shared.kept.lock();
        let kept = kept.expect("nothing panics while it is held");
        kept.last.as_ref().map(|(trial, _)| trial.clone())
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let kept = self.shared.kept.lock();
        change(&mut kept.expect("nothing panics while it is held"));
        self.shared.version.send_modify(|version| *version += 1);
    }

    /// Tells of changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// Which state of which process it is.
    pub(super) fn version(&self) -> String {
        format!("{}-{}", self.shared.session, *self.shared.version.borrow())
    }

    /// All that the page shows, as JSON.
    pub(super) fn json(&self) -> String {
        let kept = self.shared.kept.lock();
        let kept = kept.expect("nothing panics while it is held");
        json!({
            "version": self.version(),
            "about": self.shared.about,
            "state": kept.state,
            "error": kept.error,
            "run": kept.last.as_ref().map(|(_, shown)| shown),
        })
        .to_string()
    }
}
