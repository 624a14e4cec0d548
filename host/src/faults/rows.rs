//! Reads lines and rows as streams, whatever their size.

use std::sync::Arc;

use memchr::memchr;

use super::Row;
use crate::error::Result;
use crate::progress::Progress;
use crate::request::Request;
use crate::source::Source;
use crate::storage::Storage;

const BUFFER: usize = 256 * 1024;
/// A reason has at most 4 KiB; a row that is longer is none.
const ROW_MAX: usize = 1024 * 1024;

/// The lines of an object, one by one.
pub struct Lines {
    source: Source,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Lines {
    /// Opens an object, of the version that `etag` says where it says one.
    pub async fn open(storage: &Storage, url: &str, etag: Option<&str>) -> Result<Self> {
        let mut named = Request::new(url).source;
        named.etag = etag.map(str::to_owned);
        let source = Source::open(storage, &named, &Arc::new(Progress::default())).await?;
        Ok(Lines {
            source,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
        })
    }

    /// Entity tag of what is read, where there is one.
    pub fn etag(&self) -> Option<String> {
        self.source.etag.clone()
    }

    /// The next line without its end, as much of it as `max` bytes; gives back how long it is. `None`: there are no
    /// more, and what was read is what was opened.
    pub async fn next(&mut self, line: &mut Vec<u8>, max: usize) -> Result<Option<u64>> {
        line.clear();
        let mut len = 0;
        loop {
            if self.start == self.end && !self.fill().await? {
                self.source.check_unchanged()?;
                return Ok((len > 0).then_some(len));
            }
            let there = &self.buffer[self.start..self.end];
            let found = memchr(b'\n', there);
            let piece = &there[..found.unwrap_or(there.len())];
            line.extend_from_slice(&piece[..piece.len().min(max - line.len())]);
            len += piece.len() as u64;
            self.start += piece.len() + usize::from(found.is_some());
            if found.is_some() {
                return Ok(Some(len));
            }
        }
    }

    async fn fill(&mut self) -> Result<bool> {
        self.start = 0;
        self.end = self.source.read_some(&mut self.buffer).await?;
        Ok(self.end > 0)
    }
}

/// The rows of a faults file, one by one.
pub struct Rows {
    lines: Lines,
    json: Vec<u8>,
    number: u64,
}

/// A row as it is read.
pub struct Read<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes, without their end.
    pub json: &'a [u8],
    /// What it says, or why it says nothing.
    pub row: Result<Row<'a>, String>,
}

impl Rows {
    /// Opens a faults file, of the version that `etag` says where it says one.
    pub async fn open(storage: &Storage, url: &str, etag: Option<&str>) -> Result<Self> {
        Ok(Rows {
            lines: Lines::open(storage, url, etag).await?,
            json: Vec::new(),
            number: 0,
        })
    }

    /// Entity tag of what is read, where there is one.
    pub fn etag(&self) -> Option<String> {
        self.lines.etag()
    }

    /// The next row; `None`: there are no more.
    pub async fn next(&mut self) -> Result<Option<Read<'_>>> {
        let Some(len) = self.lines.next(&mut self.json, ROW_MAX).await? else {
            return Ok(None);
        };
        self.number += 1;
        let row = match len > ROW_MAX as u64 {
            true => Err(format!("it is longer than {ROW_MAX} bytes")),
            false => Row::parse(&self.json),
        };
        Ok(Some(Read {
            number: self.number,
            json: &self.json,
            row,
        }))
    }
}
