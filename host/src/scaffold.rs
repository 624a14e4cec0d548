//! The files of a new plugin's project: a small processor that is real, its cases, and the SDK it is built with.

mod c;
mod js;
mod python;
mod rust;

use std::fmt;

/// The language of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Built by cargo.
    Rust,
    /// Built by componentize-js.
    JavaScript,
    /// Built by componentize-py.
    Python,
    /// Built by a clang for WASI.
    C,
}

/// A project to be written.
#[derive(Clone, Debug)]
pub struct Scaffold {
    name: String,
    language: Language,
}

/// Why a project cannot be called that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadName {}

/// Longest name, in bytes.
const NAME_MAX: usize = 64;
/// What cargo, or Rust, has another use for.
const TAKEN: [&str; 58] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "linemill_sdk",
    "loop",
    "macro",
    "match",
    "memchr",
    "mod",
    "move",
    "mut",
    "override",
    "postcard",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "where",
    "while",
];

/// What belongs to a language; the rest is the same in all.
struct Kit {
    /// Where the component is built, from the project's folder.
    component: &'static str,
    /// What git leaves alone.
    ignored: &'static str,
    /// How the configuration says what a batch may use whatever its size.
    fuel_base: &'static str,
    /// The README.
    readme: &'static str,
    /// Files with placeholders in them.
    own: &'static [(&'static str, &'static str)],
    /// Files as they are.
    copied: &'static [(&'static str, &'static str)],
}

/// Where the default suffices.
const FUEL_BASE: &str = "# fuel_base = 100_000_000      # instructions, roughly, for a batch";

/// What projects of every language have.
const COMMON: [(&str, &str); 6] = [
    (
        "linemill.toml",
        include_str!("../templates/common/linemill.toml"),
    ),
    (".gitignore", include_str!("../templates/common/gitignore")),
    (
        "cases/broken.txt",
        include_str!("../templates/common/cases/broken.txt"),
    ),
    (
        "cases/levels.txt",
        include_str!("../templates/common/cases/levels.txt"),
    ),
    (
        "cases/no-such-level.txt",
        include_str!("../templates/common/cases/no-such-level.txt"),
    ),
    (
        "cases/setting.txt",
        include_str!("../templates/common/cases/setting.txt"),
    ),
];
/// The contract, for those who look things up.
const WIT: (&str, &str) = ("wit/plugin.wit", include_str!("../../wit/plugin.wit"));
const SAMPLE: (&str, &str) = (
    "sample/app.log",
    include_str!("../templates/common/sample/app.log"),
);
const CASES: &str = include_str!("../templates/common/cases.md");

impl Scaffold {
    /// A project of that name.
    ///
    /// # Errors
    /// It cannot be called that.
    pub fn new(name: &str, language: Language) -> Result<Self, BadName> {
        check_name(name)?;
        Ok(Scaffold {
            name: name.to_owned(),
            language,
        })
    }

    /// Its files: paths from its folder, and what is in them.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let kit = self.kit();
        let crate_name = self.name.replace('-', "_");
        let fill = |text: &str| {
            text.replace("@COMPONENT@", kit.component)
                .replace("@IGNORED@", kit.ignored.trim_end())
                .replace("@FUEL_BASE@", kit.fuel_base)
                .replace("@CASES@", CASES.trim_end())
                .replace("@NAME@", &self.name)
                .replace("@CRATE@", &crate_name)
                .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
        };
        let readme = [("README.md", kit.readme)];
        let filled = COMMON.iter().chain(&readme).chain(kit.own);
        let copied = [SAMPLE].into_iter().chain(kit.copied.iter().copied());
        filled
            .map(|(path, text)| (*path, fill(text)))
            .chain(copied.map(|(path, text)| (path, text.to_owned())))
            .collect()
    }

    fn kit(&self) -> &'static Kit {
        match self.language {
            Language::Rust => &rust::KIT,
            Language::JavaScript => &js::KIT,
            Language::Python => &python::KIT,
            Language::C => &c::KIT,
        }
    }
}

fn check_name(name: &str) -> Result<(), BadName> {
    let bad = |why: &str| {
        Err(BadName(format!(
            "a plugin cannot be called `{}`: {why}",
            name.escape_debug()
        )))
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if !first
        || !name
            .bytes()
            .all(|byte| plain(byte) || b"-_".contains(&byte))
    {
        return bad("take small letters, digits, `-` and `_`, a letter first");
    }
    if name.len() > NAME_MAX {
        return bad(&format!("take at most {NAME_MAX} characters"));
    }
    if TAKEN.contains(&name.replace('-', "_").as_str()) {
        return bad("the name has another meaning in Rust, take another");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
