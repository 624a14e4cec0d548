//! Failure capsules: every way to fail is kept as it was, and comes again at the same fuel.

use std::time::Instant;

use serde_json::Value;

use super::faults::unruly;
use super::kill::Random;
use super::support::{Case, LookupServer, Outcome, Served, plugin};

/// Capsules beside an object.
pub(crate) const CORRUPT: &str = "out/corruption/a.txt.capsules.ndjson";
pub(crate) const RETRIED: &str = "out/retry/a-retry01.txt.capsules.ndjson";

/// Each fails alone; some ask the host for something that is different each time.
const WAYS: [&str; 17] = [
    "!panic with ünicode {N}",
    "!trap {N}",
    "!exit 1",
    "!spin {N}",
    "!recurse {N}",
    "!grow {N}",
    "!fault-range {N}",
    "!fault-twice {N}",
    "!attempted-beyond {N}",
    "!metric-name {N}",
    "!flood 9000",
    "!tell context",
    "!tell setting name",
    "!tell remaining",
    "!tell clock",
    "!tell ticks",
    "!tell dice",
];

/// Failures within limits that make them quick.
fn failing(lines: impl IntoIterator<Item = String>) -> Case {
    unruly(lines)
        .set("capsules", "traps")
        .set("trap_ratio_max", 1)
        .set("fuel_base", 2_000_000)
        .set("memory_bytes_max", "16MiB")
        .set("output_bytes_max", 8000)
        .setting("name", "of a setting")
        .args(["--max-exec-time-ms", "600000"])
}

/// A hundred lines that fail, each after nine that do not.
fn hundred() -> Vec<String> {
    let poison = |n: usize| WAYS[n % WAYS.len()].replace("{N}", &n.to_string());
    let line = |n: usize| match n % 10 {
        9 => poison(n / 10),
        _ => format!("line {n}"),
    };
    (0..1000).map(line).collect()
}

/// Replays capsules with the plugin that they are of; gives the accounts.
#[track_caller]
pub(crate) fn accounts(case: &Case, object: &str) -> (Outcome, Vec<Value>) {
    accounts_of(case, "unruly", object)
}

/// The same for another plugin.
#[track_caller]
fn accounts_of(case: &Case, name: &str, object: &str) -> (Outcome, Vec<Value>) {
    let plugin = plugin(name).display().to_string();
    let words = ["replay", "--json", "--plugin", &plugin, object];
    let outcome = case.command_here(words).run();
    let stdout = String::from_utf8_lossy(&outcome.stdout);
    let accounts = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    let accounts = accounts.collect();
    (outcome, accounts)
}

/// So many failures are kept there, and each comes again.
#[track_caller]
fn check_reproduced(case: &Case, object: &str, count: usize) -> Vec<Value> {
    let (outcome, accounts) = accounts(case, object);
    for account in &accounts {
        assert_eq!(account["Verdict"], "reproduced", "{account}");
        assert_eq!(account["Got"], account["Expected"]);
        assert!(account["Got"]["Fuel"].as_u64() > Some(0), "{account}");
        assert_eq!(account["Diverged"], Value::Null, "{account}");
    }
    assert_eq!(accounts.len(), count, "{}", outcome.stderr_start());
    assert_eq!(outcome.exit, Some(0));
    accounts
}

fn numbers(accounts: &[Value]) -> Vec<u64> {
    let line = |account: &Value| account["Line"].as_u64().expect("a number");
    let mut numbers: Vec<_> = accounts.iter().map(line).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn a_hundred_traps_of_a_hundred_come_again_at_the_same_fuel() {
    for (batch_lines, concurrency, ordered) in [("7", "4", "true"), ("1000", "1", "false")] {
        let outcome = failing(hundred())
            .set("batch_lines", batch_lines)
            .set("concurrency", concurrency)
            .set("ordered", ordered)
            .run();
        assert_eq!(outcome.report().count("CorruptionErrors"), 100);
        assert_eq!(outcome.report().0["Capsules"]["Kept"], 100);
        let accounts = check_reproduced(&outcome.case, CORRUPT, 100);
        let expected: Vec<u64> = (1..=100).map(|n| n * 10).collect();
        assert_eq!(numbers(&accounts), expected);
    }
}

#[test]
fn capsules_are_off_unless_asked_for() {
    unruly(["!trap", "good"]).check(
        "
        exit 1
        corrupted: loaded 2, processed 1, corrupted 1
        out/corruption/a.txt: !trap
          1 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
        out/destination/a.txt: good
        ",
    );
}

#[test]
fn of_lines_that_the_plugin_blames_only_when_asked_for() {
    let lines = [
        "good",
        "!corrupt c",
        "!retry r",
        "!rest left",
        "!trap",
        "!fail-corrupt no",
    ];
    let case = |mode| unruly(lines).set("batch_lines", 5).set("capsules", mode);
    let outcome = case("traps").run();
    check_reproduced(&outcome.case, CORRUPT, 1);
    assert!(!outcome.after.contains_key(RETRIED));

    let outcome = case("faults").run();
    // The trap comes last, as its line does.
    let kinds = |accounts: &[Value]| {
        let kind = |account: &Value| account["Expected"]["Kind"].as_str().map(str::to_owned);
        accounts
            .iter()
            .filter_map(kind)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let corrupt = check_reproduced(&outcome.case, CORRUPT, 3);
    assert_eq!(numbers(&corrupt), [2, 5, 6]);
    assert_eq!(kinds(&corrupt), "corrupt, call failed, corrupt, trap");
    let retried = check_reproduced(&outcome.case, RETRIED, 2);
    assert_eq!(numbers(&retried), [3, 4]);
    assert_eq!(kinds(&retried), "retry, retry");
}

#[test]
fn attempts_that_are_used_up_have_theirs_beside_the_failed() {
    let outcome = Case::new("unruly")
        .input_lines("a-retry01.txt", ["!retry r"])
        .set("capsules", "faults")
        .set("max_retries", 1)
        .run();
    let object = "out/failed/a-retry02.txt.capsules.ndjson";
    check_reproduced(&outcome.case, object, 1);
}

/// No line is at fault: all of them together fill the memory.
#[test]
fn a_batch_that_traps_without_a_line_that_does() {
    let outcome = unruly(["!hoard 3"; 8])
        .set("capsules", "traps")
        .set("memory_bytes_max", "16MiB")
        .set("batch_lines", 8)
        .set("concurrency", 1)
        .run();
    assert_eq!(
        (outcome.exit, outcome.report().count("Processed")),
        (Some(0), 8)
    );
    let accounts = check_reproduced(&outcome.case, CORRUPT, 1);
    assert_eq!(accounts[0]["Expected"]["Kind"], "out of memory");
    assert_eq!(numbers(&accounts), [1]);
}

/// What only a used instance does is nothing that can be replayed, and is counted.
#[test]
fn what_depends_on_earlier_batches_is_not_kept() {
    let outcome = unruly(["!hoard 3"; 16])
        .set("capsules", "traps")
        .set("memory_bytes_max", "16MiB")
        .set("batch_lines", 2)
        .set("concurrency", 1)
        .run();
    assert_eq!(
        (outcome.exit, outcome.report().count("Processed")),
        (Some(0), 16)
    );
    assert!(outcome.report().count("Traps") > 0);
    let told = &outcome.report().0["Capsules"];
    assert_eq!(told["Kept"], 0);
    assert!(told["NotReproduced"].as_u64() > Some(0), "{told}");
    assert!(!outcome.after.contains_key(CORRUPT));
    assert!(
        outcome
            .stderr
            .contains("not seen again in a fresh instance"),
        "{}",
        outcome.stderr
    );
}

/// A line alone is judged by a fresh instance, even where batches are of one line.
#[test]
fn a_used_instance_does_not_blame_a_line() {
    let outcome = unruly(["!hoard 6"; 6])
        .set("memory_bytes_max", "16MiB")
        .set("batch_lines", 1)
        .set("concurrency", 1)
        .run();
    assert_eq!(
        (outcome.exit, outcome.report().count("Processed")),
        (Some(0), 6)
    );
    assert!(outcome.report().count("Traps") > 0);
}

#[test]
fn out_of_time_is_not_kept() {
    let outcome = unruly(["good", "!sleep 60000"])
        .set("capsules", "faults")
        .set("batch_ms_max", 200)
        .run();
    assert_eq!(outcome.report().count("RetryErrors"), 1);
    assert_eq!(outcome.report().0["Capsules"]["TimedOut"], 1);
    assert!(!outcome.after.contains_key(RETRIED));
    assert!(
        outcome.stderr.contains("cannot be replayed"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn so_many_and_so_large() {
    let lines = (0..20).map(|n| format!("!panic {n} {}", "x".repeat(n * 100)));
    let outcome = failing(lines)
        .set("capsules_max", 15)
        .set("capsule_bytes_max", "2KiB")
        .set("concurrency", 1)
        .run();
    let told = &outcome.report().0["Capsules"];
    assert_eq!(told["BeyondMax"], 5, "{told}");
    let kept = told["Kept"].as_u64().expect("a number");
    assert!((1..15).contains(&kept), "{told}");
    assert_eq!(kept + told["TooLarge"].as_u64().expect("a number"), 15);
    assert!(
        outcome.stderr.contains("more than capsules_max"),
        "{}",
        outcome.stderr
    );
    check_reproduced(&outcome.case, CORRUPT, kept as usize);
    for capsule in outcome.lines(CORRUPT) {
        assert!(capsule.len() < 2048);
    }
}

#[test]
fn a_plugin_at_fault_has_them_beside_what_is_retried() {
    let outcome = unruly(["!trap"; 100]).set("capsules", "traps").run();
    assert_eq!(outcome.report().status(), "retry|stopped");
    assert!(!outcome.after.contains_key(CORRUPT));
    let kept = outcome.report().0["Capsules"]["Kept"].as_u64();
    assert!(kept > Some(0), "{}", outcome.report().0);
    check_reproduced(&outcome.case, RETRIED, kept.unwrap_or(0) as usize);
}

#[test]
fn nothing_is_kept_of_a_request_that_fails() {
    let outcome = unruly(["!trap", "good"])
        .set("capsules", "faults")
        .setting("post", "trap")
        .run();
    assert_eq!(outcome.exit, Some(2));
    assert!(outcome.new_files().is_empty(), "{:?}", outcome.new_files());
}

#[test]
fn capsules_are_no_source() {
    let outcome = unruly(["good", "!trap"]).set("capsules", "traps").run();
    assert!(outcome.after.contains_key(CORRUPT));
    let again = outcome
        .case
        .again()
        .out("again")
        .source("out/corruption/")
        .run();
    assert_eq!(again.reports.len(), 1, "{}", again.stderr);
    assert_eq!(again.report().count("Loaded"), 1);
}

#[test]
fn secrets_are_masked_and_what_is_asked_for_is_redacted() {
    let outcome = unruly(["!panic of Jane 42"])
        .set("capsules", "traps")
        .set("capsule_redact", "line,settings,context")
        .setting("api_token", "swordfish")
        .setting("region", "Europe")
        .setting("context", "Secret 7")
        .run();
    let capsule = outcome.text(CORRUPT);
    for secret in ["swordfish", "Europe", "Jane", " 42", "Secret"] {
        assert!(!capsule.contains(secret), "{secret}: {capsule}");
    }
    let capsule: Value = serde_json::from_str(&capsule).expect("it is JSON");
    assert_eq!(capsule["settings"]["region"], "Xxxxxx");
    assert_eq!(capsule["settings"]["api_token"], "***");
    assert_eq!(capsule["masked"][0], "settings.api_token");
    assert_eq!(capsule["redacted"].as_array().map(Vec::len), Some(3));
    let message = capsule["ended"]["trap"]["message"].as_str();
    let message = message.expect("a message");
    assert!(message.starts_with("panicked at tests/guests/unruly/src/commands.rs:"));
    assert!(message.ends_with(": xx Xxxx 99"), "{message}");
    // What it was is gone: `!xxxxx xx Xxxx 99` is no command that panics.
    let (replayed, accounts) = accounts(&outcome.case, CORRUPT);
    assert_eq!(
        (replayed.exit, accounts[0]["Whole"].as_bool()),
        (Some(1), Some(false))
    );
}

#[test]
fn an_unknown_part_to_redact_is_told() {
    let outcome = unruly(["good"]).set("capsule_redact", "line,names").run();
    assert_eq!(outcome.exit, Some(2));
    assert!(
        outcome
            .stderr
            .contains("`capsule_redact` names `names`, which is no part of a capsule"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_server_keeps_them_too() {
    let case = Served::case("unruly").args(["--set", "capsules=faults"]);
    let served = Served::start(case);
    let answer = served.lines(
        "X-Linemill-Name: a.txt",
        "good\n!trap\n!tell clock\n!corrupt c\n",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let folder = served.dir().join("out/corruption");
    let objects = std::fs::read_dir(&folder).expect("lines were corrupt");
    let names = objects.map(|object| object.expect("it is listed").file_name());
    let names: Vec<_> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    let name = names.iter().find(|name| name.ends_with(".capsules.ndjson"));
    let name = name.unwrap_or_else(|| panic!("no capsules among {names:?}"));
    check_reproduced(&served.case, &format!("out/corruption/{name}"), 3);
    served.stop();
}

#[test]
fn granted_variables_are_in_it() {
    let outcome = unruly(["!tell var REGION", "!tell var API_TOKEN"])
        .set("capsules", "traps")
        .set("trap_ratio_max", 1)
        .args(["--set", "grants={\"env\":[\"REGION\",\"API_TOKEN\"]}"])
        .env("REGION", "north")
        .env("API_TOKEN", "swordfish")
        .run();
    let capsules = outcome.text(CORRUPT);
    assert!(capsules.contains("north"), "{}", outcome.stderr);
    let first: Value = serde_json::from_str(capsules.lines().next().expect("two")).expect("JSON");
    assert_eq!(first["masked"][0], "env.API_TOKEN");
    // The plugin printed the secret itself.
    assert!(!capsules.contains("swordfish"), "{capsules}");
    // The variables are not set here.
    let (_, accounts) = accounts(&outcome.case, CORRUPT);
    assert_eq!(accounts[0]["Verdict"], "reproduced", "{}", accounts[0]);
    assert_eq!(accounts[1]["Verdict"], "reproduced", "{}", accounts[1]);
}

/// `pre` hands settings on, and a panic tells them: what is hidden in one place is hidden in all.
#[test]
fn secrets_are_hidden_wherever_they_stand() {
    let outcome = unruly([
        "!tell setting api_token",
        "!tell context",
        "!tell setting url",
    ])
    .set("capsules", "traps")
    .set("trap_ratio_max", 1)
    .setting("api_token", "swordfish")
    .setting("greeting", "swordfish or not")
    .setting("url", "https://jo:hunter2@h.org/?id=1")
    .setting("context", "of swordfish")
    .run();
    let capsules = outcome.text(CORRUPT);
    for secret in ["swordfish", "hunter2"] {
        assert!(!capsules.contains(secret), "{secret}: {capsules}");
    }
    let first: Value = serde_json::from_str(capsules.lines().next().expect("three")).expect("JSON");
    assert_eq!(first["settings"]["greeting"], "*** or not");
    assert_eq!(first["settings"]["url"], "https://jo:***@h.org/?id=1");
    assert_eq!(first["context"], "b2YgKioqKioqKioq");
    let masked = ["context", "settings.api_token", "settings.context"];
    let masked: Vec<_> = masked
        .into_iter()
        .chain(["settings.greeting", "settings.url"])
        .collect();
    assert_eq!(first["masked"], serde_json::json!(masked));
    // With what is hidden said here, it is the same, and it is not shown.
    let plugin = plugin("unruly").to_string_lossy().into_owned();
    let words = [
        "replay",
        "-p",
        &plugin,
        "-s",
        "api_token=swordfish",
        "--line",
        "1",
        CORRUPT,
    ];
    let replayed = outcome.case.command_here(words).run();
    assert_eq!(replayed.exit, Some(0), "{}", replayed.stderr);
    let shown = String::from_utf8_lossy(&replayed.stdout);
    assert!(!shown.contains("swordfish"), "{shown}");
}

/// What a server answered is in the capsule: it is not asked again, and may be gone.
#[test]
fn answers_over_http_are_replayed_without_the_server() {
    let server = LookupServer::start();
    let lines = [
        "known",
        "status-404",
        "status-500",
        "status-302",
        "close",
        "break",
        "garbage",
        "hang",
        "stall",
        "known",
        "status-404",
    ];
    let outcome = Case::new("url-lookup")
        .setting("base_url", &server.url("/v1/"))
        .setting("timeout_ms", "300")
        .set(
            "grants.http",
            format!("[{}]", server.grant(r#", "path": "/v1/""#)),
        )
        .set("capsules", "faults")
        .input_lines("a.txt", lines)
        .run();
    let (corrupted, retried) = (3, 6);
    assert_eq!(outcome.report().count("CorruptionErrors"), corrupted);
    assert_eq!(outcome.report().count("RetryErrors"), retried);
    let asked = server.counts().requests;
    drop(server);
    let check = |object, count| {
        let (_, accounts) = accounts_of(&outcome.case, "url-lookup", object);
        for account in &accounts {
            assert_eq!(account["Verdict"], "reproduced", "{account}");
            assert_eq!(account["Got"], account["Expected"]);
        }
        assert_eq!(accounts.len() as u64, count);
    };
    check(CORRUPT, corrupted);
    check(RETRIED, retried);
    assert!(asked >= lines.len(), "{asked}");
}

/// An answer that is too large to be kept is said to be.
#[test]
fn an_answer_is_kept_as_far_as_it_goes() {
    let server = LookupServer::start();
    let outcome = Case::new("url-lookup")
        .setting("base_url", &server.url("/v1/"))
        .set("grants.http", format!("[{}]", server.grant("")))
        .set("capsules", "faults")
        .input_lines("a.txt", ["endless"])
        .run();
    drop(server);
    let capsule: Value = serde_json::from_str(&outcome.text(CORRUPT)).expect("it is JSON");
    assert_eq!(capsule["answers_cut"], true);
    let (_, accounts) = accounts_of(&outcome.case, "url-lookup", CORRUPT);
    assert_eq!(accounts[0]["Whole"], false);
    assert_eq!(
        accounts[0]["Got"]["Message"],
        accounts[0]["Expected"]["Message"]
    );
}

#[test]
fn what_a_server_said_can_be_redacted() {
    let server = LookupServer::start();
    let outcome = Case::new("url-lookup")
        .setting("base_url", &server.url("/v1/"))
        .set("grants.http", format!("[{}]", server.grant("")))
        .set("capsules", "faults")
        .set("capsule_redact", "all")
        .input_lines("a.txt", ["status-404"])
        .run();
    drop(server);
    let capsule: Value = serde_json::from_str(&outcome.text(CORRUPT)).expect("it is JSON");
    let url = capsule["answers"][1]["answer"]["http"]["url"].as_str();
    let url = url.unwrap_or_else(|| panic!("{capsule}"));
    assert!(url.ends_with("/x9/xxxxxx-999"), "{url}");
    // What `pre` said is hidden too, so that the plugin cannot do what it did.
    let (_, accounts) = accounts_of(&outcome.case, "url-lookup", CORRUPT);
    assert_eq!(accounts[0]["Whole"], false);
}

/// Killed at any moment, a run leaves all capsules whole, or none.
#[test]
fn a_killed_run_leaves_whole_capsules_or_none() {
    let start = Instant::now();
    let whole = failing(hundred()).run();
    let took = start.elapsed();
    let lines = whole.lines(CORRUPT).len();
    let mut random = Random(0xcab);
    for _ in 0..10 {
        let running = failing(hundred()).start();
        std::thread::sleep(took.mul_f64(random.fraction() * 1.1));
        let outcome = running.kill();
        let Some(capsules) = outcome.after.get(CORRUPT) else {
            continue;
        };
        assert_eq!(
            capsules.iter().filter(|&&byte| byte == b'\n').count(),
            lines
        );
        let shown = outcome
            .case
            .command_here(["replay", "--show", CORRUPT])
            .run();
        assert_eq!(shown.exit, Some(0), "{}", shown.stderr);
        assert!(!String::from_utf8_lossy(&shown.stdout).contains("EDITED"));
    }
}
