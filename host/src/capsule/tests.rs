//! Tests of what is taken for a capsule, and what is not.

use super::*;
use crate::outcome::{FaultKind, TrapKind};

fn capsule() -> Capsule {
    Capsule {
        capsule: VERSION,
        sha256: String::new(),
        made_by: MadeBy {
            linemill: "0.1.0".into(),
            engine: "some 1".into(),
            platform: "x86_64 linux".into(),
        },
        plugin: PluginOf {
            name: "p".into(),
            version: None,
            digest: "sha256:00".into(),
        },
        limits: LimitsOf::of(&Config::default()),
        request: RequestOf {
            id: "id".into(),
            source: "a.txt".into(),
            attempt: 0,
            started_at: 1,
            attributes: vec![("a".into(), "b".into())],
        },
        settings: BTreeMap::from([("s".to_owned(), "t".to_owned())]),
        env: Vec::new(),
        folders: Vec::new(),
        context: b"\0\xff".to_vec(),
        line: 8,
        first_line: 7,
        batch: b"one\ntwo\nthree".to_vec(),
        ended: Ended::Fault {
            index: 1,
            kind: FaultKind::Corrupt,
            reason: "no".into(),
            fuel: u64::MAX,
        },
        answers: vec![
            Said {
                answer: Answer::RemainingMs(None),
                times: 3,
            },
            Said {
                answer: Answer::Random(vec![0, 255]),
                times: 1,
            },
        ],
        answers_cut: false,
        redacted: Vec::new(),
        masked: Vec::new(),
        minimised_from: None,
    }
}

/// Why `bytes` hold no capsule, or how many they hold.
fn parsed(bytes: &[u8]) -> String {
    let capsules: Vec<_> = Capsule::parse_all(bytes)
        .into_iter()
        .map(|capsule| match capsule {
            Ok(capsule) if capsule.is_intact() => "intact".to_owned(),
            Ok(_) => "edited".to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    capsules.join("; ")
}

fn edited(from: &str, to: &str) -> String {
    let line = String::from_utf8(capsule().to_line()).expect("it is JSON");
    assert!(line.contains(from), "{from} is not in {line}");
    line.replacen(from, to, 1)
}

#[test]
fn comes_back_as_it_was() {
    let line = capsule().to_line();
    let back = Capsule::parse_all(&line).remove(0).expect("it is one");
    assert!(back.is_intact());
    assert_eq!(
        Capsule {
            sha256: String::new(),
            ..back.clone()
        },
        capsule()
    );
    assert_eq!(back.line_bytes(), b"two\n");
    assert_eq!((back.lines(), back.is_whole()), (3, true));
}

#[test]
fn every_single_byte_counts() {
    let line = capsule().to_line();
    for at in 0..line.len() - 1 {
        let mut other = line.clone();
        other[at] = if other[at] == b'1' { b'2' } else { b'1' };
        assert_ne!(parsed(&other), "intact", "byte {at}");
    }
}

#[test]
fn spaces_and_order_do_not_count() {
    let value: Value = serde_json::from_slice(&capsule().to_line()).expect("it is JSON");
    let pretty = serde_json::to_string_pretty(&value).expect("it is JSON");
    assert_eq!(
        parsed(format!("{pretty}\n\n{pretty}").as_bytes()),
        "intact; intact"
    );
}

#[test]
fn cut_at_any_byte() {
    let line = capsule().to_line();
    assert_eq!(
        parsed(&line[..line.len() - 1]),
        "intact",
        "the line end is not needed"
    );
    for end in 1..line.len() - 1 {
        assert_eq!(
            parsed(&line[..end]),
            "is cut short: capsule 1 of it breaks off"
        );
        let after = [&line[..], &line[..end]].concat();
        assert_eq!(
            parsed(&after),
            "intact; is cut short: capsule 2 of it breaks off"
        );
    }
}

#[test]
fn what_is_no_capsule() {
    let table: &[(String, &str)] = &[
        (String::new(), "is empty"),
        ("\n \n".into(), "is empty"),
        ("{}".into(), "document 1 of it is something else"),
        ("17".into(), "document 1 of it is something else"),
        (
            "[{\"capsule\":1}]".into(),
            "document 1 of it is something else",
        ),
        ("line,5,reason".into(), "document 1 of it is no JSON"),
        ("\0asm".into(), "document 1 of it is no JSON"),
        (
            r#"{"line":5,"offset":3,"kind":"corrupt"}"#.into(),
            "something else",
        ),
        (r#"{"capsule":"1"}"#.into(), "of no known format"),
        (r#"{"capsule":0}"#.into(), "of no known format"),
        (r#"{"capsule":2,"more":true}"#.into(), "is of format 2"),
        (
            r#"{"capsule":1}"#.into(),
            "capsule 1 of it is not valid: missing field",
        ),
        (edited("\"line\":8", "\"lines\":8"), "unknown field `lines`"),
        (edited("\"line\":8", "\"line\":-8"), "not valid"),
        (
            edited("\"line\":8", "\"line\":10"),
            "its line is not one of its batch",
        ),
        (
            edited("\"line\":8", "\"line\":6"),
            "its line is not one of its batch",
        ),
        (edited("\"line\":8", "\"line\":9"), "another one"),
        (
            edited("\"first_line\":7", "\"first_line\":0"),
            "not one of its batch",
        ),
        (edited("b25l", "!!!!"), "not valid: Invalid"),
        (edited("b25lCnR3bwp0aHJlZQ==", ""), "its batch has no line"),
        (
            edited("\"fuel_base\":100000000", "\"fuel_base\":0"),
            "`fuel_base` must be",
        ),
        (
            edited(
                "\"memory_bytes_max\":268435456",
                "\"memory_bytes_max\":99999999999",
            ),
            "`memory_bytes_max` must be from 65536",
        ),
        (
            edited("\"fault\"", "\"flight\""),
            "unknown variant `flight`",
        ),
        (
            edited("\"remaining-ms\"", "\"remaining-days\""),
            "unknown variant",
        ),
        (edited("\"reason\":\"no\"", "\"reason\":\"yes\""), "edited"),
        (edited("\"times\":3", "\"times\":4"), "edited"),
        (edited("\"sha256\":\"", "\"sha256\":\"0"), "edited"),
    ];
    for (text, why) in table {
        let parsed = parsed(text.as_bytes());
        assert!(parsed.contains(why), "{text:.80}: {parsed}");
    }
}

#[test]
fn limits_are_those_of_a_configuration() {
    let limits = LimitsOf {
        fuel_base: 5,
        fuel_per_byte: u64::MAX,
        ..capsule().limits
    };
    assert_eq!(limits.fuel(0), 5);
    assert_eq!(limits.fuel(2), u64::MAX);
    assert!(limits.put_into(&Config::default()).is_err());
}

#[test]
fn a_trap_is_about_the_whole_batch() {
    let capsule = Capsule {
        line: 7,
        ended: Ended::trap(&crate::outcome::Trap {
            kind: TrapKind::Memory,
            message: "x".into(),
            fuel: 1,
        }),
        ..capsule()
    };
    assert_eq!(parsed(&capsule.to_line()), "intact");
    assert_eq!(capsule.line_bytes(), b"one\ntwo\nthree");
}
