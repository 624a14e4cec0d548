//! Tests of events: recorded ones as a table of what they come to, wrong ones, and every way to cut them off.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::*;

mod hostile;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/event/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    let path = fixtures().join(format!("{name}.json"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Each event, a fixture's name or JSON, is followed by what it comes to: its kind, and a line for each task, refusal
/// and skipped record.
fn check(table: &str) {
    check_by(table, |input| match input.starts_with(['{', '[']) {
        true => Event::parse(input.as_bytes()),
        false => Event::parse(&fixture(input)),
    });
}

/// As [`check`], of events over HTTP: headers before the body, which a `|` sets apart.
fn check_http(table: &str) {
    check_by(table, |input| {
        let (headers, body) = input.rsplit_once('|').unwrap_or(("", input));
        let headers = headers.split('|').filter_map(|h| h.trim().split_once(": "));
        let body = body.trim();
        match body.starts_with(|c: char| c.is_ascii_alphabetic()) && !body.contains(' ') {
            true => Event::parse_http(headers, &fixture(body)),
            false => Event::parse_http(headers, body.replace("\\n", "\n").as_bytes()),
        }
    });
}

fn check_by(table: &str, parse: impl Fn(&str) -> Result<Event, EventError>) {
    let rows: Vec<&str> = table
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .collect();
    let mut at = 0;
    while at < rows.len() {
        let input = rows[at];
        at += 1;
        let mut expected = String::new();
        while at < rows.len() && rows[at].starts_with("=>") {
            expected += &format!("{}\n", rows[at]);
            at += 1;
        }
        assert_eq!(shown_result(&parse(input)), expected, "{input}");
    }
}

fn shown_result(result: &Result<Event, EventError>) -> String {
    match result {
        Err(error) => format!("=> error: {error}\n"),
        Ok(event) => {
            let mut text = format!("=> {}\n", shown_kind(&event.kind));
            for task in &event.tasks {
                text += &format!("=> {}\n", shown_task(task));
            }
            for refused in &event.refused {
                let record = refused.record.as_deref().unwrap_or("?");
                text += &format!("=> refused {record}: {}\n", refused.error);
            }
            for why in &event.skipped {
                text += &format!("=> skipped {why}\n");
            }
            text
        }
    }
}

fn shown_kind(kind: &EventKind) -> String {
    match kind {
        EventKind::Http(call) => {
            let pairs = |pairs: &[(String, String)]| {
                let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
                pairs.collect::<Vec<_>>().join("&")
            };
            let (query, headers) = (pairs(&call.query), pairs(&call.headers));
            format!("{} {}?{query} {headers}", call.method, call.path)
        }
        kind => format!("{kind:?}"),
    }
}

fn shown_task(task: &Task) -> String {
    let Task {
        request,
        records,
        group,
    } = task;
    let source = &request.source;
    let mut text = source.url.clone();
    if let Some(range) = source.range {
        let _ = write!(text, " @{}+{:?}", range.offset, range.length);
    }
    if let Some(etag) = &source.etag {
        let _ = write!(text, " etag {etag} line {}", source.first_line);
    }
    if request.attempt > 0 {
        let _ = write!(text, " attempt {}", request.attempt);
    }
    for (name, value) in &request.attributes {
        let _ = write!(text, " {name}={value}");
    }
    if !records.is_empty() {
        let _ = write!(text, " of {}", records.join(","));
    }
    if let Some(group) = group {
        let _ = write!(text, " in {group}");
    }
    if let Some(body) = &source.body {
        let bytes = String::from_utf8_lossy(body.as_bytes().expect("it is not streamed"));
        let encoding = body.encoding.as_deref().expect("nothing is guessed");
        let shown = match encoding {
            "identity" => format!("{bytes:?}"),
            other => format!("{other} {} bytes", bytes.chars().count()),
        };
        let _ = write!(text, " {shown}");
    }
    text
}

#[test]
fn recorded() {
    check(
        r#"
        apigateway-v1
        => POST /lines?name=a b&tag=1&tag=2 accept=application/x-ndjson&content-type=application/x-ndjson&host=0123456789.execute-api.us-east-1.amazonaws.com&x-forwarded-for=127.0.0.1&x-forwarded-for=127.0.0.2
        => api://1234567890/c6af9ac6-7b61-11e6-9a41-93e8deadbeef "one\ntwo"
        apigateway-v2
        => POST /lines?name=a b&tag=1&tag=2 accept=*/*&content-type=application/x-ndjson
        => api://urlid1234/JKJaXmPLvHcESHA= "one\ntwo\n"
        cloudevent
        => CloudEvent
        => cloudevents://mycontext/sub/C234-1234-1234 ce-comexampleextension1=value ce-comexampleothervalue=5 ce-source=/mycontext/sub ce-type=com.example.someevent "{\"appinfoA\":\"abc\",\"appinfoB\":123}\n"
        cloudevent-gcs
        => Gcs
        => gs://sample-bucket/in/a b+%.csv
        cloudevent-pubsub
        => PubSub
        => pubsub://mysubscription/2070443601311540 of 2070443601311540 "a\nb\n"
        cloudevents-batch
        => CloudEvent
        => cloudevents://shop/a/1 ce-source=//shop/a ce-type=com.example.x "line 1\nline 2\nline 3\n"
        dynamodb
        => DynamoDb
        => dynamodb://my-table/111 of 111,222 in my-table "{\"awsRegion\":\"us-west-2\",\"dynamodb\":{\"Keys\":{\"Id\":{\"N\":\"101\"}},\"NewImage\":{\"Id\":{\"N\":\"101\"},\"Message\":{\"S\":\"New item!\"}},\"SequenceNumber\":\"111\",\"SizeBytes\":26,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"},\"eventID\":\"1\",\"eventName\":\"INSERT\",\"eventSource\":\"aws:dynamodb\",\"eventSourceARN\":\"arn:aws:dynamodb:us-east-2:123456789012:table/my-table/stream/2024-06-10T19:26:16.525\",\"eventVersion\":\"1.0\"}\n{\"awsRegion\":\"us-west-2\",\"dynamodb\":{\"Keys\":{\"Id\":{\"N\":\"101\"}},\"OldImage\":{\"Id\":{\"N\":\"101\"}},\"SequenceNumber\":\"222\",\"SizeBytes\":26,\"StreamViewType\":\"NEW_AND_OLD_IMAGES\"},\"eventID\":\"2\",\"eventName\":\"REMOVE\",\"eventSource\":\"aws:dynamodb\",\"eventSourceARN\":\"arn:aws:dynamodb:us-east-2:123456789012:table/my-table/stream/2024-06-10T19:26:16.525\",\"eventVersion\":\"1.0\"}\n"
        eventbridge
        => EventBridge
        => s3://amzn-s3-demo-bucket1/in/a+b %41.csv
        function-url
        => POST /lines?name=a b&tag=1&tag=2 content-encoding=gzip&content-type=application/x-ndjson
        => api://urlid1234/JKJaXmPLvHcESHA= gzip 28 bytes
        function-url-get
        => GET /lines?name=a b&tag=1&tag=2 accept=*/*
        gcs-object
        => Gcs
        => gs://sample-bucket/in/a b+%.csv
        kinesis
        => Kinesis
        => kinesis://lambda-stream/49590338271490256608559692538361571095921575989136588898 of 49590338271490256608559692538361571095921575989136588898,49590338271490256608559692540925702759324208523137515618 in shardId-000000000006 "Hello, this is a test.\nThis is only a test.\n"
        => kinesis://lambda-stream/49590338271490256608559692540925702759324208523137515619 of 49590338271490256608559692540925702759324208523137515619 in shardId-000000000007 "another shard\n"
        logs
        => Logs
        => logs://aws_lambda_echo/2019/03/13/__LATEST_94fa867e5374431291a7fc14e2f56ae7/34622316099697884706540976068822859012661220141643892546 logGroup=/aws/lambda/echo logStream=2019/03/13/[$LATEST]94fa867e5374431291a7fc14e2f56ae7 owner=123456789012 "REPORT RequestId: 6234bffe-149a-b642-81ff-2e8e376d8aff\tDuration: 46.84 ms\nno line end\n"
        logs-control
        => Logs
        => skipped a test message of the log group ``
        on-failure
        => S3
        => s3://amzn-s3-demo-bucket/in/a.csv
        pubsub
        => PubSub
        => pubsub://mysubscription/2070443601311540 attempt 2 key=value of 2070443601311540 "Hello Cloud Pub/Sub!\n"
        pubsub-gcs
        => PubSub
        => gs://sample-bucket/in/a b+%.csv of 2070443601311540
        pubsub-gcs-deleted
        => PubSub
        => skipped `gs://sample-bucket/in/a b+%.csv`: `OBJECT_DELETE` is no new object
        resume
        => Request
        => s3://lake/day/a.csv @4096+None etag "b21b84d6" line 57 attempt 1
        s3
        => S3
        => s3://amzn-s3-demo-bucket/2019/Happy Face+100% ü.csv
        => s3://amzn-s3-demo-bucket/logs/big-retry02.ndjson.gz attempt 2
        => s3://amzn-s3-demo-bucket/retry/a-retry01.csv.resume.json attempt 1
        => skipped `s3://amzn-s3-demo-bucket/2019/old.csv`: `ObjectRemoved:DeleteMarkerCreated` is no new object
        => skipped `s3://amzn-s3-demo-bucket/2019/`: a folder
        => skipped `s3://amzn-s3-demo-bucket/retry/a-retry01.csv.faults.ndjson`: a list of faults
        s3-minio
        => S3
        => s3://inbox/in/a b.csv
        s3-ministack
        => S3
        => s3://inbox/in/a b+é%.ndjson
        s3-moto
        => S3
        => s3://inbox/in/a b+é%.ndjson
        s3-removed-moto
        => S3
        => skipped `s3://inbox/in/a b+é%.ndjson`: `ObjectRemoved:Delete` is no new object
        s3-test-ministack
        => Test
        => skipped a test message of S3
        sns
        => Sns
        => sns://sns-lambda/95df01b4-ee98-5cb9-9903-4c221d41eb5e Test=TestString TestBinary=TestBinary "Hello from SNS!\n"
        => s3://amzn-s3-demo-bucket/in/a b.csv
        sns-push
        => Sns
        => sns://sns-lambda/95df01b4-ee98-5cb9-9903-4c221d41eb5e "one\ntwo\n"
        sns-subscription
        => Sns
        => skipped SubscriptionConfirmation of `arn:aws:sns:us-east-1:123456789012:sns-lambda`: to be confirmed by hand
        sqs
        => Sqs
        => sqs://my-queue/059f36b4-87a3-44ab-83d2-661975830a7d of 059f36b4-87a3-44ab-83d2-661975830a7d,2e1424d4-f796-459a-8184-9c92662be6da "Test message.\ntwo\nthree\n"
        => sqs://my-queue/b11b2cc1-7c5b-4b4f-9b3c-0a6f2d1f4a01 attempt 2 of b11b2cc1-7c5b-4b4f-9b3c-0a6f2d1f4a01 "{\"looks\":\"like JSON\"}\n"
        sqs-attributes
        => Sqs
        => s3://lake/day/a.csv.gz tier=gold of 059f36b4-87a3-44ab-83d2-661975830a7d,2e1424d4-f796-459a-8184-9c92662be6da "x\ny\n"
        => sqs://my-queue/day/a.csv of b11b2cc1-7c5b-4b4f-9b3c-0a6f2d1f4a01 gzip 28 bytes
        sqs-eventbridge
        => Sqs
        => s3://amzn-s3-demo-bucket1/in/a+b %41.csv of 059f36b4-87a3-44ab-83d2-661975830a7d
        sqs-fifo
        => Sqs
        => sqs://orders.fifo/m1 of m1,m2 in a "1\n2\n"
        => sqs://orders.fifo/m3 of m3,m4 in b "3\n4\n"
        => sqs://orders.fifo/m5 of m5 in a "5\n"
        sqs-on-failure
        => Sqs
        => s3://amzn-s3-demo-bucket/in/a.csv of 059f36b4-87a3-44ab-83d2-661975830a7d
        sqs-s3-ministack
        => Sqs
        => s3://inbox/in/a b+é%.ndjson of 3c915aa5-a34b-42e0-b574-cedd9b2c9016
        => skipped a test message of S3
        => skipped `s3://inbox/in/a b+é%.ndjson`: `ObjectRemoved:Delete` is no new object
        sqs-s3-moto
        => Sqs
        => s3://inbox/in/a b+é%.ndjson of c6d8b918-b9b9-4fc9-aa1b-b5cf30dc42a5
        => skipped a test message of S3
        => skipped `s3://inbox/in/a b+é%.ndjson`: `ObjectRemoved:Delete` is no new object
        sqs-sns-ministack
        => Sqs
        => s3://b/a.csv tier=2 of ffd1b042-2e84-4881-bff0-8becd0d3581b,0fdee84c-e1d8-4958-a69b-7b2c0e2ab7e2 "one\ntwo\none\ntwo\n"
        => s3://inbox/in/b.ndjson of b0f0002a-31b6-4a8e-84b3-c60b316f3fce
        => skipped a test message of S3
        sqs-sns-moto
        => Sqs
        => s3://b/a.csv tier=2 of 23f99cf6-168a-4343-a8b2-e629c290e3ac,36bc4761-6945-459e-884e-dc013672f760 "one\ntwo\none\ntwo\n"
        => s3://inbox/in/b.ndjson of a1a5e617-3f6d-40c1-9694-1109f2bf63a8
        => skipped a test message of S3
    "#,
    );
}

/// Without an id of its own, a call gets one.
#[test]
fn a_load_balancer_gives_calls_no_id() {
    let event = Event::parse(&fixture("load-balancer")).unwrap();
    let url = &event.tasks[0].request.source.url;
    let id = url.strip_prefix("api://lambda-279XGJDqGZ5rsrHC2Fjr/");
    assert_eq!(id.map(str::len), Some(36), "{url}");
    let EventKind::Http(call) = event.kind else {
        panic!("{:?}", event.kind);
    };
    assert_eq!(call.method, "PUT");
    let trace = call.header("x-amzn-trace-id");
    assert_eq!(trace, Some("Root=1-5c536348-3d683b8b04734faae651f476"));
}

#[test]
fn requests_of_its_own() {
    check(
        r#"
        {"source": "s3://b/a b%+é.csv"}
        => Request
        => s3://b/a b%+é.csv
        {"source": "s3://b/a-retry03.csv"}
        => Request
        => s3://b/a-retry03.csv attempt 3
        {"source": "s3://b/a.csv", "offset": 5, "length": 10, "etag": "x", "attempt": 2, "attributes": {"k": "v", "n": 1}}
        => Request
        => s3://b/a.csv @5+Some(10) etag x line 1 attempt 2 k=v n=1
        {"source": "s3://b/a.csv.resume.json"}
        => Request
        => s3://b/a.csv.resume.json
        {"sources": ["s3://b/a.csv", {"source": "s3://b/c.csv", "attempt": 1}, 7, "", "-", "s3://b/"]}
        => Request
        => s3://b/a.csv
        => s3://b/c.csv attempt 1
        => refused ?: `sources[2].source`: it is a number, expected a URL or an object with one
        => refused ?: `sources[3].source`: source `` cannot be read again
        => refused ?: `sources[4].source`: source `-` cannot be read again
        => refused ?: `sources[5].source`: it is a folder: name the objects in it
        {"sources": [], "source": "a"}
        => error: `source`: beside `sources` nothing else can be said; each may be an object that says it
        {"sources": "s3://b/a.csv"}
        => error: `sources`: it is a string, expected a list
        {"source": "s3://b/a.csv", "ofset": 5}
        => error: `ofset`: unknown, did you mean `offset`?
        {"source": "s3://b/a.csv", "zzz": 5}
        => error: `zzz`: unknown, there are source, offset, length, etag, first_line, attempt, attributes
        {"source": 5}
        => error: `source`: it is a number, expected a string
        {"source": "s3://b/a.csv", "offset": -1}
        => error: `offset`: it is a number, expected a whole number, not below 0
        {"source": "s3://b/a.csv", "offset": 9223372036854775808}
        => error: `source`: no object reaches to offset 9223372036854775808 and beyond
        {"source": "s3://b/a.csv", "first_line": 0}
        => error: `source`: first_line is 0, lines count from 1
        {"source": "s3://b/a.csv.resume.json", "offset": 1}
        => error: `source`: its source is a resume pointer too
        {"source": "s3://b/a.csv", "attempt": 5000000000}
        => Request
        => s3://b/a.csv attempt 4294967295
        {"source": "s3://b/a.csv", "attributes": ["k"]}
        => error: `attributes`: it is a list, expected an object
        {"source": "s3://b/a.csv", "attributes": {"k": {}}}
        => error: `attributes`: each must be a string, a number or a truth value
    "#,
    );
}

/// An event that S3 sends, of one object.
fn s3_event(bucket: &str, key: &str) -> String {
    let record = serde_json::json!({
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    });
    serde_json::json!({ "Records": [record] }).to_string()
}

/// The outcome, without the kind, of an event of one object.
fn of_key(key: &str) -> String {
    let shown = shown_result(&Event::parse(s3_event("b", key).as_bytes()));
    shown.lines().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_are_decoded_once() {
    let table = [
        ("a+b", "=> s3://b/a b"),
        ("a%20b", "=> s3://b/a b"),
        ("a%2Bb%25c", "=> s3://b/a+b%c"),
        ("a%252Fb", "=> s3://b/a%2Fb"),
        ("in%2Fdeep%2Fa", "=> s3://b/in/deep/a"),
        ("%E4%BD%A0%F0%9F%98%80", "=> s3://b/你😀"),
        ("100%", "=> s3://b/100%"),
        ("%zz%4", "=> s3://b/%zz%4"),
        ("a%0Ab", "=> s3://b/a\nb"),
        ("../../etc/passwd", "=> s3://b/../../etc/passwd"),
        ("a//b", "=> s3://b/a//b"),
        ("a/", "=> skipped `s3://b/a/`: a folder"),
        ("a%2F", "=> skipped `s3://b/a/`: a folder"),
        (
            "%FF",
            "=> refused ?: `Records[0].s3.object.key`: `%FF` does not decode to UTF-8",
        ),
        ("", "=> refused ?: `Records[0].s3`: the object has no name"),
    ];
    for (key, expected) in table {
        assert_eq!(of_key(key), expected.replace('\n', " "), "{key}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    check(
        r#"
        {}
        => error: unknown event, which has no fields: EXPECTED
        {"key1": "value1", "key2": "value2"}
        => error: unknown event, which has the fields `key1`, `key2`: EXPECTED
        [1, 2]
        => error: unknown event, which is a list: EXPECTED
        {"Records": 5}
        => error: `Records`: it is a number, expected a list
        {"Records": []}
        => Test
        => skipped an event without records
        {"Records": [{"eventSource": "aws:kafka"}]}
        => error: unknown event, the first record of which has the fields `eventSource`: EXPECTED
        {"Records": [7, {"eventSource": "aws:s3", "s3": {}}, {"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}, {"s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}, "eventName": "ObjectCreated:Put"}]}
        => S3
        => s3://b/k
        => refused ?: `Records[0].s3.bucket.name` is missing
        => refused ?: `Records[1].s3.bucket.name` is missing
        => refused ?: `Records[2].eventName` is missing
        {"awslogs": {}}
        => error: `awslogs.data` is missing
        {"awslogs": {"data": "%%%"}}
        => error: `awslogs.data`: it is not base64: Invalid symbol 37, offset 0.
        {"awslogs": {"data": "aGVsbG8gaGVsbG8gaGVsbG8="}}
        => error: `awslogs.data`: it cannot be unpacked: invalid gzip header
        {"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}
        => error: `source`: it is `aws.events`, only events of `aws.s3` name data
        {"detail-type": "Object Created", "source": "aws.s3", "detail": {"bucket": {"name": "b"}}}
        => error: `detail.object.key` is missing
        {"detail-type": "Object Deleted", "source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "k"}}}
        => EventBridge
        => skipped `s3://b/k`: `Object Deleted` is no new object
        {"message": {"data": "!", "messageId": "1"}}
        => error: `message.data`: it is not base64: Invalid symbol 33, offset 0.
        {"message": {"data": ""}}
        => error: `message.messageId` is missing
        {"specversion": "1.0"}
        => error: `type` is missing
        {"specversion": "1.0", "type": "t", "data": "x"}
        => error: `source` is missing
        {"specversion": "1.0", "type": "google.cloud.storage.object.v1.finalized", "data": {"bucket": "b"}}
        => error: `data.name` is missing
        {"specversion": "1.0", "type": "google.cloud.storage.object.v1.deleted", "data": {"bucket": "b", "name": "n"}}
        => Gcs
        => skipped `gs://b/n`: `deleted` is no new object
        {"requestPayload": {"a": 1}}
        => error: unknown event, which has the fields `a`: EXPECTED
        {"requestContext": {}, "httpMethod": "POST", "path": "/", "isBase64Encoded": true, "body": "?"}
        => error: `body`: it is not base64: Invalid symbol 63, offset 0.
    "#
        .replace("EXPECTED", EXPECTED)
        .as_str(),
    );
}

/// An event of one message of a queue.
fn sqs_event(body: &str, attributes: &[(&str, &str)]) -> String {
    let attributes = attributes.iter().map(|(name, value)| {
        let value = serde_json::json!({"stringValue": value, "dataType": "String"});
        ((*name).to_owned(), value)
    });
    let attributes: serde_json::Map<_, _> = attributes.collect();
    let record = serde_json::json!({
        "messageId": "m1",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:1:q",
        "body": body,
        "messageAttributes": attributes,
    });
    serde_json::json!({ "Records": [record] }).to_string()
}

fn of_message(body: &str, attributes: &[(&str, &str)]) -> String {
    let event = Event::parse(sqs_event(body, attributes).as_bytes());
    let shown = shown_result(&event);
    shown.lines().skip(1).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_is_what_its_attributes_say() {
    let s3 = s3_event("b", "k");
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let table: &[Row<'_>] = &[
        ("eA==", &[], r#"=> sqs://q/m1 of m1 "eA==\n""#),
        (
            "eA==",
            &[("Encoding", "base64")],
            r#"=> sqs://q/m1 of m1 "x\n""#,
        ),
        (
            "eA\n==\n",
            &[("encoding", "BASE64")],
            r#"=> sqs://q/m1 of m1 "x\n""#,
        ),
        (
            "x",
            &[("Encoding", "identity")],
            r#"=> sqs://q/m1 of m1 "x\n""#,
        ),
        (
            "x",
            &[("Encoding", "hex")],
            "=> refused m1: `Records[0].messageAttributes.Encoding`: it is `hex`, known are base64 and identity",
        ),
        (
            "x",
            &[("Content-Encoding", "br")],
            "=> refused m1: `Records[0].messageAttributes.Content-Encoding`: it is `br`, known are gzip, zstd and identity",
        ),
        (
            "x",
            &[("Content-Encoding", "gzip")],
            "=> refused m1: `Records[0].body`: what is compressed is no text: it is sent in base64, with the attribute `Encoding` set to `base64`",
        ),
        (
            "=",
            &[("Encoding", "base64")],
            "=> refused m1: `Records[0].body`: it is not base64: Invalid symbol 61, offset 0.",
        ),
        // What says it is lines is lines, whatever it looks like.
        (&s3, &[], "=> s3://b/k of m1"),
        (
            r#"{"source": "s3://b/k"}"#,
            &[],
            r#"=> sqs://q/m1 of m1 "{\"source\": \"s3://b/k\"}\n""#,
        ),
        (
            r#"{"Records": [{"eventSource": "ec2.amazonaws.com", "s3": 1}]}"#,
            &[],
            r#"=> sqs://q/m1 of m1 "{\"Records\": [{\"eventSource\": \"ec2.amazonaws.com\", \"s3\": 1}]}\n""#,
        ),
        (
            r#"{"source": "s3://b/k"}"#,
            &[("Content-Type", "application/vnd.linemill.request+json")],
            "=> s3://b/k of m1",
        ),
        (
            "x",
            &[("Content-Type", "application/vnd.linemill.request+json")],
            "=> refused m1: `Records[0].body`: it is not JSON: expected value at line 1 column 1",
        ),
        (
            "x",
            &[("Content-Type", "text/csv")],
            r#"=> sqs://q/m1 Content-Type=text/csv of m1 "x\n""#,
        ),
        ("", &[], r#"=> sqs://q/m1 of m1 """#),
    ];
    for (body, attributes, expected) in table {
        assert_eq!(
            &of_message(body, attributes),
            expected,
            "{body} {attributes:?}"
        );
    }
    let said = of_message(&s3, &[("Source", "a.csv")]);
    assert!(said.starts_with("=> sqs://q/a.csv of m1 \"{"), "{said}");
    // The suffix of a name does not make gzip of plain lines.
    let event = Event::parse(sqs_event("x", &[("Source", "a.csv.gz")]).as_bytes()).unwrap();
    let body = event.tasks[0].request.source.body.as_ref().unwrap();
    assert_eq!(body.encoding.as_deref(), Some("identity"));
}

#[test]
fn over_http() {
    check_http(
        r#"
        ce-specversion: 1.0 | ce-type: google.cloud.storage.object.v1.finalized | ce-id: 1 | ce-source: //storage.googleapis.com/x | gcs-object
        => Gcs
        => gs://sample-bucket/in/a b+%.csv
        CE-Type: google.cloud.storage.object.v1.archived | CE-Id: 1 | {"bucket": "b", "name": "n"}
        => Gcs
        => skipped `gs://b/n`: `archived` is no new object
        ce-specversion: 1.0 | ce-type: google.cloud.pubsub.topic.v1.messagePublished | ce-id: 1 | pubsub
        => PubSub
        => pubsub://mysubscription/2070443601311540 attempt 2 key=value of 2070443601311540 "Hello Cloud Pub/Sub!\n"
        ce-specversion: 1.0 | ce-type: com.amazonaws.s3.ObjectCreated:Put | ce-id: 1 | {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": {"key": "a+b"}}}
        => S3
        => s3://b/a b
        ce-specversion: 1.0 | ce-type: t | ce-id: 1 | ce-source: /shop | ce-subject: caf%C3%A9 | content-type: application/json; charset=utf-8 | {"n": 123456789012345678901234567890,\n "x": 1.50}
        => CloudEvent
        => cloudevents://shop/1 ce-source=/shop ce-subject=café ce-type=t "{\"n\": 123456789012345678901234567890,  \"x\": 1.50}\n"
        ce-specversion: 1.0 | ce-type: t | ce-id: 1 | ce-source: /shop | content-type: application/x-ndjson | {}\n{}
        => CloudEvent
        => cloudevents://shop/1 ce-source=/shop ce-type=t "{}\n{}\n"
        ce-specversion: 1.0 | ce-type: t | ce-id: 1 | ce-source: https://h/a | content-encoding: gzip | 12 34
        => CloudEvent
        => cloudevents://h/a/1 ce-source=https://h/a ce-type=t gzip 5 bytes
        ce-specversion: 1.0 | ce-id: 1 | {}
        => error: `ce-type` is missing
        ce-specversion: 1.0 | ce-type: google.cloud.storage.object.v1.finalized | ce-id: 1 | -
        => error: `body`: it is not JSON: EOF while parsing a value at line 1 column 1
        ce-specversion: 1.0 | ce-type: t | ce-id: 1 | content-type: application/cloudevents+json | cloudevent-gcs
        => Gcs
        => gs://sample-bucket/in/a b+%.csv
        content-type: application/cloudevents-batch+json | [{"specversion": "1.0", "type": "t", "source": "s", "id": "1", "data_base64": "eA=="}, {"a": 1}]
        => CloudEvent
        => cloudevents://s/1 ce-source=s ce-type=t "x\n"
        => refused ?: unknown event, which has the fields `a`: EXPECTED
        x-amz-sns-message-type: Notification | content-type: text/plain | sns-push
        => Sns
        => sns://sns-lambda/95df01b4-ee98-5cb9-9903-4c221d41eb5e "one\ntwo\n"
        content-type: application/json | s3-minio
        => S3
        => s3://inbox/in/a b.csv
        content-type: application/json | {"source": "s3://b/a.csv"}
        => Request
        => s3://b/a.csv
        content-type: application/json | apigateway-v2
        => error: unknown event, which is one that a gateway hands to a function: EXPECTED
    "#
        .replace("EXPECTED", EXPECTED)
        .as_str(),
    );
}

#[test]
fn a_refused_record_holds_back_what_follows_in_its_group() {
    let mut value: Value = serde_json::from_slice(&fixture("sqs-fifo")).unwrap();
    value["Records"][1]["body"] = Value::Null;
    let event = Event::parse(value.to_string().as_bytes()).unwrap();
    let shown = shown_result(&Ok(event.clone()));
    let expected = "=> Sqs\n\
        => sqs://orders.fifo/m1 of m1 in a \"1\\n\"\n\
        => sqs://orders.fifo/m3 of m3,m4 in b \"3\\n4\\n\"\n\
        => refused m2: `Records[1].body` is missing\n\
        => refused m5: held back, since an earlier record of its group was refused: it comes again after that\n";
    assert_eq!(shown, expected);
    assert_eq!(event.batch_item_failures(&[true, true]), ["m2", "m5"]);
    assert_eq!(
        event.batch_item_failures(&[true, false]),
        ["m2", "m5", "m3", "m4"]
    );
    // A task of which nothing is known is not safe.
    assert_eq!(
        event.batch_item_failures(&[]),
        ["m2", "m5", "m1", "m3", "m4"]
    );
    assert!(event.kind.takes_failures());
}

/// A message that names two objects fails once, when either is not safe.
#[test]
fn a_message_of_several_objects() {
    let one: Value = serde_json::from_str(&s3_event("b", "one")).unwrap();
    let two: Value = serde_json::from_str(&s3_event("b", "two")).unwrap();
    let body = serde_json::json!({"Records": [one["Records"][0], two["Records"][0]]});
    let event = Event::parse(sqs_event(&body.to_string(), &[]).as_bytes()).unwrap();
    assert_eq!(event.tasks.len(), 2);
    assert_eq!(event.batch_item_failures(&[true, true]), [""; 0]);
    assert_eq!(event.batch_item_failures(&[true, false]), ["m1"]);
    assert_eq!(event.batch_item_failures(&[false, false]), ["m1"]);
}

/// What `aws_lambda_events` makes of the documented events is what is made of them here.
#[test]
fn shapes_are_those_of_aws_lambda_events() {
    use aws_lambda_events::{cloudwatch_logs, dynamodb, kinesis, s3, sns, sqs};
    fn read<T: serde::de::DeserializeOwned>(name: &str) -> T {
        serde_json::from_slice(&fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
    let records = |name: &str| -> Vec<String> {
        let event = Event::parse(&fixture(name)).unwrap();
        event
            .tasks
            .into_iter()
            .flat_map(|task| task.records)
            .collect()
    };
    let sqs: sqs::SqsEvent = read("sqs");
    let ids = sqs
        .records
        .iter()
        .map(|record| record.message_id.clone().unwrap());
    assert_eq!(records("sqs"), ids.collect::<Vec<_>>());
    let kinesis: kinesis::KinesisEvent = read("kinesis");
    let numbers = kinesis
        .records
        .iter()
        .map(|r| r.kinesis.sequence_number.clone());
    assert_eq!(records("kinesis"), numbers.collect::<Vec<_>>());
    let data = kinesis
        .records
        .iter()
        .map(|r| r.kinesis.data.0.trim_ascii_end().to_vec());
    let ours = Event::parse(&fixture("kinesis")).unwrap();
    let ours = ours
        .tasks
        .iter()
        .map(|task| task.request.source.body.clone().unwrap());
    let ours: Vec<u8> = ours
        .flat_map(|body| body.as_bytes().unwrap().to_vec())
        .collect();
    assert_eq!(
        ours,
        [data.collect::<Vec<_>>().join(&b'\n'), b"\n".to_vec()].concat()
    );
    let dynamodb: dynamodb::Event = read("dynamodb");
    let numbers = dynamodb
        .records
        .iter()
        .map(|r| r.change.sequence_number.clone().unwrap());
    assert_eq!(records("dynamodb"), numbers.collect::<Vec<_>>());
    let logs: cloudwatch_logs::LogsEvent = read("logs");
    let first = &logs.aws_logs.data.log_events[0].id;
    let ours = Event::parse(&fixture("logs")).unwrap();
    assert!(ours.tasks[0].request.source.url.ends_with(first.as_str()));
    for name in ["s3", "s3-ministack", "s3-minio"] {
        let s3: s3::S3Event = read(name);
        let event = Event::parse(&fixture(name)).unwrap();
        assert_eq!(
            s3.records.len(),
            event.tasks.len() + event.skipped.len(),
            "{name}"
        );
    }
    let _: sns::SnsEvent = read("sns");
    let _: sqs::SqsEvent = read("sqs-attributes");
    let _: aws_lambda_events::apigw::ApiGatewayProxyRequest = read("apigateway-v1");
    let _: aws_lambda_events::apigw::ApiGatewayV2httpRequest = read("apigateway-v2");
    let _: aws_lambda_events::lambda_function_urls::LambdaFunctionUrlRequest = read("function-url");
    // Why its structs are not used: a server in the manner of S3 leaves out what nobody needs.
    let moto = serde_json::from_slice::<s3::S3Event>(&fixture("s3-moto"));
    assert!(moto.is_err());
}
