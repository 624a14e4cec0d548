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
    /// Most memory that was resident, in bytes.
    pub memory: u64,
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
    let usage = wait(child.id())?;
    Ok(Ended {
        time: start.elapsed(),
        at: SystemTime::now(),
        memory: usage.ru_maxrss as u64 * 1024,
        stdout,
    })
}

#[expect(
    unsafe_code,
    reason = "the standard library does not tell what a child used"
)]
fn wait(pid: u32) -> io::Result<libc::rusage> {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are valid for writes until the call returns.
    let waited = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage) };
    if waited < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usage)
}

/// Most memory that was resident of this process, in bytes: a child is never said to have used less.
pub fn own_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
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
