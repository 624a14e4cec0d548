//! The last segment of a source's path: its attempt, and the names of its retries and ranges.

const RETRY_MARK: &str = "-retry";
const OFFSET_MARK: &str = "-at";
const REST_MARK: &str = "-rest";
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

/// The name of the attempt `attempt`, from 1, over what `last_segment` names.
pub(super) fn attempt_name(last_segment: &str, attempt: u32) -> String {
    retry_name(last_segment, attempt.saturating_sub(1))
}

/// The name for what was not run again of `last_segment`, of the same attempt: `-rest1` before the extension, then
/// `-rest2`; of an attempt NN `-restNN-1` before `-retryNN`. So it is never that of an attempt at a rest: what of
/// `a-rest1.csv` fails again is in `a-rest1-retry01.csv`, the rest of `a-retry01.csv` in `a-rest01-1-retry01.csv`.
pub(super) fn rest_name(last_segment: &str) -> String {
    let parts = Parts::of(last_segment);
    let mark = match parts.digits {
        Some(digits) => format!("{REST_MARK}{digits}-"),
        None => REST_MARK.to_owned(),
    };
    let marked = parts.stem.rsplit_once(&mark);
    let (stem, before) = match marked.filter(|(_, number)| is_number(number)) {
        Some((stem, number)) => (stem, number.parse::<u64>().unwrap_or(u64::MAX)),
        None => (parts.stem, 0),
    };
    let next = before.saturating_add(1);
    format!("{stem}{mark}{next}{}{}", parts.retry(), parts.extension)
}

/// The name for the range of `last_segment` that begins at `offset`.
pub(super) fn range_name(last_segment: &str, offset: u64) -> String {
    let parts = Parts::of(last_segment);
    let stem = match parts.stem.rsplit_once(OFFSET_MARK) {
        Some((before, number)) if is_number(number) => before,
        _ => parts.stem,
    };
    format!(
        "{stem}{OFFSET_MARK}{offset}{}{}",
        parts.retry(),
        parts.extension
    )
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

    /// `-retryNN` as it stands in the name.
    fn retry(&self) -> String {
        self.digits
            .map(|digits| format!("{RETRY_MARK}{digits}"))
            .unwrap_or_default()
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
