//! Plugins that are not what they should be, and sources that are not as they should be.

use std::sync::atomic::{AtomicUsize, Ordering};

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::storage::testing::{Place, http_server};

const CONTENT: &str = "what a plugin might be";

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signature(content: &str) -> String {
    hex(&signing().sign(content.as_bytes()).to_bytes())
}

/// With a key that the plugin must be signed with.
fn signed() -> Config {
    Config {
        plugin_public_key: Some(hex(signing().verifying_key().as_bytes())),
        ..Config::default()
    }
}

async fn fetch(storage: &Storage, url: &str, config: &Config) -> Result<Fetched, Failed> {
    Origin::new(storage, url, config).fetch().await
}

/// What went wrong, and whether it will again.
fn told(fetched: Result<Fetched, Failed>) -> (String, bool) {
    let failed = fetched.expect_err("it is not to be had");
    (format!("{:#}", failed.error), failed.tags.is_some())
}

#[tokio::test]
async fn every_store_gives_a_plugin_that_can_be_told_from_another() {
    for place in Place::each() {
        let config = Config::default();
        place.put("p.wasm", CONTENT).await.unwrap();
        let url = place.url("p.wasm");
        let first = fetch(&place.storage, &url, &config).await.unwrap();
        assert_eq!(first.bytes, CONTENT);
        assert_eq!(first.digest, digest(CONTENT.as_bytes()));
        let origin = Origin::new(&place.storage, &url, &config);
        assert!(origin.tags().await.unwrap().same(&first.tags));
        place.storage.delete(&url).await.unwrap();
        let (error, for_good) = told(fetch(&place.storage, &url, &config).await);
        assert!(
            error.contains("could not read the plugin") && !for_good,
            "{error}"
        );
        place.put("p.wasm", "another").await.unwrap();
        assert!(!origin.tags().await.unwrap().same(&first.tags));
    }
}

#[tokio::test]
async fn the_digest_must_be_the_pinned_one() {
    let place = Place::memory();
    place.put("p.wasm", CONTENT).await.unwrap();
    let pinned = |digest: String| Config {
        plugin_digest: Some(digest),
        ..Config::default()
    };
    let url = place.url("p.wasm");
    let right = pinned(digest(CONTENT.as_bytes()));
    fetch(&place.storage, &url, &right).await.unwrap();
    let wrong = pinned(digest(b"another"));
    let (error, for_good) = told(fetch(&place.storage, &url, &wrong).await);
    assert!(
        error.contains("but plugin_digest = sha256:") && for_good,
        "{error}"
    );
}

#[tokio::test]
async fn the_signature_must_be_there_and_fit() {
    let config = signed();
    for place in Place::each() {
        let url = place.url("p.wasm");
        place.put("p.wasm", CONTENT).await.unwrap();
        let unsigned = fetch(&place.storage, &url, &config).await.unwrap_err();
        let error = unsigned.error.to_string();
        assert!(
            error.contains("is not signed") && error.contains("p.wasm.sig"),
            "{error}"
        );

        // The same plugin is looked at again as soon as its signature changes.
        place
            .put("p.wasm.sig", &signature("another"))
            .await
            .unwrap();
        let origin = Origin::new(&place.storage, &url, &config);
        let tags = origin.tags().await.unwrap();
        assert!(!tags.same(&unsigned.tags.unwrap()));
        let (error, for_good) = told(origin.fetch().await);
        assert!(error.contains("does not fit") && for_good, "{error}");

        place.storage.delete(&format!("{url}.sig")).await.unwrap();
        place.put("p.wasm.sig", &signature(CONTENT)).await.unwrap();
        let fetched = origin.fetch().await.unwrap();
        assert!(!fetched.tags.same(&tags));
        assert_eq!(fetched.bytes, CONTENT);
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.wasm");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(PLUGIN_BYTES_MAX + 1).unwrap();
    let url = path.to_str().unwrap();
    let (error, for_good) = told(fetch(&Storage::new(), url, &Config::default()).await);
    assert!(
        error.contains("has more than 268435456 bytes") && for_good,
        "{error}"
    );

    // A server that does not say how much there is, and does not stop.
    let url = http_server(|head| match head.starts_with("HEAD") {
        true => "200 OK\r\n\r\n".to_owned(),
        false => format!(
            "200 OK\r\n\r\n{}",
            "x".repeat(PLUGIN_BYTES_MAX as usize + 1)
        ),
    });
    let url = format!("{url}/p.wasm");
    let (error, _) = told(fetch(&Storage::new(), &url, &Config::default()).await);
    assert!(error.contains("has more than 268435456 bytes"), "{error}");
}

/// A server of a plugin whose entity tags are those of `tags`, one for each request, the last one for all others.
fn changing(tags: &'static [&'static str]) -> String {
    let requests = AtomicUsize::new(0);
    let url = http_server(move |head| {
        let request = requests.fetch_add(1, Ordering::Relaxed);
        let tag = tags[request.min(tags.len() - 1)];
        let tag = match tag {
            "" => String::new(),
            tag => format!("ETag: \"{tag}\"\r\n"),
        };
        let body = match head.starts_with("HEAD") {
            true => "",
            false => CONTENT,
        };
        let length = CONTENT.len();
        format!("200 OK\r\n{tag}Content-Length: {length}\r\n\r\n{body}")
    });
    format!("{url}/p.wasm?secret=1")
}

#[tokio::test]
async fn what_changes_while_it_is_read_is_not_taken_yet() {
    let (storage, config) = (Storage::new(), Config::default());
    fetch(&storage, &changing(&["1"]), &config).await.unwrap();
    let (error, for_good) = told(fetch(&storage, &changing(&["1", "1", "2"]), &config).await);
    assert!(
        error.contains("changed while it was read") && !for_good,
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}

#[tokio::test]
async fn without_entity_tags_nobody_can_tell() {
    let (storage, config) = (Storage::new(), Config::default());
    let url = changing(&[""]);
    let fetched = fetch(&storage, &url, &config).await.unwrap();
    let tags = Origin::new(&storage, &url, &config).tags().await.unwrap();
    assert!(!tags.same(&fetched.tags));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/p.wasm", server.local_addr().unwrap());
    let (storage, config) = (Storage::new(), Config::default());
    let origin = Origin {
        time_max: Duration::from_millis(50),
        ..Origin::new(&storage, &url, &config)
    };
    let (error, for_good) = told(origin.fetch().await);
    assert!(
        error.contains("was not read within 50ms") && !for_good,
        "{error}"
    );
    assert!(origin.tags().await.is_err());
}

#[test]
fn signatures_lie_beside_plugins() {
    let table = [
        ("p.wasm", "p.wasm.sig"),
        ("s3://b/p?q.wasm", "s3://b/p?q.wasm.sig"),
        ("https://h/p.wasm", "https://h/p.wasm.sig"),
        ("https://h/p.wasm?a=b", "https://h/p.wasm.sig?a=b"),
        ("HTTP://h/p.wasm?a=b", "HTTP://h/p.wasm.sig?a=b"),
    ];
    for (url, want) in table {
        assert_eq!(signature_url(url), want);
    }
}
