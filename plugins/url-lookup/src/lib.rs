//! Looks each line up: asks for the URL that `base_url` and the line, percent-encoded, make together, and emits what
//! came back, as one line.
//!
//! Settings: `base_url`, which must be set and granted (`grants.http`); `timeout_ms`, how long an answer may take to
//! begin, and how long it may stop (default: the host's limits). The metric `by_response_code` counts all answers by
//! their status, those of lines that failed too; `timeout` and `error` count what was not answered. Blank lines are
//! skipped.
//!
//! | answer | line |
//! | --- | --- |
//! | 2xx | processed; line ends within the answer become spaces |
//! | 408, 429, 5xx, none in time, a broken connection | retried |
//! | other 4xx, 3xx (redirects are not followed), one that is too large | corrupt |
//! | not granted | the request stops: every line would be refused |
//!
//! Lines are looked up one after the other in each instance, so `concurrency` says how many at once.

use std::collections::BTreeMap;

use linemill_sdk::http::{self, Failure, FailureKind};
use linemill_sdk::{
    Batch, Line, Lines, Processor, Request, Result, corrupt, fatal, parse_setting, retry,
    setting_or,
};
use serde::{Deserialize, Serialize};

/// Where lines are looked up.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Place {
    base_url: String,
    timeout_ms: Option<u64>,
}

/// Looks lines up.
#[derive(Debug, Default)]
pub struct UrlLookup {
    place: Place,
}

/// Answers by what they are counted under.
type Codes = BTreeMap<String, i64>;

impl Processor for UrlLookup {
    type Context = Place;
    type Partial = ();

    fn pre(_: &Request) -> Result<Place> {
        let place = Place {
            base_url: setting_or("base_url", ""),
            timeout_ms: parse_setting("timeout_ms")?,
        };
        if !place.base_url.starts_with("http://") && !place.base_url.starts_with("https://") {
            return Err(fatal!(
                "setting `base_url` must be the URL that lines are added to, such as https://api.example.com/v1/"
            ));
        }
        Ok(place)
    }

    fn open(&mut self, place: Place) -> Result<()> {
        self.place = place;
        Ok(())
    }

    /// What is counted is counted here, since a line that fails takes back what it counted itself.
    fn batch(&mut self, lines: Lines<'_>, batch: &mut Batch<()>) -> Result<()> {
        let mut codes = Codes::new();
        batch.each(lines, |line, batch| self.look_up(line, &mut codes, batch))?;
        for (code, n) in &codes {
            batch.count("by_response_code", code, *n);
        }
        Ok(())
    }
}

impl UrlLookup {
    fn look_up(&self, line: Line<'_>, codes: &mut Codes, batch: &mut Batch<()>) -> Result<()> {
        if line.is_blank() {
            return Ok(());
        }
        let text = line.as_str()?;
        if text
            .split(['/', '\\'])
            .any(|part| matches!(part, "." | ".."))
        {
            return Err(corrupt!(
                "`{text}` would be another place than one below the base URL"
            ));
        }
        let url = format!("{}{}", self.place.base_url, http::encode(text));
        let mut request = http::Request::get(&url);
        request.timeout_ms = self.place.timeout_ms;
        let answer = request.send();
        let code = match &answer {
            Ok(answer) => answer.status.to_string(),
            Err(failure) if failure.kind() == FailureKind::Timeout => "timeout".to_owned(),
            Err(_) => "error".to_owned(),
        };
        *codes.entry(code).or_default() += 1;
        let answer = answer.map_err(blame)?;
        match answer.status {
            200..=299 => emit(&answer.body, batch),
            status @ (408 | 429 | 500..) => return Err(retry!("the server answered {status}")),
            status @ 300..=399 => {
                return Err(corrupt!(
                    "the server answered {status}, and redirects are not followed"
                ));
            }
            status => return Err(corrupt!("the server answered {status}")),
        }
        Ok(())
    }
}

fn blame(failure: Failure) -> linemill_sdk::Error {
    match failure.kind() {
        FailureKind::Denied => fatal!("{failure}"),
        FailureKind::Invalid | FailureKind::TooLarge => corrupt!("{failure}"),
        FailureKind::Timeout | FailureKind::Connection => retry!("{failure}"),
    }
}

/// As one line.
fn emit(body: &[u8], batch: &mut Batch<()>) {
    let body = body.trim_ascii_end();
    let parts = body.split(|byte| matches!(byte, b'\r' | b'\n'));
    for (at, part) in parts.filter(|part| !part.is_empty()).enumerate() {
        if at > 0 {
            batch.emit(" ");
        }
        batch.emit(part);
    }
    batch.emit("\n");
}

linemill_sdk::export!(UrlLookup);

#[cfg(test)]
mod tests {
    use super::UrlLookup;
    use linemill_sdk::Kind;
    use linemill_sdk::http::{Failure, FailureKind, Request, Response};
    use linemill_sdk::testing::{Report, Run};

    const BASE: &str = "https://api.example.com/v1/";

    /// The last segment says what is answered.
    fn answer(request: &Request) -> Result<Response, Failure> {
        let name = request
            .url
            .strip_prefix(BASE)
            .expect("it is below the base URL");
        match name {
            "slow" => Err(Failure::new(FailureKind::Timeout, "no answer in time")),
            "gone" => Err(Failure::new(FailureKind::Connection, "connection refused")),
            "huge" => Err(Failure::new(
                FailureKind::TooLarge,
                "the answer has more than 9 bytes",
            )),
            "denied" => Err(Failure::new(FailureKind::Denied, "not granted")),
            "pretty" => Ok(Response::new(200, "{\r\n \"a\": 1\r\n}\r\n")),
            "empty" => Ok(Response::new(204, "")),
            _ => match name.parse() {
                Ok(status) => Ok(Response::new(status, "what it says")),
                Err(_) => Ok(Response::new(200, format!("{name}\n"))),
            },
        }
    }

    fn look_up(lines: &str) -> Report<UrlLookup> {
        Run::new().setting("base_url", BASE).http(answer).run(lines)
    }

    #[test]
    fn what_came_back_is_emitted_line_by_line() {
        let report = look_up("a b/ä?\npretty\n\nempty\n");
        assert_eq!(report.text(""), "a%20b%2F%C3%A4%3F\n{  \"a\": 1 }\n\n");
        assert_eq!(
            (
                report.processed(),
                report.counted("by_response_code", "200")
            ),
            (4, 2)
        );
        assert_eq!(report.counted("by_response_code", "204"), 1);
    }

    #[test]
    fn the_answer_says_what_becomes_of_the_line() {
        for (line, kind, reason, code) in [
            ("404", Kind::Corrupt, "the server answered 404", "404"),
            ("408", Kind::Retry, "the server answered 408", "408"),
            ("429", Kind::Retry, "the server answered 429", "429"),
            ("500", Kind::Retry, "the server answered 500", "500"),
            ("503", Kind::Retry, "the server answered 503", "503"),
            (
                "302",
                Kind::Corrupt,
                "the server answered 302, and redirects are not followed",
                "302",
            ),
            ("slow", Kind::Retry, "no answer in time", "timeout"),
            ("gone", Kind::Retry, "connection refused", "error"),
            (
                "huge",
                Kind::Corrupt,
                "the answer has more than 9 bytes",
                "error",
            ),
        ] {
            let report = look_up(&format!("x\n{line}\ny\n"));
            assert_eq!(report.text(""), "x\ny\n", "{line}");
            let fault = &report.faults[0];
            assert_eq!(
                (fault.line, fault.kind, fault.reason.as_str()),
                (2, kind, reason),
                "{line}"
            );
            assert_eq!(
                report.counted("by_response_code", code),
                1,
                "{line} is counted although it failed"
            );
        }
    }

    #[test]
    fn lines_that_lead_elsewhere_are_not_asked_for() {
        let report = look_up("..\na/../b\n.\n..a\n");
        assert_eq!((report.counts.corrupted, report.text("")), (3, "..a\n"));
    }

    #[test]
    fn what_is_not_granted_stops_the_request() {
        let report = look_up("x\ndenied\n");
        assert_eq!(report.failure.expect("it fails").kind(), Kind::Fatal);
        let report = Run::<UrlLookup>::new().run("x\n");
        assert!(
            report
                .failure
                .expect("it fails")
                .reason()
                .contains("`base_url`")
        );
    }
}
