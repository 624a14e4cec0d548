//! HTTP calls as a function gets them: from API Gateway (both formats), a load balancer or a function URL.

use serde_json::Value;

use crate::body::Body;
use crate::request::Request;

use super::field::{at, has, list, string, text, texts, written};
use super::gather::{Carrier, Gather};
use super::name::{Name, base, last_part};
use super::payload::{IDENTITY, decode};
use super::{EventError, EventKind};

/// A call over HTTP, before anything is read into it.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpCall {
    /// `GET`, `POST`.
    pub method: String,
    /// The path, from `/` on, as it was sent.
    pub path: String,
    /// The query, decoded, in its order where that is known.
    pub query: Vec<(String, String)>,
    /// The headers; their names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, compressed as its `content-encoding` says.
    pub body: Body,
}

impl HttpCall {
    /// The first header of that name, which is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Whether this is a call.
pub(super) fn is_call(value: &Value) -> bool {
    let context = value.get("requestContext");
    let described = context.is_some_and(|context| has(context, "http"));
    context.is_some() && (described || has(value, "httpMethod"))
}

/// Understands one call. A body that is sent by POST or PUT is lines; what they are for is the path's to say, and so
/// the caller's.
pub(super) fn call(value: &Value, gather: &mut Gather) -> Result<EventKind, EventError> {
    let method =
        text(value, "requestContext.http.method").or_else(|_| text(value, "httpMethod"))?;
    let path = text(value, "rawPath").or_else(|_| text(value, "path"))?;
    let headers = headers(value)?;
    let mut call = HttpCall {
        method: method.to_ascii_uppercase(),
        path: path.to_owned(),
        query: query(value),
        body: Body::bytes(body(value)?),
        headers,
    };
    let encoding = call.header("content-encoding").unwrap_or(IDENTITY);
    call.body.encoding = Some(encoding.trim().to_ascii_lowercase());
    if matches!(call.method.as_str(), "POST" | "PUT") {
        let request = Request::with_body(name(value), call.body.clone());
        gather.request(request, &Carrier::default());
    }
    Ok(EventKind::Http(Box::new(call)))
}

fn body(value: &Value) -> Result<Vec<u8>, EventError> {
    if !has(value, "body") {
        return Ok(Vec::new());
    }
    let body = text(value, "body")?.as_bytes();
    match value.get("isBase64Encoded") {
        Some(Value::Bool(true)) => decode(body, "body"),
        _ => Ok(body.to_vec()),
    }
}

/// Those with all their values, where they are told.
fn headers(value: &Value) -> Result<Vec<(String, String)>, EventError> {
    let mut headers = match has(value, "multiValueHeaders") {
        true => many(value, "multiValueHeaders")?,
        false => texts(value.get("headers")),
    };
    for (name, _) in &mut headers {
        name.make_ascii_lowercase();
    }
    Ok(headers)
}

fn query(value: &Value) -> Vec<(String, String)> {
    if let Some(raw) = string(value, "rawQueryString") {
        return url::form_urlencoded::parse(raw.as_bytes())
            .into_owned()
            .collect();
    }
    many(value, "multiValueQueryStringParameters")
        .unwrap_or_else(|_| texts(value.get("queryStringParameters")))
}

/// An object of lists, as pairs.
fn many(value: &Value, field: &str) -> Result<Vec<(String, String)>, EventError> {
    let mut pairs = Vec::new();
    let members = at(value, field)?;
    for name in members
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
    {
        let values = list(members, name).map_err(|error| error.within(&format!("{field}.")))?;
        pairs.extend(
            values
                .iter()
                .filter_map(written)
                .map(|value| (name.clone(), value)),
        );
    }
    Ok(pairs)
}

/// `api://` and which API or group of targets it was, and the id of the call, or a random one.
fn name(value: &Value) -> String {
    let context = |path: &str| text(value, &format!("requestContext.{path}")).ok();
    let api = context("apiId").or_else(|| context("elb.targetGroupArn").map(arn_name));
    let base = base("api", api.unwrap_or("function"), "");
    match context("requestId") {
        Some(id) => Name::under(&base, id).url(),
        None => Name::under(&base, &uuid::Uuid::new_v4().to_string()).url(),
    }
}

/// `arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/NAME/ID`.
fn arn_name(arn: &str) -> &str {
    let name = arn.rsplit_once('/').map_or(arn, |(before, _)| before);
    last_part(name)
}
