//! Processes: how long one takes, and how much memory it takes at most.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// What a process did.
pub struct Ended {
    /// From its start until it was gone.
    pub time: Duration,
    /// When it was gone.
    pub at: SystemTime,
    /// What it printed.
    pub stdout: String,
}

/// Runs a process to its end.
pub fn run(command: &mut Command) -> io::Result<Ended> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout)?;
    }
    child.wait()?;
    Ok(Ended {
        time: start.elapsed(),
        at: SystemTime::now(),
        stdout,
    })
}

/// Runs a process to its end; gives back the most memory that was resident of it, in bytes.
///
/// What `wait4` tells is no less than the peak of the parent, so the process is watched.
pub fn peak_memory(command: &mut Command) -> io::Result<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        // A process that has ended is still there, but has no memory any more.
        peak = high_water(&status).or(peak);
        if let Some(ended) = child.try_wait()? {
            return match (ended.success(), peak) {
                (true, Some(peak)) => Ok(peak),
                (true, None) => Err(io::Error::other("/proc does not tell its memory")),
                (false, _) => Err(io::Error::other(format!("it ended with {ended}"))),
            };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn high_water(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Free space of the file system at `path`, in bytes.
#[expect(
    unsafe_code,
    reason = "the standard library does not tell how much is free"
)]
pub fn free_space(path: &str) -> Option<u64> {
    let path = std::ffi::CString::new(path).ok()?;
    // SAFETY: `statvfs` is plain numbers, for which zeros are a value.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in NUL, and both outlive the call.
    let done = unsafe { libc::statvfs(path.as_ptr(), &raw mut stat) };
    (done == 0).then(|| stat.f_bavail as u64 * stat.f_frsize as u64)
}
