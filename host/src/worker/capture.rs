//! Sees how calls fail, and makes sure that a fresh instance fails so too: only that can be replayed elsewhere.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::{Called, Run, Worker};
use crate::capsule::{Capture, Ended, Keeper, Recorded};

/// What is known of the failures of a batch.
pub(super) struct Witness {
    keeper: Arc<Keeper>,
    /// Seen in a fresh instance, and small as they are.
    kept: Vec<Capture>,
    /// Parts that trapped in a fresh instance, as long as nothing smaller in them did.
    parts: Vec<Capture>,
    /// Not seen in a fresh instance alone.
    doubts: Vec<Doubt>,
}

/// A failure that is to be seen again.
struct Doubt {
    /// What the call was given.
    lines: Range<usize>,
    ended: Ended,
    /// What the host answered, if the instance was fresh.
    fresh: Option<Recorded>,
}

impl Witness {
    pub(super) fn new(keeper: Arc<Keeper>) -> Self {
        Witness {
            keeper,
            kept: Vec::new(),
            parts: Vec::new(),
            doubts: Vec::new(),
        }
    }

    /// Looks at a call that was given `lines`.
    pub(super) fn saw(&mut self, lines: &Range<usize>, called: &Called) {
        match &called.returned {
            Err(trap) => self.saw_trap(lines, Ended::trap(trap), &called.fresh),
            Ok(_) if !self.keeper.faults => {}
            Ok(Err(failure)) => {
                let ended = Ended::failure(failure, called.fuel);
                self.saw_fault(lines, ended, &called.fresh);
            }
            Ok(Ok(outcome)) => {
                for fault in &outcome.faults {
                    let index = Some(fault.line);
                    let ended = Ended::of(&called.returned, called.fuel, index);
                    self.saw_fault(lines, ended, &called.fresh);
                }
            }
        }
    }

    fn saw_trap(&mut self, lines: &Range<usize>, ended: Ended, fresh: &Option<Recorded>) {
        let alone = lines.len() == 1;
        if ended.depends_on_time() {
            return if alone {
                self.keeper.depended_on_time();
            };
        }
        let lines = lines.clone();
        match fresh {
            Some(recorded) => {
                let holds =
                    |other: &Range<usize>| other.start <= lines.start && lines.end <= other.end;
                self.parts.retain(|part| !holds(&part.lines));
                // A line that is blamed stays so, whatever came of those behind it in its call.
                self.doubts
                    .retain(|doubt| doubt.ended.index().is_some() || !holds(&doubt.lines));
                let capture = Capture {
                    lines,
                    ended,
                    recorded: recorded.clone(),
                };
                if !alone {
                    self.parts.push(capture);
                } else if self.keeper.take() {
                    self.kept.push(capture);
                }
            }
            // A line alone is run again in a fresh instance in any case.
            None if alone => {}
            None => self.doubts.push(Doubt {
                lines,
                ended,
                fresh: None,
            }),
        }
    }

    fn saw_fault(&mut self, lines: &Range<usize>, ended: Ended, fresh: &Option<Recorded>) {
        if !self.keeper.take() {
            return;
        }
        let lines = lines.clone();
        match fresh {
            Some(recorded) if lines.len() == 1 => self.kept.push(Capture {
                lines,
                ended,
                recorded: recorded.clone(),
            }),
            fresh => self.doubts.push(Doubt {
                lines,
                ended,
                fresh: fresh.clone(),
            }),
        }
    }
}

impl Worker {
    /// The failures that can be replayed: those that a fresh instance shows.
    pub(super) async fn capture(&mut self, run: &mut Run<'_>, witness: Witness) -> Vec<Capture> {
        let keeper = witness.keeper;
        let mut captures = witness.kept;
        captures.extend(witness.parts.into_iter().filter(|_| keeper.take()));
        for doubt in witness.doubts {
            let trapped = matches!(doubt.ended, Ended::Trap { .. });
            if trapped && !keeper.take() {
                continue;
            }
            match self.see_again(run, &keeper, doubt).await {
                Some(capture) => captures.push(capture),
                None => keeper.came_not_again(),
            }
        }
        captures.sort_by_key(|capture| capture.lines.start);
        captures
    }

    /// Runs the line that is blamed alone, then with those before it in its call.
    async fn see_again(
        &mut self,
        run: &mut Run<'_>,
        keeper: &Keeper,
        doubt: Doubt,
    ) -> Option<Capture> {
        let Doubt {
            lines,
            ended,
            fresh,
        } = doubt;
        if let Some(index) = ended.index() {
            let line = lines.start + index;
            let alone = self.run_again(run, keeper, line..line + 1, &ended).await;
            if alone.is_some() {
                return alone;
            }
        }
        if let Some(recorded) = fresh {
            return Some(Capture {
                lines,
                ended,
                recorded,
            });
        }
        let end = ended
            .index()
            .map_or(lines.end, |index| lines.start + index + 1);
        self.run_again(run, keeper, lines.start..end, &ended).await
    }

    /// Runs `lines` in a fresh instance, to see whether they end like that.
    async fn run_again(
        &mut self,
        run: &mut Run<'_>,
        keeper: &Keeper,
        lines: Range<usize>,
        expected: &Ended,
    ) -> Option<Capture> {
        let time = keeper.time_again()?;
        run.find_line_ends(&lines);
        let bytes = run.bytes(&lines);
        let start = Instant::now();
        let mut call = self.shop.batch_call(bytes.len());
        call.until = call.until.min(start + time);
        self.instance = None;
        let first_line = run.batch.first_line + lines.start as u64;
        let called = self.process(first_line, bytes, lines.len(), &call).await;
        keeper.spent(start.elapsed());
        run.done.fuel += called.fuel;
        let index = expected.index().map(|_| lines.len() - 1);
        let ended = Ended::of(&called.returned, called.fuel, index);
        ended.says_the_same(expected).then(|| Capture {
            lines,
            ended,
            recorded: called.fresh.unwrap_or_default(),
        })
    }
}
