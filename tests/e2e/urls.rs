//! URLs as sources: web servers that answer, break off, trickle, stall or stay silent.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use crate::deadlines::{check_in_time, timed, without_end};
use crate::support::{Asked, Case, HttpServer, Outcome, gzip, numbered, respond, zstd};

#[test]
fn a_url_is_a_source() {
    let server = HttpServer::serving("ETag: \"1\"\r\n", "a\r\n!corrupt c\nb");
    let url = server.url("/data/a%20b.txt?secret=1#part");
    Case::new("unruly").source(&url).check(
        "
        exit 1
        corrupted: loaded 3, processed 2, corrupted 1
        out/corruption/data/a%20b.txt: !corrupt c
          2 corrupt: c
        out/destination/data/a%20b.txt: a,b
        ",
    );
}

#[test]
fn a_url_without_an_object_is_an_error() {
    let server = HttpServer::start(|_, stream| {
        respond(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n",
            b"gone\n",
        );
    });
    let url = server.url("/a.txt");
    Case::new("unruly")
        .source(&url)
        .check(&format!("exit 2\nerror\nerror: {url} does not exist"));
}

#[test]
fn a_url_that_is_denied_is_an_error_without_its_secret() {
    let server = HttpServer::start(|_, stream| {
        respond(
            stream,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n",
            b"",
        );
    });
    let outcome = Case::new("unruly")
        .source(&server.url("/a.txt?sig=s3cr3t"))
        .run();
    assert_eq!(outcome.exit, Some(2));
    let shown = format!("{} {}", outcome.report().0, outcome.stderr);
    assert!(shown.contains("denied"), "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn a_connection_that_breaks_off_in_a_line_is_an_error() {
    let server = HttpServer::start(|asked, stream| {
        let body: &[u8] = if asked.method == "HEAD" {
            b""
        } else {
            b"a\nb\nthe beginning of"
        };
        respond(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n", body);
    });
    let outcome = Case::new("unruly").source(&server.url("/a.txt")).run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    assert_eq!(outcome.report().status(), "error");
    assert!(outcome.new_files().is_empty());
}

/// A server that gives an entity tag and ranges, and breaks off after every 40 000 bytes.
fn breaking_off(asked: &Asked, stream: &mut TcpStream, body: &[u8]) {
    let start = asked.range_start().unwrap_or(0);
    let head = match asked.range_start() {
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
        Some(start) => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n",
            body.len() - 1,
            body.len()
        ),
    };
    let head = format!(
        "{head}ETag: \"1\"\r\nContent-Length: {}\r\n",
        body.len() - start
    );
    let end = body.len().min(start + 40_000);
    respond(
        stream,
        &head,
        if asked.method == "HEAD" {
            b""
        } else {
            &body[start..end]
        },
    );
}

#[test]
fn a_connection_that_breaks_off_is_taken_up_again_where_that_is_safe() {
    let body = numbered(10_000).into_bytes();
    let served = body.clone();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let server = HttpServer::start(move |asked, stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        breaking_off(asked, stream, &served);
    });
    let outcome = Case::new("unruly").source(&server.url("/a.txt")).run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.report().0);
    assert!(outcome.bytes("out/destination/a.txt") == body);
    assert!(connections.load(Ordering::Relaxed) >= body.len() / 40_000);
}

#[test]
fn a_source_that_is_another_after_the_connection_broke_is_an_error() {
    let count = AtomicUsize::new(0);
    let server = HttpServer::start(move |asked, stream| {
        let tag = count.fetch_add(1, Ordering::Relaxed);
        let body = if asked.method == "HEAD" {
            ""
        } else {
            "a\nb\nthe beginning of"
        };
        let head = match asked.range_start() {
            None => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n".to_owned(),
            Some(start) => format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-99/100\r\nContent-Length: {}\r\n",
                100 - start
            ),
        };
        respond(
            stream,
            &format!("{head}ETag: \"{tag}\"\r\n"),
            body.as_bytes(),
        );
    });
    let outcome = Case::new("unruly").source(&server.url("/a.txt")).run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.report().0);
    assert!(outcome.new_files().is_empty());
}

#[test]
fn a_url_may_trickle() {
    let server = HttpServer::start(|asked, stream| {
        let body = b"a\nb\n!log 1\nc\nd";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        drop(stream.write_all(head.as_bytes()));
        if asked.method != "HEAD" {
            for byte in body {
                drop(stream.write_all(&[*byte]).and_then(|()| stream.flush()));
                std::thread::yield_now();
            }
        }
    });
    Case::new("unruly").source(&server.url("/a.txt")).check(
        "
        exit 0
        ok: loaded 5, processed 5
        out/destination/a.txt: a,b,!log 1,c,d
        ",
    );
}

#[test]
fn a_url_may_be_packed() {
    let packed = [
        ("gzip", gzip("a\nb\n")),
        ("x-gzip", gzip("a\nb\n")),
        ("zstd", zstd("a\nb\n")),
    ];
    for (encoding, body) in packed {
        let server = HttpServer::start(move |asked, stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n",
                body.len()
            );
            respond(
                stream,
                &head,
                if asked.method == "HEAD" { b"" } else { &body },
            );
        });
        Case::new("unruly").source(&server.url("/a.txt")).check(
            "
            exit 0
            ok: loaded 2, processed 2
            out/destination/a.txt: a,b
            ",
        );
    }
    // The suffix says it too, and what the header says besides is not undone twice.
    for headers in ["", "Content-Encoding: gzip\r\n"] {
        let server = HttpServer::serving(headers, gzip("a\nb\n"));
        let outcome = Case::new("unruly").source(&server.url("/a.txt.gz")).run();
        assert_eq!(
            outcome.lines("out/destination/a.txt.gz"),
            ["a", "b"],
            "{headers}"
        );
    }
}

#[test]
fn a_url_may_not_tell_its_length() {
    let server = HttpServer::start(|asked, stream| {
        let body: &[u8] = if asked.method == "HEAD" {
            b""
        } else {
            b"4\r\na\nb\n\r\n2\r\nc\n\r\n0\r\n\r\n"
        };
        respond(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            body,
        );
    });
    Case::new("unruly").source(&server.url("/a.txt")).check(
        "
        exit 0
        ok: loaded 3, processed 3
        out/destination/a.txt: a,b,c
        ",
    );
}

#[test]
fn an_unknown_content_encoding_is_an_error() {
    let server = HttpServer::serving("Content-Encoding: br\r\n", "not understood");
    let url = server.url("/a.txt");
    Case::new("unruly").source(&url).check(&format!(
        "exit 2\nerror\nerror: {url}: its content encoding is \"br\"; gzip and zstd are understood"
    ));
}

#[test]
fn a_url_cannot_be_deleted() {
    let server = HttpServer::serving("", "a\n");
    let outcome = Case::new("unruly")
        .source(&server.url("/a.txt"))
        .args(["--completion", "delete"])
        .run();
    assert_eq!(outcome.exit, Some(2));
    assert!(outcome.new_files().is_empty());
}

/// Serves ranges of numbered lines; a whole one is held up in the middle of a line.
fn stalling(asked: &Asked, stream: &mut TcpStream, body: &[u8], stalled: &mpsc::Receiver<()>) {
    match (asked.method.as_str(), asked.range_start()) {
        ("HEAD", _) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n",
                body.len()
            );
            respond(stream, &head, b"");
        }
        (_, None) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(&body[..body.len() / 2]));
            // Ends when the test does.
            let _ = stalled.recv();
        }
        (_, Some(start)) => {
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Range: bytes {start}-{}/{}\r\nContent-Length: {}\r\n",
                body.len() - 1,
                body.len(),
                body.len() - start
            );
            respond(stream, &head, &body[start..]);
        }
    }
}

#[test]
fn a_url_that_stalls_is_taken_up_by_pointer() {
    let lines: Vec<_> = (0..1001).map(|n| format!("line {n}")).collect();
    let body = lines.join("\n").into_bytes();
    let (end, stalled) = mpsc::channel();
    let stalled = Mutex::new(stalled);
    let server = HttpServer::start(move |asked, stream| {
        stalling(asked, stream, &body, &stalled.lock().unwrap());
    });
    let case = Case::new("unruly").source(&server.url("/a.txt"));
    let outcome = timed(case, 3000).run();
    check_in_time(&outcome, 3000);
    assert_eq!(outcome.exit, Some(1), "{}", outcome.report().0);
    let mut seen = outcome.lines("out/destination/a.txt");
    assert!(seen.len() > 400);
    drop(end);
    let pointer = outcome.report().text("ResumeURL").unwrap().to_owned();
    let second = outcome.case.again().source(&pointer).run();
    assert_eq!(second.exit, Some(0), "{}", second.report().0);
    let written = second.report().text("DestinationURL").unwrap();
    seen.extend(second.lines(written));
    assert!(seen == lines);
}

/// Nothing was read: it is an error, or all was handed over.
#[track_caller]
fn check_not_read(outcome: &Outcome) {
    assert_ne!(outcome.exit, Some(0), "{}", outcome.stderr);
    let pointer = |name: &&str| name.ends_with(".resume.json");
    let files = outcome.new_files();
    assert!(files.iter().all(pointer), "{files:?}");
    assert_eq!(files.is_empty(), outcome.exit != Some(1), "{files:?}");
}

/// A server that does not answer what is asked by these methods, and announces that it was asked.
fn silent(methods: &'static [&str]) -> (HttpServer, mpsc::Receiver<()>) {
    let (asking, is_asked) = mpsc::channel();
    let server = HttpServer::start(move |asked, stream| {
        if !methods.contains(&&*asked.method) {
            return respond(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", b"");
        }
        let _ = asking.send(());
        // Until the other side gives up.
        drop(stream.read(&mut [0]));
    });
    (server, is_asked)
}

#[test]
fn a_url_that_does_not_answer_ends_in_time() {
    for methods in [&["HEAD", "GET"][..], &["GET"]] {
        let (server, _) = silent(methods);
        let case = Case::new("unruly").source(&server.url("/a.txt"));
        let outcome = timed(case, 3000).run();
        check_in_time(&outcome, 3000);
        check_not_read(&outcome);
    }
}

#[test]
fn a_long_line_that_does_not_end_in_time_is_not_loaded() {
    let server = HttpServer::start(move |asked, stream| {
        let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 300000\r\n\r\n";
        drop(stream.write_all(head.as_bytes()));
        if asked.method != "HEAD" {
            drop(stream.write_all(&without_end()));
            drop(stream.read(&mut [0]));
        }
    });
    let case = Case::new("unruly").source(&server.url("/a.txt"));
    let outcome = timed(case, 3000).set("line_bytes_max", 1000).run();
    check_in_time(&outcome, 3000);
    outcome.check(&format!(
        "
        exit 1
        retry: loaded 1, processed 1, unread ?
        out/destination/a.txt: a
        out/retry/a-retry01.txt.resume.json: {} from byte 2, line 2, attempt 1
        ",
        server.url("/a.txt")
    ));
}

#[test]
fn a_signal_ends_a_run_that_waits_for_its_source() {
    for methods in [&["HEAD", "GET"][..], &["GET"]] {
        let (server, is_asked) = silent(methods);
        let case = Case::new("unruly").source(&server.url("/a.txt"));
        let running = case.start();
        is_asked.recv_timeout(Duration::from_secs(30)).unwrap();
        running.signal("TERM");
        check_not_read(&running.finish());
    }
}
