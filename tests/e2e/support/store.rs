//! Object stores on real servers, and places in their buckets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use object_store::{
    Attribute, Attributes, ClientOptions, ObjectStore, ObjectStoreExt, PutOptions, RetryConfig,
    path,
};

use super::Case;
use super::files::unpack;
use super::server::Server;

/// The buckets that every store has.
pub(super) const BUCKETS: [&str; 2] = ["first", "second"];

/// The client of a bucket, which tries so many times again. It is made anew for each use: connections end with the
/// runtime that they were made in.
type MakeClient = dyn Fn(&str, usize) -> Box<dyn ObjectStore> + Send + Sync;

/// A store whose server runs until the tests end.
pub(crate) struct Store {
    pub(super) scheme: &'static str,
    /// Tell linemill how to reach it.
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) client: Box<MakeClient>,
    pub(super) _server: Server,
}

/// A fresh prefix in the buckets of a store.
pub(crate) struct Place {
    store: &'static Store,
    /// What all keys begin with; it ends in `/`.
    prefix: String,
}

impl Store {
    /// An empty place.
    pub(crate) fn place(&'static self) -> Place {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        Place {
            store: self,
            prefix: format!("place{number}/"),
        }
    }

    fn client(&self, bucket: &str) -> Box<dyn ObjectStore> {
        (self.client)(bucket, 3)
    }
}

/// How clients do not wait for ever.
pub(super) fn bounded(retries: usize) -> (ClientOptions, RetryConfig) {
    let timeout = ClientOptions::new().with_timeout(Duration::from_secs(15));
    let retries = RetryConfig {
        max_retries: retries,
        retry_timeout: Duration::from_secs(30),
        ..RetryConfig::default()
    };
    (timeout.with_allow_http(true), retries)
}

/// Whether an object can be put into each bucket. The first one of each takes its time.
pub(super) fn has_buckets(client: impl Fn(&str) -> Box<dyn ObjectStore>) -> bool {
    let ready = path::Path::from("ready");
    let mut buckets = BUCKETS.iter();
    buckets.all(|bucket| block(client(bucket).put(&ready, "ready".into())).is_ok())
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
        format!("{}://{bucket}/{}{name}", self.store.scheme, self.prefix)
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
        let variables = self.store.variables.iter();
        variables.fold(case, |case, (name, value)| case.env(name, value))
    }

    /// What tells linemill how to reach the server.
    pub(crate) fn variables(&self) -> &[(&'static str, String)] {
        &self.store.variables
    }

    /// Puts an object, in the place of one that is there.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        self.put_encoded(name, bytes, None);
    }

    /// The same with a content encoding.
    pub(crate) fn put_encoded(&self, name: &str, bytes: impl AsRef<[u8]>, encoding: Option<&str>) {
        let client = self.store.client(BUCKETS[0]);
        let encoding = encoding.map(|encoding| (Attribute::ContentEncoding, encoding.to_owned()));
        let options = PutOptions::from(Attributes::from_iter(encoding));
        let bytes = bytes.as_ref().to_vec();
        let path = self.path(name);
        block(client.put_opts(&path, bytes.into(), options)).expect("an object can be put");
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, name: &str) {
        let client = self.store.client(BUCKETS[0]);
        block(client.delete(&self.path(name))).expect("an object can be deleted");
    }

    fn path(&self, name: &str) -> path::Path {
        path::Path::parse(format!("{}{name}", self.prefix)).expect("a key")
    }

    /// All objects of the place in both buckets, as they are stored; those of the second one begin with `second:`.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        for (bucket, mark) in BUCKETS.into_iter().zip(["", "second:"]) {
            let client = self.store.client(bucket);
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
