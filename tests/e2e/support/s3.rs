//! Real S3 servers, and places in their buckets.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
    path,
};

use super::Case;
use super::files::unpack;
use super::server::{Server, Start, Started, TWIN, random, start};

/// The buckets that every server has.
const BUCKETS: [&str; 2] = ["first", "second"];
const KEY: &str = "test";
/// The parts of SeaweedFS that listen; S3 itself comes first.
const PARTS: [&str; 5] = ["s3", "master", "volume", "filer", "admin"];

/// A server, until the tests end.
pub(crate) struct S3 {
    server: Server,
    secret: String,
}

/// A fresh prefix in the buckets of a server.
pub(crate) struct Place {
    server: &'static S3,
    /// What all keys begin with; it ends in `/`.
    prefix: String,
}

impl S3 {
    /// SeaweedFS, which stores on disk. None where it is not installed, which it says.
    #[track_caller]
    pub(crate) fn seaweedfs() -> Option<&'static S3> {
        static SERVER: OnceLock<Started<S3>> = OnceLock::new();
        SERVER.get_or_init(start_seaweedfs).or_skip("weed")
    }

    /// ministack, whose conditional uploads in parts are atomic, as those of SeaweedFS are not.
    /// None where it is not installed, which it says.
    #[track_caller]
    pub(crate) fn ministack() -> Option<&'static S3> {
        static SERVER: OnceLock<Started<S3>> = OnceLock::new();
        SERVER.get_or_init(start_ministack).or_skip("ministack")
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
        client(&self.server, &self.secret, bucket, 3)
    }
}

/// A client that gives up in time.
fn client(server: &Server, secret: &str, bucket: &str, retries: usize) -> AmazonS3 {
    let builder = AmazonS3Builder::new()
        .with_endpoint(server.url())
        .with_client_options(ClientOptions::new().with_timeout(Duration::from_secs(15)))
        .with_retry(RetryConfig {
            max_retries: retries,
            retry_timeout: Duration::from_secs(30),
            ..RetryConfig::default()
        })
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_access_key_id(KEY)
        .with_secret_access_key(secret);
    builder.build().expect("all is set that has to be")
}

fn start_seaweedfs() -> Started<S3> {
    // Who answers to this one is no other server that has taken the port.
    let secret = format!("secret-{:016x}", random());
    let started = start(
        "weed",
        |start| seaweedfs(start, &secret),
        |server| server.ask("GET", "/healthz") && has_buckets(server, &secret),
    );
    started.map(|server| S3 { server, secret })
}

fn seaweedfs(start: &mut Start<{ PARTS.len() }>, secret: &str) {
    let weed = &mut start.command;
    weed.args(["-logtostderr=true", "mini"]);
    weed.args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
    weed.args(["-master.telemetry=false", "-admin.ui=false"]);
    weed.args(["-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
    weed.arg("-s3.autoCreateBucket=false");
    weed.arg(format!("-bucket={}", BUCKETS.join(",")));
    let config = start.folder.join("s3.json");
    std::fs::write(&config, identities(secret)).expect("the folder is there");
    let flag = |name: &str, path: &Path| format!("-{name}={}", path.display());
    weed.arg(flag("dir", &start.folder));
    weed.arg(flag("s3.config", &config));
    for socket in ["s3.localSocket", "filer.localSocket"] {
        weed.arg(flag(socket, &start.folder.join(socket)));
    }
    for (part, port) in PARTS.iter().zip(start.ports) {
        let twin = port + TWIN;
        weed.arg(format!("-{part}.port={port}"));
        weed.arg(format!("-{part}.port.grpc={twin}"));
        let socket = format!("/tmp/seaweedfs-{part}-grpc-{twin}.sock");
        start.litter.push(socket);
    }
    weed.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
    weed.env("AWS_ACCESS_KEY_ID", KEY);
    weed.env("AWS_SECRET_ACCESS_KEY", secret);
}

fn identities(secret: &str) -> String {
    let identities = serde_json::json!({"identities": [{
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    identities.to_string()
}

/// Buckets come after the server is ready, and the first object of each takes its time.
fn has_buckets(server: &Server, secret: &str) -> bool {
    let ready = path::Path::from("ready");
    BUCKETS.iter().all(|bucket| {
        let client = client(server, secret, bucket, 0);
        block(client.put(&ready, "ready".into())).is_ok()
    })
}

fn start_ministack() -> Started<S3> {
    let prepare = |start: &mut Start<1>| {
        let ministack = &mut start.command;
        ministack.env("GATEWAY_PORT", start.ports[0].to_string());
        ministack.env("BIND_HOST", "127.0.0.1");
        ministack.env("MINISTACK_HOST", "127.0.0.1");
    };
    let bucket = |server: &Server, name| server.ask("PUT", &format!("/{name}"));
    let ready = |server: &Server| {
        server.ask("GET", "/_ministack/health") && BUCKETS.iter().all(|name| bucket(server, name))
    };
    let secret = "not looked at".to_owned();
    start("ministack", prepare, ready).map(|server| S3 { server, secret })
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
        case.env("AWS_ENDPOINT_URL", &self.server.server.url())
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", &self.server.secret)
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
