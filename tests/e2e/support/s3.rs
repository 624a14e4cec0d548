//! Real S3 servers on free ports of this machine, one for each run of the tests, and places in their buckets.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutOptions, path};

use super::Case;
use super::files::unpack;
use super::skip::skip;

/// The buckets that every server has.
const BUCKETS: [&str; 2] = ["first", "second"];
const KEY: &str = "test";
const SECRET: &str = "testtest";
/// A server that is not ready by then does not start.
const PATIENCE: Duration = Duration::from_secs(40);
/// Runs a server until standard input ends, which it does when the tests have ended, however that was.
const WATCH: &str = r#"
    folder=$1 litter=$2
    shift 2
    "$@" >"$folder/log" 2>&1 &
    read -r _
    kill -9 $!
    wait
    rm -rf "$folder" $litter
"#;

/// A server, where it is installed; or what it said when it did not start.
type Started = Option<Result<S3, String>>;

/// A server, until the tests end.
pub(crate) struct S3 {
    port: u16,
    _watch: Child,
}

/// A fresh prefix in the buckets of a server.
pub(crate) struct Place {
    server: &'static S3,
    /// What all keys begin with; it ends in `/`.
    prefix: String,
}

impl S3 {
    /// SeaweedFS, which stores on disk. None where it is not installed, which it says.
    pub(crate) fn seaweedfs() -> Option<&'static S3> {
        static SERVER: OnceLock<Started> = OnceLock::new();
        let start = || installed("weed").map(|weed| start_seaweedfs(&weed));
        or_skip(SERVER.get_or_init(start), "weed")
    }

    /// ministack, whose conditional uploads in parts are atomic. None where it is not installed, which it says.
    pub(crate) fn ministack() -> Option<&'static S3> {
        static SERVER: OnceLock<Started> = OnceLock::new();
        let start = || installed("ministack").map(|ministack| start_ministack(&ministack));
        or_skip(SERVER.get_or_init(start), "ministack")
    }

    /// An empty place.
    pub(crate) fn place(&'static self) -> Place {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        Place {
            server: self,
            prefix: format!("place{number}/"),
        }
    }

    fn client(&self, bucket: &str) -> AmazonS3 {
        let builder = AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_bucket_name(bucket)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET);
        builder.build().expect("all is set that has to be")
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until `ready`, or gives back what the server has said.
    fn wait(self, folder: &Path, ready: impl Fn(&S3) -> bool) -> Result<S3, String> {
        let until = Instant::now() + PATIENCE;
        while !ready(&self) {
            if Instant::now() > until {
                let log = std::fs::read_to_string(folder.join("log"));
                return Err(log.unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(self)
    }

    /// Sends a request without a body or a signature, and gives back whether it succeeded.
    fn ask(&self, method: &str, path: &str) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        let head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        let asked = stream.write_all(format!("{method} {path} {head}").as_bytes());
        let answered = asked.and_then(|()| stream.read_to_end(&mut answer));
        answered.is_ok() && answer.starts_with(b"HTTP/1.1 200")
    }
}

/// Says, for each test anew, that there is no such server.
fn or_skip(started: &'static Started, name: &str) -> Option<&'static S3> {
    match started {
        Some(Ok(server)) => Some(server),
        Some(Err(said)) => panic!("{name} does not start:\n{said}"),
        None => {
            skip(&format!("{name} is not installed, .ci/servers does that"));
            None
        }
    }
}

/// Where a server is: beside what `LINEMILL_TEST_S3_BIN` names, on the path, or in `target/servers`.
fn installed(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("LINEMILL_TEST_S3_BIN").map(PathBuf::from);
    let given = given.and_then(|given| given.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/servers/bin");
    let folders = given.into_iter().chain(std::env::split_paths(&path));
    let mut files = folders.chain([venv]).map(|folder| folder.join(name));
    files.find(|file| file.is_file())
}

fn start_seaweedfs(weed: &Path) -> Result<S3, String> {
    let folder = folder();
    let identities = serde_json::json!({"identities": [{
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let config = folder.join("s3.json");
    std::fs::write(&config, identities.to_string()).expect("the folder is there");
    let mut server = Command::new(weed);
    server.args([
        "-logtostderr=true",
        "mini",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
    ]);
    server.args([
        "-master.telemetry=false",
        "-admin.ui=false",
        "-webdav=false",
    ]);
    server.args([
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]);
    server.arg(format!("-bucket={}", BUCKETS.join(",")));
    let sockets = ["-s3.localSocket", "-filer.localSocket"];
    let paths = [("-dir", folder.clone()), ("-s3.config", config)].into_iter();
    for (flag, path) in paths.chain(sockets.map(|flag| (flag, folder.join(flag)))) {
        server.arg(format!("{flag}={}", path.display()));
    }
    let parts = ["s3", "master", "volume", "filer", "admin"];
    let ports = free_ports::<10>();
    let mut sockets = String::new();
    for (part, ports) in parts.iter().zip(ports.chunks(2)) {
        sockets += &format!(" /tmp/seaweedfs-{part}-grpc-{}.sock", ports[1]);
        server.arg(format!("-{part}.port={}", ports[0]));
        server.arg(format!("-{part}.port.grpc={}", ports[1]));
    }
    server.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
    server
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET);
    let server = watched(&server, &folder, &sockets, ports[0]);
    let server = server.wait(&folder, |server| server.ask("GET", "/healthz"))?;
    // Buckets come after that, and the first object takes its time.
    let ready = path::Path::from("ready");
    server.wait(&folder, |server| {
        BUCKETS.iter().all(|bucket| {
            let client = server.client(bucket);
            block(client.put(&ready, "ready".into())).is_ok()
        })
    })
}

fn start_ministack(ministack: &Path) -> Result<S3, String> {
    let folder = folder();
    let [port] = free_ports();
    let mut server = Command::new(ministack);
    server.env("GATEWAY_PORT", port.to_string());
    server
        .env("BIND_HOST", "127.0.0.1")
        .env("MINISTACK_HOST", "127.0.0.1");
    let server = watched(&server, &folder, "", port);
    let server = server.wait(&folder, |server| server.ask("GET", "/_ministack/health"))?;
    server.wait(&folder, |server| {
        let mut buckets = BUCKETS.iter();
        buckets.all(|bucket| server.ask("PUT", &format!("/{bucket}")))
    })
}

fn folder() -> PathBuf {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    folder.keep()
}

/// Ports that nobody has; all are asked for before the first is given back.
fn free_ports<const N: usize>() -> [u16; N] {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let listeners: [TcpListener; N] = std::array::from_fn(bind);
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// Starts a server that is killed when this process ends; its folder and its `litter` are deleted then.
fn watched(server: &Command, folder: &Path, litter: &str, port: u16) -> S3 {
    let mut watch = Command::new("sh");
    watch
        .args(["-c", WATCH, "sh"])
        .arg(folder)
        .arg(litter)
        .arg(server.get_program());
    watch.args(server.get_args());
    let variables = server
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    watch.envs(variables).current_dir(folder);
    watch
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let watch = watch.spawn().expect("a shell can be started");
    S3 {
        port,
        _watch: watch,
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime can be built").block_on(future)
}

impl Place {
    /// The URL of what has this name below the place, in the first bucket.
    pub(crate) fn url(&self, name: &str) -> String {
        self.url_in(BUCKETS[0], name)
    }

    /// The same in the second bucket.
    pub(crate) fn second_url(&self, name: &str) -> String {
        self.url_in(BUCKETS[1], name)
    }

    fn url_in(&self, bucket: &str, name: &str) -> String {
        format!("s3://{bucket}/{}{name}", self.prefix)
    }

    /// What all its keys begin with; it ends in `/`.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A case that can reach the server, and writes to the place's `out`.
    pub(crate) fn case(&self, plugin: &str) -> Case {
        self.reached_by(Case::new(plugin)).out(&self.url("out"))
    }

    /// Tells a case how to reach the server.
    pub(crate) fn reached_by(&self, case: Case) -> Case {
        case.env("AWS_ENDPOINT_URL", &self.server.endpoint())
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    /// Puts an object, in the place of one that is there.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.put_encoded(name, bytes, None);
    }

    /// The same with a content encoding.
    pub(crate) fn put_encoded(&self, name: &str, bytes: impl AsRef<[u8]>, encoding: Option<&str>) {
        let client = self.server.client(BUCKETS[0]);
        let encoding = encoding.map(|encoding| (Attribute::ContentEncoding, encoding.to_owned()));
        let options = PutOptions::from(Attributes::from_iter(encoding));
        let bytes = bytes.as_ref().to_vec();
        let path = self.path(name);
        block(client.put_opts(&path, bytes.into(), options)).expect("an object can be put");
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, name: &str) {
        let client = self.server.client(BUCKETS[0]);
        block(client.delete(&self.path(name))).expect("an object can be deleted");
    }

    fn path(&self, name: &str) -> path::Path {
        path::Path::parse(format!("{}{name}", self.prefix)).expect("a key")
    }

    /// All objects of the place in both buckets, as they are stored; those of the second one begin with `second:`.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        for (bucket, mark) in BUCKETS.into_iter().zip(["", "second:"]) {
            let client = self.server.client(bucket);
            let found = block(async {
                let listed = client.list(Some(&path::Path::from(&*self.prefix)));
                let listed: Vec<_> = listed.try_collect().await?;
                let mut found = Vec::new();
                for meta in listed {
                    let bytes = client.get(&meta.location).await?.bytes().await?;
                    found.push((meta.location.to_string(), bytes.to_vec()));
                }
                Ok::<_, object_store::Error>(found)
            });
            for (key, bytes) in found.expect("objects can be listed and read") {
                let name = key.strip_prefix(&self.prefix).expect("it was listed");
                objects.insert(format!("{mark}{name}"), bytes);
            }
        }
        objects
    }

    /// The names and lines of all objects but those that say why lines are in others.
    pub(crate) fn lines(&self) -> BTreeMap<String, String> {
        let sidecar = |name: &str| name.ends_with(".faults.ndjson");
        let objects = self
            .objects()
            .into_iter()
            .filter(|(name, _)| !sidecar(name));
        let text = |name: &str, bytes: &[u8]| {
            let text = String::from_utf8_lossy(&unpack(name, bytes)).into_owned();
            text.trim_end_matches('\n').replace('\n', ",")
        };
        let lines = objects.map(|(name, bytes)| (name.clone(), text(&name, &bytes)));
        lines.collect()
    }

    /// Compares all objects with `expected`: a line for each, `NAME: LINES`, the lines joined by `,`.
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let lines = expected
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        let expected: Vec<_> = lines.collect();
        let seen = self.lines();
        let seen: Vec<_> = seen
            .iter()
            .map(|(name, lines)| format!("{name}: {lines}"))
            .collect();
        assert!(
            seen == expected,
            "\n--- expected ---\n{}\n--- seen ---\n{}",
            expected.join("\n"),
            seen.join("\n")
        );
    }
}
