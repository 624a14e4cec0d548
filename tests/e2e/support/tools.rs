//! The binary and the plugins that are tested, built once for each run of the tests unless they are given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::skip;

const PLUGINS: [&str; 7] = [
    "sum",
    "csv-to-json",
    "ndjson-filter",
    "url-lookup",
    "unruly",
    "hungry",
    "prober",
];

/// The binary.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| given("LINEMILL_TEST_BIN").unwrap_or_else(build_binary))
}

/// The component of a plugin, by the name of its crate.
pub(crate) fn plugin(name: &str) -> PathBuf {
    let path = plugins().join(format!("{}.wasm", name.replace('-', "_")));
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// The component of a plugin in another language than Rust, by the name of its folder; says that it is not there, which is
/// a failure with `LINEMILL_TEST_REQUIRE_SERVERS=1`, as in CI.
#[track_caller]
pub(crate) fn other_language(name: &str) -> Option<PathBuf> {
    let path = plugins().join(format!("{}.wasm", name.replace('-', "_")));
    if !path.is_file() {
        skip::without(&format!("{name} is not built, make languages does that"));
        return None;
    }
    compile(&path);
    Some(path)
}

/// Compiles a component once, for the cache: one with an interpreter in it takes many seconds, and longer still where
/// several tests do so at once.
fn compile(path: &Path) {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.insert(path.to_owned()) {
        let mut check = Command::new(binary());
        check.arg("check").arg(path).stdout(Stdio::null());
        // Whether it fits is for the test to say.
        let _ = check.env("XDG_CACHE_HOME", cache_home()).status();
    }
}

/// The folder of all of them.
pub(crate) fn plugins() -> &'static Path {
    static PLUGINS: OnceLock<PathBuf> = OnceLock::new();
    PLUGINS.get_or_init(|| given("LINEMILL_TEST_PLUGINS").unwrap_or_else(build_plugins))
}

/// The folder for compiled code, shared by all cases. Nobody else can write to it.
pub(crate) fn cache_home() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache");
        std::fs::create_dir_all(&path).expect("the target folder can be written to");
        path
    })
}

fn given(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os(variable)?);
    assert!(path.exists(), "{variable}: {} is not there", path.display());
    Some(path)
}

fn build_binary() -> PathBuf {
    cargo(["--release", "-p", "linemill"].map(str::to_owned).to_vec());
    target_dir().join("release/linemill")
}

fn build_plugins() -> PathBuf {
    run(&mut Command::new(root().join(".ci/wasm-target")));
    let target = ["--profile", "plugin", "--target", "wasm32-wasip2"].map(str::to_owned);
    let packages = PLUGINS.map(|name| format!("--package={name}"));
    cargo([&target[..], &packages[..]].concat());
    target_dir().join("wasm32-wasip2/plugin")
}

fn cargo(arguments: Vec<String>) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.arg("build").args(arguments);
    run(cargo
        .arg("--target-dir")
        .arg(target_dir())
        .current_dir(root()));
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(|status| status.success()),
        "{command:?}: {status:?}"
    );
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn target_dir() -> &'static Path {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    parent.expect("the folder for temporary files is below the target folder")
}
