//! Lines that wait for a verdict: kept in memory, on disk once they are many, and read back in order.

use std::io::{self, Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use tempfile::SpooledTempFile;

use crate::error::{Error, Result};

/// So much is kept in memory.
const MEMORY_MAX: usize = 4 * 1024 * 1024;

/// What is known of a line beside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its number in the source, from 1.
    pub line: u64,
    /// Where it starts in the source.
    pub offset: u64,
    /// Why it was not processed.
    pub reason: String,
    /// It trapped alone.
    pub trapped: bool,
}

/// A queue of records with their bytes: frames of a tag, a length and a content.
pub struct Spool {
    file: SpooledTempFile,
    empty: bool,
}

const RECORD: u8 = 0;
const BYTES: u8 = 1;
const END: u8 = 2;

impl Default for Spool {
    fn default() -> Self {
        Spool {
            file: tempfile::spooled_tempfile(MEMORY_MAX),
            empty: true,
        }
    }
}

impl Spool {
    /// Whether nothing was put in.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// Begins a line.
    pub fn begin(&mut self, record: &Record) -> Result<()> {
        self.empty = false;
        self.put(
            RECORD,
            &serde_json::to_vec(record).expect("a record is plain data"),
        )
    }

    /// Adds bytes of the line.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.put(BYTES, bytes)
    }

    /// Ends the line.
    pub fn end(&mut self) -> Result<()> {
        self.put(END, &[])
    }

    /// Adds all that another holds.
    pub fn append(&mut self, mut other: Spool) -> Result<()> {
        other.rewind()?;
        self.empty &= other.empty;
        while let Some((tag, content)) = other.frame().map_err(failed)? {
            self.put(tag, &content)?;
        }
        Ok(())
    }

    fn put(&mut self, tag: u8, content: &[u8]) -> Result<()> {
        // A piece is a part of a batch or of a read: far below 4 GiB.
        let len =
            u32::try_from(content.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
        let put = len.and_then(|len| {
            self.file.write_all(&[tag])?;
            self.file.write_all(&len.to_le_bytes())?;
            self.file.write_all(content)
        });
        put.map_err(failed)
    }

    /// Goes to the first line, for reading.
    pub fn rewind(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(())
    }

    /// The next line; `None`: there are no more.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        if self.empty {
            return Ok(None);
        }
        match self.frame().map_err(failed)? {
            Some((RECORD, content)) => Ok(serde_json::from_slice(&content).ok()),
            _ => Ok(None),
        }
    }

    /// The next bytes of the line; `None`: it has ended.
    pub fn next_bytes(&mut self) -> Result<Option<Vec<u8>>> {
        match self.frame().map_err(failed)? {
            Some((BYTES, content)) => Ok(Some(content)),
            _ => Ok(None),
        }
    }

    fn frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        let mut head = [0; 5];
        match self.file.read(&mut head[..1])? {
            0 => return Ok(None),
            _ => self.file.read_exact(&mut head[1..])?,
        }
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        let mut content = vec![0; len as usize];
        self.file.read_exact(&mut content)?;
        Ok(Some((head[0], content)))
    }
}

fn failed(error: io::Error) -> Error {
    Error::from_io(
        "the temporary file for lines that trapped or are very long",
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_in_order_from_memory_and_disk() {
        let mut spool = Spool::default();
        assert!(spool.is_empty());
        let record = |line| Record {
            line,
            offset: line * 10,
            reason: "why".into(),
            trapped: line % 2 == 0,
        };
        let big = vec![b'x'; 3 << 20];
        for line in 0..5 {
            spool.begin(&record(line)).expect("begun");
            spool.bytes(&big).expect("put");
            spool.bytes(b"\n").expect("put");
            spool.end().expect("ended");
        }
        spool.rewind().expect("rewound");
        for line in 0..5 {
            assert_eq!(spool.next_record().expect("read"), Some(record(line)));
            assert_eq!(spool.next_bytes().expect("read").as_deref(), Some(&big[..]));
            assert_eq!(
                spool.next_bytes().expect("read").as_deref(),
                Some(&b"\n"[..])
            );
            assert_eq!(spool.next_bytes().expect("read"), None);
        }
        assert_eq!(spool.next_record().expect("read"), None);
    }
}
