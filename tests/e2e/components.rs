//! Which components are plugins and which are refused, and where their compiled code is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::support::{Case, plugin};

/// A component from its text form.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the component is valid")
}

/// A component that exports, as an instance of this name, functions that take nothing and return nothing.
fn exporting(name: &str, functions: &[&str]) -> Vec<u8> {
    let exports: String = functions
        .iter()
        .map(|function| format!("(export \"{function}\" (func $nothing))"))
        .collect();
    component(&format!(
        "(component
            (core module $module (func (export \"nothing\")))
            (core instance $core (instantiate $module))
            (func $nothing (canon lift (core func $core \"nothing\")))
            (instance $instance {exports})
            (export \"{name}\" (instance $instance)))"
    ))
}

const PROCESSOR: &str = "linemill:plugin/processor@0.1.0";

/// `run` and `check` refuse the bytes as a plugin, with all of these words on one line of stderr.
fn check_refused(bytes: &[u8], words: &[&str]) {
    let run = Case::with_plugin("plugin.wasm")
        .file("plugin.wasm", bytes)
        .set("completion", "delete")
        .input("a.txt", "1\n")
        .run();
    let checked = Case::command(["check", "plugin.wasm"])
        .file("plugin.wasm", bytes)
        .run();
    assert_eq!(
        run.before, run.after,
        "the source stays, nothing is written"
    );
    assert!(run.reports.is_empty(), "no request was begun");
    for outcome in [run, checked] {
        assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
        let lines: Vec<_> = outcome.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one message: {}", outcome.stderr);
        for word in ["plugin plugin.wasm", "component"].iter().chain(words) {
            assert!(lines[0].contains(word), "no {word:?} in: {}", lines[0]);
        }
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let sum = std::fs::read(plugin("sum")).expect("the plugin can be read");
    check_refused(b"", &["is not a WebAssembly component", "empty"]);
    check_refused(b"\0", &["is not a WebAssembly component"]);
    check_refused(
        b"hello, world\n",
        &["is not a WebAssembly component", "hello"],
    );
    check_refused(
        b"\0asm\x01\0\0\0",
        &[
            "core WebAssembly module",
            "wasm32-wasip2",
            "wasm-tools component new",
        ],
    );
    check_refused(
        &component("(module (func (export \"process\")))"),
        &["core WebAssembly module"],
    );
    for len in [9, 100, 5000, sum.len() - 1] {
        check_refused(&sum[..len], &["is not a valid component", "cut off"]);
    }
    let mut damaged = sum.clone();
    damaged[3000..3100].fill(0xff);
    check_refused(&damaged, &["is not a valid component"]);
}

/// The same for what is a component, but not a plugin.
fn check_misfit(bytes: &[u8], words: &[&str]) {
    let run = Case::with_plugin("plugin.wasm")
        .file("plugin.wasm", bytes)
        .input("a.txt", "1\n")
        .run();
    let checked = Case::command(["check", "plugin.wasm"])
        .file("plugin.wasm", bytes)
        .run();
    assert!(run.new_files().is_empty());
    for outcome in [run, checked] {
        assert!(
            outcome.reports.is_empty(),
            "no request was begun: {}",
            outcome.reports[0].0
        );
        assert_eq!(outcome.exit, Some(2), "{}", outcome.stderr);
        for word in ["linemill: plugin plugin.wasm: "].iter().chain(words) {
            assert!(
                outcome.stderr.contains(word),
                "no {word:?} in: {}",
                outcome.stderr
            );
        }
    }
}

#[test]
fn a_component_that_is_no_plugin_is_refused() {
    check_misfit(
        &component("(component)"),
        &[
            "does not export linemill:plugin/processor@0.1.0",
            "it exports nothing",
            "implement the world",
        ],
    );
    check_misfit(
        &exporting("acme:other/thing@1.0.0", &["process"]),
        &[
            "does not export linemill:plugin/processor@0.1.0",
            "acme:other/thing@1.0.0",
            "implement the world",
        ],
    );
    check_misfit(
        &exporting(
            "linemill:plugin/processor@0.2.0",
            &["pre", "process", "post"],
        ),
        &[
            "linemill:plugin/processor@0.2.0",
            "build it against the contract of this linemill",
        ],
    );
    // The name is right, what stands behind it is not.
    check_misfit(
        &exporting(PROCESSOR, &[]),
        &["does not fit the contract", "pre", "build it against"],
    );
    check_misfit(
        &exporting(PROCESSOR, &["pre", "post"]),
        &["does not fit the contract", "process", "build it against"],
    );
    check_misfit(
        &exporting(PROCESSOR, &["pre", "process", "post"]),
        &["does not fit the contract", "build it against"],
    );
}

#[test]
fn an_import_that_is_not_granted_is_refused() {
    let hungry = std::fs::read(plugin("hungry")).expect("the plugin can be read");
    check_misfit(
        &hungry,
        &["imports wasi:sockets/", "not granted", "leave out"],
    );
    let importing = |name: &str| {
        component(&format!(
            "(component
                (import \"{name}\" (instance (export \"run\" (func))))
                (core module $module (func (export \"nothing\")))
                (core instance $core (instantiate $module))
                (func $nothing (canon lift (core func $core \"nothing\")))
                (instance $instance (export \"pre\" (func $nothing)))
                (export \"{PROCESSOR}\" (instance $instance)))"
        ))
    };
    check_misfit(
        &importing("acme:secrets/vault@1.0.0"),
        &["imports acme:secrets/vault@1.0.0", "not granted"],
    );
    check_misfit(
        &importing("wasi:http/outgoing-handler@0.2.0"),
        &["imports wasi:http/outgoing-handler@0.2.0"],
    );
    // A name that is granted, but with something in it that there is not.
    check_misfit(
        &importing("wasi:random/random@0.2.6"),
        &["does not fit the contract"],
    );
}

#[test]
fn a_plugin_that_is_not_there_is_refused() {
    for path in ["missing.wasm", "no/such/folder/plugin.wasm", "."] {
        let outcome = Case::with_plugin(path).input("a.txt", "1\n").run();
        assert_eq!(outcome.exit, Some(2));
        assert!(
            outcome.stderr.starts_with("linemill: "),
            "{}",
            outcome.stderr
        );
        assert!(
            outcome.stderr.contains(&format!("plugin {path}")),
            "{}",
            outcome.stderr
        );
        assert!(outcome.new_files().is_empty());
    }
}

/// What `check` says of how the code was made.
fn code(cache: &Case) -> (String, String) {
    let sum = plugin("sum");
    let outcome = cache
        .again()
        .args(["check", &sum.to_string_lossy(), "--set", "cache_dir=cache"])
        .run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
    let code = said
        .lines()
        .find_map(|line| line.strip_prefix("code "))
        .expect("a line on the code");
    let how = code.trim().rsplit_once(" in ").expect("how long it took").0;
    (how.to_owned(), outcome.stderr)
}

const COMPILED: &str = "compiled";
const LOADED: &str = "compiled before, loaded";

#[test]
fn compiled_code_is_kept() {
    let case = Case::command([]);
    assert_eq!(code(&case), (COMPILED.to_owned(), String::new()));
    assert_eq!(code(&case), (LOADED.to_owned(), String::new()));
    // Damaged code is made anew.
    for path in cached(&case) {
        std::fs::write(&path, "no code").expect("it is ours");
    }
    let (how, said) = code(&case);
    assert_eq!(how, COMPILED);
    assert!(said.contains("not usable, compiling anew"), "{said}");
    assert_eq!(code(&case).0, LOADED);
}

fn cached(case: &Case) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(case.dir().join("cache")).expect("the folder is there");
    entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect()
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn compiled_code_is_taken_from_no_place_that_others_can_write_to() {
    let case = Case::command([]);
    assert_eq!(code(&case).0, COMPILED);
    let folder = case.dir().join("cache");
    for path in cached(&case) {
        chmod(&path, 0o666);
    }
    assert_eq!(
        code(&case).0,
        COMPILED,
        "others could have written the file"
    );
    chmod(&folder, 0o777);
    let (how, said) = code(&case);
    assert_eq!(how, COMPILED, "others could have put it into the folder");
    assert!(
        said.contains("compiled code is not cached") && said.contains("cache"),
        "{said}"
    );
    chmod(&folder, 0o700);
    assert_eq!(code(&case).0, LOADED);
}

#[test]
fn without_a_cache_plugins_run() {
    Case::new("sum")
        .set("cache_dir", "file/cache")
        .file("file", "no folder")
        .input("a.txt", "1\n2\n")
        .check(
            "
            exit 0
            ok: loaded 2, processed 2
            WARN linemill::runtime::plugin: compiled code is not cached: could not make the folder file/cache: Not a directory (os error 20)
            out/destination/a.txt: 3
            ",
        );
}
