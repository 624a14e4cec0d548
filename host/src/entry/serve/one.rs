//! `POST /run?source=URL`: one source, of which the report tells.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use linemill::{Range, Request};
use url::form_urlencoded;

use super::Server;
use super::answer::{self, Refusal};

const TIMEOUT: &str = "linemill-timeout-ms";

/// Runs a source.
pub(super) async fn run(
    State(server): State<Arc<Server>>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let until = until(request.headers())?;
    let request = asked(request.uri())?;
    let slot = server.slots.take().ok_or_else(Refusal::busy)?;
    let stop = slot.stops.begin().ok_or_else(Refusal::busy)?;
    let mut client = slot.client();
    let running = tokio::spawn(async move {
        let _in_flight = server.meters.begin();
        let start = Instant::now();
        let report = server.service.run(request, until, stop).await;
        server.meters.done("/run", &report, start.elapsed());
        drop(slot);
        report
    });
    let report = running.await;
    client.answered();
    Ok(match report {
        Ok(report) => answer::json(answer::status(&report), &report),
        Err(_) => answer::broken(),
    })
}

fn asked(uri: &Uri) -> Result<Request, Refusal> {
    let query = query(uri, &["source", "offset", "length"])?;
    let source = query.get("source").filter(|source| !source.is_empty());
    let source = source.ok_or_else(|| Refusal::bad("say which source: POST /run?source=URL"))?;
    if source.ends_with('/') {
        let why =
            format!("{source} is a folder or prefix: name the objects in it, one for each request");
        return Err(Refusal::bad(why));
    }
    let number = |name: &str| match query.get(name).map(|text| text.parse::<u64>()) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(Refusal::bad(format!(
            "{name} must be a whole number of bytes"
        ))),
    };
    let (offset, length) = (number("offset")?, number("length")?);
    let request = Request::new(source);
    if offset.is_none() && length.is_none() {
        return Ok(request);
    }
    Ok(request.with_range(Range {
        offset: offset.unwrap_or(0),
        length,
    }))
}

/// The parameters of the query, of which all must be known, and none given twice.
pub(super) fn query(uri: &Uri, known: &[&str]) -> Result<HashMap<String, String>, Refusal> {
    let mut query = HashMap::new();
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    for (name, value) in pairs.into_owned() {
        if !known.contains(&name.as_str()) {
            let why = format!(
                "the parameter {name:?} is not known, there are {}",
                known.join(", ")
            );
            return Err(Refusal::bad(why));
        }
        if query.insert(name.clone(), value).is_some() {
            return Err(Refusal::bad(format!("the parameter {name} is given twice")));
        }
    }
    Ok(query)
}

/// When the client wants its answer at the latest.
pub(super) fn until(headers: &HeaderMap) -> Result<Option<Instant>, Refusal> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let ms = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok());
    match ms.filter(|ms| *ms > 0) {
        Some(ms) => Ok(Some(Instant::now() + Duration::from_millis(ms.into()))),
        None => Err(Refusal::bad(format!(
            "{TIMEOUT} must be a number of milliseconds"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_asked() {
        let table = [
            (
                "/run?source=s3%3A%2F%2Fb%2Fa%20b",
                Some(("s3://b/a b", None)),
            ),
            ("/run?source=s3://b/a%2Bb%25", Some(("s3://b/a+b%", None))),
            ("/run?source=a&offset=5", Some(("a", Some((5, None))))),
            ("/run?source=a&length=7", Some(("a", Some((0, Some(7)))))),
            ("/run", None),
            ("/run?source=", None),
            ("/run?source=in/", None),
            ("/run?source=a&source=b", None),
            ("/run?source=a&offset=-1", None),
            ("/run?source=a&offset=", None),
            ("/run?source=a&ofset=1", None),
        ];
        for (uri, want) in table {
            let asked = asked(&Uri::from_static(uri))
                .ok()
                .map(|request| request.source);
            let got = asked.map(|source| {
                let range = source.range.map(|range| (range.offset, range.length));
                (source.url, range)
            });
            let want = want.map(|(url, range)| (url.to_owned(), range));
            assert_eq!(got, want, "{uri}");
        }
    }
}
