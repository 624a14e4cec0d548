//! Plugins that are compiled ahead, and plugins that must be signed.

use std::os::unix::fs::PermissionsExt;

use super::support::{Case, plugin};

/// What `linemill compile` makes of a plugin.
fn compiled(name: &str) -> Vec<u8> {
    let component = std::fs::read(plugin(name)).expect("the plugin can be read");
    let outcome = Case::command(["compile", "p.wasm", "-o", "p.cwasm"])
        .file("p.wasm", component)
        .run();
    assert_eq!(outcome.exit, Some(0), "{}", outcome.stderr);
    outcome.bytes("p.cwasm")
}

/// In one batch, so that fuel does not depend on how fast lines come.
fn case(name: &str) -> Case {
    Case::new(name)
        .set("batch_lines", 10)
        .input("a.txt", "1\n2\nx\n")
}

#[test]
fn compiled_code_does_the_same() {
    let plain = case("sum").run();
    let ahead = case("sum")
        .file("code/p.cwasm", compiled("sum"))
        .set("plugin_compiled", "code/p.cwasm")
        .set("plugin", "")
        .run();
    assert_eq!(plain.exit, ahead.exit, "{}", ahead.stderr);
    assert_eq!(plain.new_files(), ahead.new_files());
    assert_eq!(
        plain.text("out/destination/a.txt"),
        ahead.text("out/destination/a.txt")
    );
    for name in ["Fuel", "Loaded", "Processed", "CorruptionErrors"] {
        assert_eq!(plain.report().0[name], ahead.report().0[name], "{name}");
    }
    assert_eq!(
        plain.report().0["Plugin"]["Digest"],
        ahead.report().0["Plugin"]["Digest"]
    );
}

/// With the component at hand, code that does not fit it is worth a warning; without, it is an error.
#[test]
fn code_that_does_not_fit_is_compiled_anew() {
    let other = compiled("csv-to-json");
    let anew = case("sum")
        .file("code/p.cwasm", &other)
        .set("plugin_compiled", "code/p.cwasm")
        .run();
    assert_eq!(anew.text("out/destination/a.txt"), "3\n");
    for words in ["the plugin is compiled anew", "plugin_compiled was made of"] {
        assert!(anew.stderr.contains(words), "{}", anew.stderr);
    }

    let exposed = case("sum")
        .file("code/p.cwasm", compiled("sum"))
        .set("plugin_compiled", "code/p.cwasm");
    let file = exposed.dir().join("code/p.cwasm");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).expect("it is ours");
    let anew = exposed.run();
    assert_eq!(anew.text("out/destination/a.txt"), "3\n");
    assert!(
        anew.stderr.contains("could have been written by others"),
        "{}",
        anew.stderr
    );

    let limited = case("sum")
        .file("code/p.cwasm", compiled("sum"))
        .set("plugin_compiled", "code/p.cwasm")
        .set("plugin", "")
        .set("memory_bytes_max", "64KiB")
        .run();
    assert_eq!(limited.exit, Some(2));
    assert!(
        limited.stderr.contains("memory_bytes_max"),
        "{}",
        limited.stderr
    );
}

#[test]
fn what_is_no_component_is_not_compiled() {
    let outcome = Case::command(["compile", "p.wasm", "-o", "p.cwasm"])
        .file("p.wasm", "<html>")
        .run();
    assert_eq!(outcome.exit, Some(2));
    assert!(
        outcome.stderr.contains("is not a WebAssembly component"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.new_files().is_empty());
}

/// Key and signature of RFC 8032, test 1: of nothing, which is no plugin.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn a_plugin_that_must_be_signed_and_is_not_is_not_run() {
    let sum = std::fs::read(plugin("sum")).expect("the plugin can be read");
    let unsigned = |case: Case, words: &str| {
        let outcome = case
            .file("p.wasm", &sum)
            .set("plugin_public_key", KEY)
            .run();
        assert_eq!(outcome.exit, Some(2));
        assert!(outcome.stderr.contains(words), "{}", outcome.stderr);
        assert!(outcome.new_files().is_empty());
    };
    let run = || Case::with_plugin("p.wasm").input("a.txt", "1\n");
    unsigned(run(), "is not signed");
    unsigned(run().file("p.wasm.sig", "abc"), "is no ed25519 signature");
    unsigned(run().file("p.wasm.sig", [1; 64]), "does not fit");
    unsigned(Case::command(["check", "p.wasm"]), "is not signed");
    unsigned(
        Case::command(["compile", "p.wasm", "-o", "p.cwasm"]),
        "is not signed",
    );
}
