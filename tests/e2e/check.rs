//! `linemill check`: what a component is, and what the lines of a sample cost.

use super::support::{Case, Outcome, plugin};

/// What `check` prints.
fn checked(case: Case) -> (Outcome, String) {
    let outcome = case.run();
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    (outcome, said)
}

#[test]
fn check_tells_what_a_component_is() {
    let path = plugin("sum");
    let (outcome, said) = checked(Case::command(["check", &path.to_string_lossy()]));
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Some(0), ""));
    for line in [
        "exports    linemill:plugin/reducer@0.1.0",
        "           linemill:plugin/processor@0.1.0",
        "merges     yes: partials are folded as they come",
        "fits       yes",
    ] {
        assert!(
            said.lines().any(|other| other == line),
            "no `{line}` in\n{said}"
        );
    }
    assert!(
        said.contains("linemill:plugin/host@0.1.0") && said.contains("digest     sha256:"),
        "{said}"
    );
    assert!(
        !said.contains("NOT GRANTED") && !said.contains("sample"),
        "{said}"
    );
    assert!(outcome.new_files().is_empty());

    let (_, said) = checked(Case::command([
        "check",
        &plugin("unruly").to_string_lossy(),
    ]));
    assert!(said.contains("merges     no"), "{said}");

    let (outcome, said) = checked(Case::command([
        "check",
        &plugin("hungry").to_string_lossy(),
    ]));
    assert_eq!(outcome.exit, Some(2));
    assert!(
        said.lines()
            .any(|line| line.contains("wasi:sockets/tcp@") && line.ends_with("<- NOT GRANTED")),
        "{said}"
    );
    assert!(!said.contains("fits       yes"), "{said}");
}

/// `check --sample` over these lines.
fn sample(name: &str, lines: &[&str]) -> (Outcome, String) {
    let case = Case::command(["check", "--sample", "sample.txt"]);
    checked(case.file("sample.txt", lines.join("\n")).args([
        &plugin(name).to_string_lossy(),
        "--setting",
        "color=green",
    ]))
}

#[test]
fn check_tells_what_lines_cost() {
    let (outcome, said) = sample("sum", &["1", "2", "x", ""]);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Some(0), ""));
    for line in [
        "sample     3 lines, 6 bytes",
        "     1  processed",
        "     3  corrupt: not a valid integer: `x`",
    ] {
        assert!(
            said.lines().any(|other| other == line),
            "no `{line}` in\n{said}"
        );
    }
    for what in ["fuel       ", "time       "] {
        assert!(
            said.lines().any(|line| line.starts_with(what)),
            "no `{what}` in\n{said}"
        );
    }
    assert!(outcome.new_files().is_empty());
}

#[test]
fn check_survives_what_lines_do() {
    let (outcome, said) = sample(
        "unruly",
        &[
            "!setting color",
            "!trap",
            "!panic no",
            "!spin",
            "!exit 1",
            "!fatal f",
            "!fault-twice",
            "!retry r",
            "!flood 99999",
        ],
    );
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    for part in [
        "cost       the sample traps as a batch: trap: ",
        "     1  ",
        "green",
        "     2  traps: trap: wasm trap: wasm `unreachable`",
        "no (fuel",
        "     4  traps: out of fuel",
        "     5  traps: exit",
        "     6  fails: f",
        "     7  breaks the contract: the plugin reports two faults",
        "     8  retry: r",
    ] {
        assert!(said.contains(part), "no `{part}` in\n{said}");
    }
    assert!(
        said.lines().all(|line| line.chars().count() < 300),
        "{said}"
    );
}

#[test]
fn check_needs_its_sample() {
    let path = plugin("sum");
    let case = Case::command(["check", "--sample", "none.txt", &path.to_string_lossy()]);
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(2));
    assert_eq!(
        outcome.stderr,
        "linemill: could not read the sample none.txt: none.txt does not exist\n"
    );
    let (outcome, said) = sample("sum", &[]);
    assert_eq!(outcome.exit, Some(0));
    assert!(said.contains("sample     0 lines, 0 bytes"), "{said}");
}

#[test]
fn a_project_stands_for_its_component() {
    let component = std::fs::read(plugin("sum")).expect("readable");
    for project in ["p", "p/linemill.toml"] {
        let case = Case::command(["check", project])
            .file("p/bin/x.wasm", &component)
            .file("p/linemill.toml", "plugin = \"bin/x.wasm\"\n");
        let (outcome, said) = checked(case);
        assert_eq!((outcome.exit, outcome.stderr.as_str()), (Some(0), ""));
        assert!(said.starts_with("component  p/bin/x.wasm ("), "{said}");
    }
}
