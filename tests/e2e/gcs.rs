//! Google's object store: the same promises as for S3, on a server of that interface.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Case, Place, Served, Store, gzip, numbered, plugin};

const LINES: &str = "a\n!corrupt c\n!retry r\n!route side s\n\nb\n";

/// A place on the server, or the end of the test.
macro_rules! place {
    () => {
        match Store::gcs() {
            Some(store) => store.place(),
            None => return,
        }
    };
}

/// A run over an object that writes to every place there is.
fn everywhere(place: &Place, name: &str) -> Case {
    let to = |folder: &str| place.url(&format!("{folder}/$SourceName"));
    let case = place.reached_by(Case::new("unruly")).without_out();
    case.args(["--destination", &to("done"), "--corruption", &to("bad")])
        .args(["--retry", &to("again"), "--failed", &to("failed")])
        .args(["--route", &format!("side={}", to("side"))])
        .source(&place.url(name))
}

#[test]
fn objects_become_objects() {
    let place = place!();
    place.put("in/a b+%.txt", LINES);
    place.put("in/b.txt.gz", gzip(LINES));
    let case = everywhere(&place, "in/").args(["--completion", "delete"]);
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    place.check(
        "again/a b+%-retry01.txt: !retry r
        again/b-retry01.txt.gz: !retry r
        bad/a b+%.txt: !corrupt c
        bad/b.txt.gz: !corrupt c
        done/a b+%.txt: a,,b
        done/b.txt.gz: a,,b
        side/a b+%.txt: s
        side/b.txt.gz: s",
    );
}

#[test]
fn what_is_there_is_never_overwritten() {
    let place = place!();
    place.put("a.txt", LINES);
    for taken in [
        "done/a.txt",
        "bad/a.txt",
        "again/a-retry01.txt",
        "side/a.txt",
    ] {
        place.put(taken, "of somebody else\n");
        let before = place.objects();
        let case = everywhere(&place, "a.txt").args(["--completion", "delete"]);
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(2), "{taken}: {}", outcome.report().0);
        let (error, _) = &outcome.report().errors()[0];
        let expected = format!("{} already exists", place.url(taken));
        assert!(error.starts_with(&expected), "{error}");
        assert!(place.objects() == before, "{taken}");
        place.delete(taken);
    }
}

/// Of three that have written all of a large object in parts when the first of them completes it, one succeeds.
#[test]
fn of_runs_that_write_the_same_large_object_one_succeeds() {
    let place = place!();
    let lines = numbered(2_000_000) + "!log 1\n";
    let text = format!("{lines}!route hold x\n");
    let case = place.case("unruly").input("a.txt", text);
    let case = case.args(["--route", "hold=pipes/$SourceName"]);
    let pipe = case.pipe("pipes/a.txt");
    let mut running: Vec<_> = (0..3).map(|_| case.start()).collect();
    for running in &mut running {
        running.wait_for_stderr("message 0");
    }
    assert!(place.objects().is_empty());
    let _released = pipe.release();
    let outcomes: Vec<_> = running.into_iter().map(|running| running.end()).collect();
    let exits: Vec<_> = outcomes.iter().map(|outcome| outcome.exit).collect();
    let won = exits.iter().filter(|&&exit| exit == Some(0)).count();
    assert_eq!(won, 1, "{exits:?}: {}", outcomes[0].stderr);
    let expected = BTreeMap::from([("out/destination/a.txt".to_owned(), lines.into_bytes())]);
    assert!(place.objects() == expected);
}

#[test]
fn what_is_left_is_handed_over_by_pointer_and_sources_are_moved() {
    let place = place!();
    place.put("in/a.txt", "a\nb\nc");
    let case = everywhere(&place, "in/a.txt").args(["--completion", "delete"]);
    let first = case.without_time().run();
    assert_eq!(first.exit, Some(1), "{}", first.report().0);
    let pointer = first.report().text("ResumeURL").unwrap();
    let to = place.second_url("moved/$SourceName");
    let second = place.case("unruly").args(["--completion", "move"]);
    let second = second.args(["--destination", &place.url("done/$SourceName")]);
    let outcome = second.args(["--move-to", &to]).source(pointer).run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
    place.check("done/a-at0-retry01.txt: a,b,c\nsecond:moved/a-at0-retry01.txt: a,b,c");
}

#[test]
fn what_is_missing_is_an_error() {
    let place = place!();
    place.put("a.txt", "a\n");
    for url in [
        place.url("missing.txt"),
        "gs://no-such-bucket/a.txt".to_owned(),
    ] {
        let outcome = place.case("unruly").source(&url).run();
        assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
        let (error, _) = &outcome.report().errors()[0];
        let expected = format!("{url} does not exist");
        assert!(error.starts_with(&expected), "{error}");
    }
    place.check("a.txt: a");
}

#[test]
fn notifications_of_objects_are_served() {
    let place = place!();
    let case = Case::command(["serve", "--listen", "127.0.0.1:0"]);
    let case = place.reached_by(case).args(["--out", &place.url("out")]);
    let case = case.args(["--plugin", &plugin("unruly").display().to_string()]);
    let served = Served::start(case.set("allowed_sources", place.url("in")));
    let object = |name: &str| {
        place.put(name, LINES.replace("!route side s\n", ""));
        let url = place.url(name);
        let (bucket, key) = url.strip_prefix("gs://").unwrap().split_once('/').unwrap();
        (bucket.to_owned(), key.to_owned())
    };
    let (bucket, key) = object("in/a b+%.txt");
    let binary = format!(
        "Content-Type: application/json\nce-specversion: 1.0\nce-id: 1\n\
         ce-type: google.cloud.storage.object.v1.finalized\n\
         ce-source: //storage.googleapis.com/projects/_/buckets/{bucket}"
    );
    let data = json!({ "bucket": bucket, "name": key });
    let (bucket, key) = object("in/ü.txt");
    let push = json!({
        "subscription": "projects/p/subscriptions/s",
        "message": {
            "messageId": "2",
            "data": "e30=",
            "attributes": { "eventType": "OBJECT_FINALIZE", "bucketId": bucket, "objectId": key },
        },
    });
    for (headers, event) in [
        (binary.as_str(), data),
        ("Content-Type: application/json", push),
    ] {
        let answer = served.ask("POST /", headers, event.to_string());
        let report = &answer.json()["reports"][0];
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(report["Status"], "retry|corrupted", "{report}");
        assert_eq!(
            (&report["Loaded"], &report["Processed"]),
            (&5.into(), &3.into())
        );
    }
    let names: Vec<String> = place.objects().into_keys().collect();
    for name in ["in/a b+%.txt", "in/ü.txt"] {
        assert!(
            names
                .iter()
                .any(|known| known.starts_with("out/") && known.ends_with(name)),
            "{names:?}"
        );
    }
}
