//! A guest whose lines tell it what to try of what may be granted; it writes what came of it, one line each.
//!
//! | line | what it writes |
//! | --- | --- |
//! | `METHOD URL` | the status and the body, or `failed: KIND: why` |
//! | `METHOD URL N` | the same, with a body of N bytes |
//! | `head METHOD URL NAME` | the status and a header of the answer |
//! | `abandon URL` | nothing: it begins to send a body, and panics once it was answered |
//! | `linger URL` | the status; it never ends its request |
//! | `hoard-headers`, `hoard-bodies`, `hoard-files PATH` | nothing: it keeps more and more of them |
//! | `env NAME` | the value of the variable, or `(not set)` |
//! | `variables` | how many variables there are |
//! | `read PATH` | the file |
//! | `list PATH` | the names in the folder |
//! | `write PATH`, `delete PATH`, `mkdir PATH`, `rename PATH` | `done`, or `failed: why` |

mod raw;

use std::fs;

use linemill_sdk::http::Request;
use linemill_sdk::{Batch, Line, Processor, Result};

/// Tries things.
#[derive(Debug, Default)]
pub struct Prober;

impl Processor for Prober {
    type Context = ();
    type Partial = ();

    fn line(&mut self, line: Line<'_>, batch: &mut Batch<()>) -> Result<()> {
        let words: Vec<&str> = line.as_str()?.split(' ').collect();
        let said = match words[..] {
            ["env", name] => std::env::var(name).unwrap_or_else(|_| "(not set)".to_owned()),
            ["abandon", url] => raw::abandon(url),
            ["linger", url] => raw::linger(url),
            ["hoard-headers"] => raw::hoard_headers(),
            ["hoard-bodies"] => raw::hoard_bodies(),
            ["hoard-files", path] => hoard_files(path),
            ["variables"] => std::env::vars_os().count().to_string(),
            ["read", path] => said(fs::read_to_string(path)),
            ["list", path] => said(list(path)),
            ["write", path] => done(fs::write(path, "written")),
            ["delete", path] => done(fs::remove_file(path)),
            ["mkdir", path] => done(fs::create_dir(path)),
            ["rename", path] => done(fs::rename(path, format!("{path}.new"))),
            ["head", method, url, name] => head(&Request::new(method, url), name),
            [method, url] => ask(&Request::new(method, url)),
            [method, url, bytes] => {
                let body = vec![b'x'; bytes.parse().unwrap_or(0)];
                ask(&Request::new(method, url).body(body))
            }
            _ => "unknown command".to_owned(),
        };
        batch.emit_line(said.trim_end());
        Ok(())
    }
}

fn ask(request: &Request) -> String {
    match request.send() {
        Ok(answer) => format!(
            "{} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ),
        Err(failure) => format!("failed: {:?}: {failure}", failure.kind()),
    }
}

fn head(request: &Request, name: &str) -> String {
    match request.send() {
        Ok(answer) => {
            let header = String::from_utf8_lossy(answer.header(name).unwrap_or_default());
            format!("{} {header}", answer.status)
        }
        Err(failure) => format!("failed: {:?}: {failure}", failure.kind()),
    }
}

fn hoard_files(path: &str) -> String {
    let mut open = Vec::new();
    loop {
        match fs::File::open(path) {
            Ok(file) => open.push(file),
            Err(error) => return format!("failed after {}: {error}", open.len()),
        }
    }
}

fn list(path: &str) -> std::io::Result<String> {
    let entries = fs::read_dir(path)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join(" "))
}

fn said(result: std::io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("failed: {error}"))
}

fn done(result: std::io::Result<()>) -> String {
    said(result.map(|()| "done".to_owned()))
}

linemill_sdk::export!(Prober);
