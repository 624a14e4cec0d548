//! Tests of what case files say, how they differ from what is, and how they are blessed.

use super::*;
use crate::config::Layers;
use crate::report::Measured;
use observed::{Fault, Metric};

fn case(text: &str) -> Case {
    Case::parse("a.txt", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
}

/// What is wrong with a case, a line for each.
fn mistakes(text: &[u8]) -> Vec<String> {
    let parsed = Case::parse("a.txt", text).and_then(|case| Trial::new(case, &Layers::new()));
    let mistakes = parsed.err().unwrap_or_default();
    mistakes.iter().map(Mistake::to_string).collect()
}

/// What a plugin did, as lines: `out ROUTE TEXT`, `fault LINE KIND REASON`, `rest TEXT`, `count NAME KEY N`,
/// `sample NAME VALUE`, `error TEXT`.
fn observed(text: &str) -> Observed {
    let mut observed = Observed::default();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        let decoded = |text: &str| text::unescape_line(text).expect("escapes").0;
        match words[..] {
            ["out", route, ..] => {
                let (_, data) = line[4..].split_once(' ').expect("a text");
                let route = route.trim_matches('.').to_owned();
                drop(observed.outputs.insert(route, decoded(data).into()));
            }
            ["fault", line, kind, reason] => observed.faults.push(Fault {
                line: line.parse().expect("a number"),
                kind: kind.to_owned(),
                reason: String::from_utf8(decoded(reason)).expect("text"),
                rest: None,
            }),
            ["rest", ..] => {
                let last = observed.faults.last_mut().expect("a fault");
                last.rest = Some(decoded(&line[5..]));
            }
            ["count", name, key, n] => observed.metrics.push(Metric {
                name: name.to_owned(),
                key: key.trim_matches('.').to_owned(),
                value: Measured::Count(n.parse().expect("a number")),
            }),
            ["sample", name, value] => {
                let value: f64 = value.parse().expect("a number");
                observed.metrics.push(Metric {
                    name: name.to_owned(),
                    key: String::new(),
                    value: Measured::Samples {
                        count: 3,
                        min: value,
                        max: value * 2.0,
                        mean: value / 3.0,
                    },
                });
            }
            ["error", ..] => observed.error = Some(line[6..].to_owned()),
            _ => panic!("{line}"),
        }
    }
    observed
}

/// The differences, as text.
fn shown(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let line = difference
            .line
            .map_or(String::new(), |line| format!(":{line}"));
        text.push_str(&format!("{}{line}\n", difference.section));
        for line in &difference.lines {
            let sign = match line.sign {
                Sign::Both => ' ',
                Sign::Expected => '-',
                Sign::Actual => '+',
                Sign::Skipped => '@',
            };
            text.push_str(&format!("  {sign} {}\n", line.text));
        }
    }
    text
}

#[track_caller]
fn check_differences(text: &str, done: &str, expected: &str) {
    let found = shown(&diff::differences(&case(text), &observed(done)));
    assert_eq!(found, expected, "{text}");
}

#[track_caller]
fn check_blessed(text: &str, done: &str, expected: &str) {
    let observed = observed(done);
    let blessed = case(text).blessed(&observed).expect("no error");
    assert_eq!(blessed.as_deref().unwrap_or(text), expected);
    let again = case(expected);
    assert_eq!(shown(&diff::differences(&again, &observed)), "");
    assert_eq!(again.blessed(&observed), Ok(None), "blessing is done once");
}

#[test]
fn what_is_wrong_is_told_at_once_and_where() {
    let table: [(&[u8], &[&str]); 16] = [
        (b"--- input\na\n", &[]),
        (b"", &["1: there is no `--- input`: add it, and below it the lines to run"]),
        (
            b"a\n--- input\nb\n\xff\n",
            &["4: is not UTF-8: write such bytes as `\\xNN`, in a section that is marked `escaped`"],
        ),
        (
            b"--- input escaped\na\n\\q\n\\xg0\n",
            &[
                "3: `\\q` is no escape: write `\\\\` for a backslash",
                "4: `\\x` needs two hexadecimal digits: `\\xff`",
            ],
        ),
        (
            b"--- settings\na = 1\nb = [1]\nc = true\nd\n--- input\n",
            &["5: is no TOML: key with no value, expected `=`"],
        ),
        (
            b"--- settings\na = 1\nb = [1]\nc = true\n--- input\n",
            &["3: `b` must be text, a number, true or false"],
        ),
        (b"--- settings\na = 1\na = 2\n--- input\n", &["3: is no TOML: duplicate key"]),
        (
            b"--- config\nfuel_bas = 1\nplugin = \"x\"\nmemory_bytes_max = 1\n--- input\n",
            &[
                "2: `fuel_bas` cannot be set by a case, did you mean `fuel_base`?",
                "3: `plugin` cannot be set by a case; these can: batch_bytes, batch_bytes_max, batch_lines, batch_ms_max, call_fuel, call_ms_max, concurrency, deadline_reduction_ms, fuel_base, fuel_per_byte, instance_batches_max, line_bytes_max, log_bytes_max, log_events_max, max_exec_time_ms, max_retries, output_bytes_max, partials_bytes_max, trap_lines_min, trap_ratio_max",
                "4: `memory_bytes_max` holds for all cases: set it in linemill.toml, or with --set",
            ],
        ),
        (
            b"--- config\nfuel_base = 1\n\nbatch_lines = \"x\"\n--- input\n",
            &["4: `batch_lines` must be a whole number, not `x`"],
        ),
        (
            b"--- config\nfuel_base = 1\nbatch_lines = 0\n--- input\n",
            &["3: `batch_lines` must be from 1 to 9223372036854775807, not 0"],
        ),
        (
            b"--- config\nbatch_bytes = 1\nbatch_lines = 1\n--- input\n",
            &["3: `batch_lines` excludes `batch_bytes`: set only one of them"],
        ),
        (
            b"--- request\nsource = \"a.csv.gz\"\nattempt = -1\nstarted_at = \"now\"\nattributes = 1\nsourc = 1\n--- input\n",
            &[
                "2: `source` names plain lines, so it cannot end in .gz or .zst: leave that away",
                "3: `attempt` must be a whole number",
                "4: `started_at` must be a time such as \"2026-01-31T23:59:59Z\"",
                "5: `attributes` must be a table: `attributes = { name = \"value\" }`",
                "6: `sourc` cannot be set by a case, did you mean `source`?",
            ],
        ),
        (
            b"--- input\n--- faults\n x\n1 corrupt\n1 retry: a\n0 retry\n2 broken: x\nx\n3 retry:\\q\n4 partial: a\n  rest: b\n  rest: c\n  no\n",
            &[
                "3: begin the first entry without a space",
                "5: is there already: keep one",
                "6: `LINE KIND: REASON` is expected, such as `3 corrupt: not a number`",
                "7: `broken` is no kind of fault, there are corrupt, retry, partial, failed; `LINE KIND: REASON` is expected, such as `3 corrupt: not a number`",
                "8: `LINE KIND: REASON` is expected, such as `3 corrupt: not a number`",
                "9: `\\q` is no escape: write `\\\\` for a backslash",
                "12: the line has a rest already: keep one",
            ],
        ),
        (
            b"--- input\n--- metrics\nlines = 1\nlines = 2\nlines[a = 1\nlines: 3\n= 1\nms = count x\nms = 1.5\n",
            &[
                "4: is there already: keep one",
                "5: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value",
                "6: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value",
                "7: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value",
                "8: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value",
                "9: `NAME = NUMBER` or `NAME[KEY] = NUMBER` is expected, `count N, min X, max X, mean X` for samples, or `*` for any value",
            ],
        ),
        (
            b"--- input\n--- error\n\n",
            &["2: says nothing: write the error, `...` for any, or remove the section"],
        ),
        (
            b"--- input\n--- error\na\n\nb\n--- output a/b\n",
            &["6: `a/b` is no name of a route: it has letters, digits, `_` and `-`"],
        ),
    ];
    for (text, expected) in table {
        assert_eq!(mistakes(text), expected, "{}", text.escape_ascii());
    }
    assert_eq!(
        mistakes(b"--- input\n--- error\na\n\nb\n"),
        ["5: an error is one line: remove the others"]
    );
}

#[test]
fn what_fits_passes() {
    let text = "--- input
a
--- output
A
--- output audit escaped
x\\
--- faults
# a comment
1 corrupt: not `a`: ...
2 retry
3 partial: half\\nof it
  rest: c\\r
--- metrics
by[a = b] = 2
lines = -1
ms = min 0.1, mean 0.0333333
other = *
--- error
...
";
    let done = "
        out . A\\n
        out audit x
        fault 1 corrupt not `a`: at byte 7
        fault 2 retry whatever
        fault 3 partial half\\nof it
        rest c\\r
        count lines . -1
        sample ms 0.1
        count other . 7
        error anything
        ";
    let mut all = observed(done);
    all.metrics.insert(
        0,
        Metric {
            name: "by".to_owned(),
            key: "a = b".to_owned(),
            value: Measured::Count(2),
        },
    );
    assert_eq!(shown(&diff::differences(&case(text), &all)), "");
    assert_eq!(case(text).blessed(&all), Ok(None));
}

#[test]
fn what_a_case_leaves_unsaid_must_be_empty() {
    check_differences("--- input\na\n", "", "");
    check_differences(
        "--- input\na\n",
        "out . a\\nb
         out audit x\\n
         fault 2 corrupt bad\\tthing
         fault 3 partial half
         rest  x\\x20
         count lines . 1
         sample ms 0.5
         error it \u{1b}[31m failed",
        "error\n  + it \\x1b[31m failed
output\n  + a\n  + b (without a line end)
output audit\n  + x
faults\n  + 2 corrupt: bad\\tthing\n  + 3 partial: half\n  +   rest:  x\\x20
metrics\n  + lines = 1\n  + ms = count 3, min 0.5, max 1, mean 0.166666667
",
    );
}

#[test]
fn what_differs_is_shown_with_what_is_around_it() {
    check_differences(
        "free\n--- input\n--- output\n1\n2\n3\n4\n5\n6\n7\n--- faults\n2 corrupt: b...\n1 corrupt\n3 retry: c\n",
        "out . 1\\n2\\n3\\n4\\n5\\r\\n6\\n7\\n
         fault 1 corrupt a
         fault 2 corrupt bee
         fault 3 corrupt c",
        "output:3
  @ line 3
    3
    4
  - 5
  + 5\\r
    6
    7
faults:11
    1 corrupt: a
    2 corrupt: bee
  - 3 retry: c
  + 3 corrupt: c
",
    );
    check_differences(
        "--- input\n--- metrics\nb = 2\na = 1\nc[k] = 1\n--- error\nno...\n",
        "count a . 1\ncount b . 3\nerror yes",
        "error:6
  - no...
  + yes
metrics:2
    a = 1
  - b = 2
  - c[k] = 1
  + b = 3
",
    );
}

#[test]
fn differences_are_bounded() {
    let lines: String = (0..1000).map(|n| format!("{n}\\n")).collect();
    let found = diff::differences(&case("--- input\n"), &observed(&format!("out . {lines}")));
    assert_eq!(found[0].lines.len(), 81);
    assert_eq!(found[0].lines[80].text, "920 more lines");
    let long = |end: &str| format!("{}{end}{}", "x".repeat(5000), "y".repeat(5000));
    let text = format!("--- input\n--- output\n{}\n", long("1"));
    let found = shown(&diff::differences(
        &case(&text),
        &observed(&format!("out . {}\\n", long("2"))),
    ));
    assert!(
        found.len() < 1000 && found.contains("x1y") && found.contains("x2y"),
        "{found}"
    );
    assert!(found.contains("(10001 characters)"), "{found}");
}

#[test]
fn blessing_changes_only_what_differs() {
    // What is missing comes at the end.
    check_blessed(
        "What it is about.\n\n--- input\na\n\n\n",
        "out . A\\n\nfault 1 retry r\ncount n . 1",
        "What it is about.\n\n--- input\na\n\n--- output\nA\n\n--- faults\n1 retry: r\n\n--- metrics\nn = 1\n",
    );
    check_blessed(
        "--- input\na",
        "out . A\\n",
        "--- input\na\n\n--- output\nA\n",
    );
    check_blessed("--- input", "out . A\\n", "--- input\n\n--- output\nA\n");
    check_blessed(
        "--- input\n--- output",
        "out . A\\n",
        "--- input\n--- output\nA\n",
    );
    // Order, blank lines and comments stay.
    check_blessed(
        "--- output\nold\n\n--- metrics\n# of all\nz = 1\n\n# of some\ngone = 1\ny = *\n# last\n\n--- input\na\n",
        "out . new\\n\ncount a . 5\ncount y . 7\ncount z . 2",
        "--- output\nnew\n\n--- metrics\na = 5\n# of all\nz = 2\n\n# of some\ny = *\n# last\n\n--- input\na\n",
    );
    check_blessed(
        "--- input\n--- faults\n# first\n5 corrupt: a...\n# gone\n7 retry\n9 corrupt: old\n",
        "fault 2 corrupt b\nfault 5 corrupt abc\nfault 6 retry c\nfault 9 corrupt new\nrest x",
        "--- input\n--- faults\n2 corrupt: b\n# first\n5 corrupt: a...\n6 retry: c\n# gone\n9 corrupt: new\n  rest: x\n",
    );
    // Nothing any more.
    check_blessed(
        "--- input\n--- output\nx\n\n--- error\n...\n\n--- faults\n1 retry\n",
        "",
        "--- input\n--- output\n\n\n--- faults\n",
    );
}

#[test]
fn blessing_escapes_what_needs_it() {
    check_blessed(
        "--- input\n--- output\nold\n\n--- faults\n",
        "out . a\\r\\n--- b\\xff",
        "--- input\n--- output escaped\na\\r\n\\--- b\\xff\\\n\n--- faults\n",
    );
    check_blessed(
        "--- input\n--- output a escaped\nold\n",
        "out a a\\\\b\\n",
        "--- input\n--- output a escaped\na\\\\b\n",
    );
    // As the author's editor ends lines.
    check_blessed(
        "--- input\r\na\r\n--- output\r\n",
        "out . b\\n\nfault 1 retry r",
        "--- input\r\na\r\n--- output\r\nb\r\n\r\n--- faults\r\n1 retry: r\r\n",
    );
}

#[test]
fn an_error_is_not_blessed_by_accident() {
    let failed = observed("error it broke");
    assert_eq!(
        case("--- input\n").blessed(&failed),
        Err("the request failed: it broke. If that is what has to happen, add `--- error` and below it `...`".to_owned())
    );
    check_blessed(
        "--- input\n--- error\nother\n",
        "error it broke",
        "--- input\n--- error\nit broke\n",
    );
}

#[test]
fn other_batches_are_compared() {
    let one = observed("out . a\\n\nfault 1 retry r\ncount n . 2");
    assert_eq!(shown(&diff::between(&one, &one)), "");
    let other = observed("out . b\\n\nout x y\\n\nfault 1 retry r\ncount n . 1\nerror e");
    assert_eq!(shown(&diff::between(&other, &observed("error e"))), "");
    assert_eq!(
        shown(&diff::between(&other, &observed("error f"))),
        "error\n  - e\n  + f\n"
    );
    assert_eq!(
        shown(&diff::between(&one, &other)),
        "output\n  - a\n  + b\noutput x\n  + y\nmetrics\n  - n = 2\n  + n = 1\nerror\n  + e\n"
    );
}
