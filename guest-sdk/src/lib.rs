//! Write a linemill plugin in Rust: implement [`Processor`], [`export!`] it, test it natively.
//!
//! ```
//! use linemill_sdk::{Batch, Closing, Counts, Line, Processor, Request, Result};
//! use std::io::Write;
//!
//! /// Writes each line in capitals, and how many there were at the end.
//! #[derive(Default)]
//! struct Shout;
//!
//! impl Processor for Shout {
//!     type Context = ();
//!     type Partial = u64;
//!
//!     fn line(&mut self, line: Line<'_>, batch: &mut Batch<u64>) -> Result<()> {
//!         batch.emit_line(line.as_str()?.to_uppercase());
//!         *batch.partial() += 1;
//!         Ok(())
//!     }
//!
//!     fn merge(into: &mut u64, from: u64) -> Result<()> {
//!         *into += from;
//!         Ok(())
//!     }
//!
//!     fn post(_: &Request, _: &Counts, total: u64, closing: &mut Closing) -> Result<()> {
//!         writeln!(closing, "{total} lines")?;
//!         Ok(())
//!     }
//! }
//!
//! linemill_sdk::export!(Shout);
//!
//! let report = linemill_sdk::testing::run::<Shout>("to be\nor not\n");
//! assert_eq!(report.text(""), "TO BE\nOR NOT\n2 lines\n");
//! ```
//!
//! Built with `--target wasm32-wasip2` as a `cdylib`, that is a plugin.
//!
//! # Errors
//!
//! `?` works. An ordinary error means that running the line again may help; [`Blame::corrupt`]
//! says that the data are at fault; [`fatal!`] stops the request:
//!
//! ```
//! # use linemill_sdk::{Blame, Line, Result, corrupt};
//! # fn look_up(_: u32) -> std::io::Result<Option<String>> { Ok(None) }
//! fn name_of(line: Line<'_>) -> Result<String> {
//!     let id: u32 = line.as_str()?.parse().corrupt_with(|| "the id")?; // never again
//!     let name = look_up(id)?; // again, later
//!     name.ok_or_else(|| corrupt!("nobody has id {id}"))
//! }
//! ```
//!
//! A line that fails leaves nothing of what it emitted, counted or sampled. Only the partial
//! cannot be taken back, so touch it last. A panic is contained too, but costs the host an
//! instance and several runs of the batch: prefer an error.

mod batch;
#[doc(hidden)]
pub mod bindings;
mod closing;
#[doc(hidden)]
pub mod component;
mod effects;
mod error;
mod host;
#[cfg(feature = "http")]
pub mod http;
mod integer;
mod line;
mod metrics;
mod output;
mod pace;
mod processor;
mod request;
pub mod testing;

pub use batch::Batch;
pub use closing::Closing;
pub use error::{Blame, Error, Kind, Result};
pub use host::{Level, log, parse_setting, parse_setting_or, remaining_ms, setting, setting_or};
pub use line::{Line, Lines};
pub use output::Output;
pub use processor::Processor;
pub use request::{Counts, Request};
