//! Plugins that are swapped while they are in use, with real components.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use linemill::{
    Checked, Choice, Config, Host, Limits, Plugin, Progress, Registry, Report, Request, Role,
    Runtime, ShadowMode, Stop, Storage, TRIAL_INSTANCES,
};

/// The bytes of a plugin, by the name of its crate.
fn component(name: &str) -> Vec<u8> {
    let path = plugins().join(format!("{}.wasm", name.replace('-', "_")));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn plugins() -> &'static Path {
    static PLUGINS: OnceLock<PathBuf> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        if let Some(given) = std::env::var_os("LINEMILL_TEST_PLUGINS") {
            return given.into();
        }
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        let target = target.expect("the folder for temporary files is below the target folder");
        let made = Command::new(root.join(".ci/wasm-target")).status();
        assert!(made.is_ok_and(|status| status.success()), "wasm-target");
        let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
            .args(["build", "--profile", "plugin", "--target", "wasm32-wasip2"])
            .args([
                "-p",
                "sum",
                "-p",
                "ndjson-filter",
                "-p",
                "unruly",
                "--target-dir",
            ])
            .arg(target)
            .current_dir(root)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "plugins");
        target.join("wasm32-wasip2/plugin")
    })
}

/// The same component as another version: another digest.
fn version(component: &[u8], version: &str) -> Vec<u8> {
    let mut section = vec![7];
    section.extend(b"version");
    section.extend(version.as_bytes());
    let len = u8::try_from(section.len()).expect("short");
    [component, &[0, len], &section].concat()
}

/// A component that passes for a plugin by the names of its exports, and imports what no plugin gets.
fn greedy() -> Vec<u8> {
    wat::parse_str(
        "(component
            (import \"wasi:sockets/network@0.2.3\" (instance))
            (import \"wasi:io/poll@0.2.3\" (instance))
            (core module $module (func (export \"nothing\")))
            (core instance $core (instantiate $module))
            (func $nothing (canon lift (core func $core \"nothing\")))
            (instance $instance (export \"pre\" (func $nothing)))
            (export \"linemill:plugin/processor@0.1.0\" (instance $instance)))",
    )
    .expect("a component")
}

/// A folder with a plugin in it, and a registry that takes it from there.
struct Place {
    folder: tempfile::TempDir,
    host: Host,
    runtime: Arc<Runtime>,
}

impl Place {
    fn new(component: &[u8], set: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().map(str::to_owned);
        let mut config = Config {
            plugin: path("p.wasm"),
            destination_url: path("out"),
            retry_url: path("retry"),
            failed_url: path("failed"),
            corruption_url: path("corruption"),
            concurrency: 2,
            memory_bytes_max: 64 << 20,
            cache_dir: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("registry-cache")),
            ..Config::default()
        };
        set(&mut config);
        let runtime = Runtime::new(Limits {
            memory_bytes_max: config.memory_bytes_max,
            table_elements_max: config.table_elements_max,
            instances: 3 + TRIAL_INSTANCES,
            cache_dir: config.cache_dir.clone(),
            grants: config.grants.clone(),
        });
        let host = Host {
            storage: Storage::new(),
            config: Arc::new(config),
            progress: Arc::new(Progress::default()),
            cwd: folder.path().to_owned(),
        };
        let place = Place {
            folder,
            host,
            runtime: runtime.expect("an engine"),
        };
        place.put("p.wasm", component);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As a whole, as a store does it.
    fn put(&self, name: &str, content: &[u8]) {
        let new = self.path(&format!(".{name}"));
        std::fs::write(&new, content).expect("written");
        std::fs::rename(new, self.path(name)).expect("in its place");
    }

    async fn open(&self) -> anyhow::Result<Arc<Registry>> {
        Registry::open(&self.runtime, &self.host.storage, &self.host.config).await
    }

    async fn opened(&self) -> Arc<Registry> {
        self.open().await.expect("a plugin that works")
    }

    /// Puts another component in the plugin's place, which is refused, for all of these words.
    async fn check_refused(&self, registry: &Registry, component: &[u8], words: &[&str]) {
        let before = registry.status().stable.digest;
        self.put("p.wasm", component);
        let Checked::Failed(reason) = registry.check().await else {
            panic!("it is taken, {words:?} or not");
        };
        for word in words {
            assert!(reason.contains(word), "no {word:?} in: {reason}");
        }
        assert_eq!(
            registry.check().await,
            Checked::Unchanged,
            "it is tried once"
        );
        let status = registry.status();
        assert_eq!(status.stable.digest, before);
        assert_eq!(status.unused.as_deref(), Some(&*reason));
        assert_eq!(status.last_failure.expect("a failure").reason, reason);
        let (report, _) = self.request(registry, "1\n").await;
        assert_eq!(report.plugin.digest, before);
        assert_eq!(report.plugin_failure.as_deref(), Some(&*reason));
    }

    async fn request(&self, registry: &Registry, lines: &str) -> (Report, String) {
        let choice = registry.choose();
        let (mut report, output) = self.run(&choice, lines).await;
        registry.finished(&choice, &mut report);
        (report, output)
    }

    async fn run(&self, choice: &Choice, lines: &str) -> (Report, String) {
        static REQUESTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = REQUESTS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("in-{number}.txt");
        std::fs::write(self.path(&name), lines).expect("written");
        let path = self.path(&name);
        let request = Request::new(path.to_str().expect("text"));
        let (shadow, stop) = (choice.shadow.as_ref(), Arc::new(Stop::default()));
        let report =
            linemill::run_shadowed(&self.host, &choice.plugin, shadow, request, stop).await;
        let output = report.written.destination.as_ref();
        let output = output.map(|url| std::fs::read_to_string(url).expect("output"));
        (report, output.unwrap_or_default())
    }
}

const LINES: &str = "1\n2\n";

#[tokio::test]
async fn a_new_version_serves_and_requests_under_way_keep_theirs() {
    let place = Place::new(&component("unruly"), |_| {});
    let registry = place.opened().await;
    let under_way = registry.choose();
    assert_eq!(registry.check().await, Checked::Unchanged);

    let sum = component("sum");
    place.put("p.wasm", &sum);
    let digest = linemill::digest(&sum);
    let taken = Checked::Taken {
        digest: digest.clone(),
    };
    assert_eq!(registry.check().await, taken);
    let (report, output) = place.request(&registry, LINES).await;
    assert_eq!((report.plugin.digest, output.as_str()), (digest, "3\n"));
    assert_eq!(report.plugin_failure, None);
    let (report, output) = place.run(&under_way, LINES).await;
    assert_eq!((report.status.as_str(), output.as_str()), ("ok", LINES));

    assert_eq!(
        registry.rollback().expect("a version before"),
        under_way.plugin.id.digest
    );
    let (report, output) = place.request(&registry, LINES).await;
    assert_eq!(output, LINES);
    let failure = report.plugin_failure.expect("a reason");
    assert!(failure.contains("rolled back by hand"), "{failure}");
    assert_eq!(registry.check().await, Checked::Unchanged);
    assert!(registry.rollback().is_err());
}

#[tokio::test]
async fn what_is_no_good_plugin_leaves_the_old_one_in_service() {
    let sum = component("sum");
    let place = Place::new(&sum, |config| {
        config.call_ms_max = 300;
        config.call_fuel = u64::MAX / 2;
        config.settings = [("pre".to_owned(), "spin".to_owned())].into();
    });
    let registry = place.opened().await;
    place
        .check_refused(&registry, b"", &["is not a WebAssembly component", "empty"])
        .await;
    place
        .check_refused(&registry, b"<html>", &["is not a WebAssembly component"])
        .await;
    let half = &sum[..sum.len() / 2];
    place
        .check_refused(&registry, half, &["is not a valid component", "cut off"])
        .await;
    place
        .check_refused(
            &registry,
            &greedy(),
            &[
                "asks for more than the running version: it imports also wasi:sockets/network@0.2.3, wasi:io/poll@0.2.3",
                "of these it imports wasi:sockets/network@0.2.3, which is not granted",
            ],
        )
        .await;
    let hanging = component("unruly");
    place
        .check_refused(&registry, &hanging, &["pre failed", "took longer"])
        .await;
    let huge = std::fs::File::create(place.path("huge")).expect("created");
    huge.set_len((256 << 20) + 1).expect("a hole");
    std::fs::rename(place.path("huge"), place.path("p.wasm")).expect("in its place");
    let Checked::Failed(reason) = registry.check().await else {
        panic!("it is taken");
    };
    assert!(reason.contains("has more than"), "{reason}");
    std::fs::remove_file(place.path("p.wasm")).expect("gone");
    let Checked::Failed(reason) = registry.check().await else {
        panic!("it is taken");
    };
    assert!(reason.contains("does not exist"), "{reason}");

    place.put("p.wasm", &version(&sum, "2"));
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
    let status = serde_json::to_value(registry.status()).expect("json");
    assert_eq!(status["stable"]["version"], "2");
    assert_eq!(status["previous"]["digest"], linemill::digest(&sum));
    assert_eq!(status["unused"], serde_json::Value::Null);
    assert_eq!(status["refused"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn a_version_has_to_get_through_the_canary() {
    let place = Place::new(&component("unruly"), |config| {
        let canary = std::env::temp_dir().join("unused");
        config.canary = canary.to_str().map(str::to_owned);
    });
    assert!(place.open().await.is_err(), "there is no canary");
    let with = |lines: &str, set: fn(&mut Config)| {
        let place = Place::new(&component("unruly"), |config| {
            let folder = Path::new(config.plugin.as_deref().expect("set")).parent();
            let canary = folder.expect("a folder").join("canary");
            config.canary = canary.to_str().map(str::to_owned);
            set(config);
        });
        place.put("canary", lines.as_bytes());
        place
    };
    for (lines, set, want) in [
        (
            "a\n!panic no\n",
            (|_| {}) as fn(&mut Config),
            "traps on the sample lines",
        ),
        (
            "a\n!corrupt x\n",
            |_| {},
            "0.5000 of the sample lines end in a fault",
        ),
        (
            "a\n!fatal over\n",
            |_| {},
            "gives up on the sample lines: over",
        ),
        (
            "a\n",
            |config| drop(config.settings.insert("pre".into(), "fail-retry".into())),
            "pre failed",
        ),
    ] {
        let error = with(lines, set).open().await.err().expect(want);
        assert!(format!("{error:#}").contains(want), "{error:#}");
    }

    // The sum of these is none for sum, which faults what unruly echoes.
    let place = with("1\nx\n", |_| {});
    let registry = place.opened().await;
    place
        .check_refused(
            &registry,
            &component("sum"),
            &["of the sample lines end in a fault"],
        )
        .await;
    // What the version that serves faults itself is no fault of the new one.
    place.put("canary", b"a\n!corrupt x\n");
    place.put("p.wasm", &version(&component("unruly"), "2"));
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
}

#[tokio::test]
async fn a_signature_that_comes_late_is_enough() {
    use ed25519_dalek::{Signer, SigningKey};
    let key = SigningKey::from_bytes(&[9; 32]);
    let first = component("unruly");
    let sign = |place: &Place, component: &[u8]| {
        place.put("p.wasm.sig", &key.sign(component).to_bytes());
    };
    let place = Place::new(&first, |config| {
        let bytes = key.verifying_key().to_bytes();
        let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
        config.plugin_public_key = Some(hex.collect());
    });
    let error = place.open().await.err().expect("it is not signed");
    assert!(format!("{error:#}").contains("is not signed"), "{error:#}");
    sign(&place, &first);
    let registry = place.opened().await;

    let second = component("sum");
    place
        .check_refused(&registry, &second, &["signature", "does not fit"])
        .await;
    sign(&place, &second);
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
}

#[tokio::test]
async fn a_pinned_version_is_waited_for() {
    let (first, second, third) = (component("unruly"), component("sum"), component("sum"));
    let third = version(&third, "3");
    let place = Place::new(&first, |_| {});
    let registry = place.opened().await;
    assert!(registry.pin("latest").is_err());
    let digest = linemill::digest(&third);
    assert!(
        !registry
            .pin(&digest.to_uppercase().replace("SHA", "sha"))
            .expect("a digest")
    );
    place
        .check_refused(&registry, &second, &["but sha256:", "is pinned"])
        .await;
    place.put("p.wasm", &third);
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
    place.put("p.wasm", &second);
    assert_eq!(registry.check().await, Checked::Unchanged);
    assert!(
        registry.pin(&linemill::digest(&first)).expect("a digest"),
        "it is at hand"
    );
    registry.unpin().expect("it was pinned by hand");
    assert!(matches!(registry.check().await, Checked::Taken { .. }));

    let fixed = Place::new(&first, |config| {
        config.plugin_digest = Some(linemill::digest(&first))
    });
    let registry = fixed.opened().await;
    fixed.put("p.wasm", &second);
    assert!(matches!(registry.check().await, Checked::Failed(_)));
    assert!(registry.pin(&digest).is_err() && registry.unpin().is_err());
    assert!(registry.status().pinned.is_some());
}

#[tokio::test]
async fn a_bad_candidate_is_rolled_back_by_itself() {
    let first = component("unruly");
    let place = Place::new(&first, |config| {
        config.canary_share = 0.5;
        config.canary_requests = 4;
    });
    let registry = place.opened().await;
    // Its digest is another, and so is what it does with a line that is no number.
    place.put("p.wasm", &component("sum"));
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
    let mut roles = Vec::new();
    for _ in 0..4 {
        roles.push(registry.choose().role);
    }
    assert_eq!(
        roles,
        [Role::Stable, Role::Candidate, Role::Stable, Role::Candidate]
    );
    for lines in ["1\n", "1\n", "x\n", "x\n", "x\n", "x\n"] {
        place.request(&registry, lines).await;
    }
    let status = registry.status();
    assert!(status.candidate.is_none());
    assert_eq!(status.stable.digest, linemill::digest(&first));
    let reason = status.unused.expect("a reason");
    assert!(reason.contains("of its lines end in a fault"), "{reason}");
    assert_eq!(registry.check().await, Checked::Unchanged);
    for _ in 0..3 {
        assert_eq!(place.request(&registry, "x\n").await.1, "x\n");
    }
}

#[tokio::test]
async fn a_shadow_is_compared_and_emits_nothing() {
    let first = component("unruly");
    let place = Place::new(&first, |config| {
        config.shadow = ShadowMode::First;
        config.canary_requests = 3;
        config.canary_fault_tolerance = 1.0;
        config.canary_fuel_tolerance = 1e6;
    });
    let registry = place.opened().await;
    let second = component("sum");
    place.put("p.wasm", &second);
    registry.check().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut compared_requests = 0;
    // On a machine that is busy with something else, some requests do not wait long enough for the other version.
    while registry.status().candidate.is_some() {
        assert!(Instant::now() < deadline, "it is not compared");
        let lines = "1\n".repeat(50_000) + "x\n";
        let (report, output) = place.request(&registry, &lines).await;
        assert_eq!(report.plugin.digest, linemill::digest(&first));
        assert_eq!(output, lines);
        let compared = report.shadow.expect("a comparison");
        assert_eq!(compared.digest, linemill::digest(&second));
        assert_eq!(compared.outputs_differ, compared.batches, "{compared:?}");
        assert!(compared.batches + compared.skipped > 0, "{compared:?}");
        if compared.batches > 0 {
            compared_requests += 1;
            assert_eq!(compared.samples[0].what, "output");
        }
    }
    assert_eq!(compared_requests, 3);
    let (report, _) = place.request(&registry, LINES).await;
    assert_eq!(report.plugin.digest, linemill::digest(&second));
    assert_eq!(report.shadow, None);
}

#[tokio::test]
async fn a_shadow_that_hangs_costs_little() {
    let place = Place::new(&component("sum"), |config| {
        config.shadow = ShadowMode::Only;
        config.fuel_base = u64::MAX / 4;
        config.batch_lines = Some(1000);
    });
    let registry = place.opened().await;
    place.put("p.wasm", &component("unruly"));
    assert!(matches!(registry.check().await, Checked::Taken { .. }));
    let start = Instant::now();
    // For sum the line is corrupt; the other one does not come back from it.
    let (report, output) = place.request(&registry, "1\n!spin\n2\n").await;
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(
        (report.status.as_str(), output.as_str()),
        ("corrupted", "3\n")
    );
    assert_eq!(report.shadow.expect("a comparison").skipped, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_version_is_found_by_itself() {
    let versions = [component("unruly"), component("sum")];
    let place = Place::new(&versions[0], |config| config.plugin_poll_ms = 1);
    let registry = place.opened().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let serves = async |version: &[u8], poll: bool| {
        let digest = linemill::digest(version);
        while registry.choose().plugin.id.digest != digest {
            assert!(Instant::now() < deadline, "it is not found");
            if poll {
                registry.poll_if_due();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let polling = registry.spawn_polling();
    for version in versions.iter().rev().cycle().take(4) {
        place.put("p.wasm", version);
        serves(version, false).await;
    }
    drop(polling);
    for version in versions.iter().rev().cycle().take(4) {
        place.put("p.wasm", version);
        serves(version, true).await;
    }
}

#[tokio::test]
async fn compiled_code_is_taken_from_a_trusted_place_only() {
    use std::os::unix::fs::PermissionsExt;
    let sum = component("sum");
    let place = Place::new(&sum, |config| {
        let plugin = config.plugin.take().expect("set");
        config.plugin_compiled = Some(Path::new(&plugin).with_extension("cwasm"));
    });
    let code = Plugin::load(&place.runtime, "p.wasm", &sum)
        .and_then(|plugin| plugin.compiled())
        .expect("code");
    let refused = async |content: &[u8], mode: u32, words: &[&str]| {
        place.put("p.cwasm", content);
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("p.cwasm"), permissions).expect("chmod");
        let error = format!("{:#}", place.open().await.err().expect(words[0]));
        for word in words.iter().chain(&["compiled plugin", "p.cwasm"]) {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    };
    let mut other = code.clone();
    let at = other.windows(7).position(|w| w == b"\"0.1.0\"");
    other[at.expect("the version of linemill") + 1] = b'9';
    refused(&code, 0o666, &["could have been written by others"]).await;
    refused(&code, 0o620, &["could have been written by others"]).await;
    refused(b"", 0o644, &["is not what `linemill compile` writes"]).await;
    refused(&sum, 0o644, &["is not what `linemill compile` writes"]).await;
    refused(
        &code[..20],
        0o644,
        &["is not what `linemill compile` writes"],
    )
    .await;
    refused(&code[..code.len() / 2], 0o644, &["is not usable"]).await;
    refused(&other, 0o644, &["was made by linemill 9.1.0"]).await;

    place.put("p.cwasm", &code);
    let registry = place.opened().await;
    let (report, output) = place.request(&registry, LINES).await;
    assert_eq!(
        (report.plugin.digest, output.as_str()),
        (linemill::digest(&sum), "3\n")
    );
    assert_eq!(registry.check().await, Checked::Unchanged);

    // Beside the component it counts only if it was made of that one.
    for (content, cached) in [(&sum, true), (&version(&sum, "2"), false)] {
        let both = Place::new(content, |config| {
            config.plugin_compiled = Some(place.path("p.cwasm"));
            config.cache_dir = Some(place.path("no-cache"));
        });
        let registry = both.opened().await;
        assert_eq!(registry.choose().plugin.cached, cached);
        assert_eq!(
            registry.choose().plugin.id.digest,
            linemill::digest(content)
        );
        std::fs::remove_dir_all(place.path("no-cache")).ok();
    }
}
