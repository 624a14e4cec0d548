//! A function's process under a runtime interface of the benchmark's own, beside one whose handler does nothing.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::{Value, json};

use super::runtime_api::{RuntimeApi, Told};

/// Makes this program a function whose handler does nothing.
pub const EMPTY: &str = "--empty-handler";
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a handler that does nothing, for ever.
pub fn serve_nothing() -> Result<()> {
    let io = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let handler = service_fn(async |_: LambdaEvent<Value>| {
        Ok::<_, lambda_runtime::Error>(json!({ "batchItemFailures": [] }))
    });
    let running = async { lambda_runtime::run(handler).await };
    io.block_on(running).map_err(anyhow::Error::from_boxed)
}

/// A process that answers invocations.
pub struct Function {
    api: RuntimeApi,
    child: Child,
    begun: Instant,
}

impl Function {
    /// Starts it; what it logs is thrown away.
    pub fn start(mut command: Command) -> Result<Self> {
        let api = RuntimeApi::start()?;
        command.envs(api.environment("512"));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let begun = Instant::now();
        let child = command.spawn().context("could not start a function")?;
        Ok(Function { api, child, begun })
    }

    /// `bootstrap` in a folder that is its package, which holds the plugin, compiled or not.
    pub fn bootstrap(package: &Path, plugin: (&str, &Path)) -> Result<Self> {
        let mut command = Command::new(package.join("bootstrap"));
        command.env_clear().env("LAMBDA_TASK_ROOT", package);
        command.env(plugin.0, plugin.1).env("TMPDIR", package);
        command.env("LINEMILL_OUT_URL", package.join("out"));
        Function::start(command)
    }

    /// How long it takes from the invocation to its answer, which must name no failure.
    pub fn invoke(&mut self, event: &[u8]) -> Result<Duration> {
        let begun = Instant::now();
        Ok(self.answered(event)? - begun)
    }

    /// How long it took from the start of the process to the answer of its first invocation.
    pub fn first(&mut self, event: &[u8]) -> Result<Duration> {
        Ok(self.answered(event)? - self.begun)
    }

    fn answered(&mut self, event: &[u8]) -> Result<Instant> {
        self.api.invoke(event, PATIENCE);
        loop {
            match self.api.hear(PATIENCE)? {
                Told::Ready => {}
                Told::Answer(_, failed, body, at) => {
                    let body = String::from_utf8_lossy(&body);
                    ensure!(
                        !failed && body == r#"{"batchItemFailures":[]}"#,
                        "the function answered {body}"
                    );
                    return Ok(at);
                }
                other => bail!("the function told {other:?}"),
            }
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An event of one message of ten lines, whose name no other has.
pub fn ten_lines(number: usize) -> Vec<u8> {
    let body: String = (1..=10).map(|line| format!("{line}\n")).collect();
    let event = json!({ "Records": [{
        "messageId": format!("message-{number}"),
        "receiptHandle": "handle",
        "body": body,
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:1:queue",
    }] });
    let mut bytes = Vec::new();
    let _ = write!(bytes, "{event}");
    bytes
}
