//! How much is to be run in which time, as a person writes it: `1TB/day`, `500 GiB/h`, `5e6 lines/min`. Pure.

use std::str::FromStr;

use serde::Serialize;

/// Bytes or lines in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Volume {
    amount: f64,
    unit: Unit,
    /// The time.
    pub(super) period: Period,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Bytes,
    Lines,
}

/// A time that volumes are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Period {
    /// 1 s.
    Second,
    /// 60 s.
    Minute,
    /// 3600 s.
    Hour,
    /// 24 hours.
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Period {
    pub(super) fn seconds(self) -> f64 {
        match self {
            Period::Second => 1.0,
            Period::Minute => 60.0,
            Period::Hour => 3600.0,
            Period::Day => 86_400.0,
            Period::Week => 7.0 * 86_400.0,
            Period::Month => 30.0 * 86_400.0,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        }
    }
}

impl Volume {
    /// In bytes, where lines have so many.
    pub(super) fn bytes(&self, bytes_per_line: f64) -> f64 {
        match self.unit {
            Unit::Bytes => self.amount,
            Unit::Lines => self.amount * bytes_per_line,
        }
    }
}

impl FromStr for Volume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| {
            "a volume is bytes or lines in a time, such as 1TB/day, 500GiB/hour or 5e6 lines/min"
                .to_owned()
        })
    }
}

fn parse(text: &str) -> Option<Volume> {
    let (amount, period) = match text.split_once('/') {
        Some((amount, period)) => (amount.trim(), self::period(period.trim())?),
        None => (text.trim(), Period::Day),
    };
    let (number, name) = number_and_unit(amount)?;
    let (factor, unit) = unit(name)?;
    let amount = number * factor;
    (amount.is_finite() && amount > 0.0).then_some(Volume {
        amount,
        unit,
        period,
    })
}

/// The longest beginning that is a number: in `5e6 lines` the `e` is of the number, in `5EB` it is not.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let ends = (1..=text.len())
        .rev()
        .filter(|&at| text.is_char_boundary(at));
    let plain = |number: &str| number.starts_with(|first: char| first.is_ascii_digit());
    let mut found = ends.filter(|&at| plain(&text[..at])).filter_map(|at| {
        let number = text[..at].parse().ok()?;
        Some((number, text[at..].trim()))
    });
    found.next()
}

fn unit(name: &str) -> Option<(f64, Unit)> {
    let lower = name.to_lowercase();
    if ["line", "lines"].contains(&lower.as_str()) {
        return Some((1.0, Unit::Lines));
    }
    let (prefix, base) = match lower.strip_suffix('b')? {
        "" => return Some((1.0, Unit::Bytes)),
        prefix => match prefix.strip_suffix('i') {
            Some(prefix) => (prefix, 1024.0_f64),
            None => (prefix, 1000.0),
        },
    };
    let power = ["k", "m", "g", "t", "p"]
        .iter()
        .position(|&p| p == prefix)?;
    Some((base.powi(power as i32 + 1), Unit::Bytes))
}

fn period(name: &str) -> Option<Period> {
    Some(match name.to_lowercase().as_str() {
        "s" | "sec" | "second" => Period::Second,
        "min" | "minute" => Period::Minute,
        "h" | "hour" => Period::Hour,
        "d" | "day" => Period::Day,
        "week" => Period::Week,
        "month" => Period::Month,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        use {Period::*, Unit::*};
        let table = [
            ("1TB/day", Some((1e12, Bytes, Day))),
            ("1 tb / day", Some((1e12, Bytes, Day))),
            ("500GiB/hour", Some((500.0 * 1024f64.powi(3), Bytes, Hour))),
            ("5e6 lines/min", Some((5e6, Lines, Minute))),
            ("1000line/s", Some((1000.0, Lines, Second))),
            ("1.5kB", Some((1500.0, Bytes, Day))),
            ("7B/week", Some((7.0, Bytes, Week))),
            ("2PB/month", Some((2e15, Bytes, Month))),
            ("", None),
            ("TB/day", None),
            ("1/day", None),
            ("1TB/", None),
            ("1TB/fortnight", None),
            ("0TB/day", None),
            ("-1TB/day", None),
            ("inf B/day", None),
            ("nanB", None),
            ("1e999 lines", None),
            ("1XB", None),
            ("1 ibb", None),
            ("1TB/day/day", None),
            ("ä", None),
        ];
        for (text, want) in table {
            let want = want.map(|(amount, unit, period)| Volume {
                amount,
                unit,
                period,
            });
            assert_eq!(parse(text), want, "{text}");
        }
    }
}
