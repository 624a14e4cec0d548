//! Pointers: what was never read is handed over by a small object, which is followed, or refused.

use crate::support::{Case, gzip};

/// A case whose source was handed over whole, and the pointer to it.
fn pointed_at(name: &str, bytes: &[u8]) -> (Case, String) {
    let case = Case::new("unruly").input(name, bytes);
    let outcome = case.clone().without_time().run();
    let pointer = outcome.report().text("ResumeURL").unwrap().to_owned();
    (case.again(), pointer)
}

#[test]
fn a_pointer_to_what_has_changed_is_an_error() {
    for (name, bytes) in [("a.txt", b"a\nb\n".to_vec()), ("a.txt.gz", gzip("a\nb\n"))] {
        let (case, pointer) = pointed_at(name, &bytes);
        let case = case
            .file(name, [&bytes[..], &bytes].concat())
            .source(&pointer);
        let outcome = case.args(["--completion", "delete"]).run();
        assert_eq!(outcome.exit, Some(2));
        let (error, _) = &outcome.report().errors()[0];
        assert!(
            error.ends_with(&format!("{name} changed while it was processed")),
            "{error}"
        );
        assert_eq!(outcome.after, outcome.before);
    }
}

#[test]
fn a_pointer_to_what_is_gone_is_an_error() {
    let (case, pointer) = pointed_at("a.txt", b"a\n");
    std::fs::remove_file(case.dir().join("a.txt")).unwrap();
    let outcome = case.source(&pointer).args(["--completion", "delete"]).run();
    assert_eq!(outcome.exit, Some(2));
    let (error, _) = &outcome.report().errors()[0];
    assert!(error.ends_with("a.txt does not exist"), "{error}");
    assert_eq!(outcome.after, outcome.before);
}

#[test]
fn a_pointer_is_followed_from_anywhere() {
    let (case, pointer) = pointed_at("deep/a.txt", b"a\nb\n");
    let url = case.dir().join(pointer);
    let elsewhere = Case::new("unruly").source(url.to_str().unwrap());
    let outcome = elsewhere.run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
    let written = outcome.report().text("DestinationURL").unwrap();
    assert_eq!(outcome.lines(written), ["a", "b"]);
}

#[test]
fn a_pointer_that_says_something_else_is_an_error() {
    let good =
        r#"{"source":"a.txt","offset":0,"length":null,"etag":null,"first_line":1,"attempt":1}"#;
    let with = |from: &str, to: &str| good.replace(from, to);
    let long = with("a.txt", &"a".repeat(70_000));
    for pointer in [
        String::new(),
        "\n".to_owned(),
        "no pointer".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        good[..good.len() - 1].to_owned(),
        format!("{good}{good}"),
        format!("{good} and more"),
        with("\"attempt\":1", "\"attempt\":1,\"what\":1"),
        with("\"source\":\"a.txt\",", ""),
        with("\"offset\":0,", ""),
        with("\"first_line\":1,", ""),
        with(",\"attempt\":1", ""),
        with("\"offset\":0", "\"offset\":0,\"offset\":0"),
        with("\"offset\":0", "\"offset\":-1"),
        with("\"offset\":0", "\"offset\":0.5"),
        with("\"offset\":0", "\"offset\":\"0\""),
        with("\"offset\":0", "\"offset\":9223372036854775808"),
        with("\"offset\":0", "\"offset\":18446744073709551615"),
        with("\"offset\":0", "\"offset\":18446744073709551616"),
        with("\"length\":null", "\"length\":-1"),
        with("\"length\":null", "\"length\":18446744073709551615"),
        with("\"first_line\":1", "\"first_line\":0"),
        with("\"attempt\":1", "\"attempt\":4294967296"),
        with("\"attempt\":1", "\"attempt\":-1"),
        with("a.txt", ""),
        with("a.txt", "-"),
        with("a.txt", "p-retry01.txt.resume.json"),
        with("a.txt", "b/"),
        with("\"a.txt\"", "null"),
        long,
    ] {
        let case = Case::new("unruly")
            .file("a.txt", "a\n")
            .file("b/c.txt", "c\n");
        let outcome = case
            .input("p-retry01.txt.resume.json", &pointer)
            .args(["--completion", "delete"])
            .start()
            .end();
        let start: String = pointer.chars().take(200).collect();
        assert_eq!(outcome.exit, Some(2), "{start}");
        assert_eq!(outcome.after, outcome.before, "{start}");
        let shown = format!("{}{}", outcome.stderr, outcome.report().0);
        assert!(!shown.contains("panicked"), "{start}: {shown}");
        assert!(shown.len() < 4000, "{start}: {} characters", shown.len());
    }
}

#[test]
fn a_pointer_goes_without_what_it_need_not_say() {
    let pointer = r#"{"source":"a.txt","offset":2,"first_line":2,"attempt":3}"#;
    Case::new("unruly")
        .file("a.txt", "a\nb\n!retry r\n")
        .input("p.resume.json", pointer)
        .start()
        .end()
        .check(
            "
            exit 1
            retry: loaded 2, processed 1, retried 1
            out/destination/p-at2: b
            out/retry/p-at2-retry04: !retry r
              3 retry: r
            ",
        );
}

#[test]
fn a_pointer_knows_its_range() {
    let (case, pointer) = pointed_at("a.txt", b"a\n");
    case.source(&pointer).range(0, None).check(&format!(
        "
        exit 2
        error
        error: {pointer} is a pointer, which names its range itself: leave out offset and length
        "
    ));
}

#[test]
fn the_rest_of_a_range_is_a_range() {
    let case = Case::new("unruly")
        .input("a.txt", "a\nb\nc\nd\n")
        .range(2, Some(4));
    case.clone().without_time().check(
        "
        exit 1
        retry: unread 2
        out/retry/a-at2-retry01.txt.resume.json: a.txt 4 bytes from byte 2, line 1, attempt 1
        ",
    );
    let again = case
        .again()
        .source("out/retry/a-at2-retry01.txt.resume.json");
    again.check(
        "
        exit 0
        ok: loaded 2, processed 2
        out/destination/out/retry/a-at2-retry01.txt: b,c
        ",
    );
}
