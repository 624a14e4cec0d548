//! Who may know what: the layers of the host, checked in its source.

use std::fs;
use std::path::{Path, PathBuf};

/// A word that only some places may hold.
struct Rule {
    word: &'static str,
    allowed: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        word: "wasmtime",
        allowed: &["runtime/"],
    },
    Rule {
        word: "object_store::",
        allowed: &["storage", "source", "destination", "error"],
    },
    Rule {
        word: "lambda_runtime::",
        allowed: &["entry/lambda"],
    },
    Rule {
        word: "clap::",
        allowed: &["entry/", "main.rs"],
    },
    Rule {
        word: "crate::pipeline",
        // A rehearsal runs the whole of it, as entry points do.
        allowed: &["rehearsal.rs"],
    },
    Rule {
        word: "unsafe {",
        allowed: &[
            "runtime/cache.rs",
            "runtime/compiled.rs",
            "runtime/plugin.rs",
            "runtime/threads.rs",
            "destination/file.rs",
        ],
    },
];

#[test]
fn each_layer_knows_only_what_it_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 20, "the source is where it is looked for");
    let mut broken = Vec::new();
    for file in &files {
        let name = file
            .strip_prefix(&root)
            .expect("below it")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(file).expect("readable");
        assert!(
            text.starts_with("//!"),
            "{name} does not say what it is for in its first line"
        );
        // Prose may name what code may not use.
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code: Vec<&str> = code.collect();
        for rule in RULES {
            let allowed = rule.allowed.iter().any(|place| name.starts_with(place));
            if !allowed && code.iter().any(|line| line.contains(rule.word)) {
                broken.push(format!("{name} uses {}", rule.word));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            files.push(path);
        }
    }
}
