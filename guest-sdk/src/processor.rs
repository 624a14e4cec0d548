//! The trait that a plugin implements.

use serde::{Serialize, de::DeserializeOwned};

use crate::batch::Batch;
use crate::closing::Closing;
use crate::error::{Error, Result};
use crate::line::{Line, Lines};
use crate::request::{Counts, Request};

/// A plugin. Implement [`line`](Processor::line) (or [`batch`](Processor::batch)); the rest is there
/// when it is needed.
///
/// Several instances work on one request at once, each on its own batches, each made with
/// `default` and [opened](Processor::open) before its first batch; none outlives the request. An
/// instance may keep what helps it (a connection, a buffer), but what a line means must not
/// depend on which instance sees it.
pub trait Processor: Default + 'static {
    /// What [`pre`](Processor::pre) hands to every instance; `()` for nothing.
    type Context: Default + Serialize + DeserializeOwned;

    /// What a batch adds to the request's aggregate; `()` for none. Its default adds nothing.
    type Partial: Default + Serialize + DeserializeOwned;

    /// Once for each request, before anything else: the place to check settings and to fetch
    /// what every instance needs. When it fails, nothing of the source is read.
    fn pre(request: &Request) -> Result<Self::Context> {
        let _ = request;
        Ok(Self::Context::default())
    }

    /// Once for each instance, before its first batch.
    fn open(&mut self, context: Self::Context) -> Result<()> {
        let _ = context;
        Ok(())
    }

    /// Runs one line. A line that fails leaves nothing of what it wrote or measured; only
    /// [`Batch::partial`] cannot be taken back, so touch it last. For lines of a few bytes, mark
    /// it `#[inline]`: the call costs as much as the line.
    fn line(&mut self, line: Line<'_>, batch: &mut Batch<Self::Partial>) -> Result<()> {
        let _ = (line, batch);
        Err(Error::fatal(
            "the plugin implements neither `line` nor `batch`",
        ))
    }

    /// Runs one batch: by default, [`line`](Processor::line) on each of its lines until time runs
    /// out. Implement it for what is better done for many lines at once, such as one look-up for
    /// all of them; then say which lines failed with [`Batch::fault`]. An error is the failure of
    /// every line of the batch.
    fn batch(&mut self, lines: Lines<'_>, batch: &mut Batch<Self::Partial>) -> Result<()> {
        batch.each(lines, |line, batch| self.line(line, batch))
    }

    /// Adds one partial to another that stands before it in line order. The grouping is the
    /// host's choice: `(a + b) + c` must be `a + (b + c)`.
    fn merge(into: &mut Self::Partial, from: Self::Partial) -> Result<()> {
        let _ = (into, from);
        Err(Error::fatal(
            "the plugin has partials, but does not implement `merge`",
        ))
    }

    /// Once for each request, after its last batch. When it fails, nothing of the request
    /// becomes visible.
    fn post(
        request: &Request,
        counts: &Counts,
        total: Self::Partial,
        closing: &mut Closing,
    ) -> Result<()> {
        let _ = (request, counts, total, closing);
        Ok(())
    }
}
