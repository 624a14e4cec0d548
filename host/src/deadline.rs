//! The three moments of a request: reading stops, work stops, the platform's hard end. Pure.

use std::time::{Duration, Instant};

/// As good as never: what the moments are when a request has no time limit.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The least that is kept back between the end of work and the hard end.
const REDUCTION_MIN: Duration = Duration::from_millis(500);
/// The most by which reading stops before work does.
const READ_MARGIN_MAX: Duration = Duration::from_millis(500);

/// Invariant: `read <= work <= hard`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// No line is read from here on.
    pub read: Instant,
    /// Running batches are cut off here.
    pub work: Instant,
    /// The request has returned by here.
    pub hard: Instant,
    limited: bool,
}

impl Deadline {
    /// `whole` is the time that the request has, from `start`; `reduction` is what is kept back for handing over
    /// (default: 1 % of the whole, at least 500 ms).
    pub fn new(start: Instant, whole: Option<Duration>, reduction: Option<Duration>) -> Self {
        let Some(whole) = whole else {
            let far = start + FAR;
            return Deadline {
                read: far,
                work: far,
                hard: far,
                limited: false,
            };
        };
        let reduction = reduction
            .unwrap_or_else(|| (whole / 100).max(REDUCTION_MIN))
            .min(whole);
        let margin = (reduction / 5).min(READ_MARGIN_MAX).min(whole - reduction);
        let hard = start + whole;
        let work = hard - reduction;
        Deadline {
            read: work - margin,
            work,
            hard,
            limited: true,
        }
    }

    /// Milliseconds from `now` until work stops; `u64::MAX` without a time limit.
    pub fn remaining_ms(&self, now: Instant) -> u64 {
        match self.limited {
            true => self.work.saturating_duration_since(now).as_millis() as u64,
            false => u64::MAX,
        }
    }

    /// Whether the request has a time limit at all.
    pub fn is_limited(&self) -> bool {
        self.limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_order() {
        // whole, reduction -> read, work (ms from the start)
        let table = [
            (1500, None, 900, 1000),
            (1500, Some(300), 1140, 1200),
            (100_000, None, 98_800, 99_000),
            (900_000, None, 890_500, 891_000),
            (400, None, 0, 0),
            (0, None, 0, 0),
            (1000, Some(0), 1000, 1000),
            (1000, Some(5000), 0, 0),
        ];
        let start = Instant::now();
        for (whole, reduction, read, work) in table {
            let deadline = Deadline::new(
                start,
                Some(Duration::from_millis(whole)),
                reduction.map(Duration::from_millis),
            );
            let ms = |moment: Instant| moment.duration_since(start).as_millis() as u64;
            assert_eq!(
                (ms(deadline.read), ms(deadline.work), ms(deadline.hard)),
                (read, work, whole),
                "{whole}"
            );
            assert!(deadline.read <= deadline.work && deadline.work <= deadline.hard);
        }
    }

    #[test]
    fn without_a_limit_nothing_ends() {
        let start = Instant::now();
        let deadline = Deadline::new(start, None, None);
        assert_eq!(deadline.remaining_ms(start), u64::MAX);
        assert!(!deadline.is_limited());
    }

    #[test]
    fn remaining_counts_down_to_zero() {
        let start = Instant::now();
        let deadline = Deadline::new(start, Some(Duration::from_millis(2000)), None);
        assert_eq!(deadline.remaining_ms(start), 1500);
        assert_eq!(
            deadline.remaining_ms(start + Duration::from_millis(1400)),
            100
        );
        assert_eq!(deadline.remaining_ms(start + Duration::from_secs(9)), 0);
    }
}
