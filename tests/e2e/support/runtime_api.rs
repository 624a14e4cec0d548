//! The interface that Lambda gives to the runtimes of functions, as far as one needs it: the next invocation, its
//! response or error, and the error of a function that could not be set up. It needs nothing but the standard
//! library, since the benchmark includes it too.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const OF_ONE: &str = "/2018-06-01/runtime/invocation/";
const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";

/// Listens on a free port, for one function.
pub struct RuntimeApi {
    address: SocketAddr,
    invocations: Sender<Invocation>,
    told: Receiver<Told>,
    /// Who else can tell something: that the process has ended.
    pub teller: Sender<Told>,
    count: u64,
}

struct Invocation {
    id: String,
    deadline: SystemTime,
    event: Vec<u8>,
}

/// What a function tells, and when it had told it.
#[derive(Debug)]
pub enum Told {
    /// It wants the next invocation.
    Ready,
    /// The answer to an invocation: its id, whether it is an error, the body.
    Answer(String, bool, Vec<u8>, Instant),
    /// It could not be set up.
    InitError(Vec<u8>),
    /// Its process has ended.
    Ended,
}

impl RuntimeApi {
    /// Waits for a function.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (invocations, queue) = channel();
        let (teller, told) = channel();
        let (queue, tell) = (Arc::new(Mutex::new(queue)), teller.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (queue, tell) = (queue.clone(), tell.clone());
                // A connection that breaks off is the function's end, which is told otherwise.
                std::thread::spawn(move || drop(converse(&stream, &queue, &tell)));
            }
        });
        Ok(RuntimeApi {
            address,
            invocations,
            told,
            teller,
            count: 0,
        })
    }

    /// What the function's environment must hold, with this memory in megabytes.
    pub fn environment(&self, memory: &str) -> [(&'static str, String); 4] {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", "function".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory.to_owned()),
        ]
    }

    /// Invokes the function; gives back the id of the invocation. `time` is what it has.
    pub fn invoke(&mut self, event: &[u8], time: Duration) -> String {
        self.count += 1;
        let id = format!("invocation-{}", self.count);
        let invocation = Invocation {
            id: id.clone(),
            deadline: SystemTime::now() + time,
            event: event.to_vec(),
        };
        self.invocations
            .send(invocation)
            .expect("the listener lives as long as the process");
        id
    }

    /// What the function tells next.
    pub fn hear(&self, patience: Duration) -> Result<Told, RecvTimeoutError> {
        self.told.recv_timeout(patience)
    }
}

fn converse(
    stream: &TcpStream,
    queue: &Mutex<Receiver<Invocation>>,
    tell: &Sender<Told>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    while let Some((method, path, body)) = read(&mut reader)? {
        let of_one = path
            .strip_prefix(OF_ONE)
            .and_then(|rest| rest.split_once('/'));
        match (&*method, &*path, of_one) {
            ("GET", NEXT, _) => {
                drop(tell.send(Told::Ready));
                let queue = queue.lock().expect("nothing panics while it is held");
                let Ok(next) = queue.recv() else { break };
                drop(queue);
                let deadline = next.deadline.duration_since(UNIX_EPOCH);
                let deadline = deadline.map_or(0, |time| time.as_millis());
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                     Lambda-Runtime-Aws-Request-Id: {}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n\
                     Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:1:function:function\r\n\
                     Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0\r\n\r\n",
                    next.event.len(),
                    next.id,
                );
                writer.write_all(&[head.as_bytes(), &next.event].concat())?;
            }
            ("POST", INIT_ERROR, _) => {
                drop(tell.send(Told::InitError(body)));
                writer.write_all(ACCEPTED)?;
            }
            ("POST", _, Some((id, how @ ("response" | "error")))) => {
                let told = Told::Answer(id.to_owned(), how == "error", body, Instant::now());
                drop(tell.send(told));
                writer.write_all(ACCEPTED)?;
            }
            _ => writer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
        }
    }
    Ok(())
}

const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

/// Method, path and body of the next request; none: there is none.
fn read(reader: &mut impl BufRead) -> std::io::Result<Option<(String, String, Vec<u8>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut words = first.split_ascii_whitespace().map(str::to_owned);
    let (method, path) = (words.next(), words.next());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(method.zip(path).map(|(method, path)| (method, path, body)))
}
