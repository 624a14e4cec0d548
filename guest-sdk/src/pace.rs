//! When to look at the clock, and when to stop: what makes an early stop cost nothing per line.

/// Time that is left alone, for the host to take in what was done.
const MARGIN_MS: u64 = 50;
/// A stretch of lines shorter than this lets the next one be longer.
const STRETCH_MS: u64 = 5;
/// Most lines between two looks.
const STRIDE_MAX: u32 = 4096;

/// Decides when to look at the clock: after one line at first, then at distances that double
/// while a stretch takes little time, and halve when it takes more.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    stride: u32,
    /// Index of the line before which the clock is looked at next.
    pub(crate) next: u32,
    /// What the clock showed at the last look.
    left_ms: u64,
}

impl Pace {
    /// A batch begins at line `index`. It starts more carefully than the last one ended.
    pub(crate) fn start(&mut self, index: u32, left_ms: u64) {
        let hurry = left_ms < MARGIN_MS;
        self.stride = if hurry { 1 } else { (self.stride / 4).max(1) };
        self.go_on(index, left_ms);
    }

    /// The clock was looked at before line `index`: is it time to stop?
    pub(crate) fn must_stop(&mut self, index: u32, left_ms: u64) -> bool {
        let stretch_ms = self.left_ms.saturating_sub(left_ms);
        self.stride = if stretch_ms < STRETCH_MS {
            (self.stride * 2).min(STRIDE_MAX)
        } else {
            (self.stride / 2).max(1)
        };
        self.go_on(index, left_ms);
        left_ms < MARGIN_MS.max(stretch_ms.saturating_mul(2))
    }

    fn go_on(&mut self, index: u32, left_ms: u64) {
        self.next = index.saturating_add(self.stride);
        self.left_ms = left_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `lines` of `line_us` each with `left_ms` left: lines attempted, and looks at the clock.
    fn run(pace: &mut Pace, lines: u32, line_us: u64, left_ms: u64) -> (u32, u32) {
        let left = |index: u32| left_ms.saturating_sub(u64::from(index) * line_us / 1000);
        pace.start(0, left(0));
        let mut looks = 1;
        for index in 0..lines {
            if index == pace.next {
                looks += 1;
                if pace.must_stop(index, left(index)) {
                    return (index, looks);
                }
            }
        }
        (lines, looks)
    }

    #[test]
    fn fast_lines_hardly_look_at_the_clock() {
        let mut pace = Pace::default();
        assert_eq!(run(&mut pace, 8192, 0, 60_000), (8192, 14));
        assert_eq!(
            run(&mut pace, 8192, 0, 60_000),
            (8192, 4),
            "the next batch knows them"
        );
    }

    #[test]
    fn slow_lines_stop_in_time() {
        // (time of a line, time left) to lines attempted: what is left then covers another stretch.
        for (line_us, left_ms, attempted) in [
            (1_000, 1_000, 900..=955),
            (10_000, 1_000, 90..=96),
            (200_000, 1_000, 3..=4),
            (2_000_000, 1_000, 1..=1),
        ] {
            let (lines, _) = run(&mut Pace::default(), 10_000, line_us, left_ms);
            assert!(attempted.contains(&lines), "{line_us} {lines}");
        }
    }

    #[test]
    fn one_line_is_always_attempted() {
        assert_eq!(run(&mut Pace::default(), 10, 0, 0), (1, 2));
        let mut practised = Pace::default();
        run(&mut practised, 8192, 0, 60_000);
        assert_eq!(run(&mut practised, 10, 0, 49), (1, 2));
    }
}
