//! Keeps the lines of a log that matter.
//!
//! A line is `TIME LEVEL MESSAGE`, such as `2026-01-31T23:59:59Z WARN disk 91 % full`. The setting `level` (default
//! `WARN`) says from which level on lines are kept; all are counted, in the metric `lines`. Blank lines are skipped.

use linemill_sdk::{Batch, Line, Processor, Request, Result, corrupt, fatal, setting_or};

/// The least important first.
const LEVELS: [&str; 5] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];

/// How important a level is.
fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// Keeps lines from a level on.
#[derive(Default)]
pub struct LevelFilter {
    least: usize,
}

impl Processor for LevelFilter {
    /// What `pre` hands to every instance.
    type Context = usize;
    /// What batches add up to, for `post`: nothing here.
    type Partial = ();

    /// Runs once for each request, before its lines are read.
    fn pre(_: &Request) -> Result<usize> {
        let level = setting_or("level", "WARN");
        rank(&level).ok_or_else(|| {
            fatal!(
                "setting `level`: `{level}` is none of {}",
                LEVELS.join(", ")
            )
        })
    }

    /// Runs once in each instance.
    fn open(&mut self, least: usize) -> Result<()> {
        self.least = least;
        Ok(())
    }

    /// Runs for each line. What a line that fails has emitted and counted is taken back.
    fn line(&mut self, line: Line<'_>, batch: &mut Batch<()>) -> Result<()> {
        if line.is_blank() {
            return Ok(());
        }
        let text = line.as_str()?;
        let level = text.split(' ').nth(1);
        let level = level.ok_or_else(|| corrupt!("there is no level"))?;
        let rank = rank(level).ok_or_else(|| corrupt!("`{level}` is no level"))?;
        batch.count("lines", level, 1);
        if rank >= self.least {
            batch.emit_line(text);
        }
        Ok(())
    }
}

linemill_sdk::export!(LevelFilter);

#[cfg(test)]
mod tests {
    use super::LevelFilter;
    use linemill_sdk::testing::{Run, run};

    const LOG: &str = "t INFO one\n\nt WARN two\r\nt ERROR three";

    #[test]
    fn lines_from_a_level_on_are_kept() {
        let report = run::<LevelFilter>(LOG);
        assert_eq!(report.text(""), "t WARN two\nt ERROR three\n");
        assert_eq!(report.counted("lines", "INFO"), 1);
        let report = Run::<LevelFilter>::new().setting("level", "ERROR").run(LOG);
        assert_eq!(report.text(""), "t ERROR three\n");
    }

    #[test]
    fn a_line_without_a_level_is_corrupt() {
        let report = run::<LevelFilter>("t\nt loud\nt ERROR one\n");
        let reasons: Vec<_> = report
            .faults
            .iter()
            .map(|fault| fault.reason.as_str())
            .collect();
        assert_eq!(reasons, ["there is no level", "`loud` is no level"]);
        assert_eq!(
            (report.text(""), report.counts.corrupted),
            ("t ERROR one\n", 2)
        );
    }

    #[test]
    fn settings_are_checked_before_anything_is_read() {
        let report = Run::<LevelFilter>::new().setting("level", "LOUD").run(LOG);
        assert!(report.failure.is_some());
        assert_eq!(report.counts.loaded, 0);
    }
}
