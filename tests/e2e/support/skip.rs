//! Says that something is not tested.

use std::io::Write;

/// Says it loudly: past the test runner, which shows nothing of tests that pass.
pub(crate) fn skip(why: &str) {
    let said = writeln!(std::io::stderr(), "SKIPPED: {why}");
    said.expect("stderr can be written to");
}
