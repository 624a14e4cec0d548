//! What the contract promises beside the lines: attempts, batches, and what is reported.

use super::support::{Case, Outcome, plugin};

/// The digest of the plugin that ran.
fn digest(outcome: &Outcome) -> String {
    let digest = outcome.report().0["Plugin"]["Digest"].as_str();
    let digest = digest.expect("a digest").to_owned();
    let hex = digest.strip_prefix("sha256:").expect("sha256");
    assert!(
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{digest}"
    );
    digest
}

#[test]
fn a_plugin_must_have_its_digest() {
    let case = || Case::new("sum").input("a.txt", "1\n");
    let right = digest(&case().run());
    let upper = format!("sha256:{}", right["sha256:".len()..].to_uppercase());
    for pinned in [&right, &upper] {
        assert_eq!(case().set("plugin_digest", pinned).run().exit, Some(0));
    }
    let wrong = format!("sha256:{}", "0".repeat(64));
    let checked = Case::command(["check"]).args([&plugin("sum").to_string_lossy()]);
    for case in [case(), checked] {
        let outcome = case.set("plugin_digest", &wrong).run();
        assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&wrong), "{}", outcome.stderr);
        assert!(outcome.stderr.contains(&right), "{}", outcome.stderr);
        assert!(outcome.new_files().is_empty());
    }
    // It is compared before anything else is done with the bytes.
    let outcome = Case::with_plugin("plugin.wasm")
        .file("plugin.wasm", "no component")
        .input("a.txt", "1\n")
        .set("plugin_digest", &wrong)
        .run();
    assert!(outcome.stderr.contains(&wrong), "{}", outcome.stderr);
    case().set("plugin_digest", "sha256:12").check(
        "
        exit 2
        linemill: configuration: flag --set: `plugin_digest` must be `sha256:` and 64 hexadecimal digits, lower case
        ",
    );
}

#[test]
fn the_report_says_which_plugin_ran() {
    let copy = |name: &str, case: &Case| {
        let bytes = std::fs::read(plugin(name)).expect("the plugin can be read");
        std::fs::write(case.dir().join("my-plugin-1.2.wasm"), bytes).expect("there is room");
    };
    let case = Case::with_plugin("my-plugin-1.2.wasm");
    copy("sum", &case);
    let first = case.again().input("a.txt", "1\n").run();
    copy("unruly", &case);
    let second = case.again().input("b.txt", "1\n").run();
    assert_ne!(
        digest(&first),
        digest(&second),
        "the file is another one now"
    );
    for outcome in [first, second] {
        assert_eq!(outcome.report().0["Plugin"]["Name"], "my-plugin-1.2");
    }
}

#[test]
fn a_report_has_all_its_fields() {
    let outcome = Case::new("unruly")
        .input_lines(
            "a.txt",
            [
                "1",
                "!corrupt c",
                "!retry r",
                "!metric lines  1",
                "!route more x",
            ],
        )
        .args(["--route", "more=out/more"])
        .run();
    let report = &outcome.report().0;
    let fields: Vec<_> = report
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let mut expected = vec![
        "RequestId",
        "Status",
        "Errors",
        "StartTime",
        "RuntimeMs",
        "SourceURL",
        "Attempt",
        "DestinationURL",
        "RetryURL",
        "CorruptionURL",
        "Routes",
        "Loaded",
        "Processed",
        "CorruptionErrors",
        "RetryErrors",
        "Failed",
        "PartialRetries",
        "Unread",
        "Batches",
        "Bytes",
        "Traps",
        "Plugin",
        "Fuel",
        "Metrics",
        "Latency",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
    assert_eq!(report["SourceURL"], "a.txt");
    assert_eq!(report["Routes"]["more"], "out/more/a.txt");
    let time = report["StartTime"].as_str().expect("a time");
    assert!(
        time.len() >= 20 && time.as_bytes()[10] == b'T' && time.ends_with('Z'),
        "{time}"
    );
    let id = outcome.report().text("RequestId").expect("an id");
    assert_eq!(id.len(), 36, "{id}");
    for name in ["RuntimeMs", "Batches", "Traps", "Fuel"] {
        outcome.report().count(name);
    }
    let latency = &report["Latency"];
    assert_eq!(latency["Count"], report["Batches"]);
    for name in ["Min", "Max", "Mean", "P50", "P95", "P99"] {
        assert!(latency[name].is_f64(), "{latency}");
    }
}

#[test]
fn a_report_keeps_twenty_errors() {
    let lines: Vec<String> = (0..60)
        .map(|n| format!("!corrupt reason {}", n % 30))
        .collect();
    let outcome = Case::new("unruly").input_lines("a.txt", lines).run();
    let errors = outcome.report().errors();
    assert_eq!(errors.len(), 21);
    for (n, (error, count)) in errors[..20].iter().enumerate() {
        assert_eq!((error.as_str(), *count), (&*format!("reason {n}"), 2));
    }
    assert_eq!(errors[20], ("others, not kept".to_owned(), 20));
}

#[test]
fn errors_are_cut_between_characters() {
    let reason = "é€😀".repeat(200);
    let outcome = Case::new("unruly")
        .input_lines("a.txt", [format!("!corrupt {reason}")])
        .run();
    let (error, _) = &outcome.report().errors()[0];
    assert_eq!(*error, reason.chars().take(256).collect::<String>());
}

#[test]
fn lines_are_retried_until_their_attempts_are_used_up() {
    let lines = [
        "good",
        "!retry not yet\r",
        "!rest !rest less",
        "!retry no, never",
    ];
    let case = Case::new("unruly")
        .set("max_retries", 2)
        .set("completion", "delete");
    case.again().input("x/a.txt", lines.join("\n")).check(
        "
        exit 1
        retry: loaded 4, processed 1, retried 3, partial 1
        removed x/a.txt
        out/destination/x/a.txt: good
        out/retry/x/a-retry01.txt: !retry not yet\\r,!rest less,!retry no, never
          2 retry: not yet
          3 partial: part is done
          4 retry: no, never
        ",
    );
    let second = case.again().source("out/retry/x/a-retry01.txt").run();
    assert_eq!(second.report().count("Attempt"), 1);
    assert_eq!(
        second.lines("out/retry/x/a-retry02.txt"),
        ["!retry not yet\r", "less", "!retry no, never"]
    );
    assert!(!second.after.contains_key("out/retry/x/a-retry01.txt"));
    let third = case.again().source("out/retry/x/a-retry02.txt").run();
    let report = third.report();
    assert_eq!((third.exit, report.status()), (Some(1), "failed"));
    assert_eq!((report.count("Processed"), report.count("Failed")), (1, 2));
    let failed = report.text("FailedURL").expect("a failed object");
    assert!(
        failed.ends_with("/a-retry03.txt") && failed.starts_with("out/failed/"),
        "{failed}"
    );
    assert_eq!(
        third.lines(failed),
        ["!retry not yet\r", "!retry no, never"]
    );
}

#[test]
fn no_retries_are_none() {
    Case::new("unruly")
        .set("max_retries", 0)
        .input_lines("a.txt", ["!retry x", "2"])
        .check(
            "
            exit 1
            failed: loaded 2, processed 1, failed 1
            out/destination/a.txt: 2
            out/failed/a-retry01.txt: !retry x
              1 failed: x
            ",
        );
}

#[test]
fn batches_are_whole_lines() {
    // Ten lines of ten bytes.
    let lines = ["123456789"; 10];
    for (setting, value, batches) in [
        ("batch_lines", 1, 10),
        ("batch_lines", 3, 4),
        ("batch_lines", 10, 1),
        ("batch_lines", 1000, 1),
        ("batch_bytes", 1, 10),
        ("batch_bytes", 10, 10),
        ("batch_bytes", 19, 10),
        ("batch_bytes", 20, 5),
        ("batch_bytes", 39, 4),
        ("batch_bytes", 100, 1),
    ] {
        let outcome = Case::new("unruly")
            .set(setting, value)
            .input_lines("a.txt", lines)
            .run();
        assert_eq!(
            outcome.report().count("Batches"),
            batches,
            "{setting} {value}"
        );
        assert_eq!(outcome.lines("out/destination/a.txt"), lines);
    }
    for value in [1, 64, 1 << 20] {
        let outcome = Case::new("unruly")
            .set("batch_bytes_max", value)
            .input_lines("a.txt", lines)
            .run();
        assert_eq!(outcome.lines("out/destination/a.txt"), lines);
    }
}
