//! S3 servers.

use std::path::Path;
use std::sync::OnceLock;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

use super::server::{Server, Start, Started, TWIN, random, start};
use super::store::{BUCKETS, Store, bounded, has_buckets};

const KEY: &str = "test";
/// The parts of SeaweedFS that listen; S3 itself comes first.
const PARTS: [&str; 5] = ["s3", "master", "volume", "filer", "admin"];

impl Store {
    /// SeaweedFS, which stores on disk. None where it is not installed, which it says.
    #[track_caller]
    pub(crate) fn seaweedfs() -> Option<&'static Store> {
        static STORE: OnceLock<Started<Store>> = OnceLock::new();
        STORE.get_or_init(start_seaweedfs).or_skip("weed")
    }

    /// ministack, whose conditional uploads in parts are atomic, as those of SeaweedFS are not.
    /// None where it is not installed, which it says.
    #[track_caller]
    pub(crate) fn ministack() -> Option<&'static Store> {
        static STORE: OnceLock<Started<Store>> = OnceLock::new();
        STORE.get_or_init(start_ministack).or_skip("ministack")
    }
}

fn client(url: &str, secret: &str, bucket: &str, retries: usize) -> Box<dyn ObjectStore> {
    let (options, retry) = bounded(retries);
    let builder = AmazonS3Builder::new()
        .with_endpoint(url)
        .with_client_options(options)
        .with_retry(retry)
        .with_bucket_name(bucket)
        .with_access_key_id(KEY)
        .with_secret_access_key(secret);
    Box::new(builder.build().expect("all is set that has to be"))
}

fn store(server: Server, secret: String) -> Store {
    let url = server.url();
    let variables = [
        ("AWS_ENDPOINT_URL", &*url),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    Store {
        scheme: "s3",
        variables: variables
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
        client: Box::new(move |bucket, retries| client(&url, &secret, bucket, retries)),
        _server: server,
    }
}

fn start_seaweedfs() -> Started<Store> {
    // Who answers to this one is no other server that has taken the port.
    let secret = format!("secret-{:016x}", random());
    let started = start(
        "weed",
        |start| seaweedfs(start, &secret),
        |server| {
            let client = |bucket: &str| client(&server.url(), &secret, bucket, 0);
            server.ask("GET", "/healthz") && has_buckets(client)
        },
    );
    started.map(|server| store(server, secret))
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

fn start_ministack() -> Started<Store> {
    let prepare = |start: &mut Start<1>| {
        let ministack = &mut start.command;
        ministack.env("GATEWAY_PORT", start.ports[0].to_string());
        ministack.env("BIND_HOST", "127.0.0.1");
        ministack.env("MINISTACK_HOST", "127.0.0.1");
        // It unpacks functions there.
        ministack.env("TMPDIR", &start.folder);
    };
    let bucket = |server: &Server, name| server.ask("PUT", &format!("/{name}"));
    let ready = |server: &Server| {
        server.ask("GET", "/_ministack/health") && BUCKETS.iter().all(|name| bucket(server, name))
    };
    let secret = "not looked at".to_owned();
    start("ministack", prepare, ready).map(|server| store(server, secret))
}
