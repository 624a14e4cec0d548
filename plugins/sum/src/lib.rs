//! Adds up lines that are integers, and writes the sum at the end.

use linemill_sdk::{Batch, Blame, Closing, Counts, Line, Processor, Request, Result};

/// Adds up lines that are integers; blank lines are skipped, anything else is corrupt.
#[derive(Debug, Default)]
pub struct Sum;

impl Processor for Sum {
    type Context = ();
    type Partial = i64;

    #[inline]
    fn line(&mut self, line: Line<'_>, batch: &mut Batch<i64>) -> Result<()> {
        if line.is_blank() {
            return Ok(());
        }
        let number = line.integer()?;
        Self::merge(batch.partial(), number)
    }

    fn merge(sum: &mut i64, number: i64) -> Result<()> {
        let added = sum.checked_add(number);
        *sum = added.corrupt_with(|| "the sum does not fit in 64 bits")?;
        Ok(())
    }

    fn post(_: &Request, _: &Counts, total: i64, closing: &mut Closing) -> Result<()> {
        closing.emit_line(total.to_string());
        Ok(())
    }
}

linemill_sdk::export!(Sum);

#[cfg(test)]
mod tests {
    use super::Sum;
    use linemill_sdk::Kind;
    use linemill_sdk::testing::{Run, run};

    #[test]
    fn integers_are_added_and_the_rest_is_corrupt() {
        let report = run::<Sum>("1\n2\n3\n5\nasd\n373\n23");
        assert_eq!(report.text(""), "407\n");
        assert_eq!((report.processed(), report.counts.corrupted), (6, 1));
        assert_eq!(
            (report.faults[0].line, report.faults[0].kind),
            (5, Kind::Corrupt)
        );
        assert_eq!(report.faults[0].reason, "not a valid integer: `asd`");
    }

    #[test]
    fn blank_lines_are_skipped_and_spaces_and_signs_allowed() {
        let report = run::<Sum>("\n  \n +40 \r\n\t-2\n4\n");
        assert_eq!((report.text(""), report.processed()), ("42\n", 5));
        assert_eq!(run::<Sum>("").text(""), "0\n");
    }

    #[test]
    fn how_lines_are_cut_into_batches_changes_nothing() {
        let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
        for batch_lines in [1, 7, 1000] {
            let report = Run::<Sum>::new()
                .batch_lines(batch_lines)
                .instances(3)
                .run(&lines);
            assert_eq!(report.text(""), "499500\n");
        }
    }

    #[test]
    fn what_does_not_fit_is_corrupt() {
        let report = run::<Sum>(format!("{}\n-2\n1\n2\n1\n9223372036854775808\n", i64::MAX));
        assert_eq!(report.text(""), "9223372036854775807\n");
        let lines: Vec<_> = report.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [4, 6]);
        assert_eq!(report.faults[0].reason, "the sum does not fit in 64 bits");
    }
}
