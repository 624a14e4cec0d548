//! The last segment of a source's path: its attempt, and the names of its retries and ranges.

const RETRY_MARK: &str = "-retry";
const OFFSET_MARK: &str = "-at";
/// Suffixes that wrap another one: the extension of `a.csv.gz` is `.csv.gz`.
const CODECS: [&str; 2] = [".gz", ".zst"];

/// The name of the retry of `last_segment` in its attempt `attempt`: `-retryNN` before the
/// extension, `NN` being the next attempt in at least two digits.
pub fn retry_name(last_segment: &str, attempt: u32) -> String {
    let Parts {
        stem, extension, ..
    } = Parts::of(last_segment);
    let next = u64::from(attempt) + 1;
    format!("{stem}{RETRY_MARK}{next:02}{extension}")
}

/// The name for the range of `last_segment` that begins at `offset`.
pub(super) fn range_name(last_segment: &str, offset: u64) -> String {
    let Parts {
        stem,
        digits,
        extension,
    } = Parts::of(last_segment);
    let stem = match stem.rsplit_once(OFFSET_MARK) {
        Some((before, number)) if is_number(number) => before,
        _ => stem,
    };
    let retry = digits
        .map(|digits| format!("{RETRY_MARK}{digits}"))
        .unwrap_or_default();
    format!("{stem}{OFFSET_MARK}{offset}{retry}{extension}")
}

/// A name taken apart: `stem`, then `-retry` and `digits` if there are any, then `extension`.
pub(super) struct Parts<'a> {
    pub(super) stem: &'a str,
    digits: Option<&'a str>,
    pub(super) extension: &'a str,
}

impl<'a> Parts<'a> {
    /// With a `-retry<digits>` that a dot or the end follows, the last such parts the name;
    /// without, the extension is guessed.
    pub(super) fn of(name: &'a str) -> Parts<'a> {
        for (at, _) in name.rmatch_indices(RETRY_MARK) {
            let rest = &name[at + RETRY_MARK.len()..];
            let (digits, extension) = rest.split_at(rest.find('.').unwrap_or(rest.len()));
            if is_number(digits) {
                return Parts {
                    stem: &name[..at],
                    digits: Some(digits),
                    extension,
                };
            }
        }
        let (stem, extension) = name.split_at(extension_start(name));
        Parts {
            stem,
            digits: None,
            extension,
        }
    }

    pub(super) fn attempt(&self) -> u32 {
        // Digits only, so the one way to fail is to be too large.
        self.digits
            .map_or(0, |digits| digits.parse().unwrap_or(u32::MAX))
    }
}

pub(super) fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Where the extension of a name without `-retryNN` begins: at the last dot, or at the one
/// before it when the last begins the suffix of a codec. A leading dot begins no extension.
fn extension_start(name: &str) -> usize {
    let last_dot = |text: &str| text.rfind('.').filter(|&at| at > 0);
    let Some(last) = last_dot(name) else {
        return name.len();
    };
    if CODECS
        .iter()
        .any(|codec| name[last..].eq_ignore_ascii_case(codec))
    {
        return last_dot(&name[..last]).unwrap_or(last);
    }
    last
}
