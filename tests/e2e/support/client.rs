//! A client of HTTP that sees what goes over the line, and can misbehave.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// An answer that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    /// What was received and not looked at yet.
    received: Vec<u8>,
}

/// What was answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("it is a time");
        stream
            .set_write_timeout(Some(TIMEOUT))
            .expect("it is a time");
        stream.set_nodelay(true).expect("it is connected");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends the head of a request; each further header is a line of `headers`.
    pub(crate) fn send_head(&mut self, request: &str, headers: &str) -> io::Result<()> {
        let mut head = format!("{request} HTTP/1.1\r\nHost: test\r\n");
        for header in headers
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            head.push_str(header);
            head.push_str("\r\n");
        }
        self.send(head + "\r\n")
    }

    /// Sends a piece of a chunked body; an empty one ends it.
    pub(crate) fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk)
    }

    /// Sends a whole request, and reads the answer.
    pub(crate) fn ask(
        &mut self,
        request: &str,
        headers: &str,
        body: impl AsRef<[u8]>,
    ) -> io::Result<Answer> {
        let body = body.as_ref();
        let mut whole = format!("{headers}\nContent-Length: {}", body.len());
        if request.starts_with("GET") {
            whole = headers.to_owned();
        }
        self.send_head(request, &whole)?;
        self.send(body)?;
        self.answer()
    }

    /// Another hand on the connection, which can send while this one receives.
    pub(crate) fn second(&self) -> Client {
        let stream = self
            .stream
            .try_clone()
            .expect("there is room for one more file");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// Reads an answer; it must be whole.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        match (
            answer.header("content-length"),
            answer.header("transfer-encoding"),
        ) {
            (Some(length), _) => {
                let length = length.parse().expect("a length is a number");
                answer.body = self.exactly(length)?;
            }
            (None, Some("chunked")) => {
                while let Some(chunk) = self.chunk()? {
                    answer.body.extend(chunk);
                }
                answer.trailers = self.fields()?;
            }
            other => panic!("how long is the body? {other:?}"),
        }
        Ok(answer)
    }

    /// Reads the head of an answer.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer of HTTP: {first}"));
        let headers = self.fields()?;
        Ok(Answer {
            status,
            headers,
            ..Answer::default()
        })
    }

    /// Reads a piece of a chunked body; `None`: it has ended.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("no size: {size}"));
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        self.line()?;
        Ok(Some(chunk))
    }

    fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(fields);
            };
            fields.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|two| two == b"\r\n") {
                let line = self.received.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8(line).expect("a head is text"));
            }
            self.receive()?;
        }
    }

    fn exactly(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.received.len() < bytes {
            self.receive()?;
        }
        Ok(self.received.drain(..bytes).collect())
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                self.received.extend_from_slice(&buffer[..n]);
                Ok(())
            }
        }
    }

    /// Waits until the server closes the connection; what else it sends is given back.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.received));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Answer {
    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.headers, name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is text")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let json = serde_json::from_slice(&self.body);
        json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The report in the trailer.
    #[track_caller]
    pub(crate) fn trailer(&self) -> Value {
        let report =
            field(&self.trailers, "linemill-report").expect("the report is in the trailer");
        serde_json::from_str(report).expect("it is JSON")
    }

    /// The output, and the report that is its last line.
    #[track_caller]
    pub(crate) fn output_and_report(&self) -> (String, Value) {
        let text = self
            .text()
            .strip_suffix('\n')
            .expect("the last line is ended");
        let (output, report) = text
            .rsplit_once('\n')
            .map_or(("", text), |(output, report)| (output, report));
        let output = match output {
            "" => String::new(),
            lines => format!("{lines}\n"),
        };
        (
            output,
            serde_json::from_str(report).expect("the last line is the report"),
        )
    }
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str())
}
