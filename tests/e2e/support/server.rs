//! Real servers on free ports of this machine, one of a kind for each run of the tests, that end with it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::skip::without_server;

/// A server that is not ready by then does not start.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is tried, each time on other ports: somebody else may take a port before the server does.
const ATTEMPTS: usize = 3;
/// How long one question to a server may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// SeaweedFS takes, for each port, the one that is so much higher as well.
pub(super) const TWIN: u16 = 10_000;
/// Runs a server until it ends, or until standard input does, which is when the tests have ended, however that was:
/// then the server is killed. Deletes its files, and prints what it said last. Signals are for the tests alone.
const WATCH: &str = r#"
    trap '' HUP INT QUIT TERM
    folder=$1 litter=$2
    shift 2
    exec 3<&0 4>&2 </dev/null 2>/dev/null
    "$@" >"$folder/log" 2>&1 3<&- 4>&- &
    server=$!
    { read -r _ <&3; kill -9 "$server"; } 4>&- &
    wait "$server"
    kill -9 $!
    said=$(tail -n 40 "$folder/log" | cut -c -400)
    rm -rf "$folder" $litter
    printf '%s\n' "$said" >&4
"#;

/// A server, until the tests end.
pub(super) struct Server {
    port: u16,
    /// The server ends when this one's standard input does.
    watch: Child,
}

/// How a server is started on ports that are free, with a folder of its own.
pub(super) struct Start<const PORTS: usize> {
    pub(super) folder: PathBuf,
    pub(super) ports: [u16; PORTS],
    /// Arguments and environment are added to it.
    pub(super) command: Command,
    /// Files elsewhere that it leaves behind when it is killed.
    pub(super) litter: Vec<String>,
}

/// A server, or why there is none.
pub(super) enum Started<S> {
    Running(S),
    Missing,
    Failed(String),
}

impl<S> Started<S> {
    pub(super) fn map<T>(self, with: impl FnOnce(S) -> T) -> Started<T> {
        match self {
            Started::Running(server) => Started::Running(with(server)),
            Started::Missing => Started::Missing,
            Started::Failed(said) => Started::Failed(said),
        }
    }

    /// The server. Without it the test ends as skipped, which is said for each test anew; unless servers are required.
    #[track_caller]
    pub(super) fn or_skip(&self, name: &str) -> Option<&S> {
        match self {
            Started::Running(server) => Some(server),
            Started::Failed(said) => panic!("{name} does not start:\n{said}"),
            Started::Missing => {
                without_server(name);
                None
            }
        }
    }
}

/// Starts a server that listens on the first of its ports, and waits until it is `ready`.
pub(super) fn start<const PORTS: usize>(
    name: &str,
    prepare: impl Fn(&mut Start<PORTS>),
    ready: impl Fn(&Server) -> bool,
) -> Started<Server> {
    let Some(program) = installed(name) else {
        return Started::Missing;
    };
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let mut start = Start {
            folder: folder.keep(),
            ports: free_ports(),
            command: Command::new(&program),
            litter: Vec::new(),
        };
        prepare(&mut start);
        match watched(&start).wait(&ready) {
            Ok(server) => return Started::Running(server),
            Err(last) => said = last,
        }
    }
    Started::Failed(said)
}

/// Where a server is: where `.ci/servers` has put it, or on the path.
fn installed(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(own).chain(std::env::split_paths(&path));
    let mut files = folders.map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

/// A number that nobody else has.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Ports that nobody has, nor their twins. They are below those that the system gives to outgoing connections:
/// one of these could take a port before the server does.
fn free_ports<const PORTS: usize>() -> [u16; PORTS] {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
    // All are held until there are enough of them.
    let mut held = Vec::new();
    for _ in 0..10_000 {
        let port = 10_000 + (random() % 12_000) as u16;
        held.extend(bind(port).zip(bind(port + TWIN)).map(|pair| (port, pair)));
        if held.len() == PORTS {
            return std::array::from_fn(|n| held[n].0);
        }
    }
    panic!("there are no {PORTS} free ports from 10 000 on");
}

fn watched<const PORTS: usize>(start: &Start<PORTS>) -> Server {
    let mut watch = Command::new("sh");
    watch.args(["-c", WATCH, "sh"]).arg(&start.folder);
    watch.arg(start.litter.join(" "));
    watch.arg(start.command.get_program());
    watch.args(start.command.get_args());
    let variables = start.command.get_envs();
    watch.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    watch.current_dir(&start.folder).process_group(0);
    watch.stdin(Stdio::piped()).stdout(Stdio::null());
    watch.stderr(Stdio::piped());
    Server {
        port: start.ports[0],
        watch: watch.spawn().expect("a shell can be started"),
    }
}

impl Server {
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until it is ready, or ends it and gives back what it has said.
    fn wait(mut self, ready: impl Fn(&Server) -> bool) -> Result<Server, String> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(self.watch.try_wait(), Ok(None)) {
            if ready(&self) {
                return Ok(self);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = self.watch.wait_with_output().map(|output| output.stderr);
        Err(said.map_or_else(
            |e| e.to_string(),
            |said| String::from_utf8_lossy(&said).into_owned(),
        ))
    }

    /// Sends a request without a body or a signature, and gives back whether it succeeded.
    pub(super) fn ask(&self, method: &str, path: &str) -> bool {
        let answer = self.answer(method, path).unwrap_or_default();
        answer.starts_with(b"HTTP/1.1 200")
    }

    fn answer(&self, method: &str, path: &str) -> std::io::Result<Vec<u8>> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{method} {path} {head}").as_bytes())?;
        let mut status = vec![0; b"HTTP/1.1 200".len()];
        stream.read_exact(&mut status)?;
        Ok(status)
    }
}
