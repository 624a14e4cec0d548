//! `linemill test`: the cases of plugins.

use std::path::Path;

use super::support::{Case, LookupServer, Outcome, plugin, skip};

/// `linemill test` with this component over these cases, in its folder.
fn cases(component: &str, files: &[(&str, &str)]) -> Case {
    let path = plugin(component);
    let case = Case::command(["test", &path.to_string_lossy(), "--cases", "cases"]);
    files.iter().fold(case, |case, (name, text)| {
        case.file(&format!("cases/{name}"), text)
    })
}

#[track_caller]
fn check(case: &Case, exit: i32, said: &str) -> Outcome {
    let outcome = case.run();
    assert_eq!(
        (text(&outcome.stdout).as_str(), outcome.stderr.as_str()),
        (said, "")
    );
    assert_eq!(outcome.exit, Some(exit));
    outcome
}

/// It cannot run, says why, and runs nothing.
#[track_caller]
fn check_refused(case: &Case, why: &str) {
    let outcome = case.run();
    assert_eq!(
        (outcome.stderr.as_str(), text(&outcome.stdout).as_str()),
        (why, "")
    );
    assert_eq!(outcome.exit, Some(2));
    assert!(outcome.new_files().is_empty());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The plugins of this repository, in every language, do what their cases say.
#[test]
fn our_plugins_pass_their_cases() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins"));
    for (folder, components) in [
        ("sum", &["sum", "sum-c", "sum-py", "sum-zig"][..]),
        ("csv-to-json", &["csv-to-json", "csv-to-json-js"]),
        ("ndjson-filter", &["ndjson-filter"]),
    ] {
        for component in components {
            let file = format!("{}.wasm", component.replace('-', "_"));
            let Some(path) = built(&file, folder == *component) else {
                skip(&format!("the cases of {component}: it is not built"));
                continue;
            };
            let dir = root.join(folder).join("cases");
            let case = Case::command([
                "test",
                &path.to_string_lossy(),
                "--quiet",
                "--cases",
                &dir.to_string_lossy(),
            ]);
            let outcome = case.run();
            let said = text(&outcome.stdout);
            assert_eq!(
                outcome.exit,
                Some(0),
                "{component}: {said}{}",
                outcome.stderr
            );
            assert!(said.ends_with(" passed, 0 failed\n"), "{said}");
        }
    }
}

fn built(file: &str, must: bool) -> Option<std::path::PathBuf> {
    let folder = plugin("sum")
        .parent()
        .expect("it is in a folder")
        .to_owned();
    let path = folder.join(file);
    assert!(path.is_file() || !must, "{} is not there", path.display());
    path.is_file().then_some(path)
}

const GOOD: &str = "A case.

--- settings
color = \"green\"
--- request
source = \"s3://lines/a.csv\"
attempt = 10
--- input
plain
!setting color
!context
!number
!state
!route audit seen
!corrupt bad
!rest half
!metric m k 2
!metric m k 3
!sample ms 2
!sample ms 4
--- output
plain
green
context of case
4
1
--- output audit
seen
--- faults
7 corrupt: bad
# The attempts are used up.
8 failed: part is done
  rest: half
--- metrics
m[k] = 5
ms = count 2, min 2, max 4, mean 3
";

#[test]
fn all_that_a_case_can_say() {
    let case = cases(
        "unruly",
        &[
            ("b.txt", GOOD),
            ("a.txt", "--- input\n"),
            ("notes.md", "no case"),
        ],
    );
    let said = "ok      cases/a.txt\nok      cases/b.txt\n2 passed, 0 failed\n";
    let outcome = check(&case, 0, said);
    assert!(outcome.new_files().is_empty());
    check(&case.again().args(["--quiet"]), 0, "2 passed, 0 failed\n");
    let outcome = case.again().args(["--json"]).run();
    let lines: Vec<serde_json::Value> = text(&outcome.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[1]["Case"], &lines[1]["Outcome"]),
        (&"cases/b.txt".into(), &"passed".into())
    );
}

#[test]
fn words_choose_cases() {
    let files = [
        ("broken-a.txt", "--- input\n"),
        ("fine.txt", "--- input\n"),
        ("zero.txt", "--- input\n"),
    ];
    let case = |words: &[&str]| {
        let case = cases("unruly", &files);
        words.iter().fold(case, |case, word| case.source(word))
    };
    check(
        &case(&["broken", "ero"]),
        0,
        "ok      cases/broken-a.txt\nok      cases/zero.txt\n2 passed, 0 failed\n",
    );
    check_refused(
        &case(&["txt", "x"]),
        "linemill: none of the 3 cases in cases has txt or x in its name\n",
    );
}

const WRONG: &str = "--- input
one
!trap
!corrupt bad
!metric m . 1
--- output
two
--- metrics
m[k] = 1
";

#[test]
fn what_differs_is_shown() {
    let case = cases(
        "unruly",
        &[("wrong.txt", WRONG), ("fine.txt", "--- input\n")],
    );
    let said = "ok      cases/fine.txt
FAILED  cases/wrong.txt
  output differs (cases/wrong.txt:6): - expected, + what the plugin did
    - two
    + one
  faults differ (cases/wrong.txt: there is no `--- faults`): - expected, + what the plugin did
    + 2 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
    + 3 corrupt: bad
  metrics differ (cases/wrong.txt:8): - expected, + what the plugin did
    - m[k] = 1
    + m[.] = 1
1 passed, 1 failed
If what the plugin did is right, --bless makes it what is expected.
";
    check(&case, 1, said);
    let outcome = case.again().args(["--json"]).run();
    assert_eq!(outcome.exit, Some(1));
    let lines: Vec<serde_json::Value> = text(&outcome.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let difference = &lines[1]["Differences"][0];
    assert_eq!(difference["Section"], "output");
    assert_eq!(difference["Line"], 6);
    assert_eq!(difference["Diff"], serde_json::json!(["- two", "+ one"]));
}

#[test]
fn a_blessed_case_passes_and_stays() {
    let case = cases("unruly", &[("wrong.txt", WRONG), ("fine.txt", GOOD)]);
    let blessed = case.again().args(["--bless"]);
    let said = "ok      cases/fine.txt\nblessed cases/wrong.txt\n1 passed, 0 failed, 1 blessed\n";
    let outcome = check(&blessed, 0, said);
    let wanted = "--- input
one
!trap
!corrupt bad
!metric m . 1
--- output
one
--- metrics
m[.] = 1

--- faults
2 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
3 corrupt: bad
";
    assert_eq!(outcome.text("cases/wrong.txt"), wanted);
    assert_eq!(outcome.text("cases/fine.txt"), GOOD);
    let outcome = check(
        &blessed,
        0,
        "ok      cases/fine.txt\nok      cases/wrong.txt\n2 passed, 0 failed\n",
    );
    assert!(outcome.before == outcome.after);
}

#[test]
fn a_case_that_cannot_be_written_is_not_half_blessed() {
    use std::os::unix::fs::PermissionsExt;
    let case = cases("unruly", &[("wrong.txt", WRONG)]);
    let folder = case.dir().join("cases");
    let mode = |mode| {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).expect("ours")
    };
    mode(0o555);
    if std::fs::write(folder.join("probe"), "").is_ok() {
        std::fs::remove_file(folder.join("probe")).expect("ours");
        mode(0o755);
        return skip("a folder that cannot be written to: nothing is forbidden to this user");
    }
    let outcome = case.args(["--bless"]).run();
    mode(0o755);
    assert_eq!(outcome.exit, Some(1));
    assert!(text(&outcome.stdout).contains("not blessed: could not write cases/wrong.txt"));
    assert_eq!(outcome.text("cases/wrong.txt"), WRONG);
}

/// A call that blames all its lines does something else with other batches.
#[test]
fn what_depends_on_batches_is_told_and_not_blessed() {
    let text_of = |config: &str| {
        format!(
            "{config}--- input\na\n!fail-corrupt bad\n--- output\n--- faults\n1 corrupt: bad\n2 corrupt: bad\n"
        )
    };
    let case = cases("unruly", &[("state.txt", &text_of(""))]);
    let why = "the plugin does something else when the same lines come in other batches, in fresh instances: what a line does must not depend on the lines before it in a batch. A case whose plugin may do so says how lines are cut: `batch_lines` in `--- config`";
    let said = format!(
        "FAILED  cases/state.txt
  {why}
  output differs (cases/state.txt): - in one batch, + line by line
    + a
  faults differ (cases/state.txt): - in one batch, + line by line
    - 1 corrupt: bad
      2 corrupt: bad
0 passed, 1 failed
"
    );
    let outcome = check(&case.again().args(["--bless"]), 1, &said);
    assert!(outcome.before == outcome.after);
    let given = cases(
        "unruly",
        &[("state.txt", &text_of("--- config\nbatch_lines = 2\n"))],
    );
    check(&given, 0, "ok      cases/state.txt\n1 passed, 0 failed\n");
}

#[test]
fn a_request_that_fails_is_not_blessed_unless_it_is_expected() {
    let fails = "--- settings\npre = \"fail-fatal\"\n--- input\na\n";
    let case = cases("unruly", &[("fails.txt", fails)]);
    let outcome = case.again().args(["--bless"]).run();
    let said = text(&outcome.stdout);
    assert_eq!(outcome.exit, Some(1), "{said}");
    let why = "  not blessed: the request failed: plugin unruly: pre failed: ";
    assert!(
        said.contains(why) && said.contains("add `--- error` and below it `...`"),
        "{said}"
    );
    assert_eq!(outcome.text("cases/fails.txt"), fails);
    let expected = cases(
        "unruly",
        &[(
            "fails.txt",
            &format!("{fails}--- error\nplugin unruly: pre failed: ...\n"),
        )],
    );
    check(
        &expected,
        0,
        "ok      cases/fails.txt\n1 passed, 0 failed\n",
    );
    let route = cases("unruly", &[("route.txt", "--- input\n!route audit a\n")]);
    let said = text(&route.run().stdout);
    assert!(
        said.contains("route \"audit\", which is not configured"),
        "{said}"
    );
}

#[test]
fn mistakes_in_cases_are_told_all_at_once() {
    check_refused(
        &cases(
            "unruly",
            &[
                ("a.txt", "--- imput\n"),
                ("b.txt", "--- input\n--- faults\nx\n--- metrics\ny\n"),
                ("c.txt", "--- config\nbatch_lines = 0\n--- input\n"),
                ("d.txt", "--- input\n"),
            ],
        ),
        "cases/a.txt:1: `--- imput` begins no section: did you mean `--- input`? A line of data that begins with `---` is written `\\---`, in a section that is marked `escaped`
cases/b.txt:3: `LINE KIND: REASON` is expected, such as `3 corrupt: not a number`
cases/b.txt:5: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value
cases/c.txt:2: `batch_lines` must be from 1 to 9223372036854775807, not 0
linemill: mistakes in 3 of the cases, none was run
",
    );
}

#[test]
fn what_is_missing_is_told() {
    let none = Case::command(["test"]);
    check_refused(
        &none,
        "linemill: there is no ./linemill.toml: name a project's folder or a component, or begin one with `linemill new`\n",
    );
    check_refused(
        &Case::command(["test", "p.wasm"]).file("p.wasm", ""),
        "linemill: there are no cases in ./cases: write some, or name their folder with --cases: No such file or directory (os error 2)\n",
    );
    check_refused(
        &Case::command(["test", "p.wasm"])
            .file("p.wasm", "")
            .file("cases/a.md", ""),
        "linemill: there are no cases in ./cases: a case is a file whose name ends in .txt\n",
    );
    let project = |config: &str| {
        Case::command(["test", "p"])
            .file("p/linemill.toml", config)
            .file("p/cases/a.txt", "--- input\n")
    };
    check_refused(
        &project(""),
        "linemill: p/linemill.toml names no `plugin`: add the path of the component\n",
    );
    check_refused(
        &project("plugin = \"target/x.wasm\"\n"),
        "linemill: the plugin p/target/x.wasm is not there: build it, as the project's README.md says, or name another\n",
    );
    check_refused(
        &Case::command(["test", "nowhere"]),
        "linemill: the plugin nowhere is not there: build it, as the project's README.md says, or name another\n",
    );
    check_refused(
        &Case::command(["test", "p/linemill.toml", "--config", "a.toml"]),
        "linemill: p/linemill.toml and --config are two configuration files: name one\n",
    );
    check_refused(
        &project("plugin = \"x.wasm\"\nmax_retry = 1\n"),
        "linemill: configuration: p/linemill.toml, line 2: `max_retry` is no setting, did you mean `max_retries`?\n",
    );
    // Half of a component, as a build leaves it that is still at work.
    let whole = std::fs::read(plugin("sum")).expect("readable");
    let half = project("plugin = \"x.wasm\"\n").file("p/x.wasm", &whole[..whole.len() / 2]);
    let outcome = half.run();
    assert_eq!(
        (outcome.exit, text(&outcome.stdout).as_str()),
        (Some(2), "")
    );
    assert!(
        outcome.stderr.starts_with("linemill: "),
        "{}",
        outcome.stderr
    );
    // No file of the case at all.
    let folder = cases("unruly", &[("a.txt/b", "")]);
    let outcome = folder.run();
    assert_eq!(outcome.exit, Some(2));
    assert!(
        outcome
            .stderr
            .contains("could not read the case cases/a.txt: Is a directory"),
        "{}",
        outcome.stderr
    );
}

/// A project is tested from anywhere, and what is set where it is tested changes nothing.
#[test]
fn a_project_stands_for_itself() {
    let case = "--- input\n!setting a\n!setting b\n--- output\nfile\ncase\n";
    let config = "plugin = \"bin/x.wasm\"\nout_url = \"s3://nowhere/out\"\ncompletion = \"delete\"\nplugin_compiled = \"none\"\nmax_exec_time_ms = 1\n[settings]\na = \"file\"\nb = \"file\"\n";
    let project = |words: &[&str]| {
        let component = std::fs::read(plugin("unruly")).expect("readable");
        let mut run = Case::command(["test"])
            .file("p/bin/x.wasm", component)
            .file("p/linemill.toml", config);
        run = run.file(
            "p/cases/a.txt",
            format!("--- settings\nb = \"case\"\n{case}"),
        );
        run = run
            .env("LINEMILL_SETTINGS_A", "env")
            .env("LINEMILL_CONFIG", "nowhere.toml");
        words.iter().fold(run, |run, word| run.source(word))
    };
    let said = "ok      p/cases/a.txt\n1 passed, 0 failed\n";
    check(&project(&["p"]), 0, said);
    check(&project(&["p/linemill.toml"]), 0, said);
    // What another file says is relative to that one.
    let moved = config.replace("bin/x.wasm", "../p/bin/x.wasm");
    let moved = project(&["p", "--config", "other/prod.toml"]).file("other/prod.toml", moved);
    check(&moved, 0, said);
    let outcome = project(&["p", "--set", "settings.a=flag"]).run();
    assert!(text(&outcome.stdout).contains("    - file\n    + flag\n"));
}

#[test]
fn limits_and_settings_of_a_case_hold() {
    let spin = "--- config\nfuel_base = 1000000\nfuel_per_byte = 0\n--- input\na\n!spin\n--- output\na\n--- faults\n2 corrupt: out of fuel: ...\n";
    let flood = "--- config\noutput_bytes_max = 50\n--- input\n!flood 100\nb\n--- output\nb\n--- faults\n1 corrupt: contract violated: ...\n";
    let long = "--- config\nline_bytes_max = 5\n--- input escaped\n12345678\\r\nb\n--- output\nb\n--- faults\n1 corrupt\n";
    let retry = "--- config\nmax_retries = 1\n--- request\nattempt = 1\n--- input\n!retry r\n--- faults\n1 failed: r\n";
    let files = [
        ("fuel.txt", spin),
        ("long.txt", long),
        ("output.txt", flood),
        ("retry.txt", retry),
    ];
    check(
        &cases("unruly", &files),
        0,
        "ok      cases/fuel.txt\nok      cases/long.txt\nok      cases/output.txt\nok      cases/retry.txt\n4 passed, 0 failed\n",
    );
}

#[test]
fn a_plugin_that_always_traps_fails_its_cases() {
    let lines = "!panic with \u{1b}[31mred\n".repeat(100);
    let case = cases("unruly", &[("traps.txt", &format!("--- input\n{lines}"))]);
    let outcome = case.args(["--set", "batch_lines=1"]).run();
    let said = text(&outcome.stdout);
    assert_eq!(outcome.exit, Some(1), "{said}");
    assert!(
        said.contains("the plugin is at fault, not the lines"),
        "{said}"
    );
    assert!(
        !said.contains('\u{1b}'),
        "nothing of a plugin's is a command to the terminal"
    );
}

/// Some megabytes, whose differences take some lines.
#[test]
fn a_huge_case() {
    let lines: String = (0..100_000).map(|n| format!("line number {n}\n")).collect();
    let text_of = |output: &str| format!("--- input\n{lines}--- output\n{output}");
    check(
        &cases("unruly", &[("huge.txt", &text_of(&lines))]),
        0,
        "ok      cases/huge.txt\n1 passed, 0 failed\n",
    );
    let other = lines.replace("number 77777\n", "number 7777\n");
    check(
        &cases("unruly", &[("huge.txt", &text_of(&other))]),
        1,
        "FAILED  cases/huge.txt
  output differs (cases/huge.txt:100002): - expected, + what the plugin did
    @ line 77776
      line number 77775
      line number 77776
    - line number 7777
    + line number 77777
      line number 77778
      line number 77779
0 passed, 1 failed
If what the plugin did is right, --bless makes it what is expected.
",
    );
}

/// A case reaches no server, whatever the project is granted, unless it is run with `--network`.
#[test]
fn the_network_is_out_of_reach_by_default() {
    let server = LookupServer::start();
    let text_of = |output: &str| {
        format!(
            "--- settings\nbase_url = \"{}\"\n--- input\nx\n{output}",
            server.url("/v1/")
        )
    };
    let grants = format!("[{}]", server.grant(""));
    let found = "--- output\nknown: x\n--- metrics\nby_response_code[200] = 1\n";
    let reached = cases("url-lookup", &[("a.txt", &text_of(found))]).set("grants.http", &grants);
    check(
        &reached.again().args(["--network"]),
        0,
        "ok      cases/a.txt\n1 passed, 0 failed\n",
    );
    let asked = server.counts().connections;
    let outcome = reached.run();
    let said = text(&outcome.stdout);
    assert_eq!(outcome.exit, Some(1), "{said}");
    assert!(
        said.contains("    - known: x\n") && said.contains("not granted"),
        "{said}"
    );
    assert_eq!(server.counts().connections, asked, "nobody asked it");
}
