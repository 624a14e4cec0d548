//! The references: the same work in native Rust, without a sandbox and without books.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use linemill_sdk::bindings::exports::linemill::plugin::processor::Guest;
use linemill_sdk::component::{Component, Exported, Slot};
use linemill_sdk::{Batch, Line, Processor, Request, Result};
use memchr::{memchr_iter, memrchr};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Bytes that the code of a plugin is given at once: the size that linemill's batches grow to.
const BATCH: usize = 256 << 10;

/// Reads the lines that begin in `from..to` in pieces of whole lines.
fn read_lines(
    path: &Path,
    (from, to): (u64, u64),
    chunk: usize,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut left = (to - from) as usize;
    let mut buffer = vec![0; chunk];
    let mut filled = 0;
    loop {
        let most = (buffer.len() - filled).min(left);
        let n = file.read(&mut buffer[filled..filled + most])?;
        filled += n;
        left -= n;
        if n == 0 {
            return each(&buffer[..filled]);
        }
        let whole = memrchr(b'\n', &buffer[..filled]).map_or(0, |at| at + 1);
        each(&buffer[..whole])?;
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

fn whole(path: &Path) -> io::Result<(u64, u64)> {
    Ok((0, path.metadata()?.len()))
}

/// What one writes first: line ends by memchr, `trim`, `parse`, add.
fn add_up(lines: &[u8]) -> io::Result<i64> {
    let mut sum = 0i64;
    let mut start = 0;
    for end in memchr_iter(b'\n', lines) {
        let text = str::from_utf8(&lines[start..end]).map_err(io::Error::other)?;
        let text = text.trim_ascii();
        if !text.is_empty() {
            let number: i64 = text.parse().map_err(io::Error::other)?;
            sum = sum
                .checked_add(number)
                .ok_or_else(|| io::Error::other("overflow"))?;
        }
        start = end + 1;
    }
    Ok(sum)
}

/// The sum of all lines on one thread.
pub fn sum(path: &Path) -> io::Result<i64> {
    sum_range(path, whole(path)?)
}

fn sum_range(path: &Path, range: (u64, u64)) -> io::Result<i64> {
    let mut sum = 0;
    read_lines(path, range, CHUNK, |lines| {
        sum += add_up(lines)?;
        Ok(())
    })?;
    Ok(sum)
}

/// The sum of all lines, a half on each of two threads.
pub fn sum_on_two(path: &Path) -> io::Result<i64> {
    let (_, end) = whole(path)?;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(end / 2))?;
    let mut after = [0; 4096];
    let n = file.read(&mut after)?;
    let middle = end / 2 + memchr::memchr(b'\n', &after[..n]).map_or(0, |at| at as u64 + 1);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| sum_range(path, (0, middle)));
        let second = sum_range(path, (middle, end))?;
        let first = first
            .join()
            .map_err(|_| io::Error::other("a thread panicked"))??;
        Ok(first + second)
    })
}

/// A plugin's own code, compiled natively: opened with the context that its `pre` returns.
macro_rules! native {
    ($name:ident, $plugin:ty) => {
        #[derive(Default)]
        struct $name($plugin);

        impl Processor for $name {
            type Context = ();
            type Partial = <$plugin as Processor>::Partial;

            fn open(&mut self, (): ()) -> Result<()> {
                let context = <$plugin>::pre(&Request::default())?;
                self.0.open(context)
            }

            #[inline]
            fn line(&mut self, line: Line<'_>, batch: &mut Batch<Self::Partial>) -> Result<()> {
                self.0.line(line, batch)
            }

            fn merge(into: &mut Self::Partial, from: Self::Partial) -> Result<()> {
                <$plugin>::merge(into, from)
            }
        }

        impl Exported for $name {
            fn with_slot<T>(run: impl FnOnce(&Slot<Self>) -> T) -> T {
                thread_local! {
                    static SLOT: Slot<$name> = const { RefCell::new(None) };
                }
                SLOT.with(run)
            }
        }
    };
}

native!(Sum, sum::Sum);
native!(CsvToJson, csv_to_json::CsvToJson);
native!(NdjsonFilter, ndjson_filter::NdjsonFilter);

/// The code of the sum plugin on one thread.
pub fn sum_plugin(path: &Path) -> io::Result<()> {
    process::<Sum>(path, None)
}

/// The code of the csv-to-json plugin on one thread.
pub fn csv_plugin(path: &Path, to: &Path) -> io::Result<()> {
    process::<CsvToJson>(path, Some(to))
}

/// The code of the ndjson-filter plugin on one thread.
pub fn ndjson_plugin(path: &Path, to: &Path) -> io::Result<()> {
    process::<NdjsonFilter>(path, Some(to))
}

/// Runs a plugin's code over a file in pieces of the size of a batch; the output is on disk at the end.
fn process<P: Exported>(path: &Path, to: Option<&Path>) -> io::Result<()> {
    let mut out = to.map(File::create).transpose()?;
    let mut partials = 0;
    read_lines(path, whole(path)?, BATCH, |lines| {
        let outcome = Component::<P>::process(1, lines.to_vec());
        let outcome = outcome.map_err(|failure| io::Error::other(format!("{failure:?}")))?;
        if !outcome.faults.is_empty() {
            return Err(io::Error::other("a line is at fault"));
        }
        partials += outcome.partial.map_or(0, |partial| partial.len());
        for output in outcome.outputs {
            if let Some(out) = &mut out {
                out.write_all(&output.data)?;
            }
        }
        Ok(())
    })?;
    std::hint::black_box(partials);
    out.map_or(Ok(()), |out| out.sync_all())
}

/// A request of a few lines: what the filter keeps of them is counted.
pub fn small(path: &Path) -> io::Result<usize> {
    let lines = std::fs::read(path)?;
    let outcome = Component::<NdjsonFilter>::process(1, lines);
    outcome.map_or(Ok(0), |outcome| Ok(outcome.outputs.len()))
}

/// Three small files in folders of their own, each safe on disk, as a request with output and a fault leaves them.
pub fn write_three(folder: &Path) -> io::Result<()> {
    for name in ["destination/a", "corruption/a", "corruption/b"] {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)?;
        let mut file = File::create(&path)?;
        file.write_all(b"a line\n")?;
        file.sync_all()?;
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Copies a file line by line.
pub fn echo(path: &Path, to: &Path) -> io::Result<()> {
    let mut out = File::create(to)?;
    let mut copy = Vec::new();
    read_lines(path, whole(path)?, BATCH, |lines| {
        copy.clear();
        let mut start = 0;
        for end in memchr_iter(b'\n', lines) {
            copy.extend_from_slice(&lines[start..=end]);
            start = end + 1;
        }
        out.write_all(&copy)
    })?;
    out.sync_all()
}
