//! A GCS server.

use std::process::Command;
use std::sync::OnceLock;

use object_store::ObjectStore;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::server::{Server, Start, Started, start};
use super::store::{BUCKETS, Store, bounded, has_buckets};

/// Translates for fake-gcs-server, and ends with it.
const TRANSLATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/servers/gcs.py");

impl Store {
    /// fake-gcs-server, which stores in memory. None where it is not installed, which it says.
    #[track_caller]
    pub(crate) fn gcs() -> Option<&'static Store> {
        static STORE: OnceLock<Started<Store>> = OnceLock::new();
        STORE.get_or_init(start_gcs).or_skip("fake-gcs-server")
    }
}

fn start_gcs() -> Started<Store> {
    let prepare = |start: &mut Start<2>| {
        let mut translator = Command::new("python3");
        translator.arg(TRANSLATOR);
        translator.args(start.ports.map(|port| port.to_string()));
        translator.arg(start.command.get_program()).args(BUCKETS);
        start.command = translator;
    };
    let ready = |server: &Server| has_buckets(|bucket| client(&account(server), bucket, 0));
    start("fake-gcs-server", prepare, ready).map(store)
}

fn store(server: Server) -> Store {
    let account = account(&server);
    Store {
        scheme: "gs",
        variables: vec![
            ("GOOGLE_SERVICE_ACCOUNT_KEY", account.clone()),
            ("GOOGLE_ALLOW_HTTP", "true".to_owned()),
        ],
        client: Box::new(move |bucket, retries| client(&account, bucket, retries)),
        _server: server,
    }
}

fn client(account: &str, bucket: &str, retries: usize) -> Box<dyn ObjectStore> {
    let (options, retry) = bounded(retries);
    let builder = GoogleCloudStorageBuilder::new()
        .with_service_account_key(account)
        .with_client_options(options)
        .with_retry(retry)
        .with_bucket_name(bucket);
    Box::new(builder.build().expect("all is set that has to be"))
}

/// An account that says where the server is, and that needs no token.
fn account(server: &Server) -> String {
    let account = serde_json::json!({
        "gcs_base_url": server.url(), "disable_oauth": true,
        "client_email": "", "private_key": "", "private_key_id": "",
    });
    account.to_string()
}
