//! A tiny HTTP server on a free port, whose answers a test writes byte by byte.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers until it is dropped.
pub(crate) struct HttpServer {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// What was asked: the method, and the headers with their names in lower case.
pub(crate) struct Asked {
    pub(crate) method: String,
    headers: Vec<(String, String)>,
}

impl HttpServer {
    /// Every connection is answered once, in a thread of its own, and closed.
    pub(crate) fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let over = Arc::new(AtomicBool::new(false));
        let (ended, answer) = (over.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let (Ok(mut stream), answer) = (stream, answer.clone()) else {
                    continue;
                };
                std::thread::spawn(move || {
                    if let Some(asked) = Asked::read(&stream) {
                        answer(&asked, &mut stream);
                    }
                });
            }
        });
        HttpServer { address, over }
    }

    /// Answers every path with these bytes, and with the further headers, each ended by `\r\n`.
    pub(crate) fn serving(headers: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        HttpServer::start(move |asked, stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n",
                body.len()
            );
            respond(
                stream,
                &head,
                if asked.method == "HEAD" { b"" } else { &body },
            );
        })
    }

    /// The URL of a path, which begins with `/`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // One more connection, so that it sees that it is over.
        drop(TcpStream::connect(self.address));
    }
}

/// Sends a head, whose lines are ended, and a body. That nobody listens any more is no error.
pub(crate) fn respond(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!("{head}Connection: close\r\n\r\n");
    drop(
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body)),
    );
}

impl Asked {
    fn read(stream: &TcpStream) -> Option<Asked> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines.next()?;
        let mut words = first.split(' ').map(str::to_owned);
        let method = words.next()?;
        let header = |line: String| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        };
        let lines = lines.take_while(|line| !line.is_empty());
        let headers = lines.filter_map(header).collect();
        Some(Asked { method, headers })
    }

    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.split_once('-')?.0.parse().ok()
    }
}
