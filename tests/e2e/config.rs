//! The configuration: a file, variables over it, flags over those; nothing unknown passes.

use serde_json::Value;

use super::support::{Case, Outcome};

/// `linemill config`, with a configuration file of this name.
fn config(name: &str, text: &str) -> Case {
    Case::command(["config"])
        .file(name, text)
        .args(["--config", name])
}

/// What `linemill config` refuses, in these words.
fn check_refused(case: Case, message: &str) {
    case.check(&format!("exit 2\nlinemill: {message}"));
}

/// The lines that it prints for these settings.
#[track_caller]
fn check_printed(case: Case, expected: &[&str]) -> Outcome {
    let outcome = case.run();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Some(0), ""));
    let printed = String::from_utf8_lossy(&outcome.stdout).into_owned();
    for line in expected {
        assert!(
            printed.lines().any(|other| other == *line),
            "no `{line}` in\n{printed}"
        );
    }
    outcome
}

#[test]
fn defaults() {
    check_printed(
        Case::command(["config"]),
        &[
            "# plugin is not set (default)",
            "# retry_url is not set (default)",
            "max_retries = 10 # default",
            "unread = \"pointer\" # default",
            "completion = \"keep\" # default",
            "ordered = true # default",
            "line_bytes_max = 16777216 # default",
            "fuel_base = 100000000 # default",
            "fuel_per_byte = 10000 # default",
            "memory_bytes_max = 268435456 # default",
            "batch_ms_max = 30000 # default",
            "trap_ratio_max = 0.5 # default",
            "trap_lines_min = 32 # default",
        ],
    );
}

const FILE: &str = "
plugin = \"x.wasm\"
out_url = \"out\"
retry_url = \"elsewhere\"
max_retries = 3
memory_bytes_max = \"64MiB\"

[settings]
color = \"green\"
size = 5

[routes]
more = \"out/more\"
";

#[test]
fn every_value_says_where_it_came_from() {
    let case = config("c.toml", FILE)
        .env("LINEMILL_MAX_RETRIES", "4")
        .env("LINEMILL_CONCURRENCY", "7")
        .env("LINEMILL_SETTINGS_SIZE", "6")
        .env("LINEMILL_ROUTES_OTHER__ONE", "out/other")
        .args([
            "--concurrency",
            "8",
            "--set",
            "batch_lines=100",
            "--setting",
            "shape=round",
        ]);
    let lines = [
        "plugin = \"x.wasm\" # file c.toml",
        "destination_url = \"out/destination\" # file c.toml",
        "retry_url = \"elsewhere\" # file c.toml",
        "max_retries = 4 # env LINEMILL_MAX_RETRIES",
        "concurrency = 8 # flag --concurrency",
        "batch_lines = 100 # flag --set",
        "memory_bytes_max = 67108864 # file c.toml",
        "color = \"green\" # file c.toml",
        "size = \"6\" # env LINEMILL_SETTINGS_SIZE",
        "shape = \"round\" # flag --setting",
        "more = \"out/more\" # file c.toml",
        "other-one = \"out/other\" # env LINEMILL_ROUTES_OTHER__ONE",
    ];
    check_printed(case.clone(), &lines);
    let outcome = case.args(["--json"]).run();
    let json: Value = serde_json::from_slice(&outcome.stdout).expect("JSON");
    for (name, value, origin) in [
        ("max_retries", Value::from(4), "env LINEMILL_MAX_RETRIES"),
        ("concurrency", Value::from(8), "flag --concurrency"),
        (
            "settings.size",
            Value::from("6"),
            "env LINEMILL_SETTINGS_SIZE",
        ),
        ("completion", Value::from("keep"), "default"),
        ("move_url", Value::Null, "default"),
    ] {
        assert_eq!(
            (&json[name]["value"], &json[name]["origin"]),
            (&value, &Value::from(origin))
        );
    }
}

#[test]
fn what_is_printed_can_be_read_back() {
    let case = config("c.toml", FILE);
    let first = case.run();
    let printed = String::from_utf8_lossy(&first.stdout).into_owned();
    let again = config("printed.toml", &printed).run();
    assert_eq!(again.exit, Some(0), "{}", again.stderr);
    let values = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        let set = text.lines().filter(|line| !line.starts_with('#'));
        set.map(|line| line.split(" # ").next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(values(&first.stdout), values(&again.stdout));
}

#[test]
fn a_file_may_be_toml_or_json() {
    let expected = [
        "max_retries = 3 # file FILE",
        "color = \"green\" # file FILE",
    ];
    let json = r#"{"max_retries": 3, "settings": {"color": "green"}}"#;
    let toml = "max_retries = 3\n[settings]\ncolor = 'green'\n";
    for (name, text) in [
        ("c.json", json),
        ("c.toml", toml),
        ("c.conf", json),
        ("c", toml),
    ] {
        let expected = expected.map(|line| line.replace("FILE", name));
        check_printed(config(name, text), &expected.each_ref().map(String::as_str));
    }
    let named = Case::command(["config"])
        .file("c.toml", toml)
        .env("LINEMILL_CONFIG", "c.toml");
    check_printed(named, &["max_retries = 3 # file c.toml"]);
}

#[test]
fn the_forerunners_names_are_known() {
    let file = "
        DeadlineReductionMs = 1
        MaxRetries = 2
        Concurrency = 3
        DestinationURL = \"d\"
        RetryURL = \"r\"
        FailedURL = \"f\"
        CorruptionURL = \"c\"
        MaxExecTimeMs = 4
        BatchSize = 5
    ";
    check_printed(
        config("c.toml", file),
        &[
            "deadline_reduction_ms = 1 # file c.toml",
            "max_retries = 2 # file c.toml",
            "concurrency = 3 # file c.toml",
            "destination_url = \"d\" # file c.toml",
            "retry_url = \"r\" # file c.toml",
            "failed_url = \"f\" # file c.toml",
            "corruption_url = \"c\" # file c.toml",
            "max_exec_time_ms = 4 # file c.toml",
            "batch_lines = 5 # file c.toml",
        ],
    );
    check_printed(
        Case::command(["config"]).args(["--set", "MaxRetries=6"]),
        &["max_retries = 6 # flag --set"],
    );
    check_refused(
        config("c.toml", "MaxRetries = 1\nmax_retries = 1\n"),
        "configuration: c.toml, line 2: `max_retries` and `MaxRetries` are the same setting: keep one",
    );
}

#[test]
fn a_name_that_is_none_is_refused_with_a_suggestion() {
    let config_of = |line: &str| config("c.toml", line);
    check_refused(
        config_of("max_retries = 3\nconcurency = 4\n"),
        "configuration: c.toml, line 2: `concurency` is no setting, did you mean `concurrency`?",
    );
    check_refused(
        config_of("Zebra = 4\n"),
        "configuration: c.toml, line 1: `Zebra` is no setting: `linemill config` prints those there are",
    );
    check_refused(
        config_of("DestinationUrl = \"d\"\n"),
        "configuration: c.toml, line 1: `DestinationUrl` is no setting, did you mean `DestinationURL`?",
    );
    check_refused(
        config_of("zzz = 4\n"),
        "configuration: c.toml, line 1: `zzz` is no setting: `linemill config` prints those there are",
    );
    check_refused(
        Case::command(["config"]).env("LINEMILL_MAX_RETRY", "1"),
        "configuration: environment: `LINEMILL_MAX_RETRY` is no setting, did you mean `LINEMILL_MAX_RETRIES`?",
    );
    check_refused(
        Case::command(["config"]).args(["--set", "batch_line=1"]),
        "configuration: flag --set: `batch_line` is no setting, did you mean `batch_lines`?",
    );
    // The same for a run, which then reads nothing.
    Case::new("sum")
        .input("a.txt", "1\n")
        .set("max_retrys", 1)
        .check(
            "
        exit 2
        linemill: configuration: flag --set: `max_retrys` is no setting, did you mean `max_retries`?
        ",
        );
}

#[test]
fn a_value_that_is_none_is_refused() {
    for (setting, message) in [
        (
            "max_retries=many",
            "`max_retries` must be a whole number, not `many`",
        ),
        (
            "max_retries=-1",
            "`max_retries` must be a whole number, not `-1`",
        ),
        (
            "max_retries=99999999999",
            "`max_retries` is too large: 99999999999",
        ),
        (
            "concurrency=0",
            "`concurrency` must be from 1 to 1000, not 0",
        ),
        (
            "concurrency=1001",
            "`concurrency` must be from 1 to 1000, not 1001",
        ),
        (
            "memory_bytes_max=5 potatoes",
            "`memory_bytes_max` must be a size such as 4096, 64k or 256MiB, not `5 potatoes`",
        ),
        (
            "memory_bytes_max=1k",
            "`memory_bytes_max` must be from 65536 to 4294967296, not 1024",
        ),
        (
            "trap_ratio_max=1.5",
            "`trap_ratio_max` must be from 0 to 1, not 1.5",
        ),
        ("ordered=yes", "`ordered` must be true or false, not `yes`"),
        (
            "routes.a b=x",
            "`routes.a b` must consist of letters, digits, `_` and `-`: rename the route",
        ),
        (
            "completion=move",
            "`move_url` is not set: `completion = \"move\"` needs it",
        ),
        (
            "retry_url=http://host/x",
            "`retry_url` cannot be an http URL, those are only read: set a URL or path to write to",
        ),
        (
            "retry_url=-",
            "`retry_url` cannot be `-`, only `destination_url` can: set a URL or path",
        ),
        (
            "retry_url=x/$SourceNam",
            "`retry_url` is no valid template `x/$SourceNam`: unknown macro `$SourceNam`, did you mean `$SourceName`?",
        ),
        (
            "retry_url=x/$SourceName-$UUID",
            "`retry_url` must end in `$SourcePath` or `$SourceName`, or have neither, since the name of a retry tells its attempt",
        ),
    ] {
        let outcome = Case::command(["config"]).args(["--set", setting]).run();
        assert_eq!(outcome.exit, Some(2), "{setting}");
        let said = outcome.stderr.trim_end();
        // What is missing was set nowhere.
        let place = if setting == "completion=move" {
            ""
        } else {
            "flag --set: "
        };
        assert_eq!(said, format!("linemill: configuration: {place}{message}"));
    }
    let outcome = Case::command(["config"]).args(["--unread", "copied"]).run();
    assert_eq!(outcome.exit, Some(2));
    for word in ["--unread", "copied", "pointer", "copy"] {
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let file = "max_retries = \"x\"\nconcurrency = 4\nnothing = 1\n";
    check_refused(
        config("c.toml", file),
        "configuration: 2 problems
  - c.toml, line 1: `max_retries` must be a whole number, not `x`
  - c.toml, line 3: `nothing` is no setting: `linemill config` prints those there are",
    );
    let run = |arguments| {
        Case::new("sum")
            .without_out()
            .input("a.txt", "1\n")
            .args(arguments)
    };
    run(["--destination", "d", "--retry", "r"]).check(
        "
        exit 2
        linemill: configuration: 2 problems
          - `failed_url` is not set, lines that need it would have nowhere to go: set `out_url`, or `failed_url`
          - `corruption_url` is not set, lines that need it would have nowhere to go: set `out_url`, or `corruption_url`
        ",
    );
    run(["--destination", "d", "--retry", "d/"]).check(
        "
        exit 2
        linemill: configuration: flag --retry: `retry_url` is the same as `destination_url`, objects of both would have one name: set another
        ",
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    check_refused(
        Case::command(["config", "--config", "no.toml"]),
        "cannot read the configuration file no.toml: No such file or directory (os error 2)",
    );
    for (name, text, line) in [
        ("c.toml", "max_retries = 1\nconcurrency 2\n", "line 2"),
        ("c.toml", "max_retries = 1\nmax_retries = 2\n", "line 2"),
        ("c.json", "{\"max_retries\": 1,\n\"concurrency\"}", "line 2"),
    ] {
        let outcome = config(name, text).run();
        assert_eq!(outcome.exit, Some(2));
        let place = format!("linemill: configuration: {name}, {line}: ");
        assert!(outcome.stderr.starts_with(&place), "{}", outcome.stderr);
    }
    let outcome = config("c.json", r#"{"max_retries": 1, "max_retries": 2}"#).run();
    assert_eq!(
        outcome.exit,
        Some(2),
        "twice the same: {}",
        String::from_utf8_lossy(&outcome.stdout)
    );
}

#[test]
fn secrets_are_not_printed() {
    let file = "
        destination_url = \"s3://me:secret1@bucket/x\"
        plugin = \"https://host/plugin.wasm?X-Amz-Signature=secret2\"
        [settings]
        api_token = \"secret3\"
        db-password = \"secret4\"
    ";
    for flag in ["--quiet", "--json"] {
        let case = config("c.toml", file);
        let outcome = match flag {
            "--json" => case.args(["--json"]).run(),
            _ => case.run(),
        };
        let printed = String::from_utf8_lossy(&outcome.stdout).into_owned();
        assert_eq!(outcome.exit, Some(0));
        assert!(!printed.contains("secret"), "{printed}");
        assert!(
            printed.contains("api_token") && printed.contains("***"),
            "{printed}"
        );
    }
}

#[test]
fn an_empty_value_takes_back_what_was_set() {
    let case = config(
        "c.toml",
        "out_url = \"out\"\nbatch_lines = 5\n[routes]\nmore = \"m\"\n",
    )
    .args([
        "--set",
        "batch_lines=",
        "--set",
        "out_url=",
        "--route",
        "more=",
    ]);
    let outcome = check_printed(
        case,
        &[
            "# batch_lines is not set (flag --set)",
            "# out_url is not set (flag --set)",
        ],
    );
    assert!(!String::from_utf8_lossy(&outcome.stdout).contains("more"));
}

#[test]
fn a_run_takes_its_settings_from_everywhere() {
    let case = Case::command(["run", "--quiet"])
        .file(
            "c.toml",
            "out_url = \"out\"\n[settings]\ncolor = \"green\"\nsize = 5\n",
        )
        .env("LINEMILL_CONFIG", "c.toml")
        .env(
            "LINEMILL_PLUGIN",
            &super::support::plugin("unruly").to_string_lossy(),
        )
        .env("LINEMILL_SETTINGS_SIZE", "6")
        .args(["--setting", "shape=round"])
        .input_lines(
            "a.txt",
            [
                "!setting color",
                "!setting size",
                "!setting shape",
                "!setting none",
            ],
        );
    case.check(
        "
        exit 0
        ok: loaded 4, processed 4
        out/destination/a.txt: green,6,round,(not set)
        ",
    );
}

#[test]
fn sizes_have_units() {
    for (text, bytes) in [
        ("4096", 4096),
        ("64k", 65_536),
        ("64KiB", 65_536),
        ("64 kb", 64_000),
        ("1MiB", 1 << 20),
        ("1GB", 1_000_000_000),
        ("1_000_000", 1_000_000),
    ] {
        let line = format!("line_bytes_max = {bytes} # flag --set");
        let setting = format!("line_bytes_max={text}");
        check_printed(Case::command(["config", "--set", &setting]), &[&line]);
    }
}
