//! What is left of a request when work has stopped, and how it is handed over.

use std::time::Instant;

use super::work::{Feeding, Worked};
use super::{FEED_GRACE, Run};
use crate::error::{Error, Result};
use crate::feed::{Fed, Position};
use crate::handover::{self, Left};
use crate::redrive::Redrive;
use crate::request::RequestError;
use crate::stop::Reason;

/// What was read and not loaded: where it begins, and how many lines it is.
#[derive(Default)]
struct Leftover {
    /// Offset and number of its first line.
    first: Option<(u64, u64)>,
    lines: u64,
}

impl Run {
    /// Hands over what was not loaded, by pointer or by copy. Gives back the pointer, and whether the source was
    /// read to its end.
    pub(super) async fn hand_over(
        &mut self,
        mut worked: Worked,
    ) -> Result<(Option<Vec<u8>>, bool)> {
        let copies = handover::copies(&self.request, &self.host.config);
        let mut left = Leftover::default();
        for item in std::mem::take(&mut worked.left) {
            self.leave(&mut left, item, copies).await?;
        }
        self.join_feed(&mut worked, &mut left, copies).await?;
        let position = worked.position.lock();
        let position = position.expect("nothing panics while it is held").clone();
        self.request.source.etag.clone_from(&position.etag);
        if let Some(redrive) = self.request.source.redrive.clone() {
            let ended = matches!(worked.feeding, Feeding::Ended(Fed { all: true, .. }));
            if ended && left.first.is_none() {
                self.check_all_loaded(position.line)?;
            }
            return self.write_rest(&redrive).await;
        }
        match worked.feeding {
            Feeding::Ended(Fed { all: true, .. }) if left.first.is_none() => {
                self.check_all_loaded(position.line)?;
                Ok((None, true))
            }
            feeding if copies => self.copy_rest(feeding, left.lines).await,
            feeding => self.point_at_rest(feeding, &left, &position).await,
        }
    }

    /// Copies an item that was read and not loaded, or lets go of it.
    async fn leave(&mut self, left: &mut Leftover, item: Left, copies: bool) -> Result<()> {
        left.first.get_or_insert(item.position());
        left.lines += match copies {
            true => handover::copy_left(&mut self.router, item).await?,
            false => item.lines(),
        };
        Ok(())
    }

    /// Waits for the feed to end. Pieces of a long line that it waits to be rid of are taken.
    async fn join_feed(
        &mut self,
        worked: &mut Worked,
        left: &mut Leftover,
        copies: bool,
    ) -> Result<()> {
        let soon = Instant::now() + FEED_GRACE;
        // Until it is open nobody knows which version a pointer points at, or whether there is any.
        let until = match worked
            .position
            .lock()
            .expect("nothing panics while it is held")
            .opened
        {
            true => soon,
            false => soon.max(handover::until(&self.deadline, &self.shop.stop)),
        };
        let until = tokio::time::Instant::from_std(until);
        while let Feeding::Running(_) = worked.feeding {
            tokio::select! {
                biased;
                Some(event) = worked.arriving.recv() => {
                    if let Some(long) = Left::of(event) {
                        self.leave(left, long, copies).await?;
                    }
                }
                fed = worked.feeding.join() => worked.feeding = Feeding::Ended(fed?),
                () = tokio::time::sleep_until(until) => break,
            }
        }
        while let Ok(event) = worked.arriving.try_recv() {
            if let Some(long) = Left::of(event) {
                self.leave(left, long, copies).await?;
            }
        }
        Ok(())
    }

    async fn copy_rest(
        &mut self,
        feeding: Feeding,
        copied: u64,
    ) -> Result<(Option<Vec<u8>>, bool)> {
        self.left = true;
        let until = handover::until(&self.deadline, &self.shop.stop);
        let (lines, ended) = match feeding {
            Feeding::Running(_) => return Err(handover::not_copied()),
            Feeding::Ended(Fed { all: true, .. }) => (0, true),
            Feeding::Ended(Fed { feed, .. }) => {
                handover::copy_rest(&mut self.router, feed, until).await?
            }
        };
        self.router.end_unread().await?;
        self.unread = ended.then_some(copied + lines);
        handover::check_copied(&self.request, ended, &mut self.router.errors)?;
        Ok((None, ended))
    }

    async fn point_at_rest(
        &mut self,
        feeding: Feeding,
        left: &Leftover,
        position: &Position,
    ) -> Result<(Option<Vec<u8>>, bool)> {
        let until = handover::until(&self.deadline, &self.shop.stop);
        let behind = match feeding {
            Feeding::Running(_) => None,
            Feeding::Ended(Fed { all: true, .. }) => Some(0),
            Feeding::Ended(Fed { feed, .. }) => handover::count_rest(feed, until).await?,
        };
        if behind == Some(0) && left.first.is_none() {
            // Work stopped just as the last line was loaded.
            return Ok((None, true));
        }
        self.left = true;
        self.unread = behind.map(|lines| lines + left.lines);
        let (offset, line) = left.first.unwrap_or((position.offset, position.line));
        let pointer = self.request.leftover(&self.host.cwd, offset, line);
        let invalid =
            |error: RequestError| Error::invalid("the rest of the source", error.to_string());
        Ok((Some(pointer.map_err(invalid)?.to_json()), false))
    }

    /// Of lines that are run again nothing is pointed at: what was not run of their object is written on beside it.
    async fn write_rest(&mut self, redrive: &Redrive) -> Result<(Option<Vec<u8>>, bool)> {
        match self.shop.stop.reason() {
            Some(Reason::Fatal(why)) => {
                let hint = "all lines are as they were, to be run again when that is mended";
                return Err(Error::unfit(why, hint));
            }
            Some(Reason::Systemic(why)) => {
                let hint = "all lines are as they were; if they and not the plugin are at fault, set trap_ratio_max = 1";
                return Err(Error::unfit(why, hint));
            }
            Some(Reason::Interrupted) | None => {}
        }
        let loaded = self.router.counts.loaded;
        let Some(unread) = redrive.len().checked_sub(loaded) else {
            let chosen = redrive.len();
            return Err(self.unbalanced(&format!("{chosen} lines were to be run")));
        };
        if loaded == 0 {
            return Err(Error::Timeout {
                action: "run a line again; all is as it was".to_owned(),
            });
        }
        self.left = unread > 0;
        self.unread = Some(unread);
        let source = &self.request.source;
        if let Some(rest) = redrive.rest(&self.host.storage, source, loaded).await? {
            self.rest = Some(rest.count);
            self.router.put_rest(rest);
        }
        Ok((None, true))
    }

    /// The reader has counted the lines too: both must have come to the same.
    fn check_all_loaded(&self, line: u64) -> Result<()> {
        let read = line - self.request.source.first_line;
        let redrive = self.request.source.redrive.as_ref();
        let chosen = redrive.map_or(read, |redrive| redrive.len());
        match read == self.router.counts.loaded && read == chosen {
            true => Ok(()),
            false => Err(self.unbalanced(&format!("{read} lines were read"))),
        }
    }
}
