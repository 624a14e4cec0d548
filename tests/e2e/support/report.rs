//! One report, as the binary printed it.

use serde_json::Value;

/// A report; what it lacks fails the case that asks for it.
#[derive(Clone, Debug)]
pub(crate) struct Report(pub(crate) Value);

/// The counters, by their names in the report and in expectations.
pub(super) const COUNTERS: [(&str, &str); 6] = [
    ("Loaded", "loaded"),
    ("Processed", "processed"),
    ("CorruptionErrors", "corrupted"),
    ("RetryErrors", "retried"),
    ("Failed", "failed"),
    ("PartialRetries", "partial"),
];

impl Report {
    /// The reports among the lines of `text`, and the other lines.
    pub(super) fn split(text: &[u8]) -> (Vec<Report>, Vec<u8>) {
        let mut reports = Vec::new();
        let mut others = Vec::new();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            match serde_json::from_slice::<Value>(line) {
                Ok(json) if json.get("RequestId").is_some() => reports.push(Report(json)),
                _ => others.extend_from_slice(line),
            }
        }
        (reports, others)
    }

    /// A counter by its name in the report.
    #[track_caller]
    pub(crate) fn count(&self, name: &str) -> u64 {
        let value = self.0[name].as_u64();
        value.unwrap_or_else(|| panic!("the report has no number {name}: {}", self.0))
    }

    /// Lines that were not loaded; `None`: not known.
    pub(crate) fn unread(&self) -> Option<u64> {
        self.0["Unread"].as_u64()
    }

    /// The status.
    pub(crate) fn status(&self) -> &str {
        self.0["Status"].as_str().unwrap_or("(none)")
    }

    /// Whether the status says `flag`.
    pub(crate) fn is(&self, flag: &str) -> bool {
        self.status().split('|').any(|other| other == flag)
    }

    /// A text of the report: a URL, if there is one.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    /// All errors, each with its count.
    pub(crate) fn errors(&self) -> Vec<(String, u64)> {
        let rows = self.0["Errors"].as_array().cloned().unwrap_or_default();
        let error = |row: &Value| {
            (
                row["Error"].as_str().unwrap_or_default().to_owned(),
                row["Count"].as_u64().unwrap_or(0),
            )
        };
        rows.iter().map(error).collect()
    }
}
