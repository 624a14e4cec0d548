//! A server that lines are looked up at. The last segment of the path says how it behaves, for better or worse.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What is waited for that long does not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two bytes of what trickles.
const DRIP: Duration = Duration::from_millis(20);

/// Keeps connections open from one request to the next, and counts. It ends when it is dropped.
///
/// | last segment | what it does |
/// | --- | --- |
/// | `status-N` | answers with that status |
/// | `hear` | answers as soon as the body has begun, and reads on; it counts those that end |
/// | `headers-N` | answers with N bytes of headers |
/// | `hang` | never answers |
/// | `stall` | begins an answer, and never goes on |
/// | `trickle` | goes on byte by byte, without end |
/// | `huge` | says that its answer has 4 GiB, and sends it |
/// | `endless` | sends an answer without end, and without saying how large it is |
/// | `close` | closes the connection instead of answering |
/// | `break` | closes the connection within the answer |
/// | `garbage` | answers with something that is not HTTP |
/// | `to-URL` | a redirect, encoded |
/// | `slow-MS`, `slow-MS-…` | answers after so many milliseconds |
/// | `meet-N` | answers when N requests wait for it, or fails after a while |
/// | `say` | method, path, and size of the body |
/// | anything else | answers with `known: ` and its name |
pub(crate) struct LookupServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    counts: Mutex<Counts>,
    changed: Condvar,
}

/// What has happened so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    /// Connections that were accepted.
    pub(crate) connections: usize,
    /// Those that are open.
    pub(crate) open: usize,
    /// Requests that were read.
    pub(crate) requests: usize,
    /// Those that are not answered yet.
    pub(crate) waiting: usize,
    /// As many were waiting at once.
    pub(crate) waiting_max: usize,
    /// Bodies in pieces that came to their end.
    pub(crate) ended: usize,
    /// Methods and paths.
    pub(crate) asked: BTreeSet<String>,
    over: bool,
}

/// A request, as far as it matters.
struct Asked {
    method: String,
    path: String,
    body: usize,
}

impl LookupServer {
    /// On a free port of this machine.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let counting = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if counting.lock().over {
                    break;
                }
                let (Ok(stream), seen) = (stream, counting.clone()) else {
                    continue;
                };
                std::thread::spawn(move || seen.connection(&stream));
            }
        });
        LookupServer { address, seen }
    }

    /// `http://127.0.0.1:PORT` and the path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The grant for it, or for a part of it, as JSON fields.
    pub(crate) fn grant(&self, more: &str) -> String {
        format!(
            r#"{{"host": "127.0.0.1", "port": {}, "plain": true, "private": true{more}}}"#,
            self.address.port()
        )
    }

    /// What has happened so far.
    pub(crate) fn counts(&self) -> Counts {
        self.seen.lock().clone()
    }

    /// Waits until it is so.
    #[track_caller]
    pub(crate) fn wait(&self, what: impl Fn(&Counts) -> bool) -> Counts {
        let waiting = |counts: &mut Counts| !what(counts);
        let waited = self
            .seen
            .changed
            .wait_timeout_while(self.seen.lock(), PATIENCE, waiting);
        let (counts, timeout) = waited.expect("nothing panics while it is held");
        assert!(!timeout.timed_out(), "{counts:?}");
        counts.clone()
    }
}

impl Drop for LookupServer {
    fn drop(&mut self) {
        self.seen.change(|counts| counts.over = true);
        // One more connection, so that it sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("nothing panics while it is held")
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn connection(&self, stream: &TcpStream) {
        self.change(|counts| {
            counts.connections += 1;
            counts.open += 1;
        });
        drop(stream.set_nodelay(true));
        let mut reader = BufReader::new(stream);
        while let Some(asked) = Asked::read(&mut reader) {
            self.change(|counts| {
                counts.requests += 1;
                counts.waiting += 1;
                counts.waiting_max = counts.waiting_max.max(counts.waiting);
                counts
                    .asked
                    .insert(format!("{} {}", asked.method, asked.path));
            });
            let stays = self.answer(&asked, stream, &mut reader);
            self.change(|counts| counts.waiting -= 1);
            if stays.is_none() {
                break;
            }
        }
        drop(stream.shutdown(std::net::Shutdown::Both));
        self.change(|counts| counts.open -= 1);
    }

    /// `None`: the connection is of no use any more.
    fn answer(&self, asked: &Asked, mut stream: &TcpStream, reader: &mut impl Read) -> Option<()> {
        let path = asked.path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let (word, rest) = name.split_once('-').unwrap_or((name, ""));
        match word {
            "status" => respond(stream, &format!("{rest} Said So"), "", "what it says"),
            "hear" => {
                respond(stream, "200 OK", "", "heard")?;
                let mut body = Vec::new();
                let mut piece = [0; 1024];
                loop {
                    let n = reader.read(&mut piece).ok().filter(|n| *n > 0)?;
                    body.extend_from_slice(&piece[..n]);
                    if body.ends_with(b"\r\n0\r\n\r\n") {
                        self.change(|counts| counts.ended += 1);
                        return Some(());
                    }
                }
            }
            "headers" => {
                let bytes: usize = rest.parse().ok()?;
                let header = format!("X-Long: {}\r\n", "x".repeat(1000));
                respond(stream, "200 OK", &header.repeat(bytes / 1000), "after all")
            }
            "hang" => gone(reader),
            "stall" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
                    .ok()?;
                gone(reader)
            }
            "trickle" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                    .ok()?;
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(DRIP);
                }
                None
            }
            "huge" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4u64 << 30);
                stream.write_all(head.as_bytes()).ok()?;
                let piece = [b'x'; 64 * 1024];
                while stream.write_all(&piece).is_ok() {}
                None
            }
            "endless" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .ok()?;
                let piece = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                while stream.write_all(piece.as_bytes()).is_ok() {}
                None
            }
            "close" => None,
            "break" => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegin")
                    .ok()?;
                None
            }
            "garbage" => {
                stream.write_all(b"220 mail.example ESMTP\r\n\r\n").ok()?;
                None
            }
            "to" => {
                let location = format!(
                    "Location: {}\r\n",
                    rest.replace("%2F", "/").replace("%3A", ":")
                );
                respond(stream, "302 Found", &location, "elsewhere")
            }
            "slow" => {
                let ms = rest.split('-').next().unwrap_or_default();
                std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(0)));
                respond(stream, "200 OK", "", &format!("known: {name}\n"))
            }
            "meet" => {
                let all = rest.parse().unwrap_or(usize::MAX);
                match self.meet(all) {
                    true => respond(stream, "200 OK", "", "all are here"),
                    false => respond(stream, "500 Alone", "", "not all came"),
                }
            }
            "say" => respond(
                stream,
                "200 OK",
                "",
                &format!("{} {} {}", asked.method, asked.path, asked.body),
            ),
            _ if asked.method == "HEAD" => stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
                .ok(),
            _ => respond(stream, "200 OK", "", &format!("known: {name}\n")),
        }
    }

    /// Whether so many were waiting at once before patience ended.
    fn meet(&self, all: usize) -> bool {
        let missing = |counts: &mut Counts| counts.waiting_max < all;
        let met = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, missing);
        !met.expect("nothing panics while it is held").1.timed_out()
    }
}

impl Asked {
    fn read(reader: &mut impl BufRead) -> Option<Asked> {
        let mut line = || {
            let mut line = String::new();
            let n = reader.read_line(&mut line).ok()?;
            (n > 0).then(|| line.trim_end().to_owned())
        };
        let first = line()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut body = 0;
        loop {
            let header = line()?.to_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(length) = header.strip_prefix("content-length:") {
                body = length.trim().parse().ok()?;
            }
        }
        let read = std::io::copy(&mut reader.take(body as u64), &mut std::io::sink()).ok()?;
        (read == body as u64).then_some(Asked { method, path, body })
    }
}

fn respond(mut stream: &TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()
}

/// Waits until the client closes the connection.
fn gone(reader: &mut impl Read) -> Option<()> {
    let _ = std::io::copy(reader, &mut std::io::sink());
    None
}
