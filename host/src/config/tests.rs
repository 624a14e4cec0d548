//! Tests of the settings, their layers and how they are printed.

use std::fmt::Write;
use std::path::Path;

use super::*;

/// Layers from lines of text: `file NAME: CONTENT` (`;` for a new line), `env NAME=VALUE`,
/// `set NAME=VALUE`.
fn layers(text: &str) -> Result<Layers, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let mut layers = Layers::new();
    let mut variables = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (kind, rest) = line.split_once(' ').unwrap();
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        match kind {
            "file" => {
                let (name, content) = rest.split_once(": ").unwrap();
                let path = folder.path().join(name);
                std::fs::write(&path, content.replace(';', "\n")).unwrap();
                layers.file(&path)?;
            }
            "env" => variables.push(pair(rest)),
            "set" => {
                let (name, value) = pair(rest);
                layers.set(&name, &value, Origin::Flag("--set".to_owned()))?;
            }
            _ => panic!("{line}"),
        }
    }
    layers.env(variables)?;
    Ok(layers)
}

fn effective(text: &str) -> Effective {
    layers(text)
        .and_then(|layers| layers.finish())
        .unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The settings that are not as by default, `name=value` each.
fn changed(text: &str) -> String {
    let with = effective(text).to_json();
    let without = effective("").to_json();
    let mut changed = String::new();
    for (name, row) in with.as_object().unwrap() {
        if without
            .get(name)
            .is_none_or(|default| default["value"] != row["value"])
        {
            write!(changed, "{name}={} ", row["value"]).unwrap();
        }
    }
    changed.replace('"', "").trim_end().to_owned()
}

fn error(text: &str) -> String {
    let error = layers(text)
        .and_then(|layers| layers.finish())
        .unwrap_err()
        .to_string();
    let error = error
        .strip_prefix("configuration: ")
        .unwrap_or(&error)
        .to_owned();
    // Folders of tests have random names.
    let words = error.split(' ').map(|word| match word.rsplit_once('/') {
        Some((folder, name)) if Path::new(folder).is_absolute() => name,
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Each block of `table` is some lines of input and, after `=>`, what must come of it.
fn check(table: &str, answer: impl Fn(&str) -> String) {
    let mut input = String::new();
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("=>") {
            None => input += &format!("{line}\n"),
            Some(expected) => {
                assert_eq!(answer(&input), expected.trim(), "{input}");
                input.clear();
            }
        }
    }
    assert!(input.is_empty());
}

#[test]
fn defaults_are_valid() {
    Config::default().check().unwrap();
    assert_eq!(effective("").config, Config::default());
    assert_eq!(changed(""), "");
}

#[test]
fn values() {
    let table = r#"
        file a.toml: max_retries = 3;ordered = false;unread = "copy";completion = "delete";trap_ratio_max = 1
        => completion=delete max_retries=3 ordered=false trap_ratio_max=1.0 unread=copy
        file a.json: {"max_retries": 3, "ordered": "false", "trap_ratio_max": "0.25"}
        => max_retries=3 ordered=false trap_ratio_max=0.25
        file a.conf: {"max_retries": "3"}
        => max_retries=3
        file noext: max_retries = "3"
        => max_retries=3
        env LINEMILL_BATCH_BYTES=64k
        env LINEMILL_MEMORY_BYTES_MAX=512MiB
        env LINEMILL_LINE_BYTES_MAX= 5 MB
        set output_bytes_max=1_000
        => batch_bytes=65536 line_bytes_max=5000000 memory_bytes_max=536870912 output_bytes_max=1000
        file a.toml: settings = { n = 1, f = 1.0, b = true, t = "x" };[routes];big = "s3://b/x"
        => routes.big=s3://b/x settings.b=true settings.f=1.0 settings.n=1 settings.t=x
        env LINEMILL_SETTINGS_API__ID=5
        env LINEMILL_SETTINGS_A_B=x=y
        env LINEMILL_SETTINGS={"C.d": true}
        env LINEMILL_ROUTES_BIG__ONE=/x
        => routes.big-one=/x settings.C.d=true settings.a_b=x=y settings.api-id=5
        set settings.A.b=
        set routes.r=/r
        => routes.r=/r settings.A.b=
        file a.toml: DeadlineReductionMs = 1;MaxRetries = 2;Concurrency = 1000;MaxExecTimeMs = 4;BatchSize = 5
        => batch_lines=5 concurrency=1000 deadline_reduction_ms=1 max_exec_time_ms=4 max_retries=2
        set DestinationURL=/d
        set RetryURL=/r
        set FailedURL=/f
        set CorruptionURL=/c
        => corruption_url=/c destination_url=/d failed_url=/f retry_url=/r
        env LINEMILL_CONFIG=x
        env LINEMILL_LOG=x
        env LINEMILL_TEST_X=x
        env LINEMILL_BENCH_X=x
        env OTHER=x
        env LINEMILL_CACHE_DIR=/c
        => cache_dir=/c
        set out_url=s3://o/$Date/
        set failed_url=s3://f
        => corruption_url=s3://o/$Date/corruption destination_url=s3://o/$Date/destination failed_url=s3://f out_url=s3://o/$Date/ retry_url=s3://o/$Date/retry
        set out_url=file:///
        => corruption_url=file:///corruption destination_url=file:///destination failed_url=file:///failed out_url=file:/// retry_url=file:///retry
        set destination_url=-
        => destination_url=-
        set retry_url=/same
        set failed_url=/same/
        => failed_url=/same/ retry_url=/same
    "#;
    check(table, changed);
}

#[test]
fn layers_go_over_each_other() {
    let table = r#"
        set max_retries=3
        env LINEMILL_MAX_RETRIES=2
        file a.toml: MaxRetries = 1
        => max_retries=3
        env LINEMILL_MAX_RETRIES=2
        file a.toml: max_retries = 1
        => max_retries=2
        file a.toml: max_retries = 1;ordered = false
        file b.toml: MaxRetries = 2
        => max_retries=2 ordered=false
        set max_retries=3
        set max_retries=4
        => max_retries=4
        file a.toml: settings = { a = 1, b = 1, c = 1 };routes = { x = "/x", y = "/y" }
        env LINEMILL_SETTINGS_B=2
        set settings.c=3
        set routes.x=
        => routes.y=/y settings.a=1 settings.b=2 settings.c=3
        file a.toml: retry_url = "/r";batch_lines = 5;cache_dir = "/c"
        env LINEMILL_RETRY_URL=
        set batch_lines=
        set cache_dir=
        =>
    "#;
    check(table, changed);
}

#[test]
fn wrong_input() {
    let table = r#"
        file a.toml: max_retries = 3;;max_retrys = 3
        => a.toml, line 3: `max_retrys` is no setting, did you mean `max_retries`?
        file a.toml: Retries = 3
        => a.toml, line 1: `Retries` is no setting, did you mean `MaxRetries`?
        file a.toml: xyz = 3
        => a.toml, line 1: `xyz` is no setting: `linemill config` prints those there are
        file a.toml: ordered = true;[Setings];a = 1
        => a.toml, line 2: `Setings` is no setting, did you mean `settings`?
        file a.json: {"BatchSiz": 1}
        => a.json: `BatchSiz` is no setting, did you mean `BatchSize`?
        file a.toml: ordered = true;max_retries =
        => a.toml, line 2: string values must be quoted, expected literal string
        file a.json: {"max_retries": }
        => a.json, line 1: expected value
        file a.json: [1]
        => a.json, line 1: invalid type: sequence, expected an object of settings
        file a.toml: MaxRetries = 3;max_retries = 3
        => a.toml, line 2: `max_retries` and `MaxRetries` are the same setting: keep one
        file a.json: {"ordered": true, "ordered": false}
        => a.json: `ordered` is set twice: keep one
        set max_retries=3
        set MaxRetries=3
        => flag --set: `MaxRetries` and `max_retries` are the same setting: keep one
        env LINEMILL_SETTINGS_A=1
        env LINEMILL_SETTINGS={"a":2}
        => env LINEMILL_SETTINGS_A: `settings.a` is set by LINEMILL_SETTINGS too: keep one
        env LINEMILL_MAX_RETRYS=3
        => environment: `LINEMILL_MAX_RETRYS` is no setting, did you mean `LINEMILL_MAX_RETRIES`?
        env LINEMILL_SETTINGS_=3
        => environment: `LINEMILL_SETTINGS_` is no setting, did you mean `LINEMILL_SETTINGS`?
        env LINEMILL_SETTINGS=a=b
        => env LINEMILL_SETTINGS: `settings` must be a table of names and values; as text, a JSON object
        env LINEMILL_CONCURRENCY=
        => env LINEMILL_CONCURRENCY: `concurrency` must be a whole number, not an empty text
        file a.toml: concurrency = -1
        => a.toml, line 1: `concurrency` must be a whole number, not `-1`
        set max_retries=4294967296
        => flag --set: `max_retries` is too large: 4294967296
        set line_bytes_max=5TiB
        => flag --set: `line_bytes_max` must be a size such as 4096, 64k or 256MiB, not `5TiB`
        set line_bytes_max=99999999999999999999
        => flag --set: `line_bytes_max` must be a size such as 4096, 64k or 256MiB, not `99999999999999999999`
        set line_bytes_max=k
        => flag --set: `line_bytes_max` must be a size such as 4096, 64k or 256MiB, not `k`
        set trap_ratio_max=NaN
        => flag --set: `trap_ratio_max` must be a number, not `NaN`
        set ordered=yes
        => flag --set: `ordered` must be true or false, not `yes`
        set unread=never
        => flag --set: `unread` is no valid value: unknown variant `never`, expected `pointer` or `copy`
        file a.toml: plugin = 5
        => a.toml, line 1: `plugin` must be text, not `5`
        file a.toml: [settings];a = [1]
        => a.toml, line 1: `settings.a` must be text, a number, true or false, not a list
        set settings.=1
        => flag --set: `settings.` is no setting, did you mean `settings`?
    "#;
    check(table, error);
}

#[test]
fn wrong_values() {
    let table = r#"
        set concurrency=0
        => flag --set: `concurrency` must be from 1 to 1000, not 0
        env LINEMILL_CONCURRENCY=1001
        => env LINEMILL_CONCURRENCY: `concurrency` must be from 1 to 1000, not 1001
        set batch_bytes=0
        => flag --set: `batch_bytes` must be from 1 to 4294967296, not 0
        set trap_ratio_max=1.5
        => flag --set: `trap_ratio_max` must be from 0 to 1, not 1.5
        set batch_bytes=1
        set batch_lines=1
        => flag --set: `batch_lines` excludes `batch_bytes`: set only one of them
        set completion=move
        => `move_url` is not set: `completion = "move"` needs it
        set plugin_digest=sha256:abc
        => flag --set: `plugin_digest` must be `sha256:` and 64 hexadecimal digits, lower case
        set plugin_public_key=abc
        => flag --set: `plugin_public_key` must be an ed25519 key: 32 bytes as base64 or hexadecimal digits, or PEM
        set plugin_public_key=d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
        set plugin_compiled=p.cwasm
        => flag --set: `plugin_public_key` is a key for the component, which compiled code does not hold: set `plugin` too
        set plugin_compiled=s3://b/p.cwasm
        => flag --set: `plugin_compiled` must be a file of this machine, not a URL
        set canary_share=1.1
        => flag --set: `canary_share` must be from 0 to 1, not 1.1
        set canary_requests=0
        => flag --set: `canary_requests` must be from 1 to 9223372036854775807, not 0
        set canary_fault_tolerance=-0.1
        => flag --set: `canary_fault_tolerance` must be from 0 to 1, not -0.1
        set canary_fuel_tolerance=-1
        => flag --set: `canary_fuel_tolerance` must be from 0 to 1000000, not -1
        set shadow=always
        => flag --set: `shadow` is no valid value: unknown variant `always`, expected one of `off`, `first`, `only`
        set cache_dir=s3://b/c
        => flag --set: `cache_dir` must be a folder of this machine, not a URL
        set retry_url=s3://b/$SorcePath
        => flag --set: `retry_url` is no valid template `s3://b/$SorcePath`: unknown macro `$SorcePath`, did you mean `$SourcePath`?
        set retry_url=-
        => flag --set: `retry_url` cannot be `-`, only `destination_url` can: set a URL or path
        set out_url=-
        => flag --set: `out_url` cannot be `-`, only `destination_url` can: set a URL or path
        set out_url=https://h/x
        => flag --set: `out_url` cannot be an http URL, those are only read: set a URL or path to write to
        set retry_url=s3://b/$SourceName/x
        => flag --set: `retry_url` must end in `$SourcePath` or `$SourceName`, or have neither, since the name of a retry tells its attempt
        set routes.a b=/x
        => flag --set: `routes.a b` must consist of letters, digits, `_` and `-`: rename the route
        set retry_url=/x
        set corruption_url=/x/
        => flag --set: `corruption_url` is the same as `retry_url`, objects of both would have one name: set another
        set destination_url=/x
        set routes.a=/x
        => flag --set: `routes.a` is the same as `destination_url`, objects of both would have one name: set another
        set destination_url=/x
        set move_url=/x
        set completion=move
        => flag --set: `move_url` is the same as `destination_url`, objects of both would have one name: set another
    "#;
    check(table, error);
}

#[test]
fn all_problems_at_once() {
    let text = "
        file a.toml: nope = 1;ordered = 2;max_retries = 3";
    let expected = "2 problems\n  - a.toml, line 1: `nope` is no setting: `linemill config` prints \
        those there are\n  - a.toml, line 2: `ordered` must be true or false, not `2`";
    assert_eq!(error(text), expected);

    let config = Config {
        concurrency: 0,
        batch_ms_max: 0,
        ..Config::default()
    };
    let error = config.check_for_run().unwrap_err().to_string();
    let lines: Vec<_> = error.lines().collect();
    assert_eq!(lines[0], "configuration: 6 problems");
    assert_eq!(
        lines[2],
        "  - `retry_url` is not set, lines that need it would have nowhere to go: set `out_url`, or `retry_url`"
    );
    let named = [
        "plugin",
        "retry_url",
        "failed_url",
        "corruption_url",
        "concurrency",
        "batch_ms",
    ];
    for (line, name) in lines[1..].iter().zip(named) {
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn a_run_needs_somewhere_to_put_faults() {
    for plugin in ["plugin=p.wasm", "plugin_compiled=p.cwasm"] {
        let config = effective(&format!("set out_url=/o\nset {plugin}")).config;
        config.check_for_run().unwrap();
    }
}

#[test]
fn digests_are_lower_case() {
    let digest = format!("sha256:{}", "Ab".repeat(32));
    let config = effective(&format!("set plugin_digest={digest}")).config;
    assert_eq!(config.plugin_digest.unwrap(), digest.to_lowercase());
}

#[test]
fn unreadable_file() {
    let error = Layers::new().file("/nowhere/linemill.toml").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration file /nowhere/linemill.toml"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn printed_with_origins() {
    let text = r#"
        set out_url=s3://me:pw@o
        env LINEMILL_SETTINGS_DB=pg://u:pw@h/d?sslmode=on&X-Amz-Signature=abc
        env LINEMILL_SETTINGS_API__TOKEN=abc
        set settings.a b=1"#;
    let effective = effective(text);
    let toml = effective.to_string();
    let expected = [
        "# plugin is not set (default)",
        "out_url = \"s3://me:***@o\" # flag --set",
        "retry_url = \"s3://me:***@o/retry\" # flag --set",
        "max_retries = 10 # default",
        "trap_ratio_max = 0.5 # default",
        "unread = \"pointer\" # default",
        "[settings]",
        "db = \"pg://u:***@h/d?sslmode=on&X-Amz-Signature=***\" # env LINEMILL_SETTINGS_DB",
        "api-token = \"***\" # env LINEMILL_SETTINGS_API__TOKEN",
        "\"a b\" = \"1\" # flag --set",
    ];
    for line in expected {
        assert!(toml.lines().any(|l| l == line), "{line}\n{toml}");
    }
    assert!(toml.find("plugin").unwrap() < toml.find("concurrency").unwrap());

    let json = effective.to_json();
    assert_eq!(
        json["max_retries"],
        serde_json::json!({"value": 10, "origin": "default"})
    );
    assert_eq!(json["settings.api-token"]["value"], "***");
    assert_eq!(json["plugin"]["value"], serde_json::Value::Null);
}

#[test]
fn what_is_printed_can_be_read() {
    let text = "
        set settings.quote=a \"b\" \\ c\u{7f}\u{1}
        set routes.r=/r/$Date
        set batch_lines=7
        set trap_ratio_max=0.25
        set completion=delete";
    let first = effective(text);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    std::fs::write(&path, first.to_string()).unwrap();
    let second = Layers::new().file(&path).unwrap().finish().unwrap();
    assert_eq!(second.config, first.config);
}

#[test]
fn secrets() {
    let table = "
        /plain/path?sig=1
        => /plain/path?sig=1
        s3://bucket/a@b:c/key
        => s3://bucket/a@b:c/key
        https://u:p@h/x?a=1&sig=2&token=3&X-Goog-Credential=4
        => https://u:***@h/x?a=1&sig=***&token=***&X-Goog-Credential=***
        https://u:p@q@h
        => https://u:***@h
        abfss://c@acc/x
        => abfss://c@acc/x
    ";
    check(table, |text| mask_secrets(text.trim()));
}

/// Every setting has a default in the reference, as its doc comment.
#[test]
fn every_default_is_documented() {
    let source = include_str!("../config.rs");
    let table = source
        .split_once("pub struct Config {")
        .unwrap()
        .1
        .split_once("\n}\n")
        .unwrap()
        .0;
    let mut doc = String::new();
    for line in table.lines().map(str::trim) {
        match line.strip_prefix("pub ") {
            Some(field) => assert!(std::mem::take(&mut doc).contains("Default:"), "{field}"),
            None => doc += line,
        }
    }
}

#[test]
fn lists_and_what_a_server_needs() {
    let table = [
        (
            "set allowed_sources=s3://b/in, gs://",
            r"allowed_sources=[s3://b/in,gs://]",
        ),
        (
            r#"file c.toml: allowed_sources = ["s3://b/a,b"]"#,
            "allowed_sources=[s3://b/a,b]",
        ),
        (
            r#"env LINEMILL_ALLOWED_SOURCES=["s3://b/a,b"]"#,
            "allowed_sources=[s3://b/a,b]",
        ),
        ("set allowed_sources=", ""),
        (
            "set token=a\nset admin_token=b",
            "admin_token=*** token=***",
        ),
        ("set body_bytes_max=1k", "body_bytes_max=1024"),
    ];
    for (text, want) in table {
        assert_eq!(changed(text), want, "{text}");
    }
    let wrong = [
        ("set allowed_sources=ftp://h", "allowed_sources"),
        ("file c.toml: allowed_sources = [7]", "allowed_sources"),
        ("set token=a b", "token"),
        ("set token=a\nset admin_token=a", "admin_token"),
        ("set requests_max=0", "requests_max"),
        ("set idle_ms_max=0", "idle_ms_max"),
        ("set grace_ms=86400001", "grace_ms"),
    ];
    for (text, name) in wrong {
        let checked = layers(text).and_then(|layers| layers.finish());
        let error = checked.expect_err(text).to_string();
        assert!(error.contains(&format!("`{name}`")), "{text}: {error}");
    }
}
