//! Variables and folders that are granted, and how grants are written and printed.

use std::os::unix::fs::symlink;

use super::support::Case;

fn probed<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Case {
    // What asks for HTTP is loaded only where some is granted.
    Case::new("prober")
        .set("grants.http", r#"[{"host": "nobody.invalid"}]"#)
        .input_lines("a.txt", lines)
}

#[test]
fn only_variables_that_are_granted_are_seen() {
    let case = probed([
        "env API_KEY",
        "env OTHER",
        "env HOME",
        "env UNSET",
        "variables",
    ])
    .env("API_KEY", "opensesame")
    .env("OTHER", "hidden")
    .set("grants.env", "API_KEY, UNSET");
    let outcome = case.run();
    assert_eq!(
        outcome.lines("out/destination/a.txt"),
        ["opensesame", "(not set)", "(not set)", "(not set)", "1"]
    );
    assert!(
        outcome.stderr.contains("UNSET is not set"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("opensesame"), "{}", outcome.stderr);
    for json in [false, true] {
        let printed = Case::command(["config"]).env("API_KEY", "opensesame");
        let printed = printed.env(
            "LINEMILL_GRANTS",
            r#"{"env": ["API_KEY"], "env_bytes_max": "1k"}"#,
        );
        let printed = if json {
            printed.args(["--json"])
        } else {
            printed
        }
        .run();
        let text = String::from_utf8_lossy(&printed.stdout).into_owned();
        assert!(
            text.contains("API_KEY") && text.contains("1024"),
            "{text} {}",
            printed.stderr
        );
        assert!(!text.contains("opensesame"), "{text}");
    }
}

#[test]
fn a_variable_that_is_too_long_ends_it_at_the_start() {
    let case = probed(["env API_KEY"])
        .env("API_KEY", "opensesame")
        .set("grants.env", "API_KEY");
    let outcome = case.set("grants.env_bytes_max", 5).run();
    assert_eq!(outcome.exit, Some(2));
    assert!(
        outcome.stderr.contains("API_KEY: has 10 bytes"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stderr.contains("opensesame"), "{}", outcome.stderr);
}

#[test]
fn a_folder_that_is_granted_can_be_read_and_nothing_else() {
    let lines = [
        "read /geo/cities.csv",
        "read /geo/more/rivers.csv",
        "list /geo",
        "read /geo/../secret.txt",
        "read /secret.txt",
        "read /geo/out",
        "read /geo/above/secret.txt",
        "read /geo/etc/passwd",
        "read /etc/passwd",
        "write /geo/cities.csv",
        "write /geo/new.csv",
        "delete /geo/cities.csv",
        "mkdir /geo/new",
        "rename /geo/cities.csv",
        "read /geo/inside",
    ];
    let case = probed(lines)
        .file("data/geo/cities.csv", "Oslo\n")
        .file("data/geo/more/rivers.csv", "Glomma\n")
        .file("data/secret.txt", "hidden");
    let geo = case.dir().join("data/geo");
    for (to, name) in [
        ("../secret.txt", "out"),
        ("..", "above"),
        ("/etc", "etc"),
        ("more/rivers.csv", "inside"),
    ] {
        symlink(to, geo.join(name)).expect("a link can be made");
    }
    let outcome = case
        .set("grants.dirs", r#"[{"host": "data/geo", "guest": "/geo"}]"#)
        .run();
    let said = outcome.lines("out/destination/a.txt");
    assert_eq!(
        said[..3],
        ["Oslo", "Glomma", "above cities.csv etc inside more out"]
    );
    for (line, said) in lines.iter().zip(&said).skip(3).take(11) {
        assert!(said.starts_with("failed: "), "{line}: {said}");
    }
    assert_eq!(said[14], "Glomma");
    assert_eq!(outcome.text("data/geo/cities.csv"), "Oslo\n");
    assert!(
        outcome
            .new_files()
            .iter()
            .all(|name| !name.starts_with("data/"))
    );
}

#[test]
fn folders_that_cannot_be_granted_end_it_at_the_start() {
    for (dirs, words) in [
        (
            r#"[{"host": "nowhere", "guest": "/geo"}]"#,
            ["grants.dirs", "nowhere"],
        ),
        (
            r#"[{"host": "a.txt", "guest": "/geo"}]"#,
            ["a.txt", "is a file"],
        ),
        (
            r#"[{"host": ".", "guest": "geo"}]"#,
            ["guest = `geo`", "absolute"],
        ),
        (
            r#"[{"host": ".", "guest": "/a/../b"}]"#,
            ["guest = `/a/../b`", "absolute"],
        ),
        (
            r#"[{"host": ".", "guest": "/a"}, {"host": "..", "guest": "/a"}]"#,
            ["two folders", "`/a`"],
        ),
        (
            r#"[{"host": ".", "guest": "/a", "write": true}]"#,
            ["unknown field `write`", "entry 1"],
        ),
    ] {
        let outcome = probed(["list /geo"]).set("grants.dirs", dirs).run();
        assert_eq!(outcome.exit, Some(2), "{dirs}");
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "no {word}: {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn a_folder_with_what_may_block_is_not_granted() {
    let case = probed(["read /geo/pipe"]).file("data/geo/cities.csv", "Oslo\n");
    let pipe = case.dir().join("data/geo/pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo is there").success());
    let dirs = r#"[{"host": "data/geo", "guest": "/geo"}]"#;
    let outcome = case.set("grants.dirs", dirs).run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("pipe, which is a pipe"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn files_that_are_kept_open_are_few() {
    let case = probed(["hoard-files /geo/cities.csv"]).file("data/geo/cities.csv", "Oslo\n");
    let dirs = r#"[{"host": "data/geo", "guest": "/geo"}]"#;
    let outcome = case.set("grants.dirs", dirs).run();
    assert_eq!(
        outcome.report().count("CorruptionErrors"),
        1,
        "{}",
        outcome.stderr
    );
}

#[test]
fn grants_are_read_from_a_file_and_printed_so_that_they_can_be_read_again() {
    let toml = r#"
        [grants]
        env = ["API_KEY"]
        http_response_bytes_max = "1MiB"
        [[grants.http]]
        host = "api.example.com"
        path = "/v1/"
        methods = ["POST"]
        [[grants.http]]
        host = "10.0.0.7"
        port = 8080
        plain = true
        private = true
    "#;
    let case = Case::command(["config", "--config", "c.toml"]).file("c.toml", toml);
    let first = case.run();
    let printed = String::from_utf8(first.stdout).expect("text");
    assert!(
        printed.contains("[grants]") && printed.contains("http_response_bytes_max = 1048576"),
        "{printed}"
    );
    let again = case.again().file("c.toml", &printed).run();
    assert_eq!(
        String::from_utf8_lossy(&again.stdout),
        printed.replace("# default", "# file c.toml")
    );
}

#[test]
fn mistakes_in_grants_name_the_file_and_the_field() {
    for (toml, words) in [
        (
            "[[grants.htp]]\nhost = 'a'",
            ["c.toml", "`grants.htp`", "unknown field `htp`"],
        ),
        (
            "[[grants.http]]\nhots = 'a'",
            ["c.toml", "`grants.http`", "unknown field `hots`"],
        ),
        (
            "[[grants.http]]\nport = 80",
            ["c.toml", "`grants.http`", "missing field `host`"],
        ),
        (
            "[[grants.http]]\nhost = '*.a.example'",
            ["c.toml", "`grants.http`", "name each host"],
        ),
        (
            "[[grants.http]]\nhost = 'a'\nmethods = ['CONNECT']",
            ["c.toml", "`grants.http`", "`CONNECT`"],
        ),
        (
            "[grants]\nenv = ['A=B']",
            ["c.toml", "`grants.env`", "`A=B`"],
        ),
        (
            "[grants]\nhttp_connect_ms_max = 0",
            ["c.toml", "`grants.http_connect_ms_max`", "from 1"],
        ),
        ("grants = 7", ["c.toml", "`grants`", "table"]),
    ] {
        let outcome = Case::command(["config", "--config", "c.toml"])
            .file("c.toml", toml)
            .run();
        assert_eq!(outcome.exit, Some(2), "{toml}");
        for word in words {
            assert!(
                outcome.stderr.contains(word),
                "no {word}: {}",
                outcome.stderr
            );
        }
    }
}
