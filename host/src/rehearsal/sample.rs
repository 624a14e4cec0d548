//! The beginning of a source, in memory: whole lines, so many and so many bytes at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use memchr::memchr_iter;

use crate::progress::Progress;
use crate::request::Request;
use crate::source::{Arrived, Source, Wait};
use crate::storage::Storage;

/// How long a source is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is read at once.
const READ_BYTES: usize = 256 * 1024;
/// Ends of names that say how a source is compressed.
const COMPRESSED: [&str; 2] = [".gz", ".zst"];

/// The first lines of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// File name of the source, without the suffix of its compression.
    pub name: String,
    /// The lines, each with its end but for the source's last.
    pub bytes: Bytes,
    /// How many they are.
    pub count: usize,
    /// Whether the source goes on behind them.
    pub cut: bool,
}

impl Sample {
    /// Reads, and decompresses, whole lines from the beginning of the source at `url`.
    ///
    /// # Errors
    /// The source cannot be read, is too slow, or its first line alone has more than `bytes_max` bytes.
    pub async fn read(
        storage: &Storage,
        url: &str,
        lines_max: usize,
        bytes_max: usize,
    ) -> Result<Self> {
        let (storage, url) = (storage.clone(), url.to_owned());
        let runtime = tokio::runtime::Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let read = runtime.block_on(open(&storage, &url))?;
            // One byte more tells whether there is more.
            let beginning = beginning(read, lines_max, bytes_max.saturating_add(1))
                .with_context(|| format!("source {}", crate::config::mask_secrets(&url)))?;
            let location = storage.locate(&url)?;
            Self::of(plain_name(location.name()), beginning, lines_max, bytes_max)
                .with_context(|| format!("source {}", location.shown()))
        });
        reading.await?
    }

    /// The first lines of what was read.
    fn of(name: &str, mut bytes: Vec<u8>, lines_max: usize, bytes_max: usize) -> Result<Self> {
        let whole = bytes.len();
        if whole > bytes_max {
            let end = bytes[..bytes_max].iter().rposition(|&byte| byte == b'\n');
            let Some(end) = end else {
                bail!("its first line has more than {bytes_max} bytes, raise --bytes");
            };
            bytes.truncate(end + 1);
        }
        if let Some(end) = memchr_iter(b'\n', &bytes).nth(lines_max.saturating_sub(1)) {
            bytes.truncate(end + 1);
        }
        Ok(Sample {
            name: name.to_owned(),
            cut: bytes.len() < whole,
            count: lines(&bytes).count(),
            bytes: bytes.into(),
        })
    }

    /// The lines, each with its end.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        lines(&self.bytes)
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n')
}

async fn open(storage: &Storage, url: &str) -> Result<Source> {
    let request = Request::new(url);
    let progress = Arc::<Progress>::default();
    let opening = Source::open(storage, &request.source, &progress);
    let opened = tokio::time::timeout(PATIENCE, opening).await;
    Ok(opened.with_context(|| format!("source {url} does not answer within {PATIENCE:?}"))??)
}

/// Reads until there are more lines or bytes than are wanted, or the end.
fn beginning(mut source: Source, lines_max: usize, bytes_max: usize) -> Result<Vec<u8>> {
    let wait = Wait::until(Instant::now() + PATIENCE);
    let (mut bytes, mut filled, mut found) = (Vec::new(), 0, 0);
    while filled < bytes_max && found <= lines_max {
        bytes.resize(bytes_max.min(filled + READ_BYTES), 0);
        match source.read(&mut bytes[filled..], &wait)? {
            Arrived::Bytes(read) => {
                found += memchr_iter(b'\n', &bytes[filled..filled + read]).count();
                filled += read;
            }
            Arrived::End => break,
            Arrived::Nothing => bail!("it sends too slowly: {filled} bytes in {PATIENCE:?}"),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn plain_name(name: &str) -> &str {
    let suffix = COMPRESSED.iter().find_map(|end| name.strip_suffix(end));
    match suffix.unwrap_or(name) {
        "" | "-" => "stdin",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_whole_lines() {
        // What is read (at most one byte more than wanted), lines and bytes that are wanted; what is taken.
        let table = [
            ("", 9, 9, "", 0, false),
            ("a\nb\nc", 9, 9, "a\nb\nc", 3, false),
            ("a\nb\nc\n", 9, 9, "a\nb\nc\n", 3, false),
            ("a\nb\nc\n", 2, 9, "a\nb\n", 2, true),
            ("a\nb\nc\n", 3, 9, "a\nb\nc\n", 3, false),
            ("a\nb\nc", 2, 9, "a\nb\n", 2, true),
            ("a\nb\ncd", 9, 5, "a\nb\n", 2, true),
            ("a\nb\nc", 9, 5, "a\nb\nc", 3, false),
            ("a\nb\nc\n", 9, 5, "a\nb\n", 2, true),
            ("\n\n\n", 2, 9, "\n\n", 2, true),
        ];
        for (read, lines, bytes, taken, count, cut) in table {
            let sample = Sample::of("x", read.into(), lines, bytes).expect("it has lines");
            let got = (&sample.bytes[..], sample.count, sample.cut);
            assert_eq!(
                got,
                (taken.as_bytes(), count, cut),
                "{read:?} {lines} {bytes}"
            );
        }
        let error = Sample::of("x", "abcdef".into(), 9, 5).expect_err("the line is too long");
        assert!(error.to_string().contains("raise --bytes"), "{error}");
    }

    #[test]
    fn names_without_compression() {
        let table = [
            ("a.csv.gz", "a.csv"),
            ("a.zst", "a"),
            ("a.csv", "a.csv"),
            ("-", "stdin"),
            (".gz", "stdin"),
        ];
        for (name, plain) in table {
            assert_eq!(plain_name(name), plain);
        }
    }
}
