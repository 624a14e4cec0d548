//! Asks by `wasi:http`.

use super::bindings::wasi::http::outgoing_handler::handle;
use super::bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use super::bindings::wasi::io::streams::StreamError;
use super::{Failure, FailureKind, Request, Response};

/// What may be written at once.
const WRITE_MAX: usize = 4096;
/// What is read at once.
const READ_MAX: u64 = 64 * 1024;

pub(super) fn send(request: &Request) -> Result<Response, Failure> {
    let asked = outgoing(request)?;
    let body = asked
        .body()
        .map_err(|()| invalid("its body cannot be sent"))?;
    let answering = handle(asked, Some(options(request)?)).map_err(failure)?;
    // A server may answer without having read it all; what else went wrong, the answer says.
    let _ = write(body, &request.body);
    answering.subscribe().block();
    let answer = answering
        .get()
        .expect("it was waited for")
        .expect("it is taken once");
    let answer = answer.map_err(failure)?;
    let status = answer.status();
    let headers = answer.headers().entries();
    Ok(Response {
        status,
        headers,
        body: read(answer)?,
    })
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, Failure> {
    let (scheme, host, path) = request.parts()?;
    let mut headers = request.headers.clone();
    if !request.body.is_empty() {
        headers.push((
            "content-length".to_owned(),
            request.body.len().to_string().into_bytes(),
        ));
    }
    let headers = Fields::from_list(&headers);
    let asked = OutgoingRequest::new(
        headers.map_err(|error| invalid(&format!("a header of it: {error:?}")))?,
    );
    let scheme = if scheme == "http" {
        Scheme::Http
    } else {
        Scheme::Https
    };
    let method = match request.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    };
    let set = (asked.set_scheme(Some(&scheme)))
        .and_then(|()| asked.set_authority(Some(host)))
        .and_then(|()| asked.set_path_with_query(Some(&path)))
        .and_then(|()| asked.set_method(&method));
    set.map_err(|()| {
        invalid(&format!(
            "`{} {}` cannot be asked",
            request.method, request.url
        ))
    })?;
    Ok(asked)
}

fn options(request: &Request) -> Result<RequestOptions, Failure> {
    let options = RequestOptions::new();
    if let Some(ms) = request.timeout_ms {
        let time = Some(ms.saturating_mul(1_000_000));
        let set = options
            .set_first_byte_timeout(time)
            .and_then(|()| options.set_between_bytes_timeout(time));
        set.map_err(|()| invalid("its time-out cannot be set"))?;
    }
    Ok(options)
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), Failure> {
    let broken = || Failure::new(FailureKind::Connection, "the request could not be sent");
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| broken())?;
        for piece in bytes.chunks(WRITE_MAX) {
            stream
                .blocking_write_and_flush(piece)
                .map_err(|_| broken())?;
        }
    }
    OutgoingBody::finish(body, None).map_err(failure)
}

fn read(answer: IncomingResponse) -> Result<Vec<u8>, Failure> {
    let broken = |()| Failure::new(FailureKind::Connection, "the answer cannot be read");
    let body: IncomingBody = answer.consume().map_err(broken)?;
    let stream = body.stream().map_err(broken)?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_MAX) {
            Ok(mut piece) => bytes.append(&mut piece),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => failure(code),
                    None => Failure::new(FailureKind::Connection, error.to_debug_string()),
                });
            }
        }
    }
}

fn invalid(why: &str) -> Failure {
    Failure::new(FailureKind::Invalid, why)
}

fn failure(code: ErrorCode) -> Failure {
    let (kind, why) = match code {
        ErrorCode::HttpRequestDenied => (
            FailureKind::Denied,
            "the request is not granted (grants.http)".to_owned(),
        ),
        ErrorCode::DestinationIpProhibited => (
            FailureKind::Denied,
            "the server's address is not public, and not granted (grants.http, private)".to_owned(),
        ),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestMethodInvalid => (
            FailureKind::Invalid,
            "the URL or the method is wrong".to_owned(),
        ),
        ErrorCode::HttpRequestBodySize(max) => (FailureKind::TooLarge, too_large("request", max)),
        ErrorCode::HttpResponseBodySize(max) => (FailureKind::TooLarge, too_large("answer", max)),
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionLimitReached
        | ErrorCode::DnsTimeout => (FailureKind::Timeout, "no connection in time".to_owned()),
        ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            (FailureKind::Timeout, "no answer in time".to_owned())
        }
        ErrorCode::ConnectionRefused => (FailureKind::Connection, "connection refused".to_owned()),
        ErrorCode::ConnectionTerminated => {
            (FailureKind::Connection, "the connection broke".to_owned())
        }
        ErrorCode::HttpResponseIncomplete => {
            (FailureKind::Connection, "the answer broke off".to_owned())
        }
        ErrorCode::DnsError(_) => (
            FailureKind::Connection,
            "the server's name was not found".to_owned(),
        ),
        ErrorCode::DestinationUnavailable => (
            FailureKind::Connection,
            "the server cannot be reached".to_owned(),
        ),
        ErrorCode::TlsCertificateError => (
            FailureKind::Connection,
            "the server's certificate is not valid".to_owned(),
        ),
        ErrorCode::TlsProtocolError => (
            FailureKind::Connection,
            "the server does not speak TLS".to_owned(),
        ),
        ErrorCode::HttpProtocolError => (
            FailureKind::Connection,
            "the server does not speak HTTP".to_owned(),
        ),
        other => (FailureKind::Connection, format!("{other:?}")),
    };
    Failure::new(kind, why)
}

fn too_large(what: &str, max: Option<u64>) -> String {
    match max {
        Some(max) => format!("the {what} has more than {max} bytes"),
        None => format!("the {what} is too large"),
    }
}
