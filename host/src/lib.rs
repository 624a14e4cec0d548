//! linemill runs line-processing WebAssembly components over newline-delimited data.
//!
//! The life of a request, in the order in which data meet it:
//!
//! 0. An entry point turns what it is called with into requests: `event` does so for what platforms send.
//! 1. [`config`](Config) and [`request`](Request) say what is to be done and how what is written is named.
//! 2. `source` opens what is read as a stream of plain bytes; `batch` cuts it into whole lines; `feed` puts the
//!    batches into the queue of `pool`, in which a bounded number of them wait.
//! 3. `worker` runs a batch in an instance of the plugin (`runtime`, the only place that knows wasmtime), and halves
//!    it when it traps, until the poison lines stand alone.
//! 4. `order` brings what is done back into line order; `router` commits it: outputs, faulted lines, metrics, the
//!    books. `closer` folds partials and runs `post`.
//! 5. At the deadline, or when it has to stop, `handover` leaves a pointer to what was never read.
//! 6. `destination` makes all that was written visible, or nothing; `completion` keeps, deletes or moves the source;
//!    `report` says what happened.
//!
//! What was not processed can be looked at (`faults`) and run again (`redrive`): as a request over chosen lines.
//!
//! [`run`] is the function to read first.

mod allowed;
mod batch;
mod body;
mod capsule;
mod cases;
mod closer;
mod completion;
mod config;
mod deadline;
mod destination;
mod error;
mod event;
mod faults;
mod feed;
mod grants;
mod handover;
mod order;
mod outcome;
mod outlet;
mod pipeline;
mod pool;
mod progress;
mod redrive;
mod registry;
mod rehearsal;
mod replay;
mod report;
mod request;
mod router;
mod runtime;
mod scaffold;
mod shadow;
mod signature;
mod source;
mod spool;
mod stop;
mod storage;
mod worker;

pub use allowed::AllowedSources;
pub use body::Body;
pub use capsule::{Capsule, CapsuleError, Ended, Shrink, redact_text};
pub use cases::{Case, DiffLine, Difference, Mistake, Observed, Sign, Trial, Verdict};
pub use config::{
    Config, ConfigError, DirGrant, Effective, Grants, HttpGrant, Layers, Origin, ShadowMode,
    mask_secrets,
};
pub use deadline::Deadline;
pub use error::{Error, Remedy};
pub use event::{Event, EventError, EventKind, HttpCall, Refused, Task};
pub use faults::{Example, FaultFile, Group, Kind, Pick, Survey, Surveyed, pattern, printable};
pub use outcome::{Failure, FaultKind, Trap};
pub use outlet::Outlet;
pub use pipeline::{Host, run, run_shadowed};
pub use progress::Progress;
pub use redrive::{Chosen, Redrive};
pub use registry::{
    Checked, Choice, Polling, Registry, Role, Status, TRIAL_INSTANCES, fetch_plugin, load_plugin,
};
pub use rehearsal::costs::{Cost, Did, Meter};
pub use rehearsal::sample::Sample;
pub use rehearsal::{Faulted, Rehearsal};
pub use replay::{Replay, Replayed};
pub use report::{PluginId, Report, chain};
pub use request::{Pointer, Range, Request, Source, attempt_of, is_pointer, is_sidecar, sidecar};
pub use runtime::{
    Answer, Answering, Answers, Call, Compiled, Extern, GuestContext, HttpBody, HttpFailure,
    HttpFailureKind, Inspection, Instance, Limits, Patience, Plugin, Question, Runtime, digest,
};
pub use scaffold::{BadName, Language, Scaffold};
pub use shadow::{Comparison, Shadow};
pub use stop::{Reason, Stop};
pub use storage::Storage;
