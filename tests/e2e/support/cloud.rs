//! The parts of a cloud that invoke functions, on ministack: Lambda itself, queues, notifications of buckets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::store::Place;
use super::tools::{binary, cache_home, plugin};

/// A place in a cloud. All names in it begin with `name`.
pub(crate) struct Cloud<'a> {
    place: &'a Place,
    pub(crate) name: String,
}

/// How long one question may take, in which a function may be started.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The bucket in which the code of functions is put.
const BUCKET: &str = "first";

impl<'a> Cloud<'a> {
    pub(crate) fn new(place: &'a Place) -> Self {
        Cloud {
            place,
            name: place.prefix().trim_end_matches('/').to_owned(),
        }
    }

    fn endpoint(&self) -> &str {
        let mut variables = self.place.variables().iter();
        let url = variables.find(|(name, _)| *name == "AWS_ENDPOINT_URL");
        &url.expect("it is how the server is reached").1
    }

    /// A function with a plugin, which writes to the place's `out`. Gives back its ARN.
    pub(crate) fn function(&self, name: &str, seconds: u32, settings: &[(&str, &str)]) -> String {
        let key = format!("{}code.zip", self.place.prefix());
        self.place.put("code.zip", package());
        let cache = cache_home().join("linemill");
        let mut variables = json!({
            "LINEMILL_PLUGIN": plugin(name),
            "LINEMILL_OUT_URL": self.place.url("out"),
            "LINEMILL_CACHE_DIR": cache,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ENDPOINT_URL": self.endpoint(),
        });
        for (name, value) in settings {
            variables[format!("LINEMILL_{}", name.to_uppercase())] = json!(value);
        }
        let function = json!({
            "FunctionName": self.name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": "arn:aws:iam::000000000000:role/function",
            "Code": { "S3Bucket": BUCKET, "S3Key": key },
            "Timeout": seconds,
            "MemorySize": 512,
            "Architectures": ["x86_64"],
            "Environment": { "Variables": variables },
        });
        let made = self.rest("POST", "/2015-03-31/functions", &function.to_string());
        made["FunctionArn"].as_str().expect("an ARN").to_owned()
    }

    /// A queue, what is left of whose messages after so many deliveries goes to another one. Gives back both URLs.
    pub(crate) fn queue(&self, deliveries: u32) -> [String; 2] {
        let dead = self.sqs(
            "CreateQueue",
            &json!({ "QueueName": format!("{}-dead", self.name) }),
        );
        let dead = url_of(&dead);
        let redrive = json!({
            "deadLetterTargetArn": self.arn_of(&dead),
            "maxReceiveCount": deliveries.to_string(),
        });
        let queue = json!({
            "QueueName": self.name,
            "Attributes": { "VisibilityTimeout": "1", "RedrivePolicy": redrive.to_string() },
        });
        [url_of(&self.sqs("CreateQueue", &queue)), dead]
    }

    fn arn_of(&self, queue: &str) -> String {
        let asked = json!({ "QueueUrl": queue, "AttributeNames": ["QueueArn"] });
        let told = self.sqs("GetQueueAttributes", &asked);
        told["Attributes"]["QueueArn"]
            .as_str()
            .expect("an ARN")
            .to_owned()
    }

    /// The function gets the messages of the queue, and names those that are to come again.
    pub(crate) fn feed_from(&self, queue: &str) {
        let mapping = json!({
            "EventSourceArn": self.arn_of(queue),
            "FunctionName": self.name,
            "BatchSize": 10,
            "MaximumBatchingWindowInSeconds": 0,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        });
        self.rest(
            "POST",
            "/2015-03-31/event-source-mappings",
            &mapping.to_string(),
        );
    }

    /// Puts messages into a queue: bodies, and `Encoding` where there is one.
    pub(crate) fn send(&self, queue: &str, messages: &[(&str, Option<&str>)]) {
        let entries = messages.iter().enumerate().map(|(n, (body, encoding))| {
            let mut entry = json!({ "Id": n.to_string(), "MessageBody": body });
            if let Some(encoding) = encoding {
                let value = json!({ "DataType": "String", "StringValue": encoding });
                entry["MessageAttributes"] = json!({ "Encoding": value });
            }
            entry
        });
        let entries: Vec<_> = entries.collect();
        let sent = self.sqs(
            "SendMessageBatch",
            &json!({ "QueueUrl": queue, "Entries": entries }),
        );
        assert_eq!(
            sent["Successful"].as_array().map(Vec::len),
            Some(messages.len()),
            "{sent}"
        );
    }

    /// The body of the next message of a queue, which is waited for.
    pub(crate) fn receive(&self, queue: &str) -> String {
        for _ in 0..6 {
            let asked = json!({ "QueueUrl": queue, "WaitTimeSeconds": 10 });
            let received = self.sqs("ReceiveMessage", &asked);
            if let Some(body) = received["Messages"][0]["Body"].as_str() {
                return body.to_owned();
            }
        }
        panic!("no message comes to {queue}");
    }

    /// The function gets an event for each object that is put below a prefix of the place.
    pub(crate) fn notify(&self, function: &str, prefix: &str) {
        let prefix = format!("{}{prefix}", self.place.prefix());
        let rules = format!(
            "<NotificationConfiguration><CloudFunctionConfiguration><CloudFunction>{function}</CloudFunction>\
             <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value>\
             </FilterRule></S3Key></Filter></CloudFunctionConfiguration></NotificationConfiguration>"
        );
        self.ask("PUT", &format!("/{BUCKET}?notification"), "s3", &[], &rules);
    }

    fn sqs(&self, action: &str, content: &Value) -> Value {
        let target = format!("X-Amz-Target: AmazonSQS.{action}");
        let headers = [target.as_str(), "Content-Type: application/x-amz-json-1.0"];
        let answer = self.ask("POST", "/", "sqs", &headers, &content.to_string());
        serde_json::from_slice(&answer).expect("JSON")
    }

    fn rest(&self, method: &str, path: &str, content: &str) -> Value {
        let headers = ["Content-Type: application/json"];
        let answer = self.ask(method, path, "lambda", &headers, content);
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// The body of the answer to a request, which must succeed. Nobody looks at signatures.
    fn ask(
        &self,
        method: &str,
        path: &str,
        service: &str,
        headers: &[&str],
        body: &str,
    ) -> Vec<u8> {
        let address = self.endpoint().trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(TIMEOUT))
            .expect("it can be set");
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\n{headers}\r\n",
            body.len()
        );
        let mut answer = Vec::new();
        stream.write_all(head.as_bytes()).expect("it can be asked");
        stream.write_all(body.as_bytes()).expect("it can be asked");
        stream.read_to_end(&mut answer).expect("it answers");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.starts_with("HTTP/1.1 20"), "{method} {path}: {text}");
        let end = text.find("\r\n\r\n").expect("the head ends") + 4;
        assert!(!text[..end].to_lowercase().contains("chunked"), "{text}");
        answer.split_off(end)
    }
}

fn url_of(made: &Value) -> String {
    made["QueueUrl"].as_str().expect("a URL").to_owned()
}

/// The binary as the package of a function, made once. What runs ministack can pack, too.
fn package() -> &'static [u8] {
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let path = |name: &str| folder.path().join(name);
        std::fs::copy(binary(), path("bootstrap")).expect("the binary can be copied");
        pack(folder.path());
        std::fs::read(path("code.zip")).expect("it was written")
    })
}

fn pack(folder: &Path) {
    let mut python = Command::new("python3");
    python.args(["-m", "zipfile", "-c", "code.zip", "bootstrap"]);
    let status = python.current_dir(folder).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "python3 -m zipfile"
    );
}
