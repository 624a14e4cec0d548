//! Tests of events that are wrong, huge, damaged, or meant to do harm.

use std::collections::HashSet;

use super::super::name;
use super::*;

#[test]
fn buckets_are_names_and_not_paths() {
    for bucket in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a b",
        "a?b",
        "a\nb",
        "ä",
        "user@host",
        &"b".repeat(300),
    ] {
        let event = Event::parse(s3_event(bucket, "k").as_bytes()).unwrap();
        assert!(event.tasks.is_empty(), "{bucket}: {event:?}");
        let refused = event.refused[0].error.to_string();
        assert!(
            refused.ends_with("is not the name of a bucket"),
            "{refused}"
        );
    }
    for bucket in [
        "b",
        "my.bucket-1",
        "Legacy_Bucket",
        "arn:aws:s3:eu-west-1:1:accesspoint",
    ] {
        let event = Event::parse(s3_event(bucket, "k").as_bytes()).unwrap();
        assert_eq!(event.tasks.len(), 1, "{bucket}: {event:?}");
    }
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let error = |text: &str| Event::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        error("{\"a\":\n 1,}"),
        "the event is not JSON: trailing comma at line 2 column 4"
    );
    assert_eq!(
        error(""),
        "the event is not JSON: EOF while parsing a value at line 1 column 0"
    );
    let deep = "[".repeat(100_000);
    assert!(
        error(&deep).contains("recursion limit exceeded"),
        "{}",
        error(&deep)
    );
    assert!(Event::parse(b"\xff\xfe").is_err());
    let many: Vec<_> = (0..1000).map(|i| format!("\"{i:0100}\": 1")).collect();
    let long = error(&format!("{{{}}}", many.join(",")));
    assert!(long.len() < 2000 && long.contains("and 988 more"), "{long}");
}

#[test]
fn names_that_senders_give_are_safe_or_refused() {
    let given = |source: &str| of_message("x", &[("Source", source)]);
    for source in [
        "",
        "-/..",
        "..",
        ".",
        "/etc/passwd",
        "a//b",
        "a/",
        "a/./b",
        "a/../b",
        "s3://",
        "s3:///k",
        "s3://b",
        "s3://b/",
        "s3://../k",
        "s3://./k",
        "s3://b/../k",
        "s3://b//k",
        "s3://u@h/k",
        "s3://u:p@h/k",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "https://h/x?y",
        "://b/k",
        "S3://b/k",
        "1a://b/k",
        "a b://c/d",
        "a\nb",
        "a\0b",
        "s3://b/a.resume.json",
        "a.faults.ndjson",
        &"a".repeat(201),
        &"a/".repeat(500),
        &format!("s3://b/{}", "ä".repeat(101)),
    ] {
        let shown = given(source);
        assert!(
            shown.starts_with("=> refused m1: `Records[0].messageAttributes.Source`: "),
            "{source}: {shown}"
        );
        assert!(shown.len() < 300, "{shown}");
    }
    for (source, url) in [
        ("a.csv", "sqs://q/a.csv"),
        ("-", "sqs://q/-"),
        ("day/a b+%é.csv", "sqs://q/day/a b+%é.csv"),
        ("s3://b/deep/a.csv", "s3://b/deep/a.csv"),
        ("kafka://topic/0/17", "kafka://topic/0/17"),
        ("...", "sqs://q/..."),
    ] {
        let shown = given(source);
        assert_eq!(shown, format!("=> {url} of m1 \"x\\n\""));
    }
}

/// What is written for lines stays below what the configuration names, whatever a platform calls what brought them.
#[test]
fn awkward_ids_stay_below_their_place() {
    use crate::request::Names;
    let awkward = [
        "",
        ".",
        "..",
        "../..",
        "/",
        "a/../../b",
        "a b",
        "%2e%2e",
        "a.gz",
        "a\0",
        "-",
        "ä",
        "a-retry07",
        &"x".repeat(5000),
    ];
    let mut urls = HashSet::new();
    for id in awkward {
        for (place, below) in [
            ("q", ""),
            ("..", "../.."),
            ("", "/"),
            ("/aws/lambda/f", "[$LATEST]/..//x"),
            (id, id),
        ] {
            let name = name::Name::under(&name::base("sqs", place, below), id);
            let request = Request::with_body(name.url(), crate::Body::bytes("x"));
            let config = crate::Config {
                destination_url: Some("file:///out/$SourceBucket/$SourcePath".to_owned()),
                ..crate::Config::default()
            };
            let names = Names::of(&request, std::path::Path::new("/work"));
            let written = names.unwrap().destination(&config).unwrap().unwrap();
            let path = written.strip_prefix("file:///out/").expect(&written);
            let parts: Vec<_> = path.split('/').collect();
            assert!(parts.len() >= 2, "{written}");
            assert!(
                parts
                    .iter()
                    .all(|part| !part.is_empty() && !part.starts_with('.') && part.len() < 200),
                "{written}"
            );
            if place == "q" {
                assert!(
                    urls.insert(name.url()),
                    "two ids have the name {}",
                    name.url()
                );
            }
        }
    }
}

#[test]
fn envelopes_nest_and_not_for_ever() {
    let wrap = |text: &str| {
        let envelope = serde_json::json!({
            "Type": "Notification",
            "TopicArn": "arn:aws:sns:eu-west-1:1:t",
            "MessageId": "n",
            "Message": text,
        });
        envelope.to_string()
    };
    let mut body = s3_event("b", "a+b");
    for _ in 0..7 {
        body = wrap(&body);
    }
    assert_eq!(of_message(&body, &[]), "=> s3://b/a b of m1");
    let body = wrap(&wrap(&body));
    let refused = of_message(&body, &[]);
    assert!(
        refused.ends_with("more than 8 envelopes are in each other"),
        "{refused}"
    );
    assert!(
        refused.starts_with("=> refused m1: `Records[0].body.Message.Message"),
        "{refused}"
    );
    let damaged =
        wrap(r#"{"Records": [{"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}}]}"#);
    assert_eq!(
        of_message(&damaged, &[]),
        "=> refused m1: `Records[0].body.Message.Records[0].s3.object.key` is missing"
    );
}

#[test]
fn a_record_without_a_name_fails_them_all() {
    let json = r#"{"Records": [{"eventSource": "aws:sqs", "body": "x"}]}"#;
    let event = Event::parse(json.as_bytes()).unwrap();
    assert_eq!(
        event.refused[0].error.to_string(),
        "`Records[0].messageId` is missing"
    );
    assert_eq!(event.batch_item_failures(&[]), [""]);
}

#[test]
fn ten_thousand_records_are_one_request() {
    let template: Value = serde_json::from_slice(&fixture("kinesis")).unwrap();
    let records = (0..10_000).map(|i| {
        let mut record = template["Records"][0].clone();
        record["kinesis"]["sequenceNumber"] = i.to_string().into();
        record
    });
    let event = serde_json::json!({"Records": records.collect::<Vec<_>>()}).to_string();
    let began = std::time::Instant::now();
    let event = Event::parse(event.as_bytes()).unwrap();
    println!("ten thousand records: {:?}", began.elapsed());
    // A hundred times what it takes, and much less than what grows with the square would.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    assert_eq!(event.tasks.len(), 1);
    let task = &event.tasks[0];
    assert_eq!(task.records.len(), 10_000);
    assert_eq!(task.records[9_999], "9999");
    let body = task
        .request
        .source
        .body
        .as_ref()
        .unwrap()
        .as_bytes()
        .unwrap();
    assert_eq!(body.iter().filter(|b| **b == b'\n').count(), 10_000);

    let message: Value = serde_json::from_str(&sqs_event(&s3_event("b", "a+b"), &[])).unwrap();
    let messages = vec![message["Records"][0].clone(); 10_000];
    let event = serde_json::json!({ "Records": messages }).to_string();
    let event = Event::parse(event.as_bytes()).unwrap();
    assert_eq!(event.tasks.len(), 10_000);

    let damaged =
        serde_json::json!({"Records": vec![serde_json::json!({"messageId": "m"}); 10_000]});
    let event = Event::parse(damaged.to_string().as_bytes()).unwrap();
    assert_eq!((event.tasks.len(), event.refused.len()), (0, 10_000));
}

/// An event of a log, with what it packs.
fn logs_event(json: &[u8]) -> String {
    use base64::Engine;
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(json).unwrap();
    let packed = base64::engine::general_purpose::STANDARD.encode(gzip.finish().unwrap());
    serde_json::json!({"awslogs": {"data": packed}}).to_string()
}

#[test]
fn logs_that_unpack_to_anything() {
    let of = |json: &[u8]| shown_result(&Event::parse(logs_event(json).as_bytes()));
    let bomb = vec![b' '; 64 * 1024 * 1024 + 1];
    assert_eq!(
        of(&bomb),
        "=> error: `awslogs.data`: it unpacks to more than 67108864 bytes\n"
    );
    assert_eq!(
        of(b"[1]"),
        "=> error: `awslogs.data`: unknown contents: invalid type: integer `1`, expected a string at line 1 column 2\n"
    );
    assert_eq!(
        of(b"x"),
        "=> error: `awslogs.data`: no JSON: expected value at line 1 column 1\n"
    );
    assert_eq!(
        of(br#"{"logEvents": [{"id": "1"}]}"#),
        "=> error: `awslogs.data`: unknown contents: missing field `message` at line 1 column 26\n"
    );
    assert_eq!(
        of(b"{}"),
        "=> Logs\n=> skipped a subscription without log events\n"
    );
    let cut = logs_event(br#"{"logEvents": [{"id": "1", "message": "x"}]}"#);
    let cut = cut.replace("\"}}", "").chars().take(60).collect::<String>() + "\"}}";
    let error = Event::parse(cut.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("`awslogs.data`: it "), "{error}");
}

fn all_fixtures() -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(fixtures()).expect("they are there");
    let all: Vec<_> = files
        .flatten()
        .map(|file| std::fs::read(file.path()).unwrap())
        .collect();
    assert!(all.len() > 30);
    all
}

/// JSON without what stands between its tokens: as platforms send it, and less to cut.
fn dense(json: &[u8]) -> Vec<u8> {
    let value: Value = serde_json::from_slice(json).unwrap();
    value.to_string().into_bytes()
}

/// What is cut off is told as such; nothing panics, and nothing is half understood.
#[test]
fn every_prefix_is_refused() {
    for json in all_fixtures() {
        let json = dense(&json);
        for end in 0..json.len() {
            let error = Event::parse(&json[..end]).expect_err("it is not whole");
            assert!(matches!(error, EventError::Json(_)), "{error}");
        }
    }
}

/// An event with any one byte lost, or any one field made something else, is understood or refused.
#[test]
fn every_damage_is_borne() {
    for json in all_fixtures() {
        let json = dense(&json);
        for at in 0..json.len() {
            let mut damaged = json.clone();
            damaged.remove(at);
            let _ = Event::parse(&damaged);
            let _ = Event::parse_http([("ce-specversion", "1.0"), ("ce-type", "t")], &damaged);
        }
        let value: Value = serde_json::from_slice(&json).unwrap();
        let mut paths = Vec::new();
        pointers(&value, String::new(), &mut paths);
        for path in paths {
            for other in [
                Value::Null,
                5.into(),
                "".into(),
                "x".into(),
                Value::Array(vec![]),
                serde_json::json!({"a": [null]}),
            ] {
                let mut changed = value.clone();
                *changed.pointer_mut(&path).unwrap() = other;
                let changed = changed.to_string();
                if let Err(error) = Event::parse(changed.as_bytes()) {
                    assert!(error.to_string().len() < 2000, "{error}");
                }
            }
        }
    }
}

/// The JSON pointers to all that is in a value.
fn pointers(value: &Value, here: String, found: &mut Vec<String>) {
    let members: Vec<_> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in members {
        let name = name.replace('~', "~0").replace('/', "~1");
        pointers(value, format!("{here}/{name}"), found);
    }
    found.push(here);
}
