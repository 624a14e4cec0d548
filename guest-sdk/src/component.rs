//! From the component's exports to [`Processor`]; native tests take the same way.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::batch::Batch;
use crate::bindings::{self, Failure, Outcome};
use crate::closing::Closing;
use crate::error::{Blame, Error, Result};
use crate::host;
use crate::line::Lines;
use crate::pace::Pace;
use crate::processor::Processor;
use crate::request::Request;

/// Where a component keeps its instance of the plugin: nothing until the first batch.
pub type Slot<P> = RefCell<Option<Instance<P>>>;

/// An opened plugin, and what its batches were like.
#[derive(Debug)]
pub struct Instance<P> {
    processor: P,
    pace: Pace,
    /// Bytes that the last batch wrote: about what the next one will.
    written: usize,
}

/// A plugin that [`export!`](crate::export) gave a slot.
pub trait Exported: Processor {
    /// Hands out the slot.
    fn with_slot<T>(run: impl FnOnce(&Slot<Self>) -> T) -> T;
}

/// The component that exports `P`.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Exported> bindings::exports::linemill::plugin::processor::Guest for Component<P> {
    fn pre(request: bindings::Request) -> Result<Vec<u8>, Failure> {
        pre::<P>(&request.into())
    }

    fn process(first_line: u64, lines: Vec<u8>) -> Result<Outcome, Failure> {
        P::with_slot(|slot| process(slot, first_line, &lines))
    }

    fn post(
        request: bindings::Request,
        counts: bindings::Counts,
        partials: Vec<Vec<u8>>,
    ) -> Result<bindings::Closing, Failure> {
        post::<P>(&request.into(), counts, &partials)
    }
}

impl<P: Exported> bindings::exports::linemill::plugin::reducer::Guest for Component<P> {
    fn merge(partials: Vec<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        merge::<P>(&partials)
    }
}

pub(crate) fn pre<P: Processor>(request: &Request) -> Result<Vec<u8>, Failure> {
    let context = P::pre(request).map_err(Error::into_failure)?;
    encode(&context).map_err(Error::into_failure)
}

pub(crate) fn process<P: Processor>(
    slot: &Slot<P>,
    first_line: u64,
    lines: &[u8],
) -> Result<Outcome, Failure> {
    let slot = &mut *slot.borrow_mut();
    run_batch(slot, first_line, lines).map_err(Error::into_failure)
}

fn run_batch<P: Processor>(
    slot: &mut Option<Instance<P>>,
    first_line: u64,
    lines: &[u8],
) -> Result<Outcome> {
    let instance = match slot {
        Some(instance) => instance,
        none => none.insert(open()?),
    };
    let pace = std::mem::take(&mut instance.pace);
    let mut batch = Batch::new(pace, instance.written);
    let ran = (instance.processor).batch(Lines::new(first_line, lines), &mut batch);
    instance.pace = batch.take_pace();
    instance.written = batch.written();
    ran?;
    batch.into_outcome(lines)
}

fn open<P: Processor>() -> Result<Instance<P>> {
    let context = match size_of::<P::Context>() {
        0 => P::Context::default(),
        _ => decode(&host::context()).fatal_with(|| "the context of `pre`")?,
    };
    let mut processor = P::default();
    processor.open(context)?;
    Ok(Instance {
        processor,
        pace: Pace::default(),
        written: 0,
    })
}

pub(crate) fn merge<P: Processor>(partials: &[Vec<u8>]) -> Result<Vec<u8>, Failure> {
    total::<P>(partials)
        .and_then(|total| encode(&total))
        .map_err(Error::into_failure)
}

pub(crate) fn post<P: Processor>(
    request: &Request,
    counts: bindings::Counts,
    partials: &[Vec<u8>],
) -> Result<bindings::Closing, Failure> {
    let mut closing = Closing::default();
    total::<P>(partials)
        .and_then(|total| P::post(request, &counts.into(), total, &mut closing))
        .map_err(Error::into_failure)?;
    Ok(closing.into_wit())
}

/// All partials in one; without any, the one that adds nothing.
pub(crate) fn total<P: Processor>(partials: &[Vec<u8>]) -> Result<P::Partial> {
    let mut partials = partials.iter().map(|bytes| decode(bytes));
    let Some(first) = partials.next() else {
        return Ok(P::Partial::default());
    };
    let mut total = first?;
    for partial in partials {
        P::merge(&mut total, partial?)?;
    }
    Ok(total)
}

pub(crate) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    postcard::to_allocvec(value).fatal_with(|| "cannot encode")
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes).fatal_with(|| "cannot decode")
}

/// Makes the component: `linemill_sdk::export!(Sum);`, once in a crate. In a native build it
/// does nothing.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static SLOT: $crate::component::Slot<$plugin> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            impl $crate::component::Exported for $plugin {
                fn with_slot<T>(
                    run: impl ::std::ops::FnOnce(&$crate::component::Slot<Self>) -> T,
                ) -> T {
                    SLOT.with(run)
                }
            }

            type Component = $crate::component::Component<$plugin>;
    $crate::bindings::export!(Component with_types_in $crate::bindings);
        };
    };
}
