//! Output that goes to whoever made the request, while the request is under way.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc;

/// So many pieces may wait to be taken, of so many bytes at most.
const PIECES: usize = 16;
const PIECE_BYTES: usize = 64 * 1024;

/// Takes the output of the default route in the place of `destination_url`, in line order, piece by piece. Like
/// standard output it cannot be taken back: what was taken of a request that then fails must be thrown away.
#[derive(Debug, Clone)]
pub struct Outlet(mpsc::Sender<Bytes>);

impl Outlet {
    /// An outlet, and where its pieces come out. They are bounded: one who does not take them holds the request up,
    /// until its deadline.
    pub fn new() -> (Self, mpsc::Receiver<Bytes>) {
        let (pieces, taken) = mpsc::channel(PIECES);
        (Outlet(pieces), taken)
    }

    /// Hands bytes over, once there is room.
    ///
    /// # Errors
    /// Nobody takes them any more.
    pub(crate) async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            let sent = self.0.send(Bytes::copy_from_slice(piece)).await;
            let gone =
                |_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked for it is gone");
            sent.map_err(gone)?;
        }
        Ok(())
    }
}

impl PartialEq for Outlet {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}
