//! `linemill new`: projects that build, test and run with the commands that their READMEs name.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::support::{Case, skip};

#[track_caller]
fn check_refused(case: &Case, why: &str) {
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with(why), "{}", outcome.stderr);
    assert!(outcome.before == outcome.after);
}

#[test]
fn what_cannot_be_made_is_refused() {
    let new = |words: &[&str]| {
        let case = Case::command(["new"])
            .file("full/a", "")
            .file("file", "")
            .file("sub/full/.hidden", "");
        words.iter().fold(case, |case, word| case.source(word))
    };
    for (words, why) in [
        (
            &["full"][..],
            "linemill: full is there already, and not empty: take another name",
        ),
        (
            &["sub/full/"],
            "linemill: sub/full/ is there already, and not empty",
        ),
        (&["file"], "linemill: file is there already, and no folder"),
        (
            &["file/plugin"],
            "linemill: could not make the folder file: ",
        ),
        (
            &["/proc/none/plugin"],
            "linemill: could not make the folder /proc/none: ",
        ),
        (
            &["Plugin"],
            "linemill: a plugin cannot be called `Plugin`: take small letters",
        ),
        (
            &["a b"],
            "linemill: a plugin cannot be called `a b`: take small letters",
        ),
        (
            &["sub/fn"],
            "linemill: a plugin cannot be called `fn`: the name has another meaning",
        ),
        (
            &[".."],
            "linemill: `..` ends in no name: name a folder to make",
        ),
        (
            &["plugin", "--lang", "cobol"],
            "error: invalid value 'cobol' for '--lang <LANG>'",
        ),
    ] {
        check_refused(&new(words), why);
    }
}

#[test]
fn an_empty_folder_is_filled_and_others_are_made() {
    let case = Case::command(["new", "a/b/my-plugin"]);
    let outcome = case.run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let made = outcome.new_files();
    for file in [
        "README.md",
        "linemill.toml",
        ".gitignore",
        "cases/levels.txt",
        "src/lib.rs",
        "vendor/wit/plugin.wit",
    ] {
        let file = format!("a/b/my-plugin/{file}");
        assert!(
            made.contains(&file.as_str()),
            "{file} is not among {made:?}"
        );
    }
    assert!(
        made.iter().all(|file| file.starts_with("a/b/my-plugin/")),
        "{made:?}"
    );
    let empty = Case::command(["new", "empty"]);
    std::fs::create_dir(empty.dir().join("empty")).expect("ours");
    assert_eq!(empty.run().exit, Some(0));
    assert_eq!(empty.run().exit, Some(2), "not a second time");
}

/// A new project, in a folder that goes with it.
struct Project {
    _folder: TempDir,
    path: PathBuf,
}

impl Project {
    fn new(lang: &str) -> Project {
        let folder = TempDir::new().expect("there is room for temporary files");
        let path = folder.path().join("my-plugin");
        let made = Case::command(["new", "--lang", lang, &path.to_string_lossy()]).run();
        assert_eq!(made.exit, Some(0), "{}", made.stderr);
        Project {
            _folder: folder,
            path,
        }
    }

    /// Runs one of the README's commands, which must go well.
    #[track_caller]
    fn run(&self, command: &mut Command) {
        let output = command.current_dir(&self.path).output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        assert!(
            output.status.success(),
            "{command:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Its cases pass, and its sample runs.
    #[track_caller]
    fn check(&self) {
        let tested = Case::command(["test", &self.path.to_string_lossy()]).run();
        let said = String::from_utf8_lossy(&tested.stdout).into_owned();
        assert_eq!(tested.exit, Some(0), "{said}{}", tested.stderr);
        assert!(said.ends_with("4 passed, 0 failed\n"), "{said}");
        let component = std::fs::read_to_string(self.path.join("linemill.toml")).expect("readable");
        let component = component
            .lines()
            .find_map(|line| line.strip_prefix("plugin = \""))
            .expect("it names a plugin");
        let component = self.path.join(component.trim_end_matches('"'));
        let sample = std::fs::read_to_string(self.path.join("sample/app.log")).expect("readable");
        Case::with_plugin(component).input("app.log", sample).check(
            "
            exit 1
            corrupted: loaded 10, processed 9, corrupted 1
            out/corruption/app.log: Traceback: this line has no level
              6 corrupt: `this` is no level
            out/destination/app.log: 2026-01-31T23:59:07Z WARN GET /orders 200 in 2119 ms,2026-01-31T23:59:31Z WARN disk 91 % full,2026-02-01T00:00:00Z ERROR could not rotate the log: disk full
            ",
        );
    }
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// A tool that `.ci/languages` installs; without it the language is not tested.
fn tool(name: &str) -> Option<PathBuf> {
    let bin = target().parent()?.join("languages/bin");
    let found = bin.join(name).exists();
    if !found {
        skip(&format!(
            "projects built with {name}, which .ci/languages installs"
        ));
    }
    found.then_some(bin)
}

#[test]
fn a_rust_project_passes_all_that_its_readme_names() {
    let project = Project::new("rust");
    // What it depends on is what is locked here, so that nothing is fetched; and is built once.
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    std::fs::copy(lock, project.path.join("Cargo.lock")).expect("it can be copied");
    let built = target().join("project");
    let cargo = |words: &[&str]| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo
            .args(words)
            .arg("--offline")
            .env("CARGO_TARGET_DIR", &built);
        project.run(&mut cargo);
    };
    cargo(&["build", "--release", "--target", "wasm32-wasip2"]);
    std::os::unix::fs::symlink(&built, project.path.join("target")).expect("it can be linked");
    project.check();
    cargo(&["test"]);
    let mut fmt = Command::new("cargo");
    project.run(fmt.args(["fmt", "--check"]));
    let mut clippy = Command::new("cargo");
    clippy
        .args(["clippy", "--offline", "--all-targets"])
        .env("CARGO_TARGET_DIR", &built);
    project.run(clippy.args(["--", "-D", "warnings"]));
}

#[test]
fn a_javascript_project_builds_and_passes() {
    let Some(bin) = tool("componentize-js") else {
        return;
    };
    let project = Project::new("js");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(paths).expect("paths");
    project.run(Command::new("npm").args(["run", "build"]).env("PATH", path));
    project.check();
}

#[test]
fn a_python_project_builds_and_passes() {
    let Some(bin) = tool("../venv/bin/python") else {
        return;
    };
    let project = Project::new("python");
    let python = format!("PYTHON={}", bin.join("../venv/bin/python").display());
    project.run(Command::new("make").arg(python));
    project.check();
}

#[test]
fn a_c_project_builds_and_passes() {
    let Some(bin) = tool("wasi-clang") else {
        return;
    };
    let project = Project::new("c");
    let compiler = format!("CC={}", bin.join("wasi-clang").display());
    project.run(Command::new("make").args([&compiler, "CFLAGS=-O2 -Wall -Wextra -Werror"]));
    project.check();
}
