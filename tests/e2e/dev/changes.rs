//! What is run again, and what the page is told of it.

use serde_json::{Value, json};

use super::{case, component, get, replace, run, start, state};
use crate::support::{Case, Served};

#[test]
fn a_run_is_told_in_full() {
    let lines = "a\n!corrupt bad\n!route other to\n!trap\n!metric n k 3\n!log 1\nlast";
    let case = case("unruly", lines).args(["--route", "other=unused"]);
    let served = Served::start(case);
    let run = run(&served, 1);
    assert_eq!(
        run["sample"],
        json!({ "lines": 7, "bytes": lines.len(), "cut": false })
    );
    assert_eq!(
        (&run["report"]["Loaded"], &run["report"]["Processed"]),
        (&json!(7), &json!(5))
    );
    let told: Vec<_> = run["lines"].as_array().expect("lines").iter().collect();
    let did = |line: &&Value| (line["kind"].clone(), line["out"].clone());
    let did: Vec<_> = told.iter().map(did).collect();
    assert_eq!(did[0], (json!("processed"), json!([["", "a"]])));
    assert_eq!(did[1], (json!("corrupt"), json!([])));
    assert_eq!(did[2], (json!("processed"), json!([["other", "to"]])));
    assert_eq!(did[3].0, json!("trapped"));
    assert_eq!(did[6], (json!("processed"), json!([["", "last"]])));
    assert!(
        told.iter().all(|line| line["fuel"].as_u64() > Some(0)),
        "{told:?}"
    );
    let faults = run["faults"].as_array().expect("faults");
    let fault = |at: usize| {
        [
            &faults[at]["line"],
            &faults[at]["kind"],
            &faults[at]["text"],
        ]
    };
    assert_eq!(
        fault(0),
        [&json!(2), &json!("corrupt"), &json!("!corrupt bad")]
    );
    assert_eq!(faults[0]["reason"], "bad");
    assert_eq!(fault(1), [&json!(4), &json!("corrupt"), &json!("!trap")]);
    let outputs = run["outputs"].as_array().expect("outputs");
    let route = |name: &str| outputs.iter().find(|output| output["route"] == name);
    let shown = |name: &str| route(name).expect("it is there")["shown"].clone();
    assert_eq!(shown("other"), json!(["to"]));
    assert!(
        shown("")
            .as_array()
            .is_some_and(|lines| lines.contains(&json!("last")))
    );
    assert_eq!(run["report"]["Metrics"]["n"]["k"], 3);
    assert_eq!(run["logs"]["kept"][0]["message"], "message 0");
    let bars = run["histogram"].as_array().expect("bars").iter();
    assert_eq!(bars.filter_map(|bar| bar["count"].as_u64()).sum::<u64>(), 7);
    assert_eq!(run["fuel"]["count"], 7);
    assert_eq!(run["difference"], Value::Null);
    assert!(
        served.stop().new_files().is_empty(),
        "all of it stays in memory"
    );
}

#[test]
fn another_component_is_compared_line_by_line() {
    let served = start("sum", "1\nx\n3\n");
    let before = run(&served, 1);
    replace(served.dir(), "p.wasm", component("unruly"));
    let now = run(&served, 2);
    let difference = &now["difference"];
    assert_eq!(difference["digest"], before["plugin"]["digest"]);
    assert_ne!(difference["digest"], now["plugin"]["digest"]);
    let of = &difference["of"];
    assert_eq!(
        (&of["compared"], &of["changed"], &of["new"]),
        (&json!(3), &json!(3), &json!(0))
    );
    let second = &of["lines"][1];
    assert_eq!(
        (&second["number"], &second["text"]),
        (&json!(2), &json!("x"))
    );
    assert_eq!(
        (&second["before"]["kind"], &second["now"]["kind"]),
        (&json!("corrupt"), &json!("processed"))
    );
    assert_eq!(second["now"]["text"], "x");
    assert!(
        of["fuel_before"].as_u64() != of["fuel_now"].as_u64(),
        "{of}"
    );

    // The same lines with one more: it is new, the others are not.
    replace(served.dir(), "sample.txt", "1\nx\n3\nmore\n");
    let more = run(&served, 3);
    let of = &more["difference"]["of"];
    assert_eq!(
        (&of["compared"], &of["changed"], &of["new"]),
        (&json!(3), &json!(0), &json!(1))
    );
    assert_eq!(more["difference"]["same_sample"], false);
}

#[test]
fn a_broken_component_leaves_the_last_run() {
    let mut served = start("sum", "1\n2\n");
    run(&served, 1);
    let whole = component("unruly");
    std::fs::write(served.dir().join("p.wasm"), &whole[..whole.len() / 2]).expect("writable");
    let broken = state(&served, |state| state["state"] == "broken");
    assert_eq!(broken["run"]["number"], 1);
    let error = broken["error"].as_str().expect("it says why");
    assert!(error.contains("plugin p.wasm"), "{error}");
    served.running().wait_for_stderr("linemill: plugin p.wasm");

    std::fs::remove_file(served.dir().join("p.wasm")).expect("it is there");
    let gone = |state: &Value| {
        state["error"]
            .as_str()
            .is_some_and(|error| error.contains("is not there: build it"))
    };
    assert_eq!(state(&served, gone)["run"]["number"], 1);

    // It is whole again, and the same as in the last run: nothing is new.
    std::fs::write(served.dir().join("p.wasm"), component("sum")).expect("writable");
    let ready = state(&served, |state| state["state"] == "ready");
    assert_eq!(
        (&ready["run"]["number"], &ready["error"]),
        (&json!(1), &Value::Null)
    );

    std::fs::write(served.dir().join("p.wasm"), component("hungry")).expect("writable");
    let misfit = state(&served, |state| state["state"] == "broken");
    assert!(
        misfit["error"]
            .as_str()
            .is_some_and(|error| error.contains("not granted")),
        "{misfit}"
    );
    std::fs::write(served.dir().join("p.wasm"), &whole).expect("writable");
    assert_eq!(run(&served, 2)["plugin"]["bytes"], whole.len());
}

#[test]
fn what_is_missing_at_first_is_waited_for() {
    let served = Served::start(Case::command([
        "dev",
        "p.wasm",
        "sample.txt",
        "--port",
        "0",
    ]));
    let missing = |name: &'static str| {
        move |state: &Value| {
            state["error"]
                .as_str()
                .is_some_and(|error| error.contains(name))
        }
    };
    let none = state(&served, missing("p.wasm"));
    assert_eq!(
        (&none["state"], &none["run"]),
        (&json!("broken"), &Value::Null)
    );
    replace(served.dir(), "p.wasm", component("sum"));
    state(&served, missing("sample.txt"));
    replace(served.dir(), "sample.txt", "5\n");
    assert_eq!(run(&served, 1)["report"]["Processed"], 1);
}

#[test]
fn a_change_stops_the_run_under_way() {
    // Each of these lines sleeps as long as a batch may take; all of them would take hours.
    let mut lines = "!log 1\n".to_owned();
    lines.push_str(&"!sleep 3000000\n".repeat(500));
    let mut served = start("unruly", lines);
    served.running().wait_for_stderr("message 0");
    replace(served.dir(), "sample.txt", "short\n");
    let run = run(&served, 1);
    assert_eq!(run["report"]["Processed"], 1);
    assert_eq!(
        run["logs"]["kept"],
        json!([]),
        "what was stopped belongs to no run"
    );
}

#[test]
fn lines_that_spin_are_cut_by_their_fuel() {
    let case = case("unruly", "a\n!spin\n!spin\nb\n").args(["--set", "fuel_base=50000000"]);
    let served = Served::start(case);
    let run = run(&served, 1);
    assert_eq!(
        (
            &run["report"]["Processed"],
            &run["report"]["CorruptionErrors"]
        ),
        (&json!(2), &json!(2))
    );
    assert!(
        run["lines"][1]["why"]
            .as_str()
            .is_some_and(|why| why.contains("out of fuel")),
        "{run}"
    );
}

#[test]
fn a_project_is_a_folder_with_a_configuration() {
    let case = Case::command(["dev", "project", "sample.txt", "--port", "0"]);
    let case = case
        .file("project/built/p.wasm", component("unruly"))
        .file(
            "project/linemill.toml",
            "plugin = \"built/p.wasm\"\n[settings]\ncolor = \"green\"\n",
        )
        .file("sample.txt", "!setting color\n");
    let words = ["dev", "project/linemill.toml", "sample.txt", "--port", "0"];
    let by_file = Case::command(words)
        .file("project/p.wasm", component("unruly"))
        .file(
            "project/linemill.toml",
            "plugin = \"p.wasm\"\nsettings.color = \"red\"\n",
        )
        .file("sample.txt", "!setting color\n");
    let file = Served::start(by_file);
    assert_eq!(run(&file, 1)["lines"][0]["out"], json!([["", "red"]]));
    let served = Served::start(case);
    assert_eq!(run(&served, 1)["lines"][0]["out"], json!([["", "green"]]));
    replace(
        &served.dir().join("project"),
        "linemill.toml",
        "plugin = \"built/p.wasm\"\nsettings.color = \"blue\"\n",
    );
    let blue = run(&served, 2);
    assert_eq!(blue["difference"]["of"]["lines"][0]["now"]["text"], "blue");
    replace(
        &served.dir().join("project"),
        "linemill.toml",
        "plugin = \"built/p.wasm\"\ncolour = 1\n",
    );
    let broken = state(&served, |state| state["state"] == "broken");
    assert!(
        broken["error"]
            .as_str()
            .is_some_and(|error| error.contains("colour")),
        "{broken}"
    );
    assert_eq!(broken["run"]["number"], 2);
}

#[test]
fn a_request_that_cannot_be_done_is_told() {
    let served = start("unruly", "!route nowhere x\n");
    let run = run(&served, 1);
    assert!(
        run["report"]["Status"]
            .as_str()
            .is_some_and(|status| status.contains("error")),
        "{run}"
    );
    assert!(
        run["report"]["Errors"][0]["Error"]
            .as_str()
            .is_some_and(|error| error.contains("nowhere")),
        "{run}"
    );
    assert_eq!(run["outputs"], json!([]));
}

#[test]
fn much_is_cut_and_counted() {
    let long = "y".repeat(5000);
    let lines = format!("{long}\n{}!corrupt late\n", "x\n".repeat(5000));
    let served = start("unruly", &lines);
    let told = run(&served, 1);
    assert_eq!(
        (&told["lines_all"], &told["report"]["Loaded"]),
        (&json!(5002), &json!(5002))
    );
    let shown = told["lines"].as_array().expect("lines");
    assert!(shown.len() < 3001, "{}", shown.len());
    assert!(
        shown[0]["in"]
            .as_str()
            .is_some_and(|line| line.ends_with("… (4500 bytes more)"))
    );
    // What is remarkable is shown, wherever it stands.
    assert_eq!(shown.last().expect("there are lines")["n"], 5002);
    assert!(get(&served, "/state", "").body.len() < 1 << 20);

    let first = Served::start(case("unruly", &lines).args(["--lines", "3"]));
    let told = run(&first, 1);
    assert_eq!(
        told["sample"],
        json!({ "lines": 3, "bytes": 5005, "cut": true })
    );
    let none = Served::start(case("unruly", &lines).args(["--bytes", "100"]));
    let told = state(&none, |state| state["state"] == "broken");
    assert!(
        told["error"]
            .as_str()
            .is_some_and(|error| error.contains("raise --bytes")),
        "{told}"
    );
}

#[test]
fn what_is_no_text_is_escaped() {
    let served = start("unruly", b"\xff\x00\x1b[2J\xe2\x80\xae\r\n");
    let run = run(&served, 1);
    assert_eq!(run["lines"][0]["in"], "\\xff\\x00\\x1b[2J\\u{202e}\\r");
}
