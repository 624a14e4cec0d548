//! Metrics that a case expects. Pure.
//!
//! `lines = 3` is a count, `by_code[404] = 1` one with a key, `ms = count 3, min 1, max 7.5, mean 4` samples, and
//! `ms = *` whatever it is, as long as it is there.

use super::Mistake;
use super::entry::{Entries, Expectation};
use super::observed::Metric;
use super::text::{escape, unescape_line};
use crate::report::Measured;

/// Sums of samples depend on the order in which they are added up, in their last digits.
const TOLERANCE: f64 = 1e-6;

/// What is expected of one series.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ExpectedMetric {
    name: String,
    key: String,
    value: Value,
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Any,
    Count(i64),
    /// What is said of samples: the name of a figure and its value.
    Samples(Vec<(Figure, f64)>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Count,
    Min,
    Max,
    Mean,
}

const FIGURES: [(&str, Figure); 4] = [
    ("count", Figure::Count),
    ("min", Figure::Min),
    ("max", Figure::Max),
    ("mean", Figure::Mean),
];

impl Expectation for ExpectedMetric {
    type Actual = Metric;
    type Key = (String, String);

    fn key(&self) -> Self::Key {
        (self.name.clone(), self.key.clone())
    }

    fn key_of(metric: &Metric) -> Self::Key {
        (metric.name.clone(), metric.key.clone())
    }

    fn fits(&self, metric: &Metric) -> bool {
        (&self.name, &self.key) == (&metric.name, &metric.key) && self.value.fits(metric.value)
    }

    fn write(metric: &Metric) -> String {
        let name = match metric.key.as_str() {
            "" => metric.name.clone(),
            key => format!("{}[{}]", metric.name, escape(key.as_bytes())),
        };
        match metric.value {
            Measured::Count(sum) => format!("{name} = {sum}"),
            Measured::Samples { .. } => {
                let figures = FIGURES
                    .map(|(word, figure)| format!("{word} {}", rounded(figure.of(metric.value))));
                format!("{name} = {}", figures.join(", "))
            }
        }
    }

    fn parse(lines: &[(usize, &str)]) -> Result<Self, Mistake> {
        let (number, line) = lines[0];
        if let Some((number, _)) = lines.get(1) {
            return Err(Mistake::new(*number, "a metric is one line, not indented"));
        }
        parse_metric(line).map_err(|message| Mistake::new(number, message))
    }
}

impl Value {
    fn fits(&self, actual: Measured) -> bool {
        match (self, actual) {
            (Value::Any, _) => true,
            (Value::Count(expected), Measured::Count(sum)) => *expected == sum,
            (Value::Samples(figures), Measured::Samples { .. }) => figures
                .iter()
                .all(|(figure, expected)| near(*expected, figure.of(actual))),
            _ => false,
        }
    }
}

impl Figure {
    fn of(self, measured: Measured) -> f64 {
        match measured {
            Measured::Count(sum) => sum as f64,
            Measured::Samples {
                count,
                min,
                max,
                mean,
            } => match self {
                Figure::Count => count as f64,
                Figure::Min => min,
                Figure::Max => max,
                Figure::Mean => mean,
            },
        }
    }
}

/// Whether two figures are the same but for their last digits.
fn near(one: f64, other: f64) -> bool {
    one == other || (one - other).abs() <= TOLERANCE * one.abs().max(other.abs())
}

/// Nine digits are more than are compared.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

fn parse_metric(line: &str) -> Result<ExpectedMetric, String> {
    let expected = "`NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value";
    let (place, value) = line.rsplit_once('=').ok_or(expected)?;
    let place = place.trim();
    let (name, key) = match place.split_once('[') {
        Some((name, key)) => (name, key.strip_suffix(']').ok_or(expected)?),
        None => (place, ""),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(expected.to_owned());
    }
    let (key, _) = unescape_line(key)?;
    Ok(ExpectedMetric {
        name: name.to_owned(),
        key: String::from_utf8_lossy(&key).into_owned(),
        value: parse_value(value.trim()).ok_or(expected)?,
    })
}

fn parse_value(text: &str) -> Option<Value> {
    if text == "*" {
        return Some(Value::Any);
    }
    if let Ok(count) = text.parse() {
        return Some(Value::Count(count));
    }
    let figure = |part: &str| {
        let (word, value) = part.trim().split_once(' ')?;
        let (_, figure) = FIGURES.iter().find(|(known, _)| *known == word)?;
        Some((*figure, value.trim().parse().ok()?))
    };
    let figures: Option<Vec<_>> = text.split(',').map(figure).collect();
    figures.map(Value::Samples)
}

/// The metrics of a section.
pub(super) type Metrics = Entries<ExpectedMetric>;
