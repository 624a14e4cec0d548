//! Object stores: what holds for files holds for objects, on real S3 servers.

use std::collections::BTreeMap;
use std::fs;

use crate::kill::Random;
use crate::support::{Case, Outcome, Place, Store, gzip, numbered, plugin, unpack, zstd};

const LINES: &str = "a\n!corrupt c\n!retry r\n!route side s\n\nb\n";

/// A place on the server with disk storage, or the end of the test.
macro_rules! place {
    () => {
        match Store::seaweedfs() {
            Some(server) => server.place(),
            None => return,
        }
    };
}

/// A run over an object that writes to every place there is.
fn everywhere(place: &Place, name: &str) -> Case {
    let side = format!("side={}", place.url("side"));
    place
        .case("unruly")
        .source(&place.url(name))
        .args(["--route", &side])
}

#[test]
fn objects_become_objects() {
    let place = place!();
    for (name, bytes) in [
        ("in/a.txt", LINES.as_bytes().to_vec()),
        ("in/a.txt.gz", gzip(LINES)),
        ("in/a.txt.zst", zstd(LINES)),
    ] {
        place.put(name, bytes);
        let outcome = everywhere(&place, name).run();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.report().0);
        let report = outcome.report();
        let extension = name.strip_prefix("in/a.").unwrap();
        let key = |name: &str| Some(format!("{}{name}", place.prefix()));
        let retry = key(&format!("in/a-retry01.{extension}"));
        for (kind, url) in [
            (
                "DestinationURL",
                place.url("out/destination/") + &key(name).unwrap(),
            ),
            (
                "CorruptionURL",
                place.url("out/corruption/") + &key(name).unwrap(),
            ),
            ("RetryURL", place.url("out/retry/") + &retry.unwrap()),
        ] {
            assert_eq!(report.text(kind), Some(&*url));
        }
    }
    let prefix = place.prefix();
    let mut expected = String::new();
    for (folder, retry, lines) in [
        ("in/", "", "a,!corrupt c,!retry r,!route side s,,b"),
        ("out/corruption/", "", "!corrupt c"),
        ("out/destination/", "", "a,,b"),
        ("out/retry/", "-retry01", "!retry r"),
        ("side/", "", "s"),
    ] {
        for extension in ["txt", "txt.gz", "txt.zst"] {
            let below = if folder == "in/" {
                String::new()
            } else {
                format!("{prefix}in/")
            };
            expected += &format!("{folder}{below}a{retry}.{extension}: {lines}\n");
        }
    }
    place.check(&expected);
    let objects = place.objects();
    let row = &objects[&format!("out/retry/{prefix}in/a-retry01.txt.faults.ndjson")];
    let row: serde_json::Value = serde_json::from_slice(row).unwrap();
    assert_eq!((&row["line"], &row["offset"]), (&3.into(), &13.into()));
    let sidecars = objects
        .keys()
        .filter(|name| name.ends_with(".faults.ndjson"));
    assert_eq!(sidecars.count(), 6);
}

#[test]
fn content_encodings_are_undone() {
    let place = place!();
    for (name, bytes, encoding) in [
        ("in/a.txt", gzip("a\nb\n"), "gzip"),
        ("in/b.txt", zstd("a\nb\n"), "zstd"),
        ("in/c.txt.gz", gzip("a\nb\n"), "gzip"),
    ] {
        place.put_encoded(name, bytes, Some(encoding));
        let case = place.reached_by(Case::new("unruly"));
        let outcome = case.source(&place.url(name)).run();
        let written = outcome.report().text("DestinationURL").unwrap();
        assert_eq!(outcome.lines(written), ["a", "b"], "{name}");
    }
}

const STRANGE: [&str; 12] = [
    "a b.txt",
    "a+b.txt",
    "a%20b.txt",
    "100%.txt",
    "ä漢🦀.txt",
    "a&b=c;d,e.txt",
    "(a)'!b~.txt",
    "a:b@c.txt",
    "$a.txt",
    "a\"b.txt",
    "x=1/y=ü/z 1.txt",
    " a .txt",
];

#[test]
fn keys_of_every_kind_are_taken_as_they_are() {
    let place = place!();
    for name in STRANGE {
        place.put(&format!("in/{name}"), format!("{name}\n!retry r\n"));
    }
    let run = |source: &str, outputs: &str, retries: &str| {
        let outputs = place.url(&format!("{outputs}/$SourcePath"));
        let retries = place.url(&format!("{retries}/$SourceName"));
        let case = place.case("unruly").args(["--parallel", "4"]);
        let case = case.args(["--destination", &outputs, "--retry", &retries]);
        case.source(&place.url(source)).run()
    };
    let outcome = run("in/", "one", "retry");
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    assert_eq!(outcome.reports.len(), STRANGE.len());
    for name in STRANGE {
        let outcome = run(&format!("in/{name}"), "two", "again");
        assert_eq!(outcome.exit, Some(1), "{name}: {}", outcome.report().0);
    }
    let lines = place.lines();
    for name in STRANGE {
        for folder in ["one", "two"] {
            let key = format!("{folder}/{}in/{name}", place.prefix());
            assert_eq!(lines.get(&key), Some(&name.to_owned()), "{key}");
        }
        let last = name
            .rsplit('/')
            .next()
            .unwrap()
            .replace(".txt", "-retry01.txt");
        for folder in ["retry", "again"] {
            let key = format!("{folder}/{last}");
            assert_eq!(
                lines.get(&key).map(String::as_str),
                Some("!retry r"),
                "{key}"
            );
        }
    }
}

#[test]
fn prefixes_and_patterns_stand_for_objects() {
    let place = place!();
    for name in [
        "in/b.txt",
        "in/a.txt",
        "in/deep/c.txt",
        "in/a.txt.faults.ndjson",
        "inside/d.txt",
    ] {
        place.put(name, "x\n");
    }
    for (source, found) in [
        ("in/", &["in/a.txt", "in/b.txt", "in/deep/c.txt"][..]),
        ("in/*.txt", &["in/a.txt", "in/b.txt"]),
        ("in/**/*.txt", &["in/a.txt", "in/b.txt", "in/deep/c.txt"]),
        ("in*/?.txt", &["in/a.txt", "in/b.txt", "inside/d.txt"]),
    ] {
        let case = place.reached_by(Case::new("unruly"));
        let outcome = case.source(&place.url(source)).run();
        assert_eq!(outcome.exit, Some(0), "{source}: {}", outcome.stderr);
        let urls = outcome
            .reports
            .iter()
            .map(|report| report.text("SourceURL").unwrap().to_owned());
        let expected: Vec<_> = found.iter().map(|name| place.url(name)).collect();
        assert_eq!(urls.collect::<Vec<_>>(), expected, "{source}");
    }
}

#[test]
fn many_objects_at_once_are_all_done() {
    let place = place!();
    for n in 0..12 {
        place.put(
            &format!("in/{n:02}.txt"),
            format!("{}!retry {n}\n", numbered(1000)),
        );
    }
    let outcome = place
        .case("unruly")
        .args(["--parallel", "4", "--completion", "delete"])
        .args(["--destination", &place.url("done/$SourceName")])
        .source(&place.url("in/"))
        .run();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    let objects = place.objects();
    for n in 0..12 {
        assert!(objects[&format!("done/{n:02}.txt")] == numbered(1000).as_bytes());
    }
    assert_eq!(objects.len(), 3 * 12, "outputs, retries, their reasons");
}

/// Two ranges that meet at any byte have every line exactly once.
#[test]
fn ranges_share_the_lines_of_an_object_wherever_they_meet() {
    let place = place!();
    let plain = "a\n\nbb\r\nccc\n\nd";
    place.put("a.txt", plain);
    for at in 0..=plain.len() as u64 + 1 {
        let mut lines = Vec::new();
        for (offset, length) in [(0, Some(at)), (at, None)] {
            let case = place
                .reached_by(Case::new("unruly"))
                .source(&place.url("a.txt"));
            let outcome = case.range(offset, length).run();
            assert_eq!(outcome.exit, Some(0), "{at}");
            let written = outcome.report().text("DestinationURL");
            lines.extend(written.map(|url| outcome.lines(url)).unwrap_or_default());
        }
        assert_eq!(lines, ["a", "", "bb", "ccc", "", "d"], "{at}");
    }
}

/// It failed, and no object is any other than it was.
#[track_caller]
fn check_untouched(place: &Place, before: &BTreeMap<String, Vec<u8>>, outcome: &Outcome) {
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    let after = place.objects();
    let names = || after.keys().collect::<Vec<_>>();
    assert!(after == *before, "{:?}: {}", names(), outcome.report().0);
}

#[test]
fn what_is_there_is_never_overwritten() {
    let place = place!();
    place.put("a.txt", LINES);
    let at = |folder: &str, name: &str| format!("{folder}/{}{name}", place.prefix());
    for taken in [
        at("out/destination", "a.txt"),
        at("out/corruption", "a.txt"),
        at("out/retry", "a-retry01.txt"),
        at("out/retry", "a-retry01.txt.faults.ndjson"),
        at("side", "a.txt"),
    ] {
        place.put(&taken, "of somebody else\n");
        let before = place.objects();
        let outcome = everywhere(&place, "a.txt")
            .args(["--completion", "delete"])
            .run();
        check_untouched(&place, &before, &outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.starts_with(&format!("{} already exists", place.url(&taken))),
            "{error}"
        );
        place.delete(&taken);
    }
}

/// An object that is published late is taken by somebody just before: the ones before it are taken back.
#[test]
fn what_is_visible_is_taken_back_when_something_else_cannot_be() {
    let place = place!();
    place.put("a.txt", format!("{LINES}!log 1\n!route hold x\n"));
    let at = |folder: &str, name: &str| format!("{folder}/{}{name}", place.prefix());
    for taken in [
        at("out/destination", "a.txt"),
        at("out/retry", "a-retry01.txt"),
        at("side", "a.txt"),
    ] {
        let case = everywhere(&place, "a.txt").args(["--route", "hold=pipes/$SourceName"]);
        let pipe = case.pipe("pipes/a.txt");
        let mut running = case.args(["--completion", "delete"]).start();
        running.wait_for_stderr("message 0");
        place.put(&taken, "of somebody else\n");
        let before = place.objects();
        let _released = pipe.release();
        check_untouched(&place, &before, &running.finish());
        place.delete(&taken);
    }
}

#[test]
fn an_object_that_changes_while_it_is_read_is_an_error_and_stays() {
    let place = place!();
    let lines = format!("{LINES}!log 1\n!route hold x\n");
    for completion in ["delete", "move"] {
        place.put("a.txt", &lines);
        let case = everywhere(&place, "a.txt").args(["--route", "hold=pipes/$SourceName"]);
        let case = case.args(["--completion", completion, "--move-to", &place.url("done")]);
        let pipe = case.pipe("pipes/a.txt");
        let mut running = case.start();
        running.wait_for_stderr("message 0");
        place.put("a.txt", "another\n");
        let before = place.objects();
        let _released = pipe.release();
        let outcome = running.finish();
        check_untouched(&place, &before, &outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(error.contains("changed while it was processed"), "{error}");
    }
}

/// Lines of a hundred bytes that no codec makes much smaller.
fn noise(bytes: usize) -> String {
    let mut random = Random(1);
    let mut character = || char::from(b'"' + (random.fraction() * 64.0) as u8);
    let mut line = || {
        (0..99)
            .map(|_| character())
            .chain(['\n'])
            .collect::<String>()
    };
    (0..bytes / 100).map(|_| line()).collect()
}

#[test]
fn large_objects_are_written_in_parts() {
    let place = place!();
    let bytes = noise(20 << 20);
    for name in ["a.txt", "a.txt.gz"] {
        let case = place.case("unruly").file(
            name,
            if name == "a.txt" {
                bytes.clone().into()
            } else {
                gzip(&bytes)
            },
        );
        let case = case
            .source(name)
            .args(["--destination", &place.url("large/$SourceName")]);
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
        let object = &place.objects()[&format!("large/{name}")];
        assert!(unpack(name, object) == bytes.as_bytes(), "{name}");
        // There is one now, so that another is refused, and nothing of it stays.
        let before = place.objects();
        check_untouched(&place, &before, &case.again().source(name).run());
    }
}

#[test]
fn a_large_object_is_not_visible_before_its_run_has_succeeded() {
    let place = place!();
    let case = place.case("unruly").input(
        "a.txt",
        noise(20 << 20) + "!log 1\n!route hold x\n!route nowhere x\n",
    );
    let case = case.args(["--route", "hold=pipes/$SourceName"]);
    let pipe = case.pipe("pipes/a.txt");
    let mut running = case.start();
    running.wait_for_stderr("message 0");
    assert!(place.objects().is_empty());
    let _released = pipe.release();
    check_untouched(&place, &BTreeMap::new(), &running.finish());
}

#[test]
fn what_is_left_is_handed_over_by_pointer() {
    let place = place!();
    for (name, bytes) in [
        ("in/a.txt", b"a\nb\nc".to_vec()),
        ("in/b.txt.gz", gzip("a\nb\nc")),
    ] {
        place.put(name, bytes);
        let case = place.case("unruly").args(["--completion", "delete"]);
        let first = case.clone().source(&place.url(name));
        let first = first.without_time().run();
        assert_eq!(first.exit, Some(1), "{}", first.report().0);
        let pointer = first.report().text("ResumeURL").unwrap();
        assert!(pointer.starts_with(&place.url("out/retry/")), "{pointer}");
        let second = case.source(pointer).run();
        assert_eq!(second.exit, Some(0), "{}", second.report().0);
        let written = second.report().text("DestinationURL").unwrap();
        let written = written.strip_prefix(&place.url("")).unwrap();
        assert_eq!(place.lines()[written], "a,b,c");
        let left: Vec<_> = place
            .objects()
            .into_keys()
            .filter(|name| !name.contains("/destination/"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_pointer_to_what_has_changed_is_an_error() {
    let place = place!();
    let lines = |first: &str| format!("{first}!log 1\n{}", "!sleep 100\n".repeat(300));
    place.put("a.txt", lines("a\n"));
    let case = place.case("unruly").args(["--completion", "delete"]);
    let one_by_one = case.clone().args(["--concurrency", "1"]);
    let one_by_one = one_by_one.set("batch_lines", 1);
    let first = interrupted(&one_by_one, &place.url("a.txt"));
    let pointer = first.report().text("ResumeURL").unwrap();
    place.put("a.txt", lines("b\n"));
    let before = place.objects();
    let outcome = case.source(pointer).run();
    check_untouched(&place, &before, &outcome);
    let (error, _) = &outcome.report().errors()[0];
    assert!(error.contains("changed while it was processed"), "{error}");
}

/// Half of them are done when one of them logs and the next takes its time.
fn many_lines() -> String {
    let line = |n: usize| match n {
        50_000 => "!log 1\n".to_owned(),
        50_001 => "!sleep 500\n".to_owned(),
        _ => format!("line {n}\n"),
    };
    (0..100_000).map(line).collect()
}

/// A run that gets a signal when a line has logged.
#[track_caller]
fn interrupted(case: &Case, url: &str) -> Outcome {
    let mut running = case.clone().source(url).start();
    running.wait_for_stderr("message 0");
    running.signal("TERM");
    let outcome = running.finish();
    assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    outcome
}

/// A signal in the middle, then the rest by pointer: every line is there once.
#[test]
fn an_interrupted_run_is_taken_up_again() {
    let place = place!();
    let lines = many_lines();
    place.put("a.txt", &lines);
    let case = place
        .case("unruly")
        .args(["--completion", "delete", "--concurrency", "2"]);
    let outcome = interrupted(&case, &place.url("a.txt"));
    let left = ["RetryURL", "ResumeURL"].map(|kind| outcome.report().text(kind).map(str::to_owned));
    for url in left.into_iter().flatten() {
        let outcome = case.again().source(&url).run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
    }
    let objects = place
        .lines()
        .into_iter()
        .filter(|(name, _)| name.contains("/destination/"));
    let objects: Vec<_> = objects.map(|(_, lines)| lines).collect();
    let mut seen: Vec<_> = objects.iter().flat_map(|lines| lines.split(',')).collect();
    let mut expected: Vec<_> = lines.lines().collect();
    seen.sort_unstable();
    expected.sort_unstable();
    assert!(
        seen == expected,
        "{} lines of {}",
        seen.len(),
        expected.len()
    );
}

#[test]
fn sources_are_deleted_or_moved_between_stores() {
    let place = place!();
    let case = || place.reached_by(Case::new("unruly"));
    let done = |case: Case| {
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
        outcome
    };
    place.put("one.txt", "a\n");
    done(
        case()
            .source(&place.url("one.txt"))
            .args(["--completion", "delete"]),
    );
    place.check("");
    for (name, to) in [
        ("b c+%.txt", place.url("moved/$SourceName")),
        ("d.txt.gz", place.second_url("moved/$SourceName")),
    ] {
        place.put(
            name,
            if name == "d.txt.gz" {
                gzip("d\n")
            } else {
                b"b\n".to_vec()
            },
        );
        done(
            case()
                .source(&place.url(name))
                .args(["--completion", "move", "--move-to", &to]),
        );
    }
    place.check("moved/b c+%.txt: b\nsecond:moved/d.txt.gz: d");
    place.put("e.txt", "e\n");
    let outcome = done(case().source(&place.url("e.txt")).args([
        "--completion",
        "move",
        "--move-to",
        "here/$SourceName",
    ]));
    assert_eq!(outcome.text("here/e.txt"), "e\n");
    let to = place.url("moved/$SourceName");
    let outcome =
        done(
            case()
                .input("f.txt", "f\n")
                .args(["--completion", "move", "--move-to", &to]),
        );
    assert!(!outcome.after.contains_key("f.txt"));
    place.check("moved/b c+%.txt: b\nmoved/f.txt: f\nsecond:moved/d.txt.gz: d");
}

#[test]
fn a_source_is_not_moved_over_another_object() {
    let place = place!();
    place.put("a.txt", "a\n");
    place.put("done/a.txt", "of somebody else\n");
    let case = place
        .reached_by(Case::new("unruly"))
        .source(&place.url("a.txt"));
    let to = place.url("done/$SourceName");
    let outcome = case
        .args(["--completion", "move", "--move-to", &to])
        .start()
        .end();
    assert_eq!(outcome.exit, Some(2));
    place.check("a.txt: a\ndone/a.txt: of somebody else");
}

#[test]
fn what_is_missing_is_an_error() {
    let place = place!();
    place.put("a.txt", "a\n!corrupt c\n");
    let before = place.objects();
    let missing = [
        place.url("missing.txt"),
        "s3://no-such-bucket/a.txt".to_owned(),
    ];
    for url in &missing {
        let outcome = place.case("unruly").source(url).run();
        check_untouched(&place, &before, &outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.starts_with(&format!("{url} does not exist")),
            "{error}"
        );
    }
    for place_of in ["--destination", "--corruption"] {
        let case = place.case("unruly").source(&place.url("a.txt"));
        let case = case.args([
            "--completion",
            "delete",
            place_of,
            "s3://no-such-bucket/out",
        ]);
        let outcome = case.run();
        check_untouched(&place, &before, &outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(error.contains("its bucket is missing"), "{error}");
    }
    let outcome = place.case("unruly").source("s3://no-such-bucket/in/").run();
    assert_eq!(outcome.exit, Some(2));
    assert!(
        outcome.stderr.contains("s3://no-such-bucket/in/"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn bad_credentials_are_an_error() {
    let place = place!();
    place.put("a.txt", "a\n");
    let before = place.objects();
    for (variable, value) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong-s3cr3t"),
        ("AWS_ACCESS_KEY_ID", "nobody"),
    ] {
        let case = place.case("unruly").env(variable, value);
        let outcome = case.source(&place.url("a.txt")).run();
        check_untouched(&place, &before, &outcome);
        let shown = format!("{} {}", outcome.report().0, outcome.stderr);
        assert!(shown.contains("denied, check its credentials"), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        let case = place
            .case("unruly")
            .env(variable, value)
            .input("local.txt", "a\n");
        let outcome = case.args(["--completion", "delete"]).run();
        check_untouched(&place, &before, &outcome);
        assert!(outcome.after.contains_key("local.txt"));
    }
}

#[test]
fn a_server_that_is_down_ends_a_run_in_time() {
    let place = place!();
    let case = place
        .case("unruly")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let case = case.args(["--max-exec-time-ms", "1500"]);
    let outcome = case.clone().source(&place.url("a.txt")).run();
    assert_ne!(outcome.exit, Some(0));
    assert!(
        outcome.report().count("RuntimeMs") < 2500,
        "{}",
        outcome.report().0
    );
    let outcome = case
        .again()
        .input("local.txt", "a\n")
        .args(["--completion", "delete"])
        .run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    assert!(
        outcome.report().count("RuntimeMs") < 2500,
        "{}",
        outcome.report().0
    );
    assert!(outcome.after.contains_key("local.txt"));
}

#[test]
fn of_runs_that_write_the_same_one_succeeds() {
    let place = place!();
    for round in 0..3 {
        let name = format!("{round}.txt");
        place.put(&name, LINES);
        let running: Vec<_> = (0..3)
            .map(|_| {
                everywhere(&place, &name)
                    .args(["--completion", "delete"])
                    .start()
            })
            .collect();
        let exits: Vec<_> = running
            .into_iter()
            .map(|running| running.finish().exit)
            .collect();
        let won = exits.iter().filter(|&&exit| exit == Some(1)).count();
        assert!(won <= 1, "{exits:?}");
        let source = place.lines().contains_key(&name);
        assert_eq!(source, won == 0, "{exits:?}");
        let written = place
            .objects()
            .into_keys()
            .filter(|key| key.contains(&format!("/{round}")));
        assert_eq!(written.count(), if won == 0 { 0 } else { 6 }, "{exits:?}");
    }
}

/// Conditional uploads in parts are atomic on this server, as they are on S3 itself.
#[test]
fn of_runs_that_write_the_same_large_object_one_succeeds() {
    let Some(server) = Store::ministack() else {
        return;
    };
    let place = server.place();
    let bytes = noise(20 << 20) + "!log 1\n!route hold x\n";
    let case = place
        .case("unruly")
        .input("a.txt", &bytes)
        .args(["--route", "hold=pipes/$SourceName"]);
    let pipe = case.pipe("pipes/a.txt");
    let mut running: Vec<_> = (0..3).map(|_| case.start()).collect();
    for running in &mut running {
        running.wait_for_stderr("message 0");
    }
    let _released = pipe.release();
    let outcomes: Vec<_> = running.into_iter().map(|running| running.end()).collect();
    let exits: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.exit.unwrap())
        .collect();
    let won = exits.iter().filter(|&&exit| exit == 0).count();
    assert_eq!(won, 1, "{exits:?}: {}", outcomes[0].stderr);
    let expected = bytes.replace("!route hold x\n", "");
    let objects = place.objects();
    assert!(objects["out/destination/a.txt"] == expected.as_bytes());
    assert_eq!(objects.len(), 1);
}

/// After each kill the source is there, or everything is; no object is half-written.
#[test]
fn killed_at_random_moments() {
    let place = place!();
    let line = |n: usize| match n % 50 {
        1 => format!("!corrupt c{n}\n"),
        2 => format!("!retry r{n}\n"),
        3 => format!("!sleep {}\n", n % 3),
        _ => format!("line {n}\n"),
    };
    let lines: String = (0..5000).map(line).collect();
    let run = |name: &str| {
        place.put(&format!("in/{name}.txt"), &lines);
        let case = place.reached_by(Case::new("unruly")).without_out();
        let out = |folder: &str| place.url(&format!("{folder}/$SourceName"));
        case.args(["--destination", &out("done"), "--corruption", &out("bad")])
            .args(["--retry", &out("again"), "--failed", &out("failed")])
            .args(["--completion", "delete", "--concurrency", "2"])
            .source(&place.url(&format!("in/{name}.txt")))
            .start()
    };
    let start = std::time::Instant::now();
    assert_eq!(run("whole").finish().exit, Some(1));
    let took = start.elapsed();
    let whole = place.objects();
    let mut random = Random(0x5eed);
    for round in 0..12 {
        let name = format!("round{round}");
        let running = run(&name);
        std::thread::sleep(took.mul_f64(0.3 + random.fraction()));
        drop(running.kill());
        let objects = place.objects();
        let mine = objects.iter().filter(|(key, _)| key.contains(&name));
        let mut seen = 0;
        for (key, bytes) in mine.filter(|(key, _)| !key.starts_with("in/")) {
            assert!(
                *bytes == whole[&key.replace(&name, "whole")],
                "{key} is not complete"
            );
            seen += 1;
        }
        let kept = objects.contains_key(&format!("in/{name}.txt"));
        assert!(
            kept || seen == whole.len(),
            "{name}: the source is gone, and {seen} objects are there"
        );
    }
}

#[test]
fn plugins_configuration_and_reports_go_with_objects() {
    let place = place!();
    let plugin = fs::read(plugin("unruly")).unwrap();
    place.put("plugins/unruly.wasm", plugin);
    place.put("in/a.txt", "a\n");
    let case = place.reached_by(Case::with_plugin(place.url("plugins/unruly.wasm")));
    let outcome = case.source(&place.url("in/a.txt")).run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.report().0["Plugin"]["Name"], "unruly");
}

/// Corrupt lines of an object are looked at and run again; what they were in goes with its faults file.
#[test]
fn corrupt_lines_are_run_again() {
    let place = place!();
    place.put("in/a.txt", LINES);
    everywhere(&place, "in/a.txt").run();
    let faults = place.reached_by(Case::command(["faults"]));
    let outcome = faults.source(&place.url("out/corruption/")).run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
    assert!(text.contains("1 corrupt: c\n"), "{text}");
    assert!(text.contains("         2 | !corrupt c"), "{text}");

    let case = everywhere(&place, "in/a.txt").redrive("csv-to-json");
    for (completion, folder) in [("move", "out/retry/"), ("delete", "out/corruption/")] {
        let again = case.clone().source(&place.url(folder));
        let done = place.url("done");
        let outcome = again
            .args(["--completion", completion, "--move-to", &done])
            .run();
        assert_eq!(outcome.exit, Some(1), "{}", outcome.stderr);
    }
    let prefix = place.prefix();
    let objects = place.objects();
    let names: Vec<_> = objects
        .keys()
        .map(|name| name.replace(prefix, ""))
        .collect();
    let expected = [
        "done/out/retry/in/a-retry01.txt",
        "done/out/retry/in/a-retry01.txt.faults.ndjson",
        "in/a.txt",
        "out/corruption/in/a-retry01.txt",
        "out/corruption/in/a-retry01.txt.faults.ndjson",
        "out/corruption/out/retry/in/a-retry02.txt",
        "out/corruption/out/retry/in/a-retry02.txt.faults.ndjson",
        "out/destination/in/a.txt",
        "side/in/a.txt",
    ];
    assert_eq!(names, expected);
}
