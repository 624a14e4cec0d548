//! `POST /lines`: a body of lines in, the output back while they are processed.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body as HttpBody;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, TE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use linemill::{Body, Outlet, Report, Request, Stop};
use tokio::sync::oneshot;

use super::answer::Refusal;
use super::connection::Hangup;
use super::incoming::{Arrived, Arriving, Late};
use super::outgoing::{Outgoing, ReportAs};
use super::slots::Slot;
use super::{Server, one};
use crate::entry::service::{SMALL_BYTES_MAX, Turn};

/// Lines come and go.
pub(super) async fn lines(
    State(server): State<Arc<Server>>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let report_as = report_as(request.uri(), request.headers())?;
    let until = one::until(request.headers())?;
    let encoding = encoding(request.headers())?;
    let slot = server.slots.take().ok_or_else(Refusal::busy)?;
    let stop = slot.stops.begin().ok_or_else(Refusal::busy)?;
    let client = slot.client();
    let hangup = request
        .extensions()
        .get::<Hangup>()
        .cloned()
        .unwrap_or_default();

    let late = Late::default();
    let (parts, body) = request.into_parts();
    let received = receive(&server, &parts.headers, body, encoding.is_some(), &late).await;
    let (body, small) =
        received.map_err(|error| Refusal::bad(format!("the body broke off: {error}")))?;
    let body = match encoding {
        Some(encoding) => body.encoded(encoding),
        None => body,
    };
    let mut request = Request::with_body("", body);
    request.source.url = format!("lines://http/{}", request.id);
    let (outlet, pieces) = Outlet::new();
    request.outlet = Some(outlet);
    let id = request.id.clone();
    let turn = server.service.turn().await;
    let digest = turn.digest().to_owned();
    let (done, report) = oneshot::channel();
    let work = Work {
        turn,
        request,
        until,
        stop,
        small,
    };
    // A task of its own: it ends in order when the client is gone.
    tokio::spawn(work.run(server, slot, done));

    let outgoing = Outgoing::new(pieces, report, report_as, client, hangup);
    let mut response = outgoing.answer(&late).await;
    let headers = response.headers_mut();
    for (name, value) in [
        ("linemill-request-id", id),
        ("linemill-plugin-digest", digest),
    ] {
        let value = value.try_into().expect("ids and digests are ASCII");
        headers.insert(name, value);
    }
    Ok(response)
}

/// Lines that are to be run.
struct Work {
    turn: Turn,
    request: Request,
    until: Option<Instant>,
    stop: Arc<Stop>,
    small: bool,
}

impl Work {
    async fn run(self, server: Arc<Server>, slot: Slot, done: oneshot::Sender<Report>) {
        let in_flight = server.meters.begin();
        let start = Instant::now();
        let Work {
            turn,
            request,
            until,
            stop,
            small,
        } = self;
        let report = match small {
            true => server.service.run_small(turn, request, until, stop).await,
            false => server.service.run_in_turn(turn, request, until, stop).await,
        };
        server.meters.done("/lines", &report, start.elapsed());
        drop((slot, in_flight));
        // Whoever asked may be gone.
        let _ = done.send(report);
    }
}

/// The body, and whether it is small and here.
async fn receive(
    server: &Server,
    headers: &HeaderMap,
    body: HttpBody,
    encoded: bool,
    late: &Late,
) -> io::Result<(Body, bool)> {
    let arriving = Arriving::new(body, server.patience.idle, late);
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    match length.filter(|length| *length <= SMALL_BYTES_MAX && !encoded) {
        None => Ok((Body::stream(arriving.reader(Default::default())), false)),
        Some(length) => Ok(match arriving.soon(length).await? {
            Arrived::Whole(bytes) => (Body::bytes(bytes), true),
            Arrived::Part(before, rest) => (Body::stream(rest.reader(before)), false),
        }),
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else {
        return Ok(None);
    };
    let encoding = String::from_utf8_lossy(encoding.as_bytes())
        .trim()
        .to_ascii_lowercase();
    match (encoding.as_str(), encodings.next()) {
        ("identity" | "", None) => Ok(None),
        ("gzip" | "x-gzip" | "zstd", None) => Ok(Some(encoding)),
        _ => {
            let why =
                format!("the content encoding {encoding:?} is not understood, gzip and zstd are");
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
        }
    }
}

fn report_as(uri: &Uri, headers: &HeaderMap) -> Result<ReportAs, Refusal> {
    let query = one::query(uri, &["report"])?;
    let in_query = match query.get("report").map(String::as_str) {
        None => false,
        Some("last") => true,
        Some(other) => {
            return Err(Refusal::bad(format!(
                "report={other}: only report=last is known"
            )));
        }
    };
    let texts = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
    };
    let accepted = texts(ACCEPT)
        .flat_map(|value| value.split(','))
        .any(|accepted| {
            let mut parts = accepted
                .split(';')
                .map(|part| part.trim().to_ascii_lowercase());
            parts.next().as_deref() == Some("application/x-ndjson")
                && parts.any(|part| part == "report=last")
        });
    if in_query || accepted {
        return Ok(ReportAs::LastLine);
    }
    let trailers = texts(TE).flat_map(|value| value.split(',')).any(|te| {
        te.split(';')
            .next()
            .is_some_and(|te| te.trim().eq_ignore_ascii_case("trailers"))
    });
    Ok(match trailers {
        true => ReportAs::Trailer,
        false => ReportAs::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use axum::response::IntoResponse;

    #[test]
    fn where_the_report_goes() {
        let table = [
            ("/lines", "", "", "Ok(Nothing)"),
            ("/lines?report=last", "", "", "Ok(LastLine)"),
            ("/lines?report=last", "te", "trailers", "Ok(LastLine)"),
            ("/lines", "te", "trailers", "Ok(Trailer)"),
            ("/lines", "te", "deflate;q=0.5, Trailers", "Ok(Trailer)"),
            ("/lines", "te", "gzip", "Ok(Nothing)"),
            (
                "/lines",
                "accept",
                "text/csv, application/x-ndjson; report=last",
                "Ok(LastLine)",
            ),
            ("/lines", "accept", "application/x-ndjson", "Ok(Nothing)"),
            ("/lines", "accept", "text/csv;report=last", "Ok(Nothing)"),
        ];
        for (uri, name, value, want) in table {
            let mut headers = HeaderMap::new();
            if !name.is_empty() {
                headers.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            let said = report_as(&Uri::from_static(uri), &headers);
            assert_eq!(format!("{said:?}"), want, "{uri} {name} {value}");
        }
        for uri in [
            "/lines?report=first",
            "/lines?reprot=last",
            "/lines?report=last&report=last",
        ] {
            assert!(
                report_as(&Uri::from_static(uri), &HeaderMap::new()).is_err(),
                "{uri}"
            );
        }
    }

    #[test]
    fn encodings_that_are_understood() {
        let table = [
            (&["gzip"][..], Some("gzip")),
            (&["Zstd"], Some("zstd")),
            (&["identity"], None),
            (&[], None),
        ];
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            encoding(&headers)
        };
        for (values, want) in table {
            assert_eq!(of(values).unwrap().as_deref(), want, "{values:?}");
        }
        for values in [&["br"][..], &["gzip, zstd"], &["gzip", "gzip"]] {
            assert!(of(values).is_err(), "{values:?}");
        }
        assert_eq!(of(&["br"]).unwrap_err().into_response().status(), 415);
    }
}
