//! What a plugin prints: log events, and the last of stderr kept as the message of a panic.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::state::{GuestContext, Level};

/// How much of stderr is kept as the message of a panic.
const TAIL_MAX: usize = 16 << 10;
/// What may be written at once.
const WRITE_MAX: usize = 64 * 1024;

/// One stream of a plugin (stdout or stderr), line by line into the log.
#[derive(Clone)]
pub(super) struct Printed {
    name: &'static str,
    level: Level,
    guest: Arc<GuestContext>,
    text: Arc<Mutex<Text>>,
}

#[derive(Default)]
struct Text {
    /// Of the line that has not ended yet.
    line: Vec<u8>,
    /// The last bytes written.
    tail: Vec<u8>,
}

impl Printed {
    pub(super) fn new(name: &'static str, level: Level, guest: Arc<GuestContext>) -> Self {
        Printed {
            name,
            level,
            guest,
            text: Arc::default(),
        }
    }

    /// The last that was written, as text, and forgets it.
    pub(super) fn take_tail(&self) -> String {
        let mut text = self.text.lock().expect("nothing panics while it is held");
        String::from_utf8_lossy(&std::mem::take(&mut text.tail)).into_owned()
    }

    fn put(&self, bytes: &[u8]) {
        let mut text = self.text.lock().expect("nothing panics while it is held");
        let from = bytes.len().saturating_sub(TAIL_MAX);
        text.tail.extend_from_slice(&bytes[from..]);
        let surplus = text.tail.len().saturating_sub(TAIL_MAX);
        text.tail.drain(..surplus);
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = self.guest.log_bytes_max().saturating_sub(text.line.len());
            text.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut text.line);
                self.guest.log(
                    self.level,
                    self.name,
                    String::from_utf8_lossy(&line).trim_end(),
                );
            }
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_MAX)
    }
}

impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
