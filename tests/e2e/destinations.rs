//! Destinations: taken, unwritable, full, shared; all of a run becomes visible, or nothing.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Case, Disk, Outcome, binary, gzip, plugin, zstd};

/// One line for each place.
const EVERYWHERE: [&str; 6] = ["a", "!corrupt c", "!retry r", "!route side s", "!trap", "b"];

/// A run that writes to every place there is, and would delete its source.
fn everywhere(name: &str) -> Case {
    Case::new("unruly").input_lines(name, EVERYWHERE).args([
        "--route",
        "side=out/side",
        "--completion",
        "delete",
    ])
}

/// It failed, and nothing is any other than it was.
#[track_caller]
fn check_untouched(outcome: &Outcome) {
    let shown = format!("{}\n{}", outcome.report().0, outcome.stderr);
    assert_eq!(outcome.exit, Some(2), "{shown}");
    assert!(outcome.report().is("error"), "{shown}");
    assert_eq!(outcome.after, outcome.before, "{shown}");
}

#[test]
fn every_place_is_written() {
    everywhere("in/a.txt").check(
        "
        exit 1
        retry|corrupted: loaded 6, processed 3, corrupted 2, retried 1
        removed in/a.txt
        out/corruption/in/a.txt: !corrupt c,!trap
          2 corrupt: c
          5 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
        out/destination/in/a.txt: a,b
        out/retry/in/a-retry01.txt: !retry r
          3 retry: r
        out/side/in/a.txt: s
        ",
    );
}

#[test]
fn what_is_there_is_never_overwritten() {
    for taken in [
        "out/destination/a.txt",
        "out/corruption/a.txt",
        "out/corruption/a.txt.faults.ndjson",
        "out/retry/a-retry01.txt",
        "out/retry/a-retry01.txt.faults.ndjson",
        "out/side/a.txt",
    ] {
        let outcome = everywhere("a.txt").file(taken, "of somebody else\n").run();
        check_untouched(&outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.starts_with(&format!("{taken} already exists")),
            "{error}"
        );
    }
    let case = everywhere("a-retry10.txt");
    let taken = "out/failed/a-retry11.txt";
    check_untouched(&case.file(taken, "of somebody else\n").run());
}

#[test]
fn a_pointer_is_never_overwritten() {
    let case = Case::new("unruly").input("a.txt", "a\n").without_time();
    check_untouched(&case.file("out/retry/a-retry01.txt.resume.json", "{}").run());
}

#[test]
fn a_link_or_a_folder_is_in_the_way_too() {
    let case = everywhere("a.txt").file("out/destination/a.txt/x", "x\n");
    check_untouched(&case.run());
    let case = everywhere("a.txt").file("out/destination/x", "x\n");
    let link = case.dir().join("out/destination/a.txt");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    check_untouched(&case.run());
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(!case.dir().join("out/destination/nowhere").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_an_error() {
    for (name, file) in [
        ("a.txt", "out/destination"),
        ("a.txt", "out/corruption"),
        ("a.txt", "out/retry"),
        ("a.txt", "out/side"),
        ("a.txt", "out"),
        ("a-retry10.txt", "out/failed"),
    ] {
        check_untouched(&everywhere(name).file(file, "a file, not a folder\n").run());
    }
    for flag in ["--destination", "--corruption", "--retry"] {
        check_untouched(&everywhere("a.txt").args([flag, "/proc/no/such"]).run());
    }
}

/// The object that is published last is taken by somebody just before: the ones before it are taken back.
#[test]
fn what_is_visible_is_taken_back_when_something_else_cannot_be() {
    for taken in [
        "out/destination/a.txt",
        "out/corruption/a.txt",
        "out/retry/a-retry01.txt",
        "out/side/a.txt",
    ] {
        let lines = EVERYWHERE.iter().chain(&["!log 1", "!route hold x"]);
        let case = Case::new("unruly").input_lines("a.txt", lines).args([
            "--route",
            "side=out/side",
            "--route",
            "hold=pipes/$SourceName",
            "--completion",
            "delete",
        ]);
        let pipe = case.pipe("pipes/a.txt");
        let mut running = case.start();
        running.wait_for_stderr("message 0");
        let path = case.dir().join(taken);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "of somebody else\n").unwrap();
        let _released = pipe.release();
        let outcome = running.end();
        assert_eq!(outcome.exit, Some(2), "{taken}: {}", outcome.stderr);
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.starts_with(&format!("{taken} already exists")),
            "{error}"
        );
        assert_eq!(outcome.new_files(), [taken]);
        assert_eq!(outcome.text(taken), "of somebody else\n");
        assert!(outcome.after.contains_key("a.txt"));
    }
}

#[test]
fn two_places_that_come_to_one_are_an_error() {
    let outcome = everywhere("a.txt")
        .args(["--destination", "here/$SourceName"])
        .args(["--route", "side=here/$SourcePath"])
        .run();
    check_untouched(&outcome);
}

#[test]
fn a_full_disk_is_an_error() {
    // Much of each, so that each fills the disk.
    let places = [
        ("destination", "x".repeat(1000)),
        ("corruption", format!("!corrupt {}", "c".repeat(1000))),
        ("retry", format!("!retry {}", "r".repeat(1000))),
        ("side", format!("!route side {}", "s".repeat(1000))),
    ];
    for (place, line) in &places {
        let case = Case::new("unruly")
            .input_lines("a.txt", EVERYWHERE.into_iter().chain(vec![&**line; 1000]))
            .args(["--route", "side=out/side", "--completion", "delete"]);
        let disk = case.dir().join("out").join(place);
        let Some(_mounted) = Disk::mount(&disk, 256 << 10) else {
            return;
        };
        let outcome = case.run();
        check_untouched(&outcome);
        let (error, _) = &outcome.report().errors()[0];
        assert!(error.starts_with("no space left for"), "{error}");
        let names = fs::read_dir(&disk).unwrap().count();
        assert_eq!(names, 0, "{place}: something is left on the disk");
    }
}

#[test]
fn a_device_that_is_full_is_an_error() {
    let outcome = Case::new("unruly")
        .input("full", "a\n!corrupt c\n")
        .args([
            "--destination",
            "/dev/$SourceName",
            "--completion",
            "delete",
        ])
        .run();
    check_untouched(&outcome);
    let outcome = Case::new("unruly")
        .input("full", "a\n!corrupt c\n")
        .args(["--corruption", "/dev/$SourceName", "--completion", "delete"])
        .run();
    check_untouched(&outcome);
}

/// Standard output takes nothing.
fn without_stdout(case: &Case, arguments: &[&str]) -> std::process::Output {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    Command::new(binary())
        .args(["run", "--quiet", "--out", "out", "--plugin"])
        .arg(plugin("unruly"))
        .args(arguments)
        .current_dir(case.dir())
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .output()
        .unwrap()
}

#[test]
fn an_output_that_cannot_be_printed_is_an_error() {
    let case = Case::new("unruly").file("a.txt", "a\n!corrupt c\n");
    let arguments = ["--destination", "-", "--completion", "delete", "a.txt"];
    let done = without_stdout(&case, &arguments);
    assert_eq!(done.status.code(), Some(2));
    assert!(case.dir().join("a.txt").exists());
    assert!(!case.dir().join("out/corruption/a.txt").exists());
}

#[test]
fn a_report_that_cannot_be_printed_is_an_error() {
    let case = Case::new("unruly").file("a.txt", "a\n");
    let done = without_stdout(&case, &["a.txt"]);
    let stderr = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("could not write the report"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn routes_go_where_they_are_sent() {
    Case::new("unruly")
        .input_lines(
            "in/a.txt",
            [
                "!route x 1",
                "!route y 2",
                "a",
                "!route x 3",
                "!route y-2 4",
            ],
        )
        .args(["--route", "x=out/x", "--route", "y=out/y/$SourceName.gz"])
        .args(["--route", "y-2=out/${SourceName}.d/$SourcePath"])
        .check(
            "
            exit 0
            ok: loaded 5, processed 5
            out/a.txt.d/in/a.txt: 4
            out/destination/in/a.txt: a
            out/x/in/a.txt: 1,3
            out/y/a.txt.gz: 2
            ",
        );
}

#[test]
fn a_route_that_leads_nowhere_is_an_error() {
    for lines in [
        &["a", "!corrupt c", "!route x 1"][..],
        &["!route side s", "!route x 1"],
    ] {
        let case = Case::new("unruly").input_lines("a.txt", lines);
        let case = case.args(["--route", "side=out/side", "--completion", "delete"]);
        check_untouched(&case.run());
    }
    let case = Case::new("unruly")
        .without_out()
        .input_lines("a.txt", ["a"]);
    let case = case.args(["--retry", "r", "--failed", "f", "--corruption", "c"]);
    check_untouched(&case.run());
}

#[test]
fn templates_are_filled_in() {
    let case = Case::new("unruly")
        .input_lines("in/a.txt", ["a", "!route x 1", "!route y 2", "!corrupt c"])
        .args(["--destination", "out/$Date/$$/${UUID}/$SourceBucket"])
        .args(["--route", "x=out/$TimePath/x-$SourceName"])
        .args(["--route", "y=out/$RequestId-$SourceName.zst"])
        .args(["--corruption", "out/bad/$SourceBucket/$SourcePath"]);
    let outcome = case.run();
    let report = outcome.report();
    let id = report.text("RequestId").unwrap();
    let start = report.text("StartTime").unwrap();
    let (date, hour) = (&start[..10], &start[11..13]);
    let expected = BTreeMap::from([
        (format!("out/{date}/$/{id}/local/in/a.txt"), "a"),
        (
            format!("out/{}/{hour}/x-a.txt", date.replace('-', "/")),
            "1",
        ),
        (format!("out/{id}-a.txt.zst"), "2"),
        ("out/bad/local/in/a.txt".to_owned(), "!corrupt c"),
    ]);
    let sidecar = |name: &&str| !name.ends_with(".ndjson");
    let files = outcome.new_files().into_iter().filter(sidecar);
    let seen = files.map(|name| (name.to_owned(), outcome.text(name)));
    let seen: BTreeMap<_, _> = seen.collect();
    let expected = expected
        .into_iter()
        .map(|(name, line)| (name, format!("{line}\n")));
    assert_eq!(seen, expected.collect());
}

#[test]
fn what_is_written_is_packed_as_its_name_says() {
    for (name, packed) in [
        ("a.txt.gz", gzip(EVERYWHERE.join("\n"))),
        ("a.txt.zst", zstd(EVERYWHERE.join("\n"))),
    ] {
        let extension = name.strip_prefix("a.").unwrap();
        let case = Case::new("unruly").input(name, packed);
        let case = case.args(["--route", "side=out/side/$SourceName.txt"]);
        case.check(&format!(
            "
            exit 1
            retry|corrupted: loaded 6, processed 3, corrupted 2, retried 1
            out/corruption/{name}: !corrupt c,!trap
              2 corrupt: c
              5 corrupt: trap: wasm trap: wasm `unreachable` instruction executed
            out/destination/{name}: a,b
            out/retry/a-retry01.{extension}: !retry r
              3 retry: r
            out/side/{name}.txt: s
            "
        ));
    }
    for suffix in ["gz", "zst"] {
        let lines: Vec<_> = (0..50_000).map(|n| format!("line {n}")).collect();
        let outcome = Case::new("unruly")
            .input_lines("a.txt", &lines)
            .args(["--destination", &format!("out/$SourceName.{suffix}")])
            .run();
        let name = format!("out/a.txt.{suffix}");
        assert!(outcome.after[&name].len() < 200_000, "{name} is packed");
        assert!(outcome.lines(&name) == lines, "{name}");
    }
}

/// Lines that take their time, here more and there less.
fn jittery() -> Vec<String> {
    let line = |n: usize| match (n * n * 31) % 97 {
        0 => format!("!sleep {}", n % 4),
        1 => format!("!retry r{n}"),
        2 => format!("!corrupt c{n}"),
        3 if n.is_multiple_of(5) => "!trap".to_owned(),
        _ => format!("line {n}"),
    };
    (0..8000).map(line).collect()
}

#[test]
fn without_order_lines_are_conserved() {
    let outcome = Case::new("unruly")
        .input_lines("a.txt", jittery())
        .args(["--concurrency", "8"])
        .set("ordered", false)
        .run();
    let places = [
        "destination/a.txt",
        "corruption/a.txt",
        "retry/a-retry01.txt",
    ];
    let places = places.map(|place| outcome.lines(&format!("out/{place}")));
    let mut seen = places.concat();
    let mut expected = jittery();
    seen.sort();
    expected.sort();
    assert!(seen == expected);
}

/// Where a line trapped, the fuel depends on what the instance had done before.
fn without_fuel(bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap();
    let mut kept = String::new();
    for (index, piece) in text.split(" (fuel ").enumerate() {
        let rest = piece.split_once(')').filter(|_| index > 0);
        kept.push_str(rest.map_or(piece, |(_, rest)| rest));
    }
    kept
}

#[test]
fn in_order_all_bytes_are_the_same_whatever_the_concurrency() {
    let run = |concurrency: &str, batches: &[(&str, &str)]| {
        let case = Case::new("unruly").input_lines("a.txt", jittery());
        let case = case.args(["--concurrency", concurrency]);
        let case = batches
            .iter()
            .fold(case, |case, (name, value)| case.set(name, value));
        let outcome = case.run();
        assert_eq!(outcome.exit, Some(1));
        let files = outcome.after.into_iter();
        files
            .map(|(name, bytes)| (name, without_fuel(bytes)))
            .collect::<BTreeMap<_, _>>()
    };
    let first = run("1", &[]);
    for (concurrency, batches) in [
        ("1", &[][..]),
        ("2", &[]),
        ("8", &[]),
        ("3", &[("batch_lines", "1")]),
        ("3", &[("batch_lines", "977")]),
        ("3", &[("batch_bytes", "4k")]),
    ] {
        let next = run(concurrency, batches);
        for (name, bytes) in &first {
            assert!(
                next[name] == *bytes,
                "{name}, {concurrency} at once, {batches:?}"
            );
        }
        assert_eq!(next.len(), first.len());
    }
}

/// What one run over `EVERYWHERE` writes, whoever wrote it.
#[track_caller]
fn check_written_once(outcome: &Outcome) {
    for (name, lines) in [
        ("destination/a.txt", &["a", "b"][..]),
        ("corruption/a.txt", &["!corrupt c", "!trap"]),
        ("retry/a-retry01.txt", &["!retry r"]),
        ("side/a.txt", &["s"]),
    ] {
        assert_eq!(outcome.lines(&format!("out/{name}")), lines, "{name}");
    }
    let written = outcome.after.keys().filter(|name| name.starts_with("out/"));
    assert_eq!(written.count(), 6);
}

#[test]
fn of_runs_that_write_the_same_one_succeeds() {
    for round in 0..20 {
        let completion = if round % 2 == 0 { "keep" } else { "delete" };
        let case = Case::new("unruly").input_lines("a.txt", EVERYWHERE).args([
            "--route",
            "side=out/side",
            "--completion",
            completion,
        ]);
        let running: Vec<_> = (0..4).map(|_| case.start()).collect();
        let outcomes: Vec<_> = running.into_iter().map(|running| running.end()).collect();
        let exits: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.exit.unwrap())
            .collect();
        let won = exits.iter().filter(|&&exit| exit == 1).count();
        assert!(exits.iter().all(|exit| [1, 2].contains(exit)), "{exits:?}");
        assert!(won <= 1, "{exits:?}");
        let last = outcomes.last().unwrap();
        let source = last.after.contains_key("a.txt");
        match won {
            0 => assert!(source && !last.after.keys().any(|name| name.starts_with("out/"))),
            _ => check_written_once(last),
        }
        assert_eq!(source, won == 0 || completion == "keep");
    }
}

/// The same, with all of them just before they publish.
#[test]
fn of_runs_that_publish_at_once_one_succeeds() {
    for _ in 0..10 {
        let lines = EVERYWHERE.iter().chain(&["!log 1", "!route hold x"]);
        let case = Case::new("unruly").input_lines("a.txt", lines);
        let case = case.args([
            "--route",
            "side=out/side",
            "--route",
            "hold=pipes/$SourceName",
        ]);
        let case = case.args(["--completion", "delete"]);
        let pipe = case.pipe("pipes/a.txt");
        let mut running: Vec<_> = (0..3).map(|_| case.start()).collect();
        for running in &mut running {
            running.wait_for_stderr("message 0");
        }
        let _released = pipe.release();
        let outcomes: Vec<_> = running.into_iter().map(|running| running.end()).collect();
        let exits: Vec<_> = outcomes
            .iter()
            .map(|outcome| outcome.exit.unwrap())
            .collect();
        let won = exits.iter().filter(|&&exit| exit == 1).count();
        assert_eq!(won, 1, "{exits:?}: {}", outcomes[0].stderr);
        let last = outcomes.last().unwrap();
        assert_eq!(last.lines("out/destination/a.txt"), ["a", "b", "!log 1"]);
        assert_eq!(last.lines("out/corruption/a.txt"), ["!corrupt c", "!trap"]);
        assert_eq!(last.lines("out/retry/a-retry01.txt"), ["!retry r"]);
        assert!(!last.after.contains_key("a.txt"));
    }
}

#[test]
fn a_source_is_kept_deleted_or_moved() {
    for (completion, gone) in [("keep", ""), ("delete", "removed in/a.txt\n")] {
        Case::new("unruly")
            .input("in/a.txt", "a\n")
            .args(["--completion", completion])
            .check(&format!(
                "exit 0\nok: loaded 1, processed 1\n{gone}out/destination/in/a.txt: a"
            ));
    }
    Case::new("unruly")
        .input("in/a.txt", "a\n!retry r")
        .args(["--completion", "move", "--move-to", "done/$SourceBucket"])
        .check(
            "
            exit 1
            retry: loaded 2, processed 1, retried 1
            removed in/a.txt
            done/local/in/a.txt: a,!retry r (not ended)
            out/destination/in/a.txt: a
            out/retry/in/a-retry01.txt: !retry r
              2 retry: r
            ",
        );
}

#[test]
fn a_packed_source_is_moved_as_it_is() {
    let packed = gzip("a\n");
    let outcome = Case::new("unruly")
        .input("a.txt.gz", &packed)
        .args(["--completion", "move", "--move-to", "done"])
        .run();
    assert_eq!(outcome.exit, Some(0));
    assert!(outcome.after["done/a.txt.gz"] == packed);
    assert!(!outcome.after.contains_key("a.txt.gz"));
}

#[test]
fn a_source_is_moved_to_another_disk() {
    let case = Case::new("unruly").input("a.txt", "a\n");
    let Some(_disk) = Disk::mount(&case.dir().join("done"), 1 << 20) else {
        return;
    };
    let case = case.args(["--completion", "move", "--move-to", "done"]);
    case.check(
        "
        exit 0
        ok: loaded 1, processed 1
        removed a.txt
        done/a.txt: a
        out/destination/a.txt: a
        ",
    );
}

#[test]
fn a_source_that_cannot_be_moved_stays() {
    for (taken, to) in [
        ("done/a.txt", "done"),
        ("done/a.txt/x", "done"),
        ("file", "file"),
    ] {
        let case = Case::new("unruly").input("a.txt", "a\n").file(taken, "x\n");
        let case = case.args(["--completion", "move", "--move-to", to]);
        let outcome = case.start().end();
        assert_eq!(outcome.exit, Some(2), "{taken}");
        assert!(outcome.report().is("error"));
        assert_eq!(outcome.text("a.txt"), "a\n");
        assert_eq!(outcome.text(taken), "x\n");
        // What was published before stays: the report says that it is there.
        let written = outcome.report().text("DestinationURL");
        assert_eq!(outcome.new_files(), Vec::from_iter(written), "{taken}");
    }
    let case = Case::new("unruly").input("a.txt", "x".repeat(500_000));
    let Some(_disk) = Disk::mount(&case.dir().join("done"), 64 << 10) else {
        return;
    };
    let case = case.args(["--completion", "move", "--move-to", "done"]);
    let outcome = case.start().end();
    assert_eq!(outcome.exit, Some(2));
    assert!(outcome.after.contains_key("a.txt"));
    assert!(!outcome.after.keys().any(|name| name.starts_with("done/")));
}

#[test]
fn a_source_is_not_moved_onto_itself() {
    for to in ["in", "$SourcePath", "./in/../in"] {
        let case = Case::new("unruly").input("in/a.txt", "a\n");
        check_untouched(&case.args(["--completion", "move", "--move-to", to]).run());
    }
}

#[test]
fn no_place_is_the_source() {
    for flag in ["--destination", "--corruption"] {
        let case = Case::new("unruly").input("in/a.txt", "a\n!corrupt c\n");
        check_untouched(&case.args([flag, "in"]).run());
    }
}
