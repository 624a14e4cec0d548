//! Tests of [`complete`], on every store.

use super::*;
use crate::storage::testing::Place;

async fn etag(place: &Place, name: &str) -> Option<String> {
    place.storage.head(&place.url(name)).await.unwrap().etag
}

async fn act(place: &Place, name: &str, etag: Option<&str>, action: Action) -> Result<()> {
    complete(&place.storage, &place.url(name), etag, action).await
}

fn move_to(to_url: String) -> Action {
    Action::Move { to_url }
}

#[tokio::test]
async fn a_source_is_kept_deleted_or_moved() {
    for place in Place::each() {
        place.put("a b.csv", "1\n").await.unwrap();
        let tag = etag(&place, "a b.csv").await;
        act(&place, "a b.csv", tag.as_deref(), Action::Keep)
            .await
            .unwrap();
        assert_eq!(place.names().await, ["a b.csv"]);
        let moved = move_to(place.url("done/é.csv"));
        act(&place, "a b.csv", tag.as_deref(), moved).await.unwrap();
        assert_eq!(place.names().await, ["done/é.csv"], "{}", place.base);
        assert_eq!(place.text("done/é.csv").await, "1\n");
        act(&place, "done/é.csv", None, Action::Delete)
            .await
            .unwrap();
        assert!(place.names().await.is_empty());
    }
}

#[tokio::test]
async fn a_source_that_changed_stays() {
    for place in Place::each() {
        place.put("a.csv", "1\n").await.unwrap();
        let tag = etag(&place, "a.csv").await;
        place.storage.delete(&place.url("a.csv")).await.unwrap();
        place.put("a.csv", "another\n").await.unwrap();
        for action in [Action::Delete, move_to(place.url("b.csv"))] {
            let err = act(&place, "a.csv", tag.as_deref(), action)
                .await
                .unwrap_err();
            assert!(matches!(err, Error::SourceChanged { .. }), "{err:?}");
        }
        assert_eq!(place.names().await, ["a.csv"]);
        let now = etag(&place, "a.csv").await.unwrap();
        let bare = now.trim_matches('"');
        act(&place, "a.csv", Some(bare), Action::Delete)
            .await
            .unwrap();
        let gone = act(&place, "a.csv", None, Action::Delete).await;
        assert!(matches!(gone, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_move_takes_nobodys_place() {
    for place in Place::each() {
        place.put("a.csv", "1\n").await.unwrap();
        place.put("b.csv", "2\n").await.unwrap();
        let err = act(&place, "a.csv", None, move_to(place.url("b.csv")))
            .await
            .unwrap_err();
        assert!(matches!(err, Error::AlreadyExists { .. }), "{err:?}");
        assert!(err.to_string().contains("b.csv"), "{err}");
        let same = act(&place, "a.csv", None, move_to(place.url("a.csv"))).await;
        assert!(same.is_err());
        assert_eq!(place.text("a.csv").await, "1\n");
        assert_eq!(place.text("b.csv").await, "2\n");
    }
}

#[tokio::test]
async fn a_move_between_stores_copies_as_it_is() {
    for from in Place::each() {
        for to in Place::each() {
            let content = "not compressed\n".repeat(10_000);
            from.put("a.csv.gz", &content).await.unwrap();
            let moved = move_to(to.url("b.csv.gz"));
            let settings_of_both = &from.storage;
            if to.base.starts_with("gs:")
                || to.base.starts_with("az:")
                || to.base.starts_with("s3:")
            {
                from.storage.delete(&from.url("a.csv.gz")).await.unwrap();
                continue; // The client of the target has settings of its own.
            }
            complete(settings_of_both, &from.url("a.csv.gz"), None, moved)
                .await
                .unwrap();
            assert_eq!(to.text("b.csv.gz").await, content);
            assert!(from.names().await.is_empty());
        }
    }
}

#[tokio::test]
async fn a_move_between_file_systems_copies() {
    let (from, to) = (Place::local(), Path::new("/dev/shm"));
    from.put("a.csv", "1\n").await.unwrap();
    if !to.is_dir() {
        return eprintln!("SKIPPED: there is no second file system");
    }
    let target = to.join(uuid::Uuid::new_v4().to_string());
    let moved = move_to(target.to_str().unwrap().to_owned());
    act(&from, "a.csv", None, moved).await.unwrap();
    let content = std::fs::read_to_string(&target).unwrap();
    std::fs::remove_file(&target).unwrap();
    assert_eq!(content, "1\n");
    assert!(from.names().await.is_empty());
}

#[tokio::test]
async fn standard_input_and_http_stay_as_they_are() {
    let storage = Storage::new();
    complete(&storage, "-", None, Action::Delete).await.unwrap();
    complete(&storage, "http://h/k", None, Action::Keep)
        .await
        .unwrap();
    let err = complete(&storage, "http://h/k?sig=hush", None, Action::Delete)
        .await
        .unwrap_err();
    let text = err.to_string();
    assert!(text.contains("http://h/k: cannot delete"), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_beforehand() {
    let storage = Storage::new();
    let check = |source: &str, action: Action, want: Option<&str>| {
        let refused = refuse(&storage, source, &action);
        match want {
            None => refused.unwrap(),
            Some(want) => {
                let err = refused.unwrap_err().to_string();
                assert!(err.contains(want), "{source}: {err}");
            }
        }
    };
    check("http://h/k", Action::Keep, None);
    check("-", Action::Delete, None);
    check("memory://b/k", Action::Delete, None);
    check("http://h/k", Action::Delete, Some("cannot delete or move"));
    let to = |url: &str| move_to(url.to_owned());
    check("http://h/k", to("/a"), Some("cannot delete or move"));
    check("memory://b/k", to("/a"), None);
    check("memory://b/k", to("http://h/k"), Some("cannot move to"));
    check("memory://b/k", to("-"), Some("cannot move to"));
    check("memory://b/k", to("memory://b/d/"), Some("names a folder"));
}

#[tokio::test]
async fn a_check_refuses_and_does_nothing() {
    for place in Place::each() {
        for name in ["a.csv", "b.csv"] {
            place.put(name, "1\n").await.unwrap();
        }
        let tag = etag(&place, "a.csv").await;
        let check = async |name: &str, etag: Option<&str>, action: &Action| {
            check(&place.storage, &place.url(name), etag, action).await
        };
        let (delete, free) = (Action::Delete, move_to(place.url("c.csv")));
        let taken = move_to(place.url("b.csv"));
        for action in [&delete, &free] {
            check("a.csv", tag.as_deref(), action).await.unwrap();
            let changed = check("a.csv", Some("\"other\""), action).await;
            assert!(matches!(changed, Err(Error::SourceChanged { .. })));
            let gone = check("x.csv", None, action).await;
            assert!(matches!(gone, Err(Error::NotFound { .. })));
        }
        check("x.csv", None, &Action::Keep).await.unwrap();
        let err = check("a.csv", tag.as_deref(), &taken).await.unwrap_err();
        assert!(matches!(err, Error::AlreadyExists { .. }), "{err:?}");
        assert_eq!(place.names().await, ["a.csv", "b.csv"]);
    }
}

#[tokio::test]
async fn what_stands_beside_goes_along() {
    let moved = |place: &Place| Action::Move {
        to_url: place.url("b"),
    };
    // what is to be done, whether lines are left, what is there afterwards
    let table = [
        ("keep", false, "a.capsules.ndjson,a.faults.ndjson,other"),
        ("delete", false, "other"),
        ("delete", true, "a.capsules.ndjson,other"),
        ("move", false, "b.capsules.ndjson,b.faults.ndjson,other"),
        ("move", true, "b.capsules.ndjson,b.faults.ndjson,other"),
    ];
    for (what, left, expected) in table {
        for place in Place::each() {
            let action = match what {
                "keep" => Action::Keep,
                "delete" => Action::Delete,
                _ => moved(&place),
            };
            let done = complete_beside(&place.storage, &place.url("a"), &action, left).await;
            assert!(done.is_ok(), "nothing is there: {done:?}");
            for name in ["a.capsules.ndjson", "a.faults.ndjson", "other"] {
                place.put(name, name).await.expect("put");
            }
            let done = complete_beside(&place.storage, &place.url("a"), &action, left).await;
            assert!(done.is_ok(), "{what} {left}: {done:?}");
            assert_eq!(place.names().await.join(","), expected, "{what} {left}");
        }
    }
}

#[tokio::test]
async fn nothing_takes_the_place_of_what_stands_beside_another() {
    for place in Place::each() {
        for name in ["a.faults.ndjson", "b.faults.ndjson"] {
            place.put(name, name).await.expect("put");
        }
        let action = Action::Move {
            to_url: place.url("b"),
        };
        let done = complete_beside(&place.storage, &place.url("a"), &action, false).await;
        assert!(matches!(done, Err(Error::AlreadyExists { .. })), "{done:?}");
        assert_eq!(place.text("b.faults.ndjson").await, "b.faults.ndjson");
        assert_eq!(place.text("a.faults.ndjson").await, "a.faults.ndjson");
    }
}
