//! Every way not to return.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use crate::bindings::exports::linemill::plugin::processor::Failure;
use crate::bindings::linemill::plugin::host::{self, Level};

/// Misbehaves in `pre` or `post` as the setting of that name says.
pub(crate) fn as_set(stage: &str) -> Result<(), Failure> {
    let how = host::setting(stage).unwrap_or_default();
    let reason = || format!("{stage} fails as it was told");
    match how.split_once(':').unwrap_or((&how, "")) {
        ("fail-retry", _) => Err(Failure::Retry(reason())),
        ("fail-corrupt", _) => Err(Failure::Corrupt(reason())),
        ("fail-fatal", _) => Err(Failure::Fatal(reason())),
        ("trap", _) => trap(),
        ("panic", _) => panic!("{stage} panics as it was told"),
        ("spin", _) => spin(),
        ("sleep", ms) => {
            sleep(ms);
            Ok(())
        }
        ("hang", _) => {
            host::log(Level::Info, "message 0");
            spin()
        }
        _ => Ok(()),
    }
}

pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    std::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

pub(crate) fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// One instruction fills it all, so this takes much time for little fuel.
pub(crate) fn fill() -> ! {
    let mut bytes = vec![0u8; 64 << 20];
    let mut value = 0;
    loop {
        value ^= 1;
        black_box(bytes.as_mut_slice()).fill(value);
    }
}

pub(crate) fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    if frame[3] == u64::MAX {
        return 0; // never: it only keeps the compiler from seeing that
    }
    recurse(frame[3] + 1) + black_box(frame)[7]
}

pub(crate) fn grow() -> ! {
    const STEP: usize = 1 << 20;
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1u8; STEP]));
    }
}

thread_local! {
    /// What is kept as long as the instance lives.
    static HOARD: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn hoard(mebibytes: usize) {
    HOARD.with_borrow_mut(|hoard| hoard.push(black_box(vec![1; mebibytes << 20])));
}

/// Bytes that are different each time.
pub(crate) fn dice() -> [u8; 8] {
    unsafe extern "C" {
        fn getentropy(buffer: *mut u8, length: usize) -> i32;
    }
    let mut bytes = [0; 8];
    // SAFETY: it fills as many bytes as it is told.
    let done = unsafe { getentropy(bytes.as_mut_ptr(), bytes.len()) };
    assert_eq!(done, 0, "there are random numbers");
    bytes
}

pub(crate) fn sleep(ms: &str) {
    std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
}
