//! A server under load, beside one whose handler gives back what it gets.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Makes this program a server whose handler gives back what it gets.
pub const EMPTY: &str = "--empty-server";
const LISTENING: &str = "listening on http://";

/// Gives back what it gets, for ever.
pub fn serve_nothing() -> Result<()> {
    let io = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let app = axum::Router::new().route("/lines", axum::routing::post(async |body: String| body));
    io.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        eprintln!("{LISTENING}{}", listener.local_addr()?);
        let connections = async |listener: tokio::net::TcpListener| loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let app = hyper_util::service::TowerToHyperService::new(app.clone());
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, app));
        };
        let ended: std::io::Result<std::convert::Infallible> = connections(listener).await;
        match ended? {}
    })
}

/// A process that serves.
pub struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("it is piped")?).lines();
        let address = loop {
            let line = lines.next().context("the server ended")??;
            if let Some(address) = line.strip_prefix(LISTENING) {
                break address.parse()?;
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is gone already otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of the requests of a while.
pub struct Load {
    /// Seconds from when each request was due to its answer, sorted.
    pub times: Vec<f64>,
    /// How long it took in all.
    pub elapsed: f64,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed
    }

    pub fn quantile(&self, q: f64) -> f64 {
        let rank = (self.times.len() as f64 * q).ceil() as usize;
        self.times[rank.clamp(1, self.times.len()) - 1]
    }

    /// How many took longer.
    pub fn over(&self, seconds: f64) -> usize {
        self.times.len() - self.times.partition_point(|time| *time <= seconds)
    }
}

/// Posts `body` over so many connections for a while, each as soon as it can, or `rate` times a second in all; then
/// times count from when a request was due. Every answer must be `expected`.
pub fn load(
    server: &Server,
    connections: usize,
    span: Duration,
    rate: Option<f64>,
    body: &str,
    expected: &str,
) -> Result<Load> {
    let request = format!(
        "POST /lines HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    let connection = |number: usize| -> Result<Vec<f64>> {
        let stream = TcpStream::connect(server.address)?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut times = Vec::new();
        for turn in 0.. {
            let due = match rate {
                Some(rate) => {
                    begun + Duration::from_secs_f64((turn * connections + number) as f64 / rate)
                }
                None => Instant::now(),
            };
            if due >= begun + span {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            stream.get_mut().write_all(request.as_bytes())?;
            let answer = answer(&mut stream)?;
            times.push(due.elapsed().as_secs_f64());
            ensure!(answer == expected, "answered {answer:?}");
        }
        Ok(times)
    };
    let times = std::thread::scope(|scope| {
        let running: Vec<_> = (0..connections)
            .map(|number| {
                scope.spawn({
                    let connection = &connection;
                    move || connection(number)
                })
            })
            .collect();
        let times = running
            .into_iter()
            .map(|thread| thread.join().expect("it does not panic"));
        times.collect::<Result<Vec<_>>>()
    })?;
    let mut times = times.concat();
    times.sort_by(f64::total_cmp);
    Ok(Load {
        times,
        elapsed: begun.elapsed().as_secs_f64(),
    })
}

/// The body of an answer of known length.
fn answer(stream: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200") {
        bail!("answered {line:?}");
    }
    let mut length = None;
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("the answer does not say how long it is")?];
    stream.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}

/// A version of a component that does the same, but has another digest.
pub fn another(component: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = component.to_vec();
    // A custom section with a name of eight bytes and nothing in it.
    bytes.extend([0, 9, 8]);
    bytes.extend(format!("{number:08x}").bytes());
    bytes
}
