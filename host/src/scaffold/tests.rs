//! Tests of the files of new projects.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const ALL: [Language; 4] = [
    Language::Rust,
    Language::JavaScript,
    Language::Python,
    Language::C,
];

fn files(language: Language) -> Vec<(&'static str, String)> {
    Scaffold::new("my-plugin", language)
        .expect("a good name")
        .files()
}

#[test]
fn names() {
    for name in ["a", "my-plugin", "b2_c", &"a".repeat(64)] {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    let letters = "take small letters, digits, `-` and `_`, a letter first";
    let meaning = "the name has another meaning in Rust, take another";
    for (name, why) in [
        ("", letters),
        ("2a", letters),
        ("-a", letters),
        ("My", letters),
        ("a b", letters),
        ("é", letters),
        ("a/b", letters),
        ("a\n", letters),
        ("fn", meaning),
        ("proc-macro", meaning),
        ("test", meaning),
        (&"a".repeat(65), "take at most 64 characters"),
    ] {
        let error = check_name(name).expect_err(name).to_string();
        assert!(error.ends_with(why), "{error}");
    }
}

#[test]
fn no_placeholder_is_left_and_no_path_comes_twice() {
    for language in ALL {
        check_files(language);
    }
}

fn check_files(language: Language) {
    let files = files(language);
    let paths: BTreeSet<_> = files.iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), files.len());
    for (path, text) in &files {
        for word in [
            "@COMPONENT@",
            "@IGNORED@",
            "@CASES@",
            "@NAME@",
            "@CRATE@",
            "@VERSION@",
        ] {
            assert!(!text.contains(word), "{path} has {word} in it");
        }
    }
}

/// All of the SDK's source is copied, and nothing else.
#[test]
fn the_sdk_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let files = files(Language::Rust);
    for folder in ["src", "src/http", "wit", "wit/deps"] {
        let prefix = format!("vendor/linemill-sdk/{folder}/");
        let copied: BTreeSet<String> = files
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(&prefix))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        let there = std::fs::read_dir(root.join("guest-sdk").join(folder)).expect("readable");
        let there: BTreeSet<String> = there
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        assert_eq!(copied, there, "{folder}");
    }
}

/// The copy asks for the same dependencies.
#[test]
fn the_sdk_has_its_dependencies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| -> toml::Table {
        let text = std::fs::read_to_string(root.join(path)).expect("readable");
        toml::from_str(&text).expect("TOML")
    };
    let (sdk, workspace) = (read("guest-sdk/Cargo.toml"), read("Cargo.toml"));
    let mut wanted = sdk["dependencies"].as_table().expect("a table").clone();
    for (name, value) in &mut wanted {
        if value.get("workspace").is_some() {
            *value = workspace["workspace"]["dependencies"][name].clone();
        }
    }
    let files = files(Language::Rust);
    let (_, copy) = files
        .iter()
        .find(|(path, _)| *path == "vendor/linemill-sdk/Cargo.toml")
        .expect("it is there");
    let copy: toml::Table = toml::from_str(copy).expect("TOML");
    assert_eq!(copy["dependencies"].as_table(), Some(&wanted));
}

#[test]
fn cases_are_cases() {
    for (path, text) in ALL.into_iter().flat_map(files) {
        if path.starts_with("cases/") {
            let read = crate::cases::Case::parse(path, text.as_bytes());
            assert!(read.is_ok(), "{path}: {read:?}");
        }
    }
}
