//! The bytes on their way to one destination.

use std::io::{self, Write};

/// The bytes on their way to one destination, as [`Batch::route`](crate::Batch::route) gives it.
/// It is a writer too: `writeln!(output, "{id}")?`.
#[derive(Debug, Default)]
pub struct Output(Vec<u8>);

impl Output {
    /// Appends `bytes` as they are.
    #[inline]
    pub fn emit(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.extend_from_slice(bytes.as_ref());
    }

    /// Appends `bytes` and a line end.
    #[inline]
    pub fn emit_line(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0.reserve(bytes.len() + 1);
        self.0.extend_from_slice(bytes);
        self.0.push(b'\n');
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Write for Output {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.emit(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.emit(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ended_and_bytes_are_not() {
        let mut output = Output::default();
        output.emit("a");
        output.emit_line(b"b");
        write!(output, "{}-", 1).unwrap();
        output.emit_line("");
        assert_eq!(output.into_bytes(), b"ab\n1-\n");
    }
}
