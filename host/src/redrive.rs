//! Runs lines again that were not processed: which lines of an object, and what is left of it afterwards.
//!
//! An object of faulted lines is a source like any other, of which only the chosen lines are read. What was known of
//! each is kept, so that a line that fails again is told by its number in the source that it is from. Lines that were
//! not chosen, and those that there was no time for, are the *rest*: they are written on as they are, with their
//! rows, into an object beside the old one, which becomes visible together with all that was made of the others. So
//! the old object is done with as soon as anything of it was run.

mod chosen;
mod sieve;
mod sifted;

use std::fmt;

use crate::destination::Destination;
use crate::error::{Error, Result};
use crate::faults::{Read, Rows};
use crate::request;
use crate::source::Source;
use crate::storage::Storage;

pub use chosen::Chosen;
pub(crate) use sieve::Sieve;
pub(crate) use sifted::Sifted;

const BUFFER: usize = 256 * 1024;

/// Which lines of an object are run again, and where they are from: 16 bytes for each of those.
#[derive(Clone, Default, PartialEq)]
pub struct Redrive {
    /// A bit for each line.
    chosen: Vec<u64>,
    /// How many lines there are.
    lines: u64,
    /// Number and offset of each chosen line in its source.
    origins: Vec<(u64, u64)>,
    /// The version of the faults file; `None` inside: the store has no entity tags. `None`: there is no such file.
    rows: Option<Option<String>>,
}

/// The rest of an object, being written.
pub struct Rest {
    /// The lines.
    pub lines: Destination,
    /// Their rows, where they have any.
    pub rows: Option<Destination>,
    /// How many lines they are.
    pub count: u64,
}

impl Redrive {
    /// Whether a line, by its index from 0, is run again.
    pub(crate) fn chooses(&self, line: u64) -> bool {
        let word = self.chosen.get((line / 64) as usize);
        word.is_some_and(|word| word >> (line % 64) & 1 == 1)
    }

    /// How many lines are run again.
    pub(crate) fn len(&self) -> u64 {
        self.origins.len() as u64
    }

    /// Number and offset, in its source, of a line that is read as number `line`, from 1.
    pub(crate) fn origin(&self, line: u64) -> Option<(u64, u64)> {
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        self.origins.get(index).copied()
    }

    /// Writes on what was not run: all but the first `loaded` of the chosen lines of `source`. `None`: that is all.
    pub(crate) async fn rest(
        &self,
        storage: &Storage,
        source: &request::Source,
        loaded: u64,
    ) -> Result<Option<Rest>> {
        let count = self.lines - loaded;
        if count == 0 {
            return Ok(None);
        }
        let url = request::rest_of(&source.url);
        let lines = self.rest_lines(storage, source, loaded, &url).await?;
        let rows = match &self.rows {
            Some(etag) => self.rest_rows(storage, source, etag.as_deref(), loaded, &url),
            None => {
                return Ok(Some(Rest {
                    lines,
                    rows: None,
                    count,
                }));
            }
        };
        Ok(Some(Rest {
            lines,
            rows: rows.await?,
            count,
        }))
    }

    async fn rest_lines(
        &self,
        storage: &Storage,
        source: &request::Source,
        loaded: u64,
        url: &str,
    ) -> Result<Destination> {
        let whole = request::Source {
            redrive: None,
            ..source.clone()
        };
        let mut from = Source::open(storage, &whole, &Default::default()).await?;
        let mut to = Destination::create(storage, url).await?;
        let mut sieve = Sieve::new(self.unless_loaded(loaded));
        let mut buffer = vec![0; BUFFER];
        let mut last = b'\n';
        loop {
            let n = from.read_some(&mut buffer).await?;
            let mut piece = &buffer[..n];
            if n == 0 {
                break;
            }
            while !piece.is_empty() {
                let (len, kept) = sieve.span(piece);
                if kept {
                    to.write(&piece[..len]).await?;
                    last = piece[len - 1];
                }
                piece = &piece[len..];
            }
        }
        from.check_unchanged()?;
        if sieve.lines() != self.lines {
            return Err(changed(&source.url));
        }
        if last != b'\n' {
            to.write(b"\n").await?;
        }
        Ok(to)
    }

    async fn rest_rows(
        &self,
        storage: &Storage,
        source: &request::Source,
        etag: Option<&str>,
        loaded: u64,
        url: &str,
    ) -> Result<Option<Destination>> {
        let rows_url = request::sidecar(&source.url);
        let mut rows = Rows::open(storage, &rows_url, etag).await?;
        let mut keeps = self.unless_loaded(loaded);
        let mut line = 0;
        let mut to = None;
        let mut left = Vec::new();
        while let Some(Read { json, row, .. }) = rows.next().await? {
            let row = row.map_err(|_| changed(&rows_url))?;
            let of_row = line..line + row.lines;
            line = of_row.end;
            match of_row.filter(|line| keeps(*line)).count() as u64 {
                0 => continue,
                all if all == row.lines => left.extend_from_slice(json),
                some => left.extend_from_slice(&with_lines(json, some)),
            }
            left.push(b'\n');
            if left.len() > BUFFER {
                append(storage, url, &mut to, &mut left).await?;
            }
        }
        if line > self.lines {
            return Err(changed(&rows_url));
        }
        if !left.is_empty() {
            append(storage, url, &mut to, &mut left).await?;
        }
        Ok(to)
    }

    /// Whether a line stays; to be asked of each in order.
    fn unless_loaded(&self, loaded: u64) -> impl FnMut(u64) -> bool + '_ {
        let mut done = 0;
        move |line| {
            let goes = done < loaded && self.chooses(line);
            done += u64::from(goes);
            !goes
        }
    }
}

impl fmt::Debug for Redrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redrive({} of {} lines)", self.origins.len(), self.lines)
    }
}

/// Writes rows into the faults file beside the object `url`, which is opened with the first of them.
async fn append(
    storage: &Storage,
    url: &str,
    to: &mut Option<Destination>,
    rows: &mut Vec<u8>,
) -> Result<()> {
    if to.is_none() {
        *to = Some(Destination::create(storage, &request::sidecar(url)).await?);
    }
    let open = to.as_mut().expect("it was just put there");
    open.write(rows).await?;
    rows.clear();
    Ok(())
}

fn changed(url: &str) -> Error {
    Error::SourceChanged {
        url: crate::config::mask_secrets(url),
    }
}

/// A row about several lines, of which some are left.
fn with_lines(json: &[u8], lines: u64) -> Vec<u8> {
    let mut row: serde_json::Value = serde_json::from_slice(json).expect("it was just read");
    row["lines"] = lines.into();
    serde_json::to_vec(&row).expect("a row is plain data")
}

#[cfg(test)]
mod tests;
