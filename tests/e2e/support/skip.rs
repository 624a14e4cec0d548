//! Says that something is not tested.

use std::io::Write;

/// Says it loudly: past the test runner, which shows nothing of tests that pass.
pub(crate) fn skip(why: &str) {
    let said = writeln!(std::io::stderr(), "SKIPPED: {why}");
    said.expect("stderr can be written to");
}

/// Says that there is no such server; which is a failure with `LINEMILL_TEST_REQUIRE_SERVERS=1`, as in CI.
#[track_caller]
pub(crate) fn without_server(name: &str) {
    without(&format!(
        "{name} is not installed, .ci/servers and .ci/browser do that"
    ));
}

/// Says what is missing, or fails where nothing may be.
#[track_caller]
pub(super) fn without(why: &str) {
    let required = std::env::var_os("LINEMILL_TEST_REQUIRE_SERVERS");
    assert!(required.is_none_or(|value| value != "1"), "{why}");
    skip(why);
}
