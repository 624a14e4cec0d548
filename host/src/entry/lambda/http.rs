//! Calls over HTTP that a gateway, a load balancer or a function URL hands to the function.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use linemill::{Event, HttpCall, Outlet, Remedy, Report, Request};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use super::invocation::Handler;
use super::log;

/// Lambda takes an answer of 6 MB. So many bytes of output fit into it whatever they are: in base64, four for three.
const OUTPUT_BYTES_MAX: usize = (ANSWER_BYTES_MAX / 4) * 3;
const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024 - 64 * 1024;
const JSON: &str = "application/json";
/// Who accepts this wants the output rather than the report.
const NDJSON: &str = "application/x-ndjson";
const ENCODINGS: [&str; 5] = ["identity", "", "gzip", "x-gzip", "zstd"];

/// An answer as gateways, load balancers and function URLs take it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpAnswer {
    status_code: u16,
    headers: Value,
    /// For load balancers that are set up to want these instead.
    multi_value_headers: Value,
    body: String,
    is_base64_encoded: bool,
}

impl HttpAnswer {
    fn new(status_code: u16, headers: &[(&str, &str)], body: String) -> Self {
        let single = headers.iter().map(|(name, value)| (*name, json!(value)));
        let many = headers.iter().map(|(name, value)| (*name, json!([value])));
        HttpAnswer {
            status_code,
            headers: single.collect(),
            multi_value_headers: many.collect(),
            body,
            is_base64_encoded: false,
        }
    }

    fn json(status_code: u16, content: &impl Serialize) -> Self {
        let body = serde_json::to_string(content).unwrap_or_default();
        HttpAnswer::new(status_code, &[("content-type", JSON)], body)
    }

    fn error(status_code: u16, message: &str) -> Self {
        HttpAnswer::json(status_code, &json!({ "error": message }))
    }
}

/// Answers a call: lines are run, a question about health is answered.
pub(super) async fn answer(
    handler: &Handler,
    call: &HttpCall,
    event: &Event,
    until: Option<Instant>,
) -> HttpAnswer {
    match (call.method.as_str(), event.tasks.first()) {
        ("GET" | "HEAD", _) => status(handler, call),
        ("POST" | "PUT", Some(task)) => lines(handler, call, task.request.clone(), until).await,
        (method, _) => {
            let body =
                json!({ "error": format!("{method} is not understood: lines are sent by POST") });
            let headers = [("content-type", JSON), ("allow", "GET, HEAD, POST, PUT")];
            HttpAnswer::new(405, &headers, body.to_string())
        }
    }
}

/// Whether it is ready, which it is once it answers, and with which plugin. A gateway may put its stage before the
/// path.
fn status(handler: &Handler, call: &HttpCall) -> HttpAnswer {
    let last = call.path.trim_end_matches('/').rsplit('/').next();
    match last {
        Some("health") | Some("") | None => {
            let plugin = handler.service.registry.status();
            HttpAnswer::json(200, &json!({ "status": "ready", "plugin": plugin }))
        }
        Some(_) => HttpAnswer::error(404, "there is /health, and lines are sent by POST"),
    }
}

async fn lines(
    handler: &Handler,
    call: &HttpCall,
    mut request: Request,
    until: Option<Instant>,
) -> HttpAnswer {
    let encoding = request.source.body.as_ref();
    let encoding = encoding.and_then(|body| body.encoding.clone());
    let encoding = encoding.unwrap_or_default();
    if !ENCODINGS.contains(&encoding.as_str()) {
        let what = "gzip, zstd and identity are understood";
        return HttpAnswer::error(415, &format!("the content encoding is {encoding}: {what}"));
    }
    let Some(stop) = handler.stops.begin() else {
        return HttpAnswer::error(503, "the process is about to end");
    };
    let mut output = Output::default();
    let report = match wants_lines(call) {
        false => handler.service.run(request, until, stop.clone()).await,
        true => {
            let (outlet, pieces) = Outlet::new();
            request.outlet = Some(outlet);
            let running = handler.service.run(request, until, stop.clone());
            output.collect(running, pieces).await
        }
    };
    handler.stops.end(&stop);
    log::report(&report);
    match (wants_lines(call), report.is_error()) {
        _ if output.overflown => too_large(),
        (_, true) if report.remedy == Some(Remedy::MendData) => HttpAnswer::json(400, &report),
        (_, true) => HttpAnswer::json(500, &report),
        (false, false) => HttpAnswer::json(200, &report),
        (true, false) => output.answer(&report),
    }
}

fn too_large() -> HttpAnswer {
    HttpAnswer::error(
        413,
        &format!(
            "the output has more than {OUTPUT_BYTES_MAX} bytes, which Lambda takes no answer of: send fewer lines, \
             or leave Accept: {NDJSON} out to have the output written to destination_url"
        ),
    )
}

/// Whether the caller names the type of lines among those it accepts.
fn wants_lines(call: &HttpCall) -> bool {
    let accepted = call.headers.iter().filter(|(name, _)| name == "accept");
    let mut types = accepted.flat_map(|(_, value)| value.split(','));
    types.any(|one| {
        let bare = one.split(';').next().unwrap_or_default();
        bare.trim().eq_ignore_ascii_case(NDJSON)
    })
}

/// Output of a request, held until it is clear that it is whole.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    overflown: bool,
}

impl Output {
    async fn collect(
        &mut self,
        running: impl Future<Output = Report>,
        mut pieces: Receiver<Bytes>,
    ) -> Report {
        tokio::pin!(running);
        loop {
            tokio::select! {
                report = &mut running => {
                    while let Ok(piece) = pieces.try_recv() {
                        self.take(&piece, &mut pieces);
                    }
                    return report;
                }
                Some(piece) = pieces.recv() => self.take(&piece, &mut pieces),
            }
        }
    }

    /// Nothing more is taken once it is too much, which ends the request in an error.
    fn take(&mut self, piece: &[u8], pieces: &mut Receiver<Bytes>) {
        self.overflown |= self.bytes.len() + piece.len() > OUTPUT_BYTES_MAX;
        match self.overflown {
            true => {
                pieces.close();
                self.bytes = Vec::new();
            }
            false => self.bytes.extend_from_slice(piece),
        }
    }

    fn answer(self, report: &Report) -> HttpAnswer {
        let counts = &report.counts;
        let numbers = [
            counts.loaded,
            counts.processed,
            counts.corrupted,
            counts.retried + counts.failed,
        ];
        let [loaded, processed, corrupted, retried] = numbers.map(|number| number.to_string());
        let headers = [
            ("content-type", NDJSON),
            ("linemill-status", report.status.as_str()),
            ("linemill-request-id", &report.request_id),
            ("linemill-loaded", &loaded),
            ("linemill-processed", &processed),
            ("linemill-corrupted", &corrupted),
            ("linemill-retried", &retried),
        ];
        match String::from_utf8(self.bytes) {
            Ok(text) if escaped_len(&text) <= ANSWER_BYTES_MAX => {
                HttpAnswer::new(200, &headers, text)
            }
            Ok(text) => base64(&headers, text.as_bytes()),
            Err(binary) => base64(&headers, binary.as_bytes()),
        }
    }
}

fn base64(headers: &[(&str, &str)], bytes: &[u8]) -> HttpAnswer {
    HttpAnswer {
        is_base64_encoded: true,
        ..HttpAnswer::new(200, headers, STANDARD.encode(bytes))
    }
}

/// The length of a text in JSON.
fn escaped_len(text: &str) -> usize {
    let len = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(len).sum()
}
