//! The stores that tests run against, and short ways to look into them.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Mutex;

use crate::destination::Destination;
use crate::error::Result;

use super::Storage;

/// The bucket or container on every server.
const BUCKET: &str = "linemilltest";

/// A fresh, empty folder in a store, whose URL ends in `/`.
pub(crate) struct Place {
    pub(crate) storage: Storage,
    pub(crate) base: String,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn local() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            storage: Storage::new(),
            base: format!("{}/", folder.path().to_str().unwrap()),
            _folder: Some(folder),
        }
    }

    pub(crate) fn memory() -> Self {
        Self {
            storage: Storage::new(),
            base: format!("memory://{}/in/", uuid::Uuid::new_v4()),
            _folder: None,
        }
    }

    /// A real server: the endpoint in `LINEMILL_TEST_S3`, key `test`, secret `testtest`,
    /// each unless the usual variables say otherwise.
    fn s3() -> Option<Self> {
        let endpoint = server("LINEMILL_TEST_S3")?;
        let defaults = [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "testtest"),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ENDPOINT_URL", &endpoint),
        ];
        Some(Self::served("s3", &defaults))
    }

    /// A server that speaks the XML interface of GCS, at the URL in `LINEMILL_TEST_GCS`.
    fn gcs() -> Option<Self> {
        let url = server("LINEMILL_TEST_GCS")?;
        let account = serde_json::json!({
            "gcs_base_url": url, "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        let account = account.to_string();
        let settings = [
            ("GOOGLE_SERVICE_ACCOUNT_KEY", account.as_str()),
            ("GOOGLE_ALLOW_HTTP", "true"),
        ];
        Some(Self::served("gs", &settings))
    }

    /// A server that speaks Azure's blob interface, at the URL in `LINEMILL_TEST_AZURE`, with the account
    /// and the key that are published for emulators.
    fn azure() -> Option<Self> {
        let url = server("LINEMILL_TEST_AZURE")?;
        let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let settings = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
            ("AZURE_STORAGE_ACCOUNT_KEY", key),
            ("AZURE_ENDPOINT", &url),
            ("AZURE_ALLOW_HTTP", "true"),
        ];
        Some(Self::served("az", &settings))
    }

    fn served(scheme: &str, settings: &[(&str, &str)]) -> Self {
        let unset = |(key, _): &&(&str, &str)| std::env::var_os(key).is_none();
        let settings = settings.iter().filter(unset).copied();
        Self {
            storage: Storage::with_settings(settings),
            base: format!("{scheme}://{BUCKET}/{}/", uuid::Uuid::new_v4()),
            _folder: None,
        }
    }

    /// One place in each store there is.
    pub(crate) fn each() -> Vec<Self> {
        let mut places = vec![Self::local(), Self::memory()];
        places.extend(
            [Self::s3(), Self::gcs(), Self::azure()]
                .into_iter()
                .flatten(),
        );
        places
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Publishes `content` under `name`, as it is.
    pub(crate) async fn put(&self, name: &str, content: &str) -> Result<()> {
        let mut written = Destination::create_verbatim(&self.storage, &self.url(name)).await?;
        written.write(content.as_bytes()).await?;
        written.seal().await?.publish().await.map(drop)
    }

    pub(crate) async fn bytes(&self, name: &str) -> Vec<u8> {
        let read = self.storage.get_small(&self.url(name), 1 << 30).await;
        read.unwrap().to_vec()
    }

    pub(crate) async fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name).await).unwrap()
    }

    /// The names of all objects, including what a local folder hides.
    pub(crate) async fn names(&self) -> Vec<String> {
        let listed = match self._folder.is_some() && !std::fs::exists(&self.base).unwrap() {
            true => Vec::new(),
            false => self.storage.list(&self.base).await.unwrap(),
        };
        let name = |url: &str| url.strip_prefix(&self.base).unwrap().to_owned();
        let mut names: Vec<_> = listed.iter().map(|object| name(&object.url)).collect();
        if let Some(folder) = &self._folder {
            let hidden = std::fs::read_dir(folder).unwrap();
            let hidden = hidden.map(|e| e.unwrap().file_name().into_string().unwrap());
            names.extend(hidden.filter(|name| name.starts_with('.')));
        }
        names
    }
}

/// The URL of an HTTP server without the last slash. It sends what `answer` makes of the head of a
/// request, adds that the connection is closed, and closes it.
pub(crate) fn http_server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    use std::io::{BufRead, BufReader};
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in server.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let lines = lines.map_while(std::io::Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let answer = answer(&head.join("\n"));
            let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            // Nobody need listen to the end.
            drop(write!(connection, "HTTP/1.1 {answer}"));
        }
    });
    url
}

/// The URL of a server that tests want, as `.ci/with-servers` names it. Without one they go on with the other stores,
/// which is said once, past the test runner.
fn server(variable: &str) -> Option<String> {
    static MISSING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let url = std::env::var(variable).ok();
    if url.is_none() && MISSING.lock().unwrap().insert(variable.to_owned()) {
        writeln!(std::io::stderr(), "SKIPPED: {variable} names no server").unwrap();
    }
    url
}
