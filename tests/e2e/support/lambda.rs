//! The binary as the runtime of a Lambda function, under a runtime interface of the test's own.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::files::{snapshot, unpack, write};
use super::runtime_api::{RuntimeApi, Told};
use super::store::Place;
use super::tools::{binary, cache_home, plugin};

/// Nothing is waited for longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The file in the package that standard error goes to.
const LOG: &str = "log";
/// Time that invocations have where nothing else is said.
const TIME: Duration = Duration::from_secs(30);

/// A function before it is started: its package, a folder, and its environment.
pub(crate) struct Package {
    dir: TempDir,
    variables: Vec<(String, String)>,
    memory: &'static str,
}

/// A function that runs.
pub(crate) struct Function {
    package: Package,
    api: RuntimeApi,
    child: Child,
}

/// What came of an invocation.
#[derive(Debug)]
pub(crate) struct Answer {
    /// It was answered by an error.
    pub(crate) failed: bool,
    pub(crate) content: Value,
    /// The bytes of the answer.
    pub(crate) bytes: usize,
    /// From the invocation to the answer.
    pub(crate) time: Duration,
}

impl Package {
    /// With a plugin that is known by name, which writes to the folder `out` of the package.
    pub(crate) fn new(name: &str) -> Self {
        let package = Package::empty().set("plugin", &plugin(name).to_string_lossy());
        let cache = cache_home().join("linemill");
        package
            .set("out_url", "out")
            .set("cache_dir", &cache.to_string_lossy())
    }

    /// With no setting at all.
    pub(crate) fn empty() -> Self {
        Package {
            dir: TempDir::new().expect("there is room for temporary files"),
            variables: Vec::new(),
            memory: "512",
        }
    }

    pub(crate) fn set(self, setting: &str, value: &str) -> Self {
        self.env(&format!("LINEMILL_{}", setting.to_uppercase()), value)
    }

    /// A variable of the function's environment, which holds nothing else.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes to the place of an object store, and reads from it.
    pub(crate) fn reaching(self, place: &Place) -> Self {
        let variables = place.variables().iter();
        let package = variables.fold(self, |package, (name, value)| package.env(name, value));
        package.set("out_url", &place.url("out"))
    }

    /// A file in it.
    pub(crate) fn file(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        write(&self.dir.path().join(name), bytes.as_ref());
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts it as Lambda does: by the name `bootstrap`, without arguments.
    pub(crate) fn start(self) -> Function {
        // The system tells a program by which name it was started, and a link is one.
        let bootstrap = self.path("bootstrap");
        std::os::unix::fs::symlink(binary(), &bootstrap).expect("a link can be made");
        self.start_as(Command::new(bootstrap))
    }

    pub(crate) fn start_as(self, mut command: Command) -> Function {
        let api = RuntimeApi::start().expect("there is a free port");
        command.env_clear().env("LAMBDA_TASK_ROOT", self.dir.path());
        command.envs(api.environment(self.memory));
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        command.current_dir("/").stdin(Stdio::null());
        // What was logged before an answer was sent is in a file by then, as it may not be behind a pipe.
        let log = std::fs::File::create(self.path(LOG)).expect("it can be made");
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the binary can be started");
        let mut stdout = child.stdout.take().expect("it is piped");
        let ended = api.teller.clone();
        std::thread::spawn(move || {
            // It prints nothing there, which ends when the process does.
            drop(stdout.read_to_end(&mut Vec::new()));
            drop(ended.send(Told::Ended));
        });
        Function {
            package: self,
            api,
            child,
        }
    }
}

impl Function {
    /// Invokes it, and waits for the answer.
    #[track_caller]
    pub(crate) fn invoke(&mut self, event: &Value) -> Answer {
        self.invoke_within(event.to_string().as_bytes(), TIME)
    }

    /// The same with bytes that may be no event, and with so much time.
    #[track_caller]
    pub(crate) fn invoke_within(&mut self, event: &[u8], time: Duration) -> Answer {
        let begun = Instant::now();
        let id = self.api.invoke(event, time);
        loop {
            match self.api.hear(PATIENCE) {
                Ok(Told::Answer(answered, failed, body, at)) => {
                    assert_eq!(answered, id, "another invocation is answered");
                    return Answer {
                        failed,
                        content: serde_json::from_slice(&body).expect("an answer is JSON"),
                        bytes: body.len(),
                        time: at - begun,
                    };
                }
                Ok(Told::Ready) => {}
                other => panic!("no answer but {other:?}:\n{}", self.log_text()),
            }
        }
    }

    /// Waits until it could not be set up, and has ended: the error that it told, and its exit code.
    #[track_caller]
    pub(crate) fn init_error(mut self) -> (Value, Option<i32>) {
        let told = self.api.hear(PATIENCE);
        let Ok(Told::InitError(body)) = told else {
            panic!("no such error but {told:?}:\n{}", self.log_text());
        };
        let ended = self.api.hear(PATIENCE);
        assert!(matches!(ended, Ok(Told::Ended)), "{ended:?}");
        let status = self.child.wait().expect("it is a child of this process");
        (serde_json::from_slice(&body).expect("JSON"), status.code())
    }

    /// Waits until it wants an invocation.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        let told = self.api.hear(PATIENCE);
        assert!(
            matches!(told, Ok(Told::Ready)),
            "{told:?}\n{}",
            self.log_text()
        );
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "{name}");
    }

    /// Waits for its end; the exit code.
    #[track_caller]
    pub(crate) fn end(mut self) -> Option<i32> {
        loop {
            match self.api.hear(PATIENCE) {
                Ok(Told::Ended) => break,
                Ok(_) => {}
                Err(_) => panic!("it does not end:\n{}", self.log_text()),
            }
        }
        let status = self.child.wait().expect("it is a child of this process");
        status.code()
    }

    /// The folder of the package.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.package.path(name)
    }

    /// What was logged so far, each line of which must be JSON.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = self.log_text();
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        lines.unwrap_or_else(|error| panic!("{error}:\n{text}"))
    }

    fn log_text(&self) -> String {
        let log = std::fs::read(self.path(LOG)).expect("it can be read");
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The log events of this target.
    #[track_caller]
    pub(crate) fn logged(&self, target: &str) -> Vec<Value> {
        let mut log = self.log();
        log.retain(|event| event["target"] == target);
        log
    }

    /// What is in the folder `out`: names, and lines joined by `,`. What says why lines are there is left out.
    pub(crate) fn written(&self) -> Vec<String> {
        let files = snapshot(&self.path("out"));
        let files = files
            .iter()
            .filter(|(name, _)| !name.ends_with(".faults.ndjson"));
        let text = |name: &str, bytes: &[u8]| {
            let text = String::from_utf8_lossy(&unpack(name, bytes)).into_owned();
            text.trim_end_matches('\n').replace('\n', ",")
        };
        files
            .map(|(name, bytes)| format!("{name}: {}", text(name, bytes)))
            .collect()
    }

    /// Compares what was written with `expected`, line by line.
    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let expected = expected.lines().map(str::trim);
        let expected: Vec<_> = expected.filter(|line| !line.is_empty()).collect();
        let seen = self.written();
        assert!(
            seen == expected,
            "\n--- expected ---\n{}\n--- seen ---\n{}\n--- log ---\n{}",
            expected.join("\n"),
            seen.join("\n"),
            self.log_text()
        );
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Answer {
    /// The records that are to come again.
    #[track_caller]
    pub(crate) fn failures(&self) -> Vec<&str> {
        assert!(!self.failed, "{}", self.content);
        let failures = self.content["batchItemFailures"].as_array();
        let failures = failures
            .unwrap_or_else(|| panic!("{}", self.content))
            .iter();
        failures
            .map(|failure| failure["itemIdentifier"].as_str().expect("a name"))
            .collect()
    }

    /// The message of an error.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        assert!(self.failed, "{}", self.content);
        self.content["errorMessage"].as_str().expect("a message")
    }
}

/// A message of the queue `queue`, received for the first time.
pub(crate) fn message(id: &str, body: &str) -> Value {
    json!({
        "messageId": id,
        "receiptHandle": "handle",
        "body": body,
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:1:queue",
    })
}

/// An event of these records.
pub(crate) fn records(records: impl IntoIterator<Item = Value>) -> Value {
    json!({ "Records": records.into_iter().collect::<Vec<_>>() })
}

/// A recorded event.
pub(crate) fn fixture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src/event/fixtures");
    let path = folder.join(format!("{name}.json"));
    let bytes = std::fs::read(&path).expect("there is such an event");
    serde_json::from_slice(&bytes).expect("it is JSON")
}
