//! Output that goes to whoever made the request, while the request is under way.

use bytes::Bytes;
use tokio::sync::mpsc;

/// So much may wait to be taken.
const PIECES: usize = 16;

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
    pub(crate) async fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        let sent = self.0.send(Bytes::copy_from_slice(bytes)).await;
        sent.map_err(|_| {
            std::io::Error::new(
                std::io::ErrorKind::BrokenPipe,
                "whoever asked for it is gone",
            )
        })
    }
}

impl PartialEq for Outlet {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}
