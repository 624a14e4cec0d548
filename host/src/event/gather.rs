//! What an event's records come to: tasks, of which neighbours are joined, refusals, and what is skipped.

use std::collections::HashSet;

use crate::body::Body;
use crate::request::{Request, is_sidecar};

use super::field::shown;
use super::name::{self, Name};
use super::payload::IDENTITY;
use super::{Event, EventError, EventKind, Refused, Task};

/// What brings an object's name or lines: a record, or the event as a whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Carrier {
    /// Where it stands in the event, as the beginning of a path: `Records[3].body.`.
    path: String,
    /// What the platform calls it, where it wants to be told about it.
    pub(super) record: Option<String>,
    /// The FIFO group or shard.
    pub(super) group: Option<String>,
    /// How often it was delivered before.
    pub(super) attempt: u32,
}

impl Carrier {
    /// The same, for what stands in the field `step`.
    pub(super) fn inside(&self, step: &str) -> Carrier {
        Carrier {
            path: format!("{}{step}.", self.path),
            ..self.clone()
        }
    }

    /// The same, known to the platform by this name, unless it is in another record that is.
    pub(super) fn named(mut self, record: Option<&str>, group: Option<&str>, attempt: u32) -> Self {
        if self.record.is_none() {
            self.record = record.map(str::to_owned);
            self.group = group.map(str::to_owned);
            self.attempt = attempt;
        }
        self
    }
}

/// Lines that a record brings.
pub(super) struct Lines {
    pub(super) name: Name,
    pub(super) attributes: Vec<(String, String)>,
    /// How they are compressed, if they are.
    pub(super) encoding: Option<String>,
    pub(super) bytes: Vec<u8>,
}

/// Collects what an event's records come to.
///
/// Invariant: `open` is younger than all `tasks`, and nothing but a record that joins it comes without closing it
/// first, so that tasks are in the order of the records.
#[derive(Default)]
pub(super) struct Gather {
    tasks: Vec<Task>,
    open: Option<Open>,
    refused: Vec<Refused>,
    skipped: Vec<String>,
    /// Groups in which a record was refused: what follows it waits with it.
    blocked: HashSet<String>,
}

/// Lines that those of the next record may join.
struct Open {
    lines: Lines,
    records: Vec<String>,
    group: Option<String>,
    attempt: u32,
}

impl Open {
    fn takes(&self, lines: &Lines, carrier: &Carrier) -> bool {
        self.lines.name.continues_with(&lines.name)
            && lines.encoding.is_none()
            && self.lines.encoding.is_none()
            && self.lines.attributes == lines.attributes
            && self.attempt == carrier.attempt
            && self.group == carrier.group
    }
}

impl Gather {
    /// What came of it.
    pub(super) fn event(mut self, kind: EventKind) -> Event {
        self.close();
        Event {
            kind,
            tasks: self.tasks,
            refused: self.refused,
            skipped: self.skipped,
        }
    }

    /// Nothing is to be done, and why.
    pub(super) fn skip(&mut self, why: String) {
        self.skipped.push(why);
    }

    /// The carrier cannot be understood.
    pub(super) fn refuse(&mut self, carrier: &Carrier, error: EventError) {
        self.close();
        self.blocked.extend(carrier.group.clone());
        self.refused.push(Refused {
            record: carrier.record.clone(),
            error: error.within(&carrier.path),
        });
    }

    /// Whether an earlier record of its group was refused: to run it now would be out of turn, and the platform
    /// sends it again with the other.
    pub(super) fn holds_back(&self, carrier: &Carrier) -> bool {
        let group = carrier.group.as_ref();
        group.is_some_and(|group| self.blocked.contains(group))
    }

    /// A request over an object or other source that is read.
    pub(super) fn request(&mut self, mut request: Request, carrier: &Carrier) {
        self.close();
        request.attempt = request.attempt.max(carrier.attempt);
        self.tasks.push(Task {
            request,
            records: carrier.record.iter().cloned().collect(),
            group: carrier.group.clone(),
        });
    }

    /// An object that a platform says is new; `key` is what it is called, with nothing encoded in it.
    pub(super) fn object(
        &mut self,
        scheme: &str,
        bucket: &str,
        key: &str,
        carrier: &Carrier,
    ) -> Result<(), String> {
        name::check_bucket(bucket)?;
        if key.is_empty() {
            return Err("the object has no name".to_owned());
        }
        let url = format!("{scheme}://{bucket}/{key}");
        if key.ends_with('/') {
            self.skip(format!("{}: a folder", shown(&url)));
        } else if is_sidecar(&url) {
            self.skip(format!("{}: a list of faults", shown(&url)));
        } else {
            self.request(Request::new(url), carrier);
        }
        Ok(())
    }

    /// Lines, which join those of the record before if nothing but the name of the record tells them apart.
    pub(super) fn lines(&mut self, mut lines: Lines, carrier: &Carrier) {
        if lines.encoding.is_none() {
            end_line(&mut lines.bytes);
        }
        if let Some(open) = self.open.as_mut()
            && open.takes(&lines, carrier)
        {
            open.lines.bytes.append(&mut lines.bytes);
            // A record that brings two messages is still one record.
            if open.records.last() != carrier.record.as_ref() {
                open.records.extend(carrier.record.clone());
            }
            return;
        }
        self.close();
        self.open = Some(Open {
            lines,
            records: carrier.record.iter().cloned().collect(),
            group: carrier.group.clone(),
            attempt: carrier.attempt,
        });
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        // Without it, the suffix of a name would decide.
        let encoding = open.lines.encoding.as_deref().unwrap_or(IDENTITY);
        let body = Body::bytes(open.lines.bytes).encoded(encoding);
        let mut request = Request::with_body(open.lines.name.url(), body);
        request.attempt = request.attempt.max(open.attempt);
        request.attributes = open.lines.attributes;
        self.tasks.push(Task {
            request,
            records: open.records,
            group: open.group,
        });
    }
}

/// The last line may lack its end, and another one is to follow.
fn end_line(bytes: &mut Vec<u8>) {
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
}
