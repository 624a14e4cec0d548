//! Puts what workers finish in any order back into line order. Pure.

use std::collections::BTreeMap;

use crate::pool::Event;

/// Events that wait for an earlier one.
pub struct Order {
    ordered: bool,
    next: u64,
    waiting: BTreeMap<u64, Event>,
}

impl Order {
    /// `ordered`: events come out in the order of the source; otherwise as they come.
    pub fn new(ordered: bool) -> Self {
        Order {
            ordered,
            next: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Puts one in.
    pub fn push(&mut self, event: Event) {
        self.waiting.insert(event.seq(), event);
    }

    /// The next one whose turn it is.
    pub fn pop(&mut self) -> Option<Event> {
        let (&seq, _) = self.waiting.first_key_value()?;
        if self.ordered && seq != self.next {
            return None;
        }
        self.next = self.next.max(seq + 1);
        self.waiting.remove(&seq)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that still wait, by their place.
    pub fn into_rest(self) -> BTreeMap<u64, Event> {
        self.waiting
    }
}
