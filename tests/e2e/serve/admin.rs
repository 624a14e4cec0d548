//! `/admin/plugin`, and `linemill plugin`.

use std::path::Path;

use crate::support::{Case, Outcome, Served, plugin};

const TOKEN: &str = "Authorization: Bearer adm1n";

/// A server whose plugin can be replaced.
fn serving() -> Served {
    let case = Case::command(["serve", "--listen", "127.0.0.1:0", "--out", "out"])
        .args(["--plugin", "plugin.wasm", "--set", "plugin_poll_ms=0"])
        .env("LINEMILL_ADMIN_TOKEN", "adm1n");
    upload(case.dir(), "unruly");
    Served::start(case)
}

/// Puts another plugin in the place of the one that is there.
pub(super) fn upload(dir: &Path, name: &str) {
    std::fs::copy(plugin(name), dir.join("new.wasm")).expect("it can be copied");
    std::fs::rename(dir.join("new.wasm"), dir.join("plugin.wasm")).expect("it can be renamed");
}

fn command<const N: usize>(served: &Served, words: [&str; N]) -> Outcome {
    let case = Case::command(["plugin"])
        .args(words)
        .args(["--server", &format!("http://{}", served.address)]);
    case.env("LINEMILL_ADMIN_TOKEN", "adm1n").start().end()
}

fn said(outcome: &Outcome) -> String {
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    String::from_utf8_lossy(&outcome.stdout).into_owned()
}

fn digest(served: &Served) -> String {
    served
        .lines("", "a\n")
        .header("linemill-plugin-digest")
        .expect("it is told")
        .to_owned()
}

#[test]
fn the_door_is_closed_without_a_token() {
    let open = Served::start(Served::case("unruly"));
    let answer = open.ask("GET /admin/plugin", TOKEN, "");
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("admin_token"), "{}", answer.text());
    let served = serving();
    for headers in ["", "Authorization: Bearer wrong"] {
        for request in [
            "GET /admin/plugin",
            "POST /admin/plugin/rollback",
            "GET /admin/nothing",
        ] {
            assert_eq!(
                served.ask(request, headers, "").status,
                401,
                "{request} {headers}"
            );
        }
    }
    assert_eq!(served.ask("GET /admin/plugin", TOKEN, "").status, 200);
    assert_eq!(
        served.ask("GET /admin/plugin/rollback", TOKEN, "").status,
        405
    );
    assert_eq!(served.ask("POST /admin/plugin/pin", TOKEN, "").status, 400);
    assert_eq!(
        served
            .ask("POST /admin/plugin/pin?digest=7", TOKEN, "")
            .status,
        409
    );
}

#[test]
fn versions_are_swapped_rolled_back_and_pinned() {
    let served = serving();
    let first = digest(&served);
    assert!(said(&command(&served, ["status"])).contains(&format!("stable     {first}")));
    let refused = command(&served, ["rollback"]);
    assert_eq!(refused.exit, Some(2));
    assert!(
        refused.stderr.contains("no version to go back to"),
        "{}",
        refused.stderr
    );
    assert_eq!(said(&command(&served, ["check"])), "nothing new\n");

    upload(served.dir(), "ndjson-filter");
    assert!(said(&command(&served, ["check"])).contains("is taken"));
    let second = digest(&served);
    assert_ne!(first, second);
    assert_eq!(
        said(&command(&served, ["rollback"])),
        format!("{first} serves\n")
    );
    assert_eq!(digest(&served), first);
    let status = said(&command(&served, ["status"]));
    assert!(
        status.contains(&format!("refused    {second}: rolled back by hand")),
        "{status}"
    );
    assert_eq!(said(&command(&served, ["check"])), "nothing new\n");

    let pinned = said(&command(&served, ["pin", &second]));
    assert!(pinned.contains("is pinned"), "{pinned}");
    command(&served, ["check"]);
    assert_eq!(digest(&served), second);
    assert_eq!(said(&command(&served, ["unpin"])), "any version is taken\n");
    let json = said(&command(&served, ["status", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["stable"]["digest"], second.as_str());

    std::fs::write(served.dir().join("plugin.wasm"), "no component").unwrap();
    let failed = command(&served, ["check"]);
    assert_eq!(failed.exit, Some(2));
    assert_eq!(digest(&served), second);
    let health = served.ask("GET /health", "", "").json();
    assert!(
        health["registry"]["last_failure"]["reason"].is_string(),
        "{health}"
    );
}

#[test]
fn a_server_that_is_none_is_told_apart() {
    let served = serving();
    let table = [
        (
            vec!["status", "--server", "http://127.0.0.1:1"],
            "does not answer",
        ),
        (vec!["status", "--server", "nowhere"], "a URL such as"),
        (
            vec!["status", "--token-file", "none"],
            "could not read the token",
        ),
    ];
    for (words, word) in table {
        let mut case = Case::command(["plugin"]).env("LINEMILL_ADMIN_TOKEN", "adm1n");
        for arg in words {
            case = case.args([arg]);
        }
        let outcome = case.start().end();
        assert_eq!(outcome.exit, Some(2));
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }
    let server = format!("http://{}", served.address);
    let outcome = Case::command(["plugin", "status", "--server", &server])
        .start()
        .end();
    assert!(
        outcome.exit == Some(2) && outcome.stderr.contains("LINEMILL_ADMIN_TOKEN"),
        "{}",
        outcome.stderr
    );
    let case = Case::command([
        "plugin",
        "status",
        "--server",
        &server,
        "--token-file",
        "token",
    ]);
    let outcome = case.file("token", "wrong\n").start().end();
    assert!(
        outcome.exit == Some(2) && outcome.stderr.contains("missing or wrong"),
        "{}",
        outcome.stderr
    );
    let case = Case::command([
        "plugin",
        "status",
        "--server",
        &server,
        "--token-file",
        "token",
    ]);
    assert_eq!(case.file("token", "adm1n\n").start().end().exit, Some(0));
}
