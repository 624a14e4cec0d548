//! Keeps the JSON events whose field has a value, cut down to `ts`, `user` and `status`.
//!
//! Settings: `field` (default `status`) and `value` (default `200`), which a number or a string of
//! that text matches. The values written are those of the event, byte for byte. The metric
//! `by_status` counts all events, kept or not. Blank lines are skipped.

mod event;

use linemill_sdk::{Batch, Blame, Line, Processor, Request, Result, fatal, setting_or};
use serde::{Deserialize, Serialize};

use event::{Event, text_of};

/// Which events are kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    field: String,
    value: String,
}

/// Keeps the events that match.
#[derive(Debug, Default)]
pub struct NdjsonFilter {
    filter: Filter,
}

impl Processor for NdjsonFilter {
    type Context = Filter;
    type Partial = ();

    fn pre(_: &Request) -> Result<Filter> {
        let filter = Filter {
            field: setting_or("field", "status"),
            value: setting_or("value", "200"),
        };
        if filter.field.is_empty() {
            return Err(fatal!("setting `field` is empty"));
        }
        Ok(filter)
    }

    fn open(&mut self, filter: Filter) -> Result<()> {
        self.filter = filter;
        Ok(())
    }

    fn line(&mut self, line: Line<'_>, batch: &mut Batch<()>) -> Result<()> {
        if line.is_blank() {
            return Ok(());
        }
        let event = Event::parse(line.as_str()?, &self.filter.field).corrupt()?;
        batch.count("by_status", &text_of(event.status), 1);
        if (event.field).is_some_and(|value| text_of(value) == self.filter.value) {
            let values = [
                ("{\"ts\":", event.ts),
                (",\"user\":", event.user),
                (",\"status\":", event.status),
            ];
            for (before, value) in values {
                batch.emit(before);
                batch.emit(value.get());
            }
            batch.emit("}\n");
        }
        Ok(())
    }
}

linemill_sdk::export!(NdjsonFilter);

#[cfg(test)]
mod tests {
    use super::NdjsonFilter;
    use linemill_sdk::Kind;
    use linemill_sdk::testing::{Report, Run, run};

    const EVENTS: &str = concat!(
        r#"{"ts":1.50,"user":"a\u0041","status":200,"path":"/x","tags":[{"b":null}]}"#,
        "\n",
        r#"{"status":"200","user":null,"path":"/x","ts":"t"}"#,
        "\n\n",
        r#"{"ts":3,"user":{"id": 1},"status":404,"path":"\/y"}"#,
        "\n",
    );

    fn reason(line: &str) -> String {
        let report = run::<NdjsonFilter>(line);
        assert_eq!(report.text(""), "");
        assert_eq!(report.faults[0].kind, Kind::Corrupt);
        report.faults[0].reason.clone()
    }

    fn with(field: &str, value: &str) -> Report<NdjsonFilter> {
        Run::new()
            .setting("field", field)
            .setting("value", value)
            .run(EVENTS)
    }

    #[test]
    fn events_that_match_are_kept_byte_for_byte() {
        let report = run::<NdjsonFilter>(EVENTS);
        let expected = concat!(
            r#"{"ts":1.50,"user":"a\u0041","status":200}"#,
            "\n",
            r#"{"ts":"t","user":null,"status":"200"}"#,
            "\n",
        );
        assert_eq!((report.text(""), report.processed()), (expected, 4));
        assert_eq!(report.counted("by_status", "200"), 2);
        assert_eq!(report.counted("by_status", "404"), 1);
    }

    #[test]
    fn the_settings_say_what_matches() {
        let kept = r#"{"ts":3,"user":{"id": 1},"status":404}"#;
        assert_eq!(
            with("path", "/y").text("").trim_end(),
            kept,
            "escapes are read"
        );
        assert_eq!(with("status", "404").text("").trim_end(), kept);
        assert_eq!(with("status", "40").text(""), "");
        assert_eq!(
            with("nowhere", "200").text(""),
            "",
            "a field that is missing matches nothing"
        );
        assert_eq!(with("ts", "t").text("").lines().count(), 1);
    }

    #[test]
    fn settings_are_checked_before_anything_is_read() {
        let report = with("", "200");
        let failure = report.failure.unwrap();
        assert_eq!(
            (failure.kind(), failure.reason()),
            (Kind::Fatal, "setting `field` is empty")
        );
        assert_eq!(report.counts.loaded, 0);
    }

    #[test]
    fn what_is_no_event_is_corrupt() {
        assert_eq!(
            reason(r#"{"ts":1,"user":2}"#),
            "missing field `status` at line 1 column 17"
        );
        assert!(reason("[1]").starts_with("invalid type: sequence, expected a JSON object"));
        assert!(reason("{").starts_with("EOF while parsing an object"));
        assert!(reason("nonsense").starts_with("expected ident"));
        assert!(reason(r#"{"ts":1,"user":2,"status":3} x"#).starts_with("trailing characters"));
        assert!(reason(r#"{"ts":1,"user":2,"status":3,"more":[}"#).starts_with("expected value"));
    }

    #[test]
    fn bytes_that_are_no_text_are_corrupt() {
        let report = run::<NdjsonFilter>(b"{\"ts\":1,\"user\":\"\xff\",\"status\":3}");
        assert_eq!(report.counts.corrupted, 1);
    }
}
