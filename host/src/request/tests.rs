//! Tests of requests and names: tables, and one test over all small names.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::name::retry_name;
use super::names::{Names, expand};
use super::*;
use crate::config::Config;

const ID: &str = "11111111-2222-4333-8444-555555555555";
const CWD: &str = "/work/dir";

fn started_at() -> DateTime<Utc> {
    "2026-03-04T23:05:06Z".parse().unwrap()
}

fn request(url: &str) -> Request {
    Request {
        id: ID.to_owned(),
        started_at: started_at(),
        ..Request::new(url)
    }
}

fn names(url: &str) -> Names {
    Names::of(&request(url), Path::new(CWD)).unwrap()
}

/// The URL with a range: `URL @ OFFSET`; with a pointer: `URL <- POINTER @ OFFSET`.
fn names_of_range(text: &str) -> Names {
    let (place, offset) = text.split_once(" @ ").unwrap();
    let offset = offset.parse().unwrap();
    let ranged = match place.split_once(" <- ") {
        None => request(place).with_range(Range {
            offset,
            length: None,
        }),
        Some((source, at)) => {
            let attempt = attempt_of(at);
            let pointer = Pointer {
                source: source.to_owned(),
                offset,
                length: None,
                etag: None,
                first_line: 1,
                attempt,
            };
            Request::from_pointer(at, &pointer)
        }
    };
    Names::of(&ranged, Path::new(CWD)).unwrap()
}

fn config() -> Config {
    let under = |folder: &str| Some(format!("memory://out/{folder}"));
    Config {
        destination_url: under("done"),
        retry_url: under("retry"),
        failed_url: under("failed"),
        corruption_url: under("corrupted"),
        move_url: under("used"),
        max_retries: 3,
        ..Config::default()
    }
}

/// Each line of `table` is an input, `=>` and what `answer` must make of it.
fn check(table: &str, answer: impl Fn(&str) -> String) {
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (input, expected) = row.split_once("=>").expect(row);
        assert_eq!(answer(input.trim()), expected.trim(), "row: {row}");
    }
}

#[test]
fn attempt_and_retry_name() {
    let table = "
        a.csv                      => 0 a-retry01.csv
        a.csv.gz                   => 0 a-retry01.csv.gz
        a-retry05.csv              => 5 a-retry06.csv
        a-retry09.csv.gz           => 9 a-retry10.csv.gz
        a-retry99.csv              => 99 a-retry100.csv
        a-retry100.csv             => 100 a-retry101.csv
        noext                      => 0 noext-retry01
        noext-retry03              => 3 noext-retry04
        a-retryable.csv            => 0 a-retryable-retry01.csv
        a-retry-1.csv              => 0 a-retry-1-retry01.csv
        a-retry                    => 0 a-retry-retry01
        my.data.v2-retry03.csv.gz  => 3 my.data.v2-retry04.csv.gz
        my.data.v2.csv.gz          => 0 my.data.v2-retry01.csv.gz
        my.data.csv                => 0 my.data-retry01.csv
        a-retry01-retry02.csv      => 2 a-retry01-retry03.csv
        a-retry01b.csv             => 0 a-retry01b-retry01.csv
        a-retry٣.csv               => 0 a-retry٣-retry01.csv
        ünï cødé.CSV.GZ            => 0 ünï cødé-retry01.CSV.GZ
        a.zst                      => 0 a-retry01.zst
        a.gz.zst                   => 0 a-retry01.gz.zst
        .hidden                    => 0 .hidden-retry01
        .hidden.gz                 => 0 .hidden-retry01.gz
        -retry02.csv               => 2 -retry03.csv
        a.                         => 0 a-retry01.
        a-retry4294967295          => 4294967295 a-retry4294967296
        a-retry99999999999999999.x => 4294967295 a-retry4294967296.x
    ";
    check(table, |name| {
        let attempt = attempt_of(&format!("s3://b-retry07/x-retry08.d/{name}"));
        format!("{attempt} {}", retry_name(name, attempt))
    });
}

#[test]
fn attempt_of_urls() {
    let table = "
        my.bucket/v1.2/my-retry02/a.csv           => 0
        a-retry02.csv                             => 2
        s3://bucket-retry05                       => 0
        s3://b/a-retry05/                         => 5
        https://h/a-retry03.csv?x=/b-retry04.csv  => 3
        s3://b/a?b-retry04.csv                    => 4
        s3://b/retry/a-retry02.csv.gz.resume.json => 2
        -                                         => 0
        ..                                        => 0
    ";
    check(table, |url| attempt_of(url).to_string());
    assert_eq!(attempt_of(""), 0);
}

/// Every name of up to five of these parts: the retry's attempt is one more, its name differs in
/// the number only, and no folder is touched.
#[test]
fn every_small_name() {
    let parts = ["a", ".", "-", "-retry", "0", "99", ".gz", "-at", "é"];
    let config = Config {
        max_retries: u32::MAX,
        ..config()
    };
    let mut all = vec![String::new()];
    for _ in 0..5 {
        let longer = all
            .iter()
            .flat_map(|name| parts.map(|part| format!("{name}{part}")));
        all = longer.collect();
        let names = all
            .iter()
            .filter(|name| !matches!(name.as_str(), "" | "." | ".."));
        names.for_each(|name| round(name, &config));
    }
}

fn round(name: &str, config: &Config) {
    let folder = "memory://b-retry01/c-retry02.d";
    let attempt = attempt_of(&format!("{folder}/{name}"));
    let next = retry_name(name, attempt);
    assert_eq!(
        attempt_of(&format!("{folder}/{next}")),
        attempt + 1,
        "{name} -> {next}"
    );
    let after = retry_name(&next, attempt + 1);
    assert_eq!(
        Parts::of(&after).stem,
        Parts::of(&next).stem,
        "{name} -> {next} -> {after}"
    );
    assert_eq!(
        Parts::of(&after).extension,
        Parts::of(&next).extension,
        "{name}"
    );

    let ranged = super::name::range_name(name, 7);
    assert_eq!(attempt_of(&ranged), attempt, "{name} -> {ranged}");
    assert_eq!(super::name::range_name(&ranged, 7), ranged, "{name}");

    let url = format!("{folder}/{name}");
    let written = names(&url).retry_or_failed(config).unwrap();
    assert_eq!(written, format!("memory://out/retry/c-retry02.d/{next}"));
}

#[test]
fn retry_failed_and_corruption() {
    let table = "
        memory://in/x/a.csv            => retry/x/a-retry01.csv corrupted/x/a.csv
        memory://in/x/a-retry01.csv.gz => retry/x/a-retry02.csv.gz corrupted/x/a-retry01.csv.gz
        memory://in/x/a-retry02.csv.gz => retry/x/a-retry03.csv.gz corrupted/x/a-retry02.csv.gz
        memory://in/x/a-retry03.csv.gz => failed/x/a-retry04.csv.gz corrupted/x/a-retry03.csv.gz
        memory://in/x/a-retry99999999999.csv => failed/x/a-retry4294967296.csv corrupted/x/a-retry99999999999.csv
        memory://out/retry/x/a-retry01.csv => retry/x/a-retry02.csv corrupted/retry/x/a-retry01.csv
        x/a.csv                        => retry/x/a-retry01.csv corrupted/x/a.csv
        -                              => retry/stdin-retry01 corrupted/stdin
    ";
    check(table, |url| {
        let written = names(url).written(&config()).unwrap();
        assert_eq!(written.pointer, format!("{}.resume.json", written.again));
        assert_eq!(written.gives_up, written.again.contains("/failed/"));
        format!("{} {}", written.again, written.corruption).replace("memory://out/", "")
    });
}

#[test]
fn attempt_of_the_event_goes_over_the_name() {
    let told = Request {
        attempt: 3,
        ..request("s3://b/a.csv")
    };
    let names = Names::of(&told, Path::new(CWD)).unwrap();
    assert_eq!(
        names.retry_or_failed(&config()).unwrap(),
        "memory://out/failed/a-retry04.csv"
    );
}

#[test]
fn ranges() {
    let table = "
        s3://b/x/a.csv @ 1234              => retry/x/a-at1234-retry01.csv corrupted/x/a-at1234.csv
        s3://b/x/a.csv.gz @ 0              => retry/x/a-at0-retry01.csv.gz corrupted/x/a-at0.csv.gz
        s3://b/a-at7.csv @ 9               => retry/a-at9-retry01.csv corrupted/a-at9.csv
        s3://b/look-at.csv @ 9             => retry/look-at-at9-retry01.csv corrupted/look-at-at9.csv
        s3://b/a-retry02.csv @ 9           => retry/a-at9-retry03.csv corrupted/a-at9-retry02.csv
        s3://b/x/a.csv <- memory://out/retry/x/a-retry01.csv.resume.json @ 1234 => retry/x/a-at1234-retry02.csv corrupted/retry/x/a-at1234-retry01.csv
        s3://b/x/a.csv <- memory://out/retry/x/a-at1234-retry02.csv.resume.json @ 5000 => retry/x/a-at5000-retry03.csv corrupted/retry/x/a-at5000-retry02.csv
        s3://b/x/a.csv <- memory://in/x/a-retry03.csv.resume.json @ 1 => failed/x/a-at1-retry04.csv corrupted/x/a-at1-retry03.csv
    ";
    check(table, |row| {
        let written = names_of_range(row).written(&config()).unwrap();
        format!("{} {}", written.again, written.corruption).replace("memory://out/", "")
    });
}

#[test]
fn lines_that_are_run_again() {
    // The source, the attempt that this is => what the lines are written as: retry, corrupt, not run.
    let table = "
        memory://out/corrupted/x/a.csv 1         => retry/corrupted/x/a-retry02.csv corrupted/x/a-retry01.csv corrupted/x/a-rest1.csv
        memory://out/corrupted/x/a-rest1.csv 1   => retry/corrupted/x/a-rest1-retry02.csv corrupted/x/a-rest1-retry01.csv corrupted/x/a-rest2.csv
        memory://out/corrupted/x/a-retry01.csv 2 => retry/corrupted/x/a-retry03.csv corrupted/x/a-retry02.csv corrupted/x/a-rest01-1-retry01.csv
        memory://out/corrupted/x/a-rest1-retry01.csv 2    => retry/corrupted/x/a-rest1-retry03.csv corrupted/x/a-rest1-retry02.csv corrupted/x/a-rest1-rest01-1-retry01.csv
        memory://out/corrupted/x/a-rest01-1-retry01.csv 2 => retry/corrupted/x/a-rest01-1-retry03.csv corrupted/x/a-rest01-1-retry02.csv corrupted/x/a-rest01-2-retry01.csv
        memory://out/retry/x/a-retry01.csv.gz 1  => retry/x/a-retry02.csv.gz corrupted/retry/x/a-retry01.csv.gz retry/x/a-rest01-1-retry01.csv.gz
        memory://out/retry/a-at9-retry01.csv 1   => retry/a-at9-retry02.csv corrupted/retry/a-at9-retry01.csv retry/a-at9-rest01-1-retry01.csv
        memory://out/failed/a-retry04.csv 4      => failed/a-retry05.csv corrupted/failed/a-retry04.csv failed/a-rest04-1-retry04.csv
        memory://out/corrupted/a-rest9x 1        => retry/corrupted/a-rest9x-retry02 corrupted/a-rest9x-retry01 corrupted/a-rest9x-rest1
        memory://out/corrupted/a-rest99999999999999999999 1 => retry/corrupted/a-rest99999999999999999999-retry02 corrupted/a-rest99999999999999999999-retry01 corrupted/a-rest18446744073709551615
    ";
    check(table, |row| {
        let (url, attempt) = row.split_once(' ').unwrap();
        let mut request = request(url);
        request.attempt = attempt.trim().parse().unwrap();
        request.source.redrive = Some(Arc::default());
        let names = Names::of(&request, Path::new(CWD)).unwrap();
        let written = names.written(&config()).unwrap();
        let rest = rest_of(url);
        format!("{} {} {rest}", written.again, written.corruption).replace("memory://out/", "")
    });
}

#[test]
fn templates() {
    let table = "
        s3://b/x/a.csv | gs://o                      => gs://o/x/a.csv
        s3://b/x/a.csv | gs://o/                     => gs://o/x/a.csv
        s3://b/x/a.csv | gs://o/p//                  => gs://o/p/x/a.csv
        s3://b/x/a.csv | out                         => out/x/a.csv
        s3://b/x/a.csv | /out/                       => /out/x/a.csv
        s3://b/x/a.csv | /                           => /x/a.csv
        s3://b/x/a.csv | file:///                    => file:///x/a.csv
        s3://b/x/a.csv | -                           => -
        s3://b/x/a.csv | gs://o/$TimePath            => gs://o/2026/03/04/23/x/a.csv
        s3://b/x/a.csv | gs://o/${Date}x             => gs://o/2026-03-04x/x/a.csv
        s3://b/x/a.csv | gs://o/$Date-$RequestId/$SourceName => gs://o/2026-03-04-11111111-2222-4333-8444-555555555555/a.csv
        s3://b/x/a.csv | gs://o/$UUID                => gs://o/11111111-2222-4333-8444-555555555555/x/a.csv
        s3://b/x/a.csv | gs://o/$SourceBucket        => gs://o/b/x/a.csv
        s3://b/x/a.csv | gs://o/$SourceBucket/$SourcePath.gz => gs://o/b/x/a.csv.gz
        s3://b/x/a.csv | gs://o/$$Date$$$Date        => gs://o/$Date$2026-03-04/x/a.csv
        s3://b/$Date/${x}.csv | gs://o/$SourcePath   => gs://o/$Date/${x}.csv
        s3://b/x/a.csv | s3://b/x                    => s3://b/x/a.csv
        s3://b/x/y/a.csv | s3://b/x/                 => s3://b/x/y/a.csv
        s3://b/x/y/a.csv | S3://b/./x                => S3://b/./x/y/a.csv
        s3://b/xy/a.csv | s3://b/x                   => s3://b/x/xy/a.csv
        s3://b/x/a.csv | s3://c/x                    => s3://c/x/x/a.csv
        s3://b/x/a.csv | gs://b/x                    => gs://b/x/x/a.csv
        s3://b/x/a.csv | s3://b/x/a.csv              => s3://b/x/a.csv/x/a.csv
        s3://b/2026-03-04/a.csv | s3://b/$Date       => s3://b/2026-03-04/a.csv
        s3://b/a b/100%+c%20d/ü?#.csv | gs://o       => gs://o/a b/100%+c%20d/ü?#.csv
        s3://b/x/../../../y/./a.csv | file:///o      => file:///o/y/a.csv
        s3://b/%2e%2e/a.csv | /o                     => /o/%2e%2e/a.csv
        file://x/a.csv | out                         => out/x/a.csv
        x/a.csv | file://out                         => file://out/x/a.csv
        s3://b//x///a.csv | gs://o                   => gs://o/x/a.csv
        https://u:p@h.org:8080/x/a.csv?sig=1#f | gs://o/$SourceBucket => gs://o/h.org/x/a.csv
        https://[::1]:80/a | gs://o/$SourceBucket    => gs://o/[::1]/a
        abfss://c@acc/x/a.csv | gs://o/$SourceBucket => gs://o/c@acc/x/a.csv
        memory://m/x/a.csv | gs://o/$SourceBucket    => gs://o/m/x/a.csv
        x/a.csv | gs://o/$SourceBucket               => gs://o/local/x/a.csv
        ./x/a.csv | out                              => out/x/a.csv
        /work/dir/x/a.csv | out                      => out/x/a.csv
        /work/dirx/a.csv | out                       => out/work/dirx/a.csv
        ../x/a.csv | out                             => out/work/x/a.csv
        file:///work/dir/x/a.csv | out               => out/x/a.csv
        file://localhost/data/a.csv | gs://o/$SourceBucket => gs://o/local/data/a.csv
        out/x/a.csv | /work/dir/out                  => /work/dir/out/x/a.csv
        out/x/a.csv | file:///work/dir/out           => file:///work/dir/out/x/a.csv
        file:///work/dir/out/x/a.csv | out           => out/x/a.csv
        - | out                                      => out/stdin
        - | out/$SourceBucket/$Date-$SourceName      => out/local/2026-03-04-stdin
    ";
    check(table, |row| {
        let (source, template) = row.split_once(" | ").unwrap();
        expand(template, &names(source)).unwrap()
    });
}

#[test]
fn templates_refused() {
    let table = "
        s3://o/$UID        => template `s3://o/$UID`: unknown macro `$UID`, did you mean `$UUID`?
        s3://o/${sourcename} => template `s3://o/${sourcename}`: unknown macro `$sourcename`, did you mean `$SourceName`?
        s3://o/$/x         => template `s3://o/$/x`: a `$` stands alone: write `$$` for a dollar
        s3://o/$           => template `s3://o/$`: a `$` stands alone: write `$$` for a dollar
        s3://o/${}         => template `s3://o/${}`: a `$` stands alone: write `$$` for a dollar
        s3://o/${UUID      => template `s3://o/${UUID`: `${` is not closed by a `}`
        s3://u:pw@o/$Q     => template `s3://u:***@o/$Q`: unknown macro `$Q`: there are `$UUID`, `$TimePath`, `$Date`, `$RequestId`, `$SourceBucket`, `$SourcePath`, `$SourceName`
    ";
    check(table, |template| {
        check_template(template).unwrap_err().to_string()
    });
    assert_eq!(
        check_template("").unwrap_err().to_string(),
        "template ``: it is empty"
    );
    assert!(expand("$Nope", &names("a")).is_err());
}

#[test]
fn templates_that_keep_the_attempt() {
    let table = "
        s3://o/retry              => true
        s3://o/$SourceBucket      => true
        s3://o/$SourcePath        => true
        s3://o/x-$SourceName.gz   => true
        s3://o/$SourcePath/retry  => false
        s3://o/$SourceName-$UUID  => false
        s3://o/$SourceName.$UUID  => false
        s3://o/$SourceName.d/x    => false
    ";
    check(table, |template| keeps_attempt(template).to_string());
}

#[test]
fn nothing_is_written_onto_its_source() {
    let table = "
        memory://out/done/a.csv      => `destination_url` would write to `memory://out/done/a.csv`, the source itself: set another `destination_url`
        memory://out/corrupted/a.csv => `corruption_url` would write to `memory://out/corrupted/a.csv`, the source itself: set another `corruption_url`
        memory://out/routed/a.csv    => `routes.r` would write to `memory://out/routed/a.csv`, the source itself: set another `routes.r`
    ";
    let mut config = config();
    config
        .routes
        .insert("r".to_owned(), "memory://out/routed".to_owned());
    check(table, |url| {
        names(url).written(&config).unwrap_err().to_string()
    });
    assert!(names("memory://out/used/a.csv").moved(&config).is_err());
    // A range of it has a name of its own.
    names_of_range("memory://out/corrupted/a.csv @ 5")
        .written(&config)
        .unwrap();
    // The same number in the name as the event says comes next.
    let told = Request {
        attempt: 1,
        ..request("memory://out/retry/a-retry02.csv")
    };
    let names = Names::of(&told, Path::new(CWD)).unwrap();
    assert!(matches!(
        names.retry_or_failed(&config),
        Err(RequestError::OntoItself { .. })
    ));
}

#[test]
fn optional_and_required() {
    let mut config = Config::default();
    let names = names("s3://b/x/a.csv");
    assert_eq!(names.destination(&config).unwrap(), None);
    assert_eq!(names.route(&config, "big").unwrap(), None);
    assert_eq!(names.moved(&config).unwrap(), None);
    let unset = names.retry_or_failed(&config).unwrap_err().to_string();
    assert_eq!(unset, "`retry_url` is not set: set it, or `out_url`");
    config.max_retries = 0;
    let unset = names.retry_or_failed(&config).unwrap_err().to_string();
    assert_eq!(unset, "`failed_url` is not set: set it, or `out_url`");
    config
        .routes
        .insert("big".to_owned(), "s3://big/$SourceName".to_owned());
    assert_eq!(
        names.route(&config, "big").unwrap().unwrap(),
        "s3://big/a.csv"
    );
    config.destination_url = Some("-".to_owned());
    assert_eq!(names.destination(&config).unwrap().unwrap(), "-");
}

#[test]
fn sources_without_a_name() {
    for url in [
        "",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a/..",
        "https://h/?a=b",
    ] {
        let made = Names::of(&request(url), Path::new("/"));
        assert!(matches!(made, Err(RequestError::Nameless(_))), "{url}");
    }
}

#[test]
fn kinds_of_objects() {
    assert!(is_pointer(&pointer("s3://b/a-retry01.csv")));
    assert!(is_sidecar(&sidecar("s3://b/a.csv")));
    assert!(!is_pointer("s3://b/a.json") && !is_sidecar("s3://b/a.ndjson"));
}

#[test]
fn pointers() {
    let good = r#"{"source":"s3://b/a","offset":5,"first_line":2,"attempt":1}"#;
    let pointer = Pointer::parse("p", good.as_bytes()).unwrap();
    assert_eq!(Pointer::parse("p", &pointer.to_json()).unwrap(), pointer);

    let table = r#"
        {"source":"s3://b/a","offset":5,"first_line":2} => resume pointer `p`: missing field `attempt` at line 1 column 47
        {"source":"s3://b/a","offset":-5,"first_line":2,"attempt":1} => resume pointer `p`: invalid value: integer `-5`, expected u64 at line 1 column 32
        {"source":"s3://b/a","offset":5,"first_line":0,"attempt":1} => resume pointer `p`: first_line is 0, lines count from 1
        {"source":"s3://b/a","offset":9223372036854775808,"first_line":1,"attempt":1} => resume pointer `p`: no object reaches to offset 9223372036854775808 and beyond
        {"source":"s3://b/a","offset":5,"length":18446744073709551615,"first_line":1,"attempt":1} => resume pointer `p`: no object reaches to offset 5 and beyond
        {"source":"-","offset":5,"first_line":1,"attempt":1} => resume pointer `p`: source `-` cannot be read again
        {"source":"a.resume.json","offset":5,"first_line":1,"attempt":1} => resume pointer `p`: its source is a resume pointer too
    "#;
    check(table, |json| {
        Pointer::parse("p", json.as_bytes())
            .unwrap_err()
            .to_string()
    });
    let unknown = good.replace("first_line", "line");
    let error = Pointer::parse("p", unknown.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `line`"), "{error}");
}

#[test]
fn what_is_left_over_becomes_the_next_request() {
    let cwd = Path::new(CWD);
    let mut first = request("s3://b/x/a-retry01.csv");
    first.source.etag = Some("v1".to_owned());
    let ranged = first.with_range(Range {
        offset: 100,
        length: Some(50),
    });
    let pointer = ranged.leftover(cwd, 120, 9).unwrap();
    let expected = Pointer {
        source: "s3://b/x/a-retry01.csv".to_owned(),
        offset: 120,
        length: Some(30),
        etag: Some("v1".to_owned()),
        first_line: 9,
        attempt: 2,
    };
    assert_eq!(pointer, expected);

    let next = Request::from_pointer("s3://r/x/a-at100-retry02.csv.resume.json", &pointer);
    assert_eq!(next.attempt, 2);
    assert_eq!(
        next.source.range,
        Some(Range {
            offset: 120,
            length: Some(30)
        })
    );
    assert_eq!(
        (next.source.etag.as_deref(), next.source.first_line),
        (Some("v1"), 9)
    );

    assert!(ranged.leftover(cwd, 99, 1).is_err() && ranged.leftover(cwd, 151, 1).is_err());
    assert!(request("-").leftover(cwd, 0, 1).is_err());
    let relative = request("x/a.csv").leftover(cwd, 5, 2).unwrap();
    assert_eq!(
        request("file://x").leftover(cwd, 5, 2).unwrap().source,
        "/work/dir/x"
    );
    assert_eq!(
        (relative.source.as_str(), relative.length),
        ("/work/dir/x/a.csv", None)
    );
}
