//! The runtime of Lambda functions: the binary as `bootstrap`, invoked with events through a runtime interface.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cloud::Cloud;
use crate::support::lambda::{Answer, Function, Package, fixture, message, records};
use crate::support::{
    Case, HttpServer, Store, binary, cache_home, gzip, numbered, plugin, respond,
};

const TIME: Duration = Duration::from_secs(30);

/// A number of the answer.
#[track_caller]
fn number(answer: &Answer, name: &str) -> u64 {
    let number = answer.content[name].as_u64();
    number.unwrap_or_else(|| panic!("{name}: {}", answer.content))
}

/// The books of all reports in the log must balance; so many lines were loaded in all.
#[track_caller]
fn check_books(function: &Function, lines: u64) {
    let mut loaded = 0;
    for event in function.logged("report") {
        let report = &event["report"];
        let count = |name: &str| report[name].as_u64().expect("a count");
        let fates = ["Processed", "CorruptionErrors", "RetryErrors", "Failed"];
        let fates: u64 = fates.iter().map(|name| count(name)).sum();
        assert_eq!(count("Loaded"), fates, "{report}");
        loaded += count("Loaded");
    }
    assert_eq!(loaded, lines);
}

#[test]
fn messages_of_lines_are_processed() {
    let mut function = Package::new("unruly").start();
    let answer = function.invoke(&fixture("sqs"));
    assert_eq!(answer.failures(), [""; 0]);
    // Two messages are received for the first time and go together, the third for the third time.
    function.check(
        r#"destination/059f36b4-87a3-44ab-83d2-661975830a7d: Test message.,two,three
           destination/b11b2cc1-7c5b-4b4f-9b3c-0a6f2d1f4a01: {"looks":"like JSON"}"#,
    );
    check_books(&function, 4);
}

#[test]
fn faulty_lines_are_handed_over_and_so_are_safe() {
    let mut function = Package::new("unruly").start();
    let body = "a\n!corrupt c\n!retry r\n!trap\nb";
    let answer = function.invoke(&records([message("m", body)]));
    assert_eq!(answer.failures(), [""; 0]);
    function.check(
        "corruption/m: !corrupt c,!trap
         destination/m: a,b
         retry/m-retry01: !retry r",
    );
    check_books(&function, 5);
}

/// Messages that say where they are from do not go together; `group` is that of a FIFO queue.
fn from_source(id: &str, body: &str, source: &str, group: Option<&str>) -> Value {
    let mut message = message(id, body);
    let source = json!({ "dataType": "String", "stringValue": source });
    message["messageAttributes"] = json!({ "Source": source });
    if let Some(group) = group {
        message["attributes"]["MessageGroupId"] = json!(group);
    }
    message
}

#[test]
fn only_records_that_are_not_safe_come_again() {
    let package = Package::new("unruly");
    // A file stands where the folder of a source would be.
    let mut function = package.file("out/destination/bad", "in the way").start();
    let event = records([
        from_source("m1", "a", "good/1.txt", None),
        from_source("m2", "b", "bad/2.txt", None),
        from_source("m3", "c", "good/3.txt", None),
        from_source("m4", "d", "bad/4.txt", None),
    ]);
    assert_eq!(function.invoke(&event).failures(), ["m2", "m4"]);
    function.check(
        "destination/bad: in the way
         destination/good/1.txt: a
         destination/good/3.txt: c",
    );
    let errors = function.logged("report");
    let errors = errors.iter().filter(|event| event["level"] == "ERROR");
    let sources = errors.map(|event| event["report"]["SourceURL"].as_str().unwrap_or_default());
    let mut sources: Vec<_> = sources.map(str::to_owned).collect();
    sources.sort();
    assert_eq!(sources, ["sqs://queue/bad/2.txt", "sqs://queue/bad/4.txt"]);

    // What was in the way is gone when they are delivered again.
    std::fs::remove_file(function.path("out/destination/bad")).unwrap();
    let again = [
        from_source("m2", "b", "bad/2.txt", None),
        from_source("m4", "d", "bad/4.txt", None),
    ];
    let again = again.map(|mut message| {
        message["attributes"]["ApproximateReceiveCount"] = json!("2");
        message
    });
    assert_eq!(function.invoke(&records(again)).failures(), [""; 0]);
    function.check(
        "destination/bad/2.txt: b
         destination/bad/4.txt: d
         destination/good/1.txt: a
         destination/good/3.txt: c",
    );
    let reports = function.logged("report");
    let last = &reports.last().unwrap()["report"];
    assert_eq!(last["Attempt"], 1);
}

#[test]
fn a_message_that_was_delivered_too_often_has_failed() {
    let mut function = Package::new("unruly").set("max_retries", "2").start();
    let mut message = message("m", "a\n!retry r");
    message["attributes"]["ApproximateReceiveCount"] = json!("3");
    assert_eq!(function.invoke(&records([message])).failures(), [""; 0]);
    function.check(
        "destination/m: a
         failed/m-retry03: !retry r",
    );
}

#[test]
fn groups_stay_in_order() {
    let package = Package::new("unruly");
    let mut function = package.file("out/destination/bad", "in the way").start();
    let event = records([
        from_source("a1", "1", "good/a1", Some("a")),
        from_source("b1", "1", "good/b1", Some("b")),
        from_source("a2", "2", "bad/a2", Some("a")),
        from_source("b2", "2", "good/b2", Some("b")),
        from_source("a3", "3", "good/a3", Some("a")),
    ]);
    assert_eq!(function.invoke(&event).failures(), ["a2", "a3"]);
    function.check(
        "destination/bad: in the way
         destination/good/a1: 1
         destination/good/b1: 1
         destination/good/b2: 2",
    );
    let stopped = function.logged("lambda");
    let stopped: Vec<_> = stopped
        .iter()
        .filter_map(|event| event["source"].as_str())
        .collect();
    assert_eq!(stopped, ["sqs://queue/good/a3"]);
}

#[test]
fn ten_thousand_records_are_one_request() {
    let mut function = Package::new("sum").start();
    let record = |n: u64| {
        let mut record = fixture("kinesis")["Records"][0].clone();
        record["kinesis"]["sequenceNumber"] = json!(format!("{:056}", 1_000_000 + n));
        record["kinesis"]["data"] = json!(["MQ==", "MTA=", "MTAwCg=="][(n % 3) as usize]);
        record
    };
    let answer = function.invoke(&records((0..10_000).map(record)));
    assert_eq!(answer.failures(), [""; 0]);
    check_books(&function, 10_000);
    let written = function.written();
    let sum = 3334 + 3333 * 10 + 3333 * 100;
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].ends_with(&format!(": {sum}")), "{written:?}");
}

#[test]
fn ten_thousand_records_that_are_not_safe_are_all_named() {
    let package = Package::new("sum").file("out/destination", "in the way");
    let mut function = package.start();
    let name = |n: u64| format!("{:056}", 1_000_000 + n);
    let record = |n: u64| {
        let mut record = fixture("kinesis")["Records"][0].clone();
        record["kinesis"]["sequenceNumber"] = json!(name(n));
        record["kinesis"]["data"] = json!("MQ==");
        record
    };
    let answer = function.invoke(&records((0..10_000).map(record)));
    let names: Vec<String> = (0..10_000).map(name).collect();
    assert!(answer.failures() == names);
    assert!(answer.bytes < 2_000_000, "{}", answer.bytes);
}

/// An event of S3 about an object, whose key is encoded as S3 does.
fn created(bucket: &str, key: &str) -> Value {
    let mut record = fixture("s3")["Records"][0].clone();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./*".contains(&byte);
    let encoded = key.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    record["s3"]["bucket"]["name"] = json!(bucket);
    record["s3"]["object"]["key"] = json!(encoded.collect::<String>());
    record
}

#[test]
fn objects_are_processed_whatever_they_are_called() {
    let Some(server) = Store::seaweedfs() else {
        return;
    };
    let place = server.place();
    let mut function = Package::new("unruly").reaching(&place).start();
    let names = [
        "a b.txt",
        "a+b.txt",
        "100%.txt",
        "%2B.txt",
        "grün/日本.txt",
        "tab&=?#.txt",
    ];
    for name in names {
        place.put(&format!("in/{name}"), format!("{name}\n"));
    }
    let key = |name: &str| format!("{}in/{name}", place.prefix());
    let event = records(names.map(|name| created("first", &key(name))));
    let answer = function.invoke(&event);
    assert_eq!(answer.content["Status"], "ok", "{}", answer.content);
    assert_eq!(number(&answer, "Requests"), 6);
    assert_eq!(number(&answer, "Processed"), 6);
    let lines = place.lines();
    for name in names {
        let written = format!("out/destination/{}", key(name));
        assert_eq!(
            lines.get(&written).map(String::as_str),
            Some(name),
            "{lines:?}"
        );
    }
}

#[test]
fn what_is_handed_over_comes_again_as_an_event() {
    let Some(server) = Store::seaweedfs() else {
        return;
    };
    let place = server.place();
    place.put("in/a.txt", "a\n!retry r\n");
    let mut function = Package::new("unruly").reaching(&place).start();
    let key = |name: &str| format!("{}{name}", place.prefix());
    let answer = function.invoke(&records([created("first", &key("in/a.txt"))]));
    assert_eq!(answer.content["Status"], "retry", "{}", answer.content);
    let retry = answer.content["Reports"][0]["RetryURL"]
        .as_str()
        .expect("a URL");
    let retry = retry.strip_prefix("s3://first/").expect("in the bucket");
    assert!(retry.ends_with("in/a-retry01.txt"), "{retry}");
    // The list of faults beside it is one more event, of nothing to do.
    let faults = format!("{retry}.faults.ndjson");
    let events = [created("first", retry), created("first", &faults)];
    let answer = function.invoke(&records(events));
    let report = &answer.content["Reports"][0];
    assert_eq!(report["Attempt"], 1, "{}", answer.content);
    assert_eq!(number(&answer, "Requests"), 1);
    assert_eq!(answer.content["Skipped"].as_array().map(Vec::len), Some(1));
    let again = report["RetryURL"].as_str().expect("a URL");
    assert!(again.ends_with("in/a-retry02.txt"), "{again}");
}

#[test]
fn a_slow_function_answers_in_time_and_a_pointer_goes_on() {
    let Some(server) = Store::seaweedfs() else {
        return;
    };
    let place = server.place();
    let lines: String = (0..400).map(|_| "!sleep 20\n").collect();
    place.put("in/slow.txt", &lines);
    let package = Package::new("unruly")
        .set("concurrency", "1")
        .set("batch_lines", "1");
    let mut function = package.reaching(&place).start();
    let key = format!("{}in/slow.txt", place.prefix());
    let event = records([created("first", &key)]).to_string();
    let answer = function.invoke_within(event.as_bytes(), Duration::from_secs(3));
    assert!(!answer.failed, "{}", answer.content);
    assert!(answer.time < Duration::from_secs(3), "{:?}", answer.time);
    assert!(answer.time > Duration::from_secs(2), "{:?}", answer.time);
    let report = &answer.content["Reports"][0];
    assert_eq!(report["Status"], "retry", "{report}");
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    assert_eq!(count("Loaded") + count("Unread"), 400, "{report}");
    assert!(count("Processed") > 0 && count("Unread") > 0, "{report}");

    let resume = report["ResumeURL"].as_str().expect("a pointer");
    let resume = resume.strip_prefix("s3://first/").expect("in the bucket");
    let answer = function.invoke(&records([created("first", resume)]));
    let rest = &answer.content["Reports"][0];
    assert_eq!(rest["Attempt"], 1, "{rest}");
    assert_eq!(rest["Loaded"].as_u64(), Some(count("Unread")), "{rest}");
    assert_eq!(rest["Status"], "ok", "{rest}");
}

#[test]
fn a_message_that_takes_too_long_is_copied_where_it_comes_again() {
    let package = Package::new("unruly")
        .set("concurrency", "1")
        .set("batch_lines", "1");
    let mut function = package.start();
    let body: String = (0..400).map(|_| "!sleep 20\n").collect();
    let event = records([message("m", &body)]).to_string();
    let answer = function.invoke_within(event.as_bytes(), Duration::from_secs(3));
    assert!(answer.time < Duration::from_secs(3), "{:?}", answer.time);
    assert_eq!(answer.failures(), [""; 0]);
    let written = function.written();
    let lines: usize = written
        .iter()
        .map(|file| file.matches("!sleep").count())
        .sum();
    assert_eq!(lines, 400, "{written:?}");
}

#[test]
fn a_plugin_that_spins_is_cut_off_in_time() {
    let package = Package::new("unruly").set("fuel_base", "1000000000000");
    let mut function = package.start();
    let event = records([message("m", "a\n!spin\nb")]).to_string();
    let answer = function.invoke_within(event.as_bytes(), Duration::from_secs(2));
    assert!(answer.time < Duration::from_secs(2), "{:?}", answer.time);
    assert_eq!(answer.failures(), [""; 0]);
    // Each of its lines is in one place.
    let written = function.written();
    let lines = written.iter().filter_map(|file| file.split_once(": "));
    let mut lines: Vec<&str> = lines.flat_map(|(_, lines)| lines.split(',')).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["!spin", "a", "b"]);
    // The process is sound: the next invocation is as any other.
    assert_eq!(
        function.invoke(&records([message("n", "c")])).failures(),
        [""; 0]
    );
    assert!(function.written().contains(&"destination/n: c".to_owned()));
}

#[test]
fn without_time_nothing_is_lost() {
    let mut function = Package::new("unruly").start();
    let event = records([message("m", "a\nb\n")]).to_string();
    let answer = function.invoke_within(event.as_bytes(), Duration::from_millis(50));
    // Either it is handed over, or it comes again.
    let written = function.written().join("\n");
    let handed_over = written.contains("a,b");
    assert!(
        handed_over || answer.failures() == ["m"],
        "{written}: {}",
        answer.content
    );
}

#[test]
fn what_is_no_event_is_told_what_was_expected() {
    let mut function = Package::new("sum").start();
    for (event, expected) in [
        (
            &b"{\"Records\": ["[..],
            "the event is not JSON: EOF while parsing",
        ),
        (b"\xff\xfe", "the event is not JSON: "),
        (b"", "the event is not JSON: "),
        (
            b"{\"hello\": \"world\"}",
            "unknown event, which has the fields `hello`: expected records of S3",
        ),
        (b"[]", "unknown event, which is a list"),
        (b"null", "unknown event, which is null"),
    ] {
        let answer = function.invoke_within(event, TIME);
        assert_eq!(answer.content["errorType"], "Linemill.EventError");
        assert!(answer.error().contains(expected), "{}", answer.content);
    }
    assert_eq!(
        function.invoke(&records([message("m", "1")])).failures(),
        [""; 0]
    );
}

#[test]
fn tests_of_platforms_are_answered() {
    let mut function = Package::new("sum").start();
    let answer = function.invoke(&fixture("s3-test-ministack"));
    assert!(!answer.failed, "{}", answer.content);
    assert_eq!(answer.content["Status"], "ok");
    assert_eq!(number(&answer, "Requests"), 0);
    // A queue wants its own kind of answer.
    let test = fixture("s3-test-ministack").to_string();
    let answer = function.invoke(&records([message("m", &test)]));
    assert_eq!(answer.failures(), [""; 0]);
}

#[test]
fn an_event_of_which_nothing_is_safe_has_failed() {
    let mut function = Package::new("sum").start();
    let gone = function.path("gone.txt").to_string_lossy().into_owned();
    let answer = function.invoke(&json!({ "source": gone }));
    assert_eq!(answer.content["errorType"], "Linemill.NothingSafe");
    assert!(
        answer.error().contains("gone.txt does not exist"),
        "{}",
        answer.content
    );
    // Where anything is safe, the answer says what is not.
    std::fs::write(function.path("there.txt"), "1\n2\n").unwrap();
    let there = function.path("there.txt").to_string_lossy().into_owned();
    let answer = function.invoke(&json!({ "sources": [gone, there] }));
    assert!(!answer.failed, "{}", answer.content);
    assert_eq!(answer.content["Status"], "error");
    assert_eq!(number(&answer, "UnsafeRequests"), 1);
    assert_eq!(number(&answer, "Processed"), 2);
    let errors = function.logged("report");
    let errors = errors.iter().filter(|event| event["level"] == "ERROR");
    assert!(errors.clone().all(|event| {
        event["report"]["SourceURL"]
            .as_str()
            .unwrap()
            .contains("gone")
    }));
    assert_eq!(errors.count(), 2);
}

#[test]
fn a_function_does_what_a_run_does() {
    let input = "a\n!corrupt c\n!retry r\n\n!sum 4\nü".repeat(50);
    let outcome = Case::new("unruly")
        .input("in/a.txt", &input)
        .args(["--concurrency", "1", "--set", "batch_lines=7"])
        .run();
    let package = Package::new("unruly").file("in/a.txt", &input);
    let package = package.set("concurrency", "1").set("batch_lines", "7");
    let mut function = package.start();
    let answer = function.invoke(&json!({ "source": "in/a.txt" }));
    let (one, other) = (&outcome.report().0, &answer.content["Reports"][0]);
    for name in [
        "Fuel",
        "Loaded",
        "Processed",
        "CorruptionErrors",
        "RetryErrors",
        "Status",
    ] {
        assert_eq!(one[name], other[name], "{name}");
    }
    for name in [
        "destination/in/a.txt",
        "corruption/in/a.txt",
        "retry/in/a-retry01.txt",
    ] {
        let written = std::fs::read(function.path("out").join(name)).unwrap();
        assert!(outcome.bytes(&format!("out/{name}")) == written, "{name}");
    }
}

#[test]
fn the_answer_to_many_requests_is_small() {
    let mut function = Package::new("sum").start();
    let names: Vec<String> = (0..2000).map(|n| format!("/nowhere/{n}.txt")).collect();
    std::fs::write(function.path("there.txt"), "1\n").unwrap();
    let there = function.path("there.txt").to_string_lossy().into_owned();
    let sources: Vec<_> = names.into_iter().chain([there]).collect();
    let answer = function.invoke(&json!({ "sources": sources }));
    assert!(!answer.failed, "{}", answer.content);
    assert!(answer.bytes < 256 * 1024, "{}", answer.bytes);
    let told = answer.content["Reports"].as_array().expect("a list").len() as u64;
    assert_eq!(told + number(&answer, "ReportsLeftOut"), 2001);
    assert_eq!(number(&answer, "UnsafeRequests"), 2000);
    assert_eq!(function.logged("report").len(), 2001);
}

#[test]
fn a_function_is_set_up_once() {
    let mut function = Package::new("sum").start();
    std::fs::write(function.path("a.txt"), "1\n2\n").unwrap();
    let source = function.path("a.txt").to_string_lossy().into_owned();
    let event = json!({ "source": source });
    let first = function.invoke(&event);
    assert!(
        first.content["InitMs"].as_f64().is_some_and(|ms| ms > 0.0),
        "{}",
        first.content
    );
    for _ in 0..5 {
        std::fs::remove_dir_all(function.path("out")).unwrap();
        let answer = function.invoke(&event);
        assert_eq!(answer.content["Status"], "ok", "{}", answer.content);
        assert!(answer.content.get("InitMs").is_none(), "{}", answer.content);
    }
    let ready = function.logged("lambda");
    assert_eq!(ready.len(), 1, "{ready:?}");
    assert!(ready[0]["initMs"].as_f64().is_some());
    // What is logged says which invocation it belongs to.
    let ids = function.logged("report");
    let ids: Vec<_> = ids
        .iter()
        .map(|event| event["requestId"].as_str().unwrap())
        .collect();
    let expected: Vec<_> = (1..=6).map(|n| format!("invocation-{n}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn what_a_plugin_logs_is_json_too() {
    let mut function = Package::new("unruly").start();
    let answer = function.invoke(&records([message("m", "!log 2\na")]));
    assert_eq!(answer.failures(), [""; 0]);
    let said = function.log();
    let said = said.iter().find(|event| event["target"] == "plugin");
    let said = said.unwrap_or_else(|| panic!("{:?}", function.log()));
    assert_eq!(said["requestId"], "invocation-1");
    assert!(said.to_string().contains("message 0"), "{said}");
}

#[test]
fn a_function_that_cannot_be_set_up_says_why() {
    for (package, expected) in [
        (Package::new("sum").set("plugin", "gone.wasm"), "gone.wasm"),
        (
            Package::new("sum")
                .file("no.wasm", "no component")
                .set("plugin", "no.wasm"),
            "no.wasm",
        ),
        (Package::empty(), "`plugin` is not set"),
        (
            Package::new("sum").set("cocurrency", "2"),
            "LINEMILL_CONCURRENCY",
        ),
        (
            Package::new("sum").env("LINEMILL_CONFIG", "gone.toml"),
            "gone.toml",
        ),
        (
            Package::new("sum").set("destination_url", "-"),
            "destination_url",
        ),
    ] {
        let (error, exit) = package.start().init_error();
        assert_eq!(error["errorType"], "Linemill.InitError");
        let message = error["errorMessage"].as_str().expect("a message");
        assert!(message.contains(expected), "{message}");
        assert_eq!(exit, Some(2));
    }
}

#[test]
fn paths_start_from_the_package() {
    let wasm = std::fs::read(plugin("sum")).unwrap();
    let package = Package::empty().file("plugins/sum.wasm", wasm);
    let config = "plugin = \"plugins/sum.wasm\"\nout_url = \"out\"\n";
    let temporary = package.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let package = package
        .file("conf/linemill.toml", config)
        .env("LINEMILL_CONFIG", "conf/linemill.toml")
        .env("TMPDIR", &temporary.to_string_lossy());
    let mut function = package.start();
    assert_eq!(
        function.invoke(&records([message("m", "1\n2")])).failures(),
        [""; 0]
    );
    function.check("destination/m: 3");
    // There is no HOME: compiled code is kept where a function may write, without a warning.
    assert!(temporary.join("linemill").is_dir());
    let warnings = function.log();
    let warnings: Vec<_> = warnings
        .iter()
        .filter(|event| event["level"] == "WARN")
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn compiled_code_is_shipped_with_the_function() {
    let code = |component: &Path| {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("code");
        let mut compile = Command::new(binary());
        compile.arg("compile").arg(component).arg("-o").arg(&output);
        let status = compile.env("XDG_CACHE_HOME", cache_home()).status();
        assert!(status.is_ok_and(|status| status.success()));
        std::fs::read(output).unwrap()
    };
    let sum = std::fs::read(plugin("sum")).unwrap();
    let (fitting, other) = (code(&plugin("sum")), code(&plugin("unruly")));
    let cut_off = fitting[..fitting.len() / 2].to_vec();
    // The code, whether the component is there too, and what is said of it.
    for (code, component, expected) in [
        (&fitting, true, None),
        (&fitting, false, None),
        (&other, true, Some("plugin_compiled was made of")),
        (&cut_off, true, Some("the plugin is compiled anew")),
        (&sum, true, Some("is not what `linemill compile` writes")),
    ] {
        let package = Package::empty().file("sum.wasm", &sum);
        let package = package.file("sum.cwasm", code).set("out_url", "out");
        let package = package
            .set("cache_dir", "cache")
            .set("plugin_compiled", "sum.cwasm");
        let package = match component {
            true => package.set("plugin", "sum.wasm"),
            false => package,
        };
        let mut function = package.start();
        let answer = function.invoke(&records([message("m", "1\n2")]));
        assert_eq!(answer.failures(), [""; 0]);
        function.check("destination/m: 3");
        let log = function.log();
        let mut warnings = log.iter().filter(|event| event["level"] == "WARN");
        let warning = warnings.next().map(|event| event["message"].to_string());
        match expected {
            Some(words) => assert!(warning.is_some_and(|said| said.contains(words)), "{log:?}"),
            None => assert_eq!(warning, None),
        }
        assert!(warnings.next().is_none(), "{log:?}");
        // Nothing was compiled where the code fits.
        let cached = std::fs::read_dir(function.path("cache")).map_or(0, Iterator::count);
        assert_eq!(cached > 0, expected.is_some());
    }
}

#[test]
fn it_is_started_by_name_or_by_what_lambda_sets() {
    let mut lambda = Command::new(binary());
    lambda.arg("lambda");
    for command in [Command::new(binary()), lambda] {
        let mut function = Package::new("sum").start_as(command);
        let answer = function.invoke(&records([message("m", "1\n2")]));
        assert_eq!(answer.failures(), [""; 0]);
        function.check("destination/m: 3");
    }
    // Without a function around it, it says what is missing.
    let mut lambda = Command::new(binary());
    let output = lambda.arg("lambda").env_clear().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("AWS_LAMBDA_RUNTIME_API is not set"), "{said}");
}

#[test]
fn a_newer_plugin_takes_over_between_invocations() {
    let sum = std::fs::read(plugin("sum")).unwrap();
    let other = std::fs::read(plugin("unruly")).unwrap();
    let package = Package::new("sum").file("plugin.wasm", sum);
    let package = package
        .set("plugin", "plugin.wasm")
        .set("plugin_poll_ms", "1");
    let mut function = package.start();
    let run = |function: &mut Function, n: usize| {
        let id = format!("m{n}");
        let answer = function.invoke(&records([message(&id, "1\n2")]));
        assert_eq!(answer.failures(), [""; 0]);
        std::fs::read_to_string(function.path(&format!("out/destination/{id}"))).unwrap()
    };
    assert_eq!(run(&mut function, 0), "3\n");
    let new = function.path("new.wasm");
    std::fs::write(&new, other).unwrap();
    std::fs::rename(new, function.path("plugin.wasm")).unwrap();
    // It is looked at, compiled and tried while invocations go on.
    let swapped = (1..2000).find(|n| run(&mut function, *n) == "1\n2\n");
    assert!(swapped.is_some());
    assert_eq!(run(&mut function, 3000), "1\n2\n");
    assert_eq!(function.logged("lambda").len(), 1);
}

#[test]
fn a_look_at_the_plugin_that_is_frozen_breaks_nothing() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    let wasm = std::fs::read(plugin("sum")).unwrap();
    let (asked, looks) = mpsc::channel();
    let count = AtomicUsize::new(0);
    // The first look and fetch are answered; then one stays open until the function is frozen, and breaks off.
    let server = HttpServer::start(move |question, stream| {
        let number = count.fetch_add(1, Ordering::AcqRel);
        if number >= 3 {
            let (go_on, wait) = mpsc::channel::<()>();
            drop(asked.send(go_on));
            let _ = wait.recv();
            return;
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n",
            wasm.len()
        );
        let body = if question.method == "HEAD" {
            &[][..]
        } else {
            &wasm
        };
        respond(stream, &head, body);
    });
    let package = Package::new("sum").set("plugin", &server.url("/sum.wasm"));
    let mut function = package.set("plugin_poll_ms", "1").start();
    function.wait_until_ready();
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(
        function
            .invoke(&records([message("m0", "1\n2")]))
            .failures(),
        [""; 0]
    );
    let held = looks.recv_timeout(TIME).expect("the plugin is looked at");
    function.signal("STOP");
    drop(held);
    function.signal("CONT");
    for n in 1..5 {
        let answer = function.invoke(&records([message(&format!("m{n}"), "1\n2")]));
        assert_eq!(answer.failures(), [""; 0]);
    }
    let written = function.written();
    assert!(
        written.iter().all(|file| file.ends_with(": 3")),
        "{written:?}"
    );
    assert_eq!(written.len(), 5);
}

#[test]
fn a_signal_ends_it_between_invocations() {
    let function = Package::new("sum").start();
    function.wait_until_ready();
    function.signal("TERM");
    assert_eq!(function.end(), Some(0));
}

/// A call of a function URL.
fn call(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Value {
    let mut call = fixture("function-url");
    call["requestContext"]["http"]["method"] = json!(method);
    call["rawPath"] = json!(path);
    call["headers"] = headers
        .iter()
        .map(|(name, value)| (*name, json!(value)))
        .collect();
    call["body"] = json!(body);
    call["isBase64Encoded"] = json!(false);
    call
}

/// Status and body of the answer to a call.
#[track_caller]
fn called(function: &mut Function, call: &Value) -> (u64, Vec<u8>, Value) {
    let answer = function.invoke(call);
    assert!(!answer.failed, "{}", answer.content);
    assert!(answer.bytes < 6 * 1024 * 1024, "{}", answer.bytes);
    let body = answer.content["body"].as_str().expect("a body");
    let body = match &answer.content["isBase64Encoded"] {
        Value::Bool(true) => from_base64(body),
        _ => body.as_bytes().to_vec(),
    };
    let status = answer.content["statusCode"].as_u64().expect("a status");
    (status, body, answer.content["headers"].clone())
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let bytes = text.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0, |bits, byte| bits << 6 | value(*byte));
        let bits = bits << (6 * (4 - four.len()) + 8);
        bits.to_be_bytes().into_iter().take(four.len() - 1)
    });
    bytes.collect()
}

fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = [0, 8, 16].iter().zip(three);
        let bits = bits.fold(0, |bits, (by, byte)| bits | u32::from(*byte) << (16 - by));
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit)) & 63;
            text.push(if digit > three.len() {
                '='
            } else {
                DIGITS[at as usize].into()
            });
        }
    }
    text
}

const NDJSON: [(&str, &str); 1] = [("accept", "text/html, application/x-ndjson;q=0.9")];

#[test]
fn lines_that_are_posted_are_answered_by_the_report() {
    let mut function = Package::new("sum").start();
    let (status, body, headers) = called(&mut function, &call("POST", "/", &[], "1\n2\nx\n"));
    assert_eq!(
        (status, &headers["content-type"]),
        (200, &json!("application/json"))
    );
    let report: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(report["Status"], "corrupted", "{report}");
    let output = report["DestinationURL"].as_str().expect("a URL");
    let output = output.strip_prefix("file://").unwrap_or(output);
    assert_eq!(
        std::fs::read_to_string(function.path(output)).unwrap(),
        "3\n"
    );
    check_books(&function, 3);
}

#[test]
fn output_goes_to_who_accepts_it() {
    let mut function = Package::new("unruly").start();
    let (status, body, headers) = called(
        &mut function,
        &call("POST", "/lines", &NDJSON, "a\n!corrupt c\nü\n"),
    );
    assert_eq!((status, &*body), (200, "a\nü\n".as_bytes()));
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers["linemill-status"], "corrupted");
    assert_eq!(headers["linemill-processed"], "2");
    let written = function.written();
    assert_eq!(written.len(), 1, "{written:?}");
    assert!(written[0].starts_with("corruption/"), "{written:?}");

    // Compressed, and with output that is no text.
    let mut packed = call("POST", "/", &NDJSON, &to_base64(&gzip(b"a\n\xff\xfe\n")));
    packed["isBase64Encoded"] = json!(true);
    packed["headers"]["content-encoding"] = json!("gzip");
    let (status, body, _) = called(&mut function, &packed);
    assert_eq!((status, &*body), (200, &b"a\n\xff\xfe\n"[..]));
}

#[test]
fn calls_that_cannot_be_answered_get_a_status_that_says_so() {
    let package = Package::new("unruly").set("fuel_base", "10000000000");
    let mut function = package.start();
    let brotli = [("content-encoding", "br")];
    let gzipped = [("content-encoding", "gzip")];
    for (call, expected, words) in [
        (call("DELETE", "/", &[], ""), 405, "DELETE"),
        (call("GET", "/elsewhere", &[], ""), 404, "/health"),
        (call("POST", "/", &brotli, "a\n"), 415, "br"),
        (
            call("POST", "/", &NDJSON, "!flood 5000000\n"),
            413,
            "destination_url",
        ),
        (call("POST", "/", &[], "!fatal broken\n"), 200, "broken"),
        (call("POST", "/", &gzipped, "no gzip"), 400, "is corrupt"),
    ] {
        let (status, body, _) = called(&mut function, &call);
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, expected, "{body}");
        assert!(body.contains(words), "{body}");
    }
    let (status, body, _) = called(&mut function, &call("GET", "/prod/health", &[], ""));
    let health: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &health["status"]), (200, &json!("ready")));
    let digest = health["plugin"]["stable"]["digest"].as_str();
    assert!(
        digest.is_some_and(|digest| digest.starts_with("sha256:")),
        "{health}"
    );
}

#[test]
fn large_output_fits_into_an_answer_whatever_it_is() {
    let mut function = Package::new("unruly").start();
    // Every byte of it takes six in JSON.
    let ones = "\u{1}".repeat(999);
    let input: String = (0..4000).map(|_| format!("{ones}\n")).collect();
    let mut packed = call("POST", "/", &NDJSON, &to_base64(&gzip(&input)));
    packed["isBase64Encoded"] = json!(true);
    packed["headers"]["content-encoding"] = json!("gzip");
    let (status, body, _) = called(&mut function, &packed);
    assert_eq!(status, 200);
    assert!(body == input.as_bytes());
    let plain = numbered(100_000);
    let (status, body, _) = called(&mut function, &call("POST", "/", &NDJSON, &plain));
    assert_eq!(status, 200);
    assert!(body == plain.as_bytes());
}

/// A place on ministack, which has functions, queues and notifications.
macro_rules! cloud {
    () => {
        match Store::ministack() {
            Some(server) => server.place(),
            None => return,
        }
    };
}

#[test]
fn a_queue_gets_back_what_is_not_safe() {
    let place = cloud!();
    let cloud = Cloud::new(&place);
    cloud.function("unruly", 30, &[]);
    let [queue, dead] = cloud.queue(2);
    cloud.feed_from(&queue);
    let bad = ("this is no base64!", Some("base64"));
    cloud.send(&queue, &[("a", None), bad, ("b\n!corrupt c", None)]);
    assert_eq!(cloud.receive(&dead), bad.0);
    // The others were done before it came for the last time.
    let lines = place.lines();
    let written = |kind: &str| {
        let below = format!("out/{kind}/");
        let files = lines.iter().filter(|(name, _)| name.starts_with(&below));
        let mut lines: Vec<&str> = files.flat_map(|(_, lines)| lines.split(',')).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(written("destination"), ["a", "b"]);
    assert_eq!(written("corruption"), ["!corrupt c"]);
    assert_eq!(written("retry"), [""; 0]);
}

#[test]
fn an_object_invokes_the_function_and_so_does_what_it_hands_over() {
    let place = cloud!();
    let cloud = Cloud::new(&place);
    let retry = place.url("in/again");
    let settings = [("retry_url", &*retry), ("max_retries", "2")];
    let function = cloud.function("unruly", 30, &settings);
    cloud.notify(&function, "in/");
    place.put("in/a b+c%.txt", "a\n!retry r\n");
    // The line is tried again twice, each time for the event of the object that the time before has written.
    let until = Instant::now() + Duration::from_secs(60);
    let failed = |lines: &BTreeMap<String, String>| {
        let mut names = lines.keys();
        names.any(|name| name.starts_with("out/failed/"))
    };
    while !failed(&place.lines()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(100));
    }
    let lines = place.lines();
    let shown = |(name, lines): (&String, &String)| {
        let name = name.replace(place.prefix(), "");
        (name != "code.zip").then(|| format!("{name}: {lines}"))
    };
    let seen: Vec<_> = lines.iter().filter_map(shown).collect();
    assert_eq!(
        seen,
        [
            "in/a b+c%.txt: a,!retry r",
            "in/again/in/a b+c%-retry01.txt: !retry r",
            "in/again/in/a b+c%-retry02.txt: !retry r",
            "out/destination/in/a b+c%.txt: a",
            "out/failed/in/again/in/a b+c%-retry03.txt: !retry r",
        ]
    );
}
