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
            "@FUEL_BASE@",
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
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk");
    let files = files(Language::Rust);
    let copied = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("vendor/linemill-sdk/"));
    let copied: BTreeSet<String> = copied.map(str::to_owned).collect();
    let mut there = BTreeSet::from(["Cargo.toml".to_owned()]);
    for folder in ["src", "wit"] {
        collect(&sdk, &sdk.join(folder), &mut there);
    }
    assert_eq!(copied, there);
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => collect(root, &path, found),
            false => {
                let path = path.strip_prefix(root).expect("below it");
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
}

/// What JavaScript is built with is what our own plugins are built with.
#[test]
fn javascript_has_the_same_packages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/js/package.json");
    let ours = std::fs::read_to_string(root).expect("readable");
    let files = files(Language::JavaScript);
    let (_, theirs) = files
        .iter()
        .find(|(path, _)| *path == "package.json")
        .expect("it is there");
    let [ours, theirs]: [serde_json::Value; 2] =
        [&ours, theirs].map(|text| serde_json::from_str(text).expect("JSON"));
    for part in ["devDependencies", "overrides"] {
        assert_eq!(ours[part], theirs[part], "{part}");
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
    assert_eq!(copy["features"], sdk["features"]);
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
