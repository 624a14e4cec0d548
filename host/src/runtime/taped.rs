//! Answers that differ from run to run (clocks, random numbers, the time left), kept on a tape or played back from it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime_wasi::p2::bindings::random::random;
use wasmtime_wasi::random::WasiRandomView;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::state::State;
use crate::capsule::{Answer, Tape};

/// What a plugin is told that has no time limit. Not every reader of JSON can tell so large a number.
const NO_LIMIT: u64 = u64::MAX;

/// Milliseconds until work stops.
pub(super) fn remaining_ms(tape: &Tape, live: impl FnOnce() -> u64) -> u64 {
    tape.answer(
        live,
        |ms| Answer::RemainingMs((*ms != NO_LIMIT).then_some(*ms)),
        |answer| match answer {
            Answer::RemainingMs(ms) => Some(ms.unwrap_or(NO_LIMIT)),
            _ => None,
        },
    )
}

/// The time of day.
pub(super) struct TapedWallClock(pub(super) Tape);

impl HostWallClock for TapedWallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        let live = || SystemTime::now().duration_since(UNIX_EPOCH);
        self.0.answer(
            || live().unwrap_or_default(),
            |now| Answer::WallClock(now.as_secs(), now.subsec_nanos()),
            |answer| match answer {
                // More nanoseconds than a second has would be carried over, and that may be too much.
                Answer::WallClock(seconds, nanos) if *nanos < 1_000_000_000 => {
                    Some(Duration::new(*seconds, *nanos))
                }
                _ => None,
            },
        )
    }
}

/// A clock that never goes back, from the start of the instance on.
pub(super) struct TapedMonotonicClock {
    tape: Tape,
    start: Instant,
}

impl TapedMonotonicClock {
    pub(super) fn new(tape: Tape) -> Self {
        TapedMonotonicClock {
            tape,
            start: Instant::now(),
        }
    }
}

impl HostMonotonicClock for TapedMonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.tape.answer(
            || self.start.elapsed().as_nanos() as u64,
            |now| Answer::MonotonicClock(*now),
            |answer| match answer {
                Answer::MonotonicClock(now) => Some(*now),
                _ => None,
            },
        )
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        let Some(tape) = self.tape.clone() else {
            return self.random().get_random_bytes(len);
        };
        tape.answer(
            || self.random().get_random_bytes(len),
            |bytes| Answer::Random(bytes.as_deref().unwrap_or_default().to_vec()),
            |answer| match answer {
                Answer::Random(bytes) if bytes.len() as u64 == len => Some(Ok(bytes.clone())),
                _ => None,
            },
        )
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        let bytes = self.get_random_bytes(8)?;
        let bytes = <[u8; 8]>::try_from(bytes).expect("as many as were asked for");
        Ok(u64::from_le_bytes(bytes))
    }
}
