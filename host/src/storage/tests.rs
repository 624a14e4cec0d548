//! Tests of [`Storage`]: what a URL names, and a contract that every store keeps.

use super::testing::{Place, http_server};
use super::*;

#[test]
fn urls_name_places() {
    let check = |url: &str, path: &str, name: &str| {
        let location = Storage::new().locate(url).unwrap();
        assert_eq!(location.path().as_ref(), path, "{url}");
        assert_eq!(location.name(), name, "{url}");
        assert_eq!(location.url(), url);
    };
    check("memory://b/a/b.csv", "a/b.csv", "b.csv");
    check("memory://b/a b+%20é.csv", "a b+%20é.csv", "a b+%20é.csv");
    check("MEMORY://b/k?x=1#y", "k?x=1#y", "k?x=1#y");
    check("memory://b/dir/", "dir", "");
    check("memory://b", "", "b");
    check("/tmp/a.csv", "tmp/a.csv", "a.csv");
    check("file:///tmp/a%20b", "tmp/a%20b", "a%20b");
    check("http://h:1/p/a.csv.gz?X-Sig=a/b", "", "a.csv.gz");
    check("-", "", "-");
}

#[test]
fn local_paths_are_absolute() {
    let check = |url: &str, want: PathBuf| {
        let location = Storage::new().locate(url).unwrap();
        assert_eq!(location.local_path(), Some(want.as_path()), "{url}");
    };
    let here = std::env::current_dir().unwrap();
    check("a/b.csv", here.join("a/b.csv"));
    check("./a.csv", here.join("a.csv"));
    check("../a.csv", here.join("../a.csv"));
    check("file://a.csv", here.join("a.csv"));
    check("file:///tmp/a.csv", "/tmp/a.csv".into());
    check("file://localhost/tmp/a.csv", "/tmp/a.csv".into());
    check("/tmp/é %20#?*.csv", "/tmp/é %20#?*.csv".into());
}

#[test]
fn what_names_no_place_is_refused() {
    let check = |url: &str, want: &str| {
        let err = Storage::new().locate(url).unwrap_err().to_string();
        assert!(err.contains(want), "{url}: {err}");
    };
    check(
        "ftp://h/p",
        "unknown scheme ftp://, use a plain path, file://, s3://",
    );
    check("s3:///k", "names no bucket");
    check("memory://b//k", "empty path segment");
    check("memory://b/a//k", "empty path segment");
    check("memory://b/k//", "empty path segment");
    check("memory://b/a/../k", "..");
    check("", "names no file");
    check("file://", "names no file");
    check("http://", "http://");
}

#[test]
fn a_bucket_has_one_client() {
    let settings = [("AWS_REGION", "eu-west-1"), ("AWS_SKIP_SIGNATURE", "true")];
    let storage = Storage::with_settings(settings);
    let store = |url: &str| Arc::clone(storage.clone().locate(url).unwrap().store());
    assert!(Arc::ptr_eq(&store("s3://b/a"), &store("s3://b/c/d")));
    assert!(!Arc::ptr_eq(&store("s3://b/a"), &store("s3://c/a")));
    let settings = [("AWS_NONSENSE", "1")];
    let err = Storage::with_settings(settings).locate("s3://b/a");
    assert!(err.unwrap_err().to_string().contains("aws_nonsense"));
}

#[tokio::test]
async fn every_store_tells_of_its_objects() {
    for place in Place::each() {
        let storage = &place.storage;
        let url = place.url("a.csv");
        assert!(matches!(
            storage.head(&url).await,
            Err(Error::NotFound { .. })
        ));
        assert!(!storage.exists(&url).await.unwrap());
        place.put("a.csv", "1\n2\n").await.unwrap();
        assert!(storage.exists(&url).await.unwrap());
        let meta = storage.head(&url).await.unwrap();
        assert_eq!(meta.size, Some(4));
        assert_eq!(meta.etag, in_store_etag(storage, &url).await);
        assert_eq!(storage.get_small(&url, 4).await.unwrap(), "1\n2\n");
        let err = storage.get_small(&url, 3).await.unwrap_err().to_string();
        assert!(err.ends_with("has more than 3 bytes"), "{err}");
        storage.delete(&url).await.unwrap();
        assert!(!storage.exists(&url).await.unwrap());
        storage.delete(&url).await.unwrap();
        assert!(matches!(
            storage.get_small(&url, 9).await,
            Err(Error::NotFound { .. })
        ));
    }
}

async fn in_store_etag(storage: &Storage, url: &str) -> Option<String> {
    let location = storage.locate(url).unwrap();
    location.store().head(location.path()).await.unwrap().e_tag
}

#[tokio::test]
async fn every_store_keeps_names_as_they_are() {
    let names = [
        "#3",
        "100%.csv",
        "[1]{2}~.csv",
        "a b+%20é.csv",
        "d/e f/g.csv",
        "k=v&w?x.csv",
        "日本 *.csv",
    ];
    for place in Place::each() {
        for name in names {
            place.put(name, name).await.unwrap();
            assert_eq!(place.text(name).await, name, "{}", place.base);
        }
        assert_eq!(place.names().await, names, "{}", place.base);
        for name in names {
            place.storage.delete(&place.url(name)).await.unwrap();
        }
        assert!(place.names().await.is_empty(), "{}", place.base);
    }
}

#[tokio::test]
async fn every_store_lists_and_matches() {
    for place in Place::each() {
        for name in ["a.csv", "b.csv.gz", "d/a.csv", "d/e/a.csv", "empty"] {
            let content = if name == "empty" { "" } else { "1\n" };
            place.put(name, content).await.unwrap();
        }
        let check = async |pattern: &str, want: &[&str]| {
            let found = place.storage.glob(&place.url(pattern)).await.unwrap();
            let want: Vec<_> = want.iter().map(|name| place.url(name)).collect();
            let found: Vec<_> = found.into_iter().map(|object| object.url).collect();
            assert_eq!(found, want, "{pattern}");
        };
        check("*.csv", &["a.csv"]).await;
        check("?.csv*", &["a.csv", "b.csv.gz"]).await;
        check("**/*.csv", &["a.csv", "d/a.csv", "d/e/a.csv"]).await;
        check("d/*/a.csv", &["d/e/a.csv"]).await;
        check("[bc].*", &["b.csv.gz"]).await;
        check("d/**", &["d/a.csv", "d/e/a.csv"]).await;
        check("**/**/a.csv", &["a.csv", "d/a.csv", "d/e/a.csv"]).await;
        check("nowhere/*", &[]).await;
        check("a.csv", &["a.csv"]).await;
        check("x*", &[]).await;
        let missing = place.storage.glob(&place.url("x")).await;
        assert!(matches!(missing, Err(Error::NotFound { .. })));
        let listed = place.storage.list(&place.url("d/")).await.unwrap();
        let sizes: Vec<_> = listed.iter().map(|object| object.size).collect();
        assert_eq!(sizes, [Some(2), Some(2)]);
        assert_eq!(place.names().await.len(), 5);
    }
}

#[tokio::test]
async fn hidden_files_and_linked_folders_are_not_listed() {
    let place = Place::local();
    for name in [".hidden", ".git/config", "d/a.csv"] {
        place.put(name, "").await.unwrap();
    }
    std::os::unix::fs::symlink(&place.base, place.url("d/up")).unwrap();
    std::os::unix::fs::symlink("a.csv", place.url("d/b.csv")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.url("d/c.csv")).unwrap();
    let listed = place.storage.list(&place.base).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|object| object.url).collect();
    assert_eq!(listed, [place.url("d/a.csv"), place.url("d/b.csv")]);
    let url = format!("file://{}", place.base);
    let listed = place.storage.list(&url).await.unwrap();
    assert_eq!(listed[0].url, format!("{url}d/a.csv"));
    let found = place.storage.glob(&format!("{url}*/a.csv")).await.unwrap();
    assert_eq!(found[0].url, format!("{url}d/a.csv"));
}

#[tokio::test]
async fn a_leading_dot_must_be_in_the_pattern() {
    let place = Place::local();
    for name in [".git/config", ".hidden", ".hide/a", "a", "d/.hidden"] {
        place.put(name, "").await.unwrap();
    }
    let check = async |pattern: &str, want: &[&str]| {
        let found = place.storage.glob(&place.url(pattern)).await.unwrap();
        let want: Vec<_> = want.iter().map(|name| place.url(name)).collect();
        let found: Vec<_> = found.into_iter().map(|object| object.url).collect();
        assert_eq!(found, want, "{pattern}");
    };
    check(".hid*", &[".hidden"]).await;
    check(".*", &[".hidden"]).await;
    check(".h*/*", &[".hide/a"]).await;
    check("*/.h*", &["d/.hidden"]).await;
    check("**/.h*", &[".hidden", "d/.hidden"]).await;
    check(".git/*", &[".git/config"]).await;
    check("?git/config", &[]).await;
    check("[.]hidden", &[]).await;
    check("*", &["a"]).await;
    check("**", &["a"]).await;
}

#[tokio::test]
async fn a_pattern_says_how_its_matches_are_named() {
    let place = Place::local();
    place.put("d/a.csv", "").await.unwrap();
    std::os::unix::fs::symlink(&place.base, place.url("d/up")).unwrap();
    let folder = place.base.trim_start_matches('/');
    let check = async |pattern: String, want: &[String]| {
        let found = place.storage.glob(&pattern).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|object| object.url).collect();
        assert_eq!(found, want, "{pattern}");
    };
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let near = format!("./{up}{folder}d/");
    check(format!("{near}*.csv"), &[format!("{near}a.csv")]).await;
    let file = format!("file://localhost/{folder}d/");
    check(format!("{file}*.csv"), &[format!("{file}a.csv")]).await;
    let linked = place.url("d/up/d/a.csv");
    check(place.url("*/*/*/a.csv"), &[linked]).await;
    check(place.url("**/*.csv"), &[place.url("d/a.csv")]).await;
    check(place.url("*/"), &[]).await;
    check("Cargo.tom?".to_owned(), &["Cargo.toml".to_owned()]).await;
    check(place.url("d/a.csv/*"), &[]).await;
}

#[tokio::test]
async fn names_that_are_not_unicode_are_refused_where_they_match() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::local();
    place.put("a.csv", "").await.unwrap();
    let name = std::ffi::OsStr::from_bytes(b"\xff.txt");
    std::fs::write(FilePath::new(&place.base).join(name), "").unwrap();
    for found in [
        place.storage.glob(&place.url("*")).await,
        place.storage.glob(&place.url("**/*.txt")).await,
        place.storage.list(&place.base).await,
    ] {
        let err = found.unwrap_err().to_string();
        assert!(err.ends_with(".txt: has a name that is not UTF-8"), "{err}");
    }
    let found = place.storage.glob(&place.url("*.csv")).await.unwrap();
    assert_eq!(found[0].url, place.url("a.csv"));
}

#[tokio::test]
async fn a_file_may_have_the_name_of_a_pattern() {
    let place = Place::local();
    place.put("a[1].csv", "x").await.unwrap();
    place.put("a1.csv", "y").await.unwrap();
    let found = place.storage.glob(&place.url("a[1].csv")).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].url, place.url("a[1].csv"));
}

#[tokio::test]
async fn folders_are_no_objects() {
    let place = Place::local();
    for url in [
        place.base.clone(),
        place.base.trim_end_matches('/').to_owned(),
    ] {
        let err = place.storage.head(&url).await.unwrap_err();
        assert!(matches!(err, Error::Invalid { .. }), "{err:?}");
    }
    let missing = place.storage.list(&place.url("nowhere/")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

/// Answers GET alone, and only with the right query, like a presigned URL.
fn presigned_server() -> String {
    let server = http_server(|head| {
        let answer = match head.lines().next().unwrap() {
            "GET /d/a%20b%2Fc.csv?sig=a%2Fb&x=1 HTTP/1.1" => {
                "200 OK\r\nContent-Length: 4\r\n\r\n1\n2\n"
            }
            "GET /missing HTTP/1.1" | "HEAD /missing HTTP/1.1" => {
                "404 Not Found\r\nContent-Length: 0\r\n\r\n"
            }
            _ => "403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        };
        answer.to_owned()
    });
    format!("{server}/d/a%20b%2Fc.csv?sig=a%2Fb&x=1")
}

#[tokio::test]
async fn presigned_urls_keep_their_query() {
    let (storage, url) = (Storage::new(), presigned_server());
    assert_eq!(storage.get_small(&url, 9).await.unwrap(), "1\n2\n");
    let meta = storage.head(&url).await.unwrap();
    assert_eq!(
        meta,
        Meta {
            size: Some(4),
            etag: None
        }
    );
    let (server, _) = url.split_once("/d/").unwrap();
    let missing = storage.head(&format!("{server}/missing")).await;
    assert!(
        matches!(missing, Err(Error::NotFound { .. })),
        "{missing:?}"
    );
    let wrong = format!("{url}&token=hush");
    let err = storage.get_small(&wrong, 9).await.unwrap_err();
    assert!(matches!(err, Error::Denied { .. }), "{err:?}");
    assert!(!format!("{err:?} {err}").contains("hush"), "{err:?}");
    assert!(!format!("{:?}", storage.locate(&wrong)).contains("hush"));
}

#[tokio::test]
async fn a_size_that_is_not_said_is_not_known() {
    let answers = [
        "200 OK\r\n\r\n1\n2\n",
        "200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n0\r\n\r\n",
    ];
    for answer in answers {
        let storage = Storage::new();
        let url = http_server(move |_| answer.to_owned());
        assert_eq!(storage.head(&url).await.unwrap().size, None);
        assert_eq!(storage.glob(&url).await.unwrap()[0].size, None);
        assert_eq!(storage.get_small(&url, 4).await.unwrap(), "1\n2\n");
        let err = storage.get_small(&url, 3).await.unwrap_err().to_string();
        assert!(err.ends_with("has more than 3 bytes"), "{err}");
    }
}

#[tokio::test]
async fn a_size_that_only_get_says_is_known() {
    let url = http_server(|head| match head.starts_with("HEAD") {
        true => "200 OK\r\n\r\n".to_owned(),
        false => "200 OK\r\nContent-Length: 4\r\n\r\n1\n2\n".to_owned(),
    });
    assert_eq!(Storage::new().head(&url).await.unwrap().size, Some(4));
}

#[tokio::test]
async fn http_and_stdio_do_only_what_they_can() {
    let storage = Storage::new();
    let refused = [
        storage.delete("http://h/k").await.unwrap_err(),
        storage.list("http://h/k/").await.unwrap_err(),
        storage.delete("-").await.unwrap_err(),
        storage.head("-").await.unwrap_err(),
        storage.list("-").await.unwrap_err(),
    ];
    for err in refused {
        assert!(matches!(err, Error::Invalid { .. }), "{err:?}");
    }
}
