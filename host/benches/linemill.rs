//! What linemill must reach, measured beside native Rust in the same run:
//!
//! ```text
//! cargo build --profile plugin --target wasm32-wasip2 -p sum -p csv-to-json -p ndjson-filter -p url-lookup -p unruly
//! cargo bench -p linemill            # or: cargo bench -p linemill -- --quick
//! ```
//!
//! The machine may be shared, so what is compared runs in turns, and medians are compared. The data are generated
//! into a temporary folder, in memory where there is room, and deleted afterwards; `LINEMILL_BENCH_DIR` names another.

#[path = "linemill/data.rs"]
mod data;
#[path = "linemill/lambda.rs"]
mod lambda;
#[path = "linemill/languages.rs"]
mod languages;
#[allow(dead_code, reason = "tests misbehave more by it")]
#[path = "../../tests/e2e/support/lookup.rs"]
mod lookup;
#[path = "linemill/mill.rs"]
mod mill;
#[path = "linemill/native.rs"]
mod native;
#[path = "linemill/process.rs"]
mod process;
#[allow(dead_code, reason = "tests tell more by it")]
#[path = "../../tests/e2e/support/runtime_api.rs"]
mod runtime_api;
#[path = "linemill/serve.rs"]
mod serve;
#[path = "linemill/table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use linemill::Config;

use mill::Mill;
use table::Row;

const MIB: usize = 1 << 20;
/// The plugins that must have been built.
const PLUGINS: [&str; 5] = [
    "sum",
    "csv_to_json",
    "ndjson_filter",
    "url_lookup",
    "unruly",
];
const BUILD: &str = "cargo build --profile plugin --target wasm32-wasip2 -p sum -p csv-to-json -p ndjson-filter -p url-lookup -p unruly";
/// Where files live in memory on Linux.
const MEMORY: &str = "/dev/shm";
/// What the data and outputs need at most.
const ROOM: u64 = 6 << 30;

fn main() -> ExitCode {
    // `cargo test --benches` only wants to see that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return ExitCode::SUCCESS;
    }
    if std::env::args().any(|arg| arg == lambda::EMPTY) {
        return match lambda::serve_nothing() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    if std::env::args().any(|arg| arg == serve::EMPTY) {
        return match serve::serve_nothing() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match Bench::new().and_then(|bench| bench.run()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What all measurements need.
struct Bench {
    quick: bool,
    /// Part of a name; only such measurements are made.
    only: Option<String>,
    plugins: PathBuf,
    /// Data and outputs, in memory if possible.
    dir: tempfile::TempDir,
    /// For what depends on a disk.
    disk: tempfile::TempDir,
}

type Measurement = fn(&Bench) -> Result<Vec<Row>>;

impl Bench {
    fn new() -> Result<Self> {
        let quick = std::env::var_os("LINEMILL_BENCH_QUICK").is_some_and(|quick| quick != "0")
            || std::env::args().any(|arg| arg == "--quick");
        let only = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let plugins = std::env::var_os("LINEMILL_TEST_PLUGINS").map_or_else(
            || root.join("target/wasm32-wasip2/plugin"),
            |given| root.join(given),
        );
        for plugin in PLUGINS {
            let path = plugins.join(format!("{plugin}.wasm"));
            ensure!(
                path.is_file(),
                "there is no {}; run\n  {BUILD}\nor name the folder with LINEMILL_TEST_PLUGINS",
                path.display()
            );
        }
        let dir = match std::env::var_os("LINEMILL_BENCH_DIR") {
            Some(dir) => tempfile::tempdir_in(dir),
            None if process::free_space(MEMORY).is_some_and(|free| free > ROOM) => {
                tempfile::tempdir_in(MEMORY)
            }
            None => tempfile::tempdir(),
        };
        Ok(Bench {
            quick,
            only,
            plugins,
            dir: dir.context("could not make a folder for data")?,
            disk: tempfile::tempdir().context("could not make a folder for data")?,
        })
    }

    /// Measures all; says whether all could be measured.
    fn run(&self) -> Result<bool> {
        let measurements: [(&str, Measurement); 13] = [
            ("memory", memory),
            ("cold", cold_start),
            ("sum", sums),
            ("csv", csv),
            ("ndjson", ndjson),
            ("request", requests),
            ("spin", spinning),
            ("poison", poison),
            ("hot", hot_path),
            ("lambda", functions),
            ("serve", served),
            ("lookups", lookups),
            ("languages", languages::languages),
        ];
        println!("load before: {}", load());
        let (mut rows, mut whole) = (Vec::new(), true);
        for (name, measure) in measurements {
            let wanted = self.only.as_deref();
            if wanted.is_some_and(|only| !name.contains(only)) {
                continue;
            }
            eprintln!("measuring {name} …");
            match measure(self) {
                Ok(more) => rows.extend(more),
                Err(error) => {
                    whole = false;
                    eprintln!("{name} could not be measured: {error:#}");
                }
            }
        }
        println!("load after: {}\n", load());
        table::print(&rows);
        Ok(whole)
    }

    fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mill(&self) -> Result<Mill> {
        self.mill_with(Config::default())
    }

    fn mill_with(&self, config: Config) -> Result<Mill> {
        Mill::new(self.plugins.clone(), self.disk.path().join("cache"), config)
    }

    /// `linemill run SOURCE` with a plugin, as a process.
    fn command(&self, plugin: &str, source: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_linemill"));
        let plugin = self.plugins.join(format!("{plugin}.wasm"));
        let out = format!("{}/$RequestId", self.data("out").display());
        let cache = format!("cache_dir={}", self.disk.path().join("cache").display());
        command.args(["run", "--quiet", "--plugin"]).arg(plugin);
        command
            .args(["--out", &out, "--set", &cache])
            .args(more)
            .arg(source);
        command
    }
}

fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Times of a few repetitions, in seconds.
struct Times(Vec<f64>);

impl Times {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Times(times)
    }

    /// What so large a part of them is below.
    fn quantile(&self, part: f64) -> f64 {
        let at = (self.0.len() as f64 * part) as usize;
        self.0[at.min(self.0.len() - 1)]
    }

    fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

type Job<'a> = Box<dyn FnMut() -> Result<Duration> + 'a>;

/// Runs jobs in turns.
fn in_turns<const N: usize>(rounds: usize, mut jobs: [Job<'_>; N]) -> Result<[Times; N]> {
    let mut times = [const { Vec::new() }; N];
    // The first round warms caches up and does not count.
    for round in 0..=rounds {
        for (job, times) in jobs.iter_mut().zip(&mut times) {
            let time = job()?.as_secs_f64();
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.map(Times::of))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

fn rate(bytes: u64, times: &Times) -> String {
    let median = times.median();
    let gigabytes = bytes as f64 / 1e9 / median;
    format!("{median:.3} s, {gigabytes:.2} GB/s")
}

fn us(seconds: f64) -> String {
    format!("{:.0} µs", seconds * 1e6)
}

fn ms(seconds: f64) -> String {
    format!("{:.1} ms", seconds * 1e3)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A request's outputs take room: they go when they were measured.
fn clear(out: &Path) -> Result<()> {
    match std::fs::remove_dir_all(out) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn with(workers: usize) -> Config {
    Config {
        concurrency: workers,
        ..Config::default()
    }
}

/// Lines looked up at a server that takes 50 ms for each, 100 of them at once.
fn lookups(bench: &Bench) -> Result<Vec<Row>> {
    let (source, out) = (bench.data("names.txt"), bench.data("out"));
    let lines = bench.size(20_000, 4000);
    let names: String = (0..lines).map(|n| format!("{n}\n")).collect();
    std::fs::write(&source, names)?;
    let server = lookup::LookupServer::start();
    let mut config = with(100);
    config.grants.http = vec![serde_json::from_str(&server.grant(""))?];
    let base = server.url("/slow-50-");
    config.settings.insert("base_url".to_owned(), base);
    let mill = bench.mill_with(config.clone())?;
    let job = mill.job("url_lookup", &out, config)?;
    let run: Job<'_> = Box::new(|| {
        let (_, time) = job.run_clean(&source, lines as u64, 0)?;
        clear(&out)?;
        Ok(time)
    });
    let [times] = in_turns(bench.size(5, 2), [run])?;
    let rate = lines as f64 / times.median();
    let best = "the server's limit 2000 lines/s";
    Ok(vec![
        Row::new("100 lookups of 50 ms at once", format!("{rate:.0} lines/s"))
            .beside(best)
            .ratio(2000.0 / rate)
            .bar("≥ 1800 lines/s", rate >= 1800.0),
    ])
}

/// Peak memory is that of a process of its own.
fn memory(bench: &Bench) -> Result<Vec<Row>> {
    let large = bench.size(2048 * MIB, 512 * MIB);
    let (source, small) = (bench.data("large.txt"), bench.data("small.txt"));
    data::generate(&source, large, data::integer)?;
    data::generate(&small, 16 * MIB, data::integer)?;
    let (mut most, mut most_small) = (0, 0);
    let two = ["--concurrency", "2"];
    for _ in 0..bench.size(5, 3) {
        let peak = |source| process::peak_memory(&mut bench.command("sum", source, &two));
        most = most.max(peak(&source)?);
        most_small = most_small.max(peak(&small)?);
    }
    std::fs::remove_file(&source)?;
    let name = format!("peak memory, sum of {} MiB, two workers", large / MIB);
    let reference = format!("{} for 16 MiB", mib(most_small));
    Ok(vec![
        Row::new(name, mib(most))
            .beside(reference)
            .ratio(most as f64 / most_small as f64)
            .bar("≤ 64 MB", most <= 64_000_000),
    ])
}

/// From the start of a process to its end, and to the report, for one line.
fn cold_start(bench: &Bench) -> Result<Vec<Row>> {
    let source = bench.data("line.txt");
    std::fs::write(&source, "42\n")?;
    let linemill = || Ok(process::run(&mut bench.command("sum", &source, &[]))?.time);
    let nothing = || Ok(process::run(&mut Command::new("/bin/true"))?.time);
    // Code that is not cached is compiled by the first round, which does not count.
    let [nothing, linemill] =
        in_turns(bench.size(40, 15), [Box::new(nothing), Box::new(linemill)])?;
    let ours = format!(
        "{} (p95 {})",
        ms(linemill.median()),
        ms(linemill.quantile(0.95))
    );
    let row = Row::new(
        "cold start: process start to end, one line, code cached",
        ours,
    )
    .beside(format!("/bin/true {}", ms(nothing.median())))
    .bar("≤ 40 ms", linemill.median() <= 0.040);
    Ok(vec![row])
}

/// Integers: one worker and two, beside native code on one thread and two.
fn sums(bench: &Bench) -> Result<Vec<Row>> {
    let (source, out) = (bench.data("integers.txt"), bench.data("out"));
    let lines = data::generate(&source, bench.size(256, 64) * MIB, data::integer)?;
    let bytes = source.metadata()?.len();
    let expected = native::sum(&source)?;
    ensure!(
        native::sum_on_two(&source)? == expected,
        "the references differ"
    );
    let mill = bench.mill()?;
    let (one, two) = (
        mill.job("sum", &out, with(1))?,
        mill.job("sum", &out, with(2))?,
    );
    let linemill = |job: &mill::Job<'_>| {
        let (report, time) = job.run_clean(&source, lines, 0)?;
        ensure!(
            mill::written(&report)? == expected.to_string(),
            "the sum is wrong"
        );
        clear(&out)?;
        Ok(time)
    };
    let plain = |sum: fn(&Path) -> std::io::Result<i64>| {
        let (sum, time) = timed(|| sum(&source));
        ensure!(sum? == expected, "the sum is wrong");
        Ok(time)
    };
    let same_code = || {
        let (done, time) = timed(|| native::sum_plugin(&source));
        Ok(done.map(|()| time)?)
    };
    let jobs: [Job<'_>; 5] = [
        Box::new(|| plain(native::sum)),
        Box::new(|| linemill(&one)),
        Box::new(same_code),
        Box::new(|| plain(native::sum_on_two)),
        Box::new(|| linemill(&two)),
    ];
    let [plain, one, same, plain_two, two] = in_turns(bench.size(9, 7), jobs)?;
    let of = |ours: &Times, reference: &Times| ours.median() / reference.median();
    let million = lines / 1_000_000;
    let size = format!("{million} M lines, {} MiB", bytes >> 20);
    let speed_up = of(&one, &two);
    Ok(vec![
        Row::new(format!("sum, one worker ({size})"), rate(bytes, &one))
            .beside(format!("per-line parse {}", rate(bytes, &plain)))
            .ratio(of(&one, &plain))
            .bar("≤ 1.3 ×", of(&one, &plain) <= 1.3),
        Row::new("", "")
            .beside(format!("the plugin's code, native {}", rate(bytes, &same)))
            .ratio(of(&one, &same)),
        Row::new("sum, two workers ÷ one: speed-up", rate(bytes, &two))
            .beside(format!("native: {:.2}", of(&plain, &plain_two)))
            .ratio(speed_up)
            .bar("≥ 1.8", speed_up >= 1.8),
        Row::new("sum, two workers ÷ two native threads", rate(bytes, &two))
            .beside(format!("per-line parse {}", rate(bytes, &plain_two)))
            .ratio(of(&two, &plain_two))
            .bar("≤ 1.7 ×", of(&two, &plain_two) <= 1.7),
    ])
}

fn csv(bench: &Bench) -> Result<Vec<Row>> {
    transforming(bench, "csv_to_json", data::csv, native::csv_plugin)
}

fn ndjson(bench: &Bench) -> Result<Vec<Row>> {
    transforming(bench, "ndjson_filter", data::event, native::ndjson_plugin)
}

/// A plugin whose output goes to a file, beside its own code compiled natively.
fn transforming(
    bench: &Bench,
    plugin: &str,
    line: data::Line,
    native: fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<Vec<Row>> {
    let (source, out) = (bench.data("lines.txt"), bench.data("out"));
    let lines = data::generate(&source, bench.size(128, 32) * MIB, line)?;
    let bytes = source.metadata()?.len();
    let copy = bench.data("native.txt");
    let mill = bench.mill()?;
    let (one, two) = (
        mill.job(plugin, &out, with(1))?,
        mill.job(plugin, &out, with(2))?,
    );
    native(&source, &copy)?;
    let (report, _) = one.run_clean(&source, lines, 0)?;
    let written = report.written.destination.context("nothing was written")?;
    let same = std::fs::read(&copy)? == std::fs::read(written.trim_start_matches("file://"))?;
    ensure!(same, "linemill and native code do not write the same");
    let linemill = |job: &mill::Job<'_>| {
        clear(&out)?;
        Ok(job.run_clean(&source, lines, 0)?.1)
    };
    let reference = || {
        std::fs::remove_file(&copy)?;
        let (done, time) = timed(|| native(&source, &copy));
        Ok(done.map(|()| time)?)
    };
    let jobs: [Job<'_>; 3] = [
        Box::new(reference),
        Box::new(|| linemill(&one)),
        Box::new(|| linemill(&two)),
    ];
    let [reference, one, two] = in_turns(bench.size(7, 5), jobs)?;
    let name = plugin.replace('_', "-");
    let size = format!("{:.1} M lines, {} MiB", lines as f64 / 1e6, bytes >> 20);
    let ratio = one.median() / reference.median();
    let speed_up = one.median() / two.median();
    clear(&out)?;
    std::fs::remove_file(&copy)?;
    Ok(vec![
        Row::new(
            format!("{name}, one worker, to a file ({size})"),
            rate(bytes, &one),
        )
        .beside(format!(
            "the plugin's code, native {}",
            rate(bytes, &reference)
        ))
        .ratio(ratio),
        Row::new(
            format!("{name}, two workers ÷ one: speed-up"),
            rate(bytes, &two),
        )
        .beside(format!("one worker {}", rate(bytes, &one)))
        .ratio(speed_up),
    ])
}

/// Requests of ten lines in this process, one after the other, the plugin warm.
fn requests(bench: &Bench) -> Result<Vec<Row>> {
    let mill = bench.mill()?;
    let mut rows = Vec::new();
    let places = [
        ("in memory", bench.dir.path(), bench.size(2000, 500)),
        ("on disk", bench.disk.path(), bench.size(200, 50)),
    ];
    for (place, dir, count) in places {
        rows.extend(quiet_request(&mill, place, dir, count)?);
        rows.extend(request_with_output(&mill, place, dir, count)?);
    }
    Ok(rows)
}

fn quiet_request(mill: &Mill, place: &str, dir: &Path, count: usize) -> Result<Vec<Row>> {
    let source = dir.join("ten.ndjson");
    data::lines(&source, 10, data::event, None)?;
    let mut config = Config::default();
    config.settings.insert("value".into(), "none".into());
    let job = mill.job("ndjson_filter", &dir.join("out"), config)?;
    let linemill = || Ok(job.run_clean(&source, 10, 0)?.1);
    let native = || {
        let (done, time) = timed(|| native::small(&source));
        std::hint::black_box(done?);
        Ok(time)
    };
    let [native, linemill] = in_turns(count, [Box::new(native), Box::new(linemill)])?;
    let name = format!("request of ten lines, nothing written, {place}");
    Ok(request_rows(&name, &linemill, &native, true))
}

fn request_with_output(mill: &Mill, place: &str, dir: &Path, count: usize) -> Result<Vec<Row>> {
    let (source, out) = (dir.join("nine.ndjson"), dir.join("out"));
    data::lines(&source, 10, data::event, Some((4, "no event")))?;
    let job = mill.job("ndjson_filter", &out, Config::default())?;
    let linemill = || Ok(job.run_clean(&source, 10, 1)?.1);
    let mut folders = 0;
    let native = || {
        folders += 1;
        let folder = out.join(format!("native-{folders}"));
        let (done, time) = timed(|| native::write_three(&folder));
        Ok(done.map(|()| time)?)
    };
    let [native, linemill] = in_turns(count, [Box::new(native), Box::new(linemill)])?;
    clear(&out)?;
    let name = format!("… output and one corrupt line written, {place}");
    Ok(request_rows(&name, &linemill, &native, false))
}

fn request_rows(name: &str, linemill: &Times, native: &Times, barred: bool) -> Vec<Row> {
    let (median, p99) = (linemill.median(), linemill.quantile(0.99));
    let ours = format!("median {}, p99 {}", us(median), us(p99));
    let reference = format!(
        "native median {}, p99 {}",
        us(native.median()),
        us(native.quantile(0.99))
    );
    let row = Row::new(name, ours).beside(reference);
    let row = match barred {
        true => row.bar("≤ 250 µs (median)", median <= 250e-6),
        // Three files that are safe where they are kept: the file system's time too.
        false => row.ratio(median / native.median()),
    };
    vec![row]
}

/// More fuel than a spinning plugin burns before its deadline.
const ENDLESS: u64 = 1 << 50;

/// A plugin that never returns: how late is the request back?
fn spinning(bench: &Bench) -> Result<Vec<Row>> {
    const WHOLE_MS: u64 = 700;
    const WORK_MS: u64 = 200;
    let (source, out) = (bench.data("spin.txt"), bench.data("out"));
    std::fs::write(&source, "!spin\n".repeat(100))?;
    let config = Config {
        max_exec_time_ms: Some(WHOLE_MS),
        deadline_reduction_ms: Some(WHOLE_MS - WORK_MS),
        fuel_base: ENDLESS,
        batch_lines: Some(1),
        ..Config::default()
    };
    let mill = bench.mill()?;
    let job = mill.job("unruly", &out, config)?;
    let rounds = bench.size(20, 8);
    let late = |time: Duration| time.as_secs_f64() - WORK_MS as f64 / 1e3;
    let mut within = Vec::new();
    for _ in 0..rounds {
        let (report, time) = job.run(&source);
        ensure!(
            report.counts.retried > 0 && report.traps == 0 && !report.is_error(),
            "the plugin did not spin: {}",
            serde_json::to_string(&report)?
        );
        within.push(late(time));
    }
    drop(job);
    drop(mill);
    let mut whole = Vec::new();
    for _ in 0..rounds {
        whole.push(late(spinning_process(bench, &source, WHOLE_MS, WORK_MS)?));
    }
    clear(&out)?;
    let row = |name: &str, times: &Times| {
        let ours = format!("{} late (worst {})", ms(times.median()), ms(times.max()));
        Row::new(name, ours).bar("≤ 20 ms late", times.max() <= 0.020)
    };
    Ok(vec![
        row(
            "spinning plugin: return after the work deadline, in process",
            &Times::of(within),
        ),
        row(
            "spinning plugin: end of the process after it",
            &Times::of(whole),
        ),
    ])
}

/// From the start of the request, which the report tells, to the end of the process.
fn spinning_process(bench: &Bench, source: &Path, whole_ms: u64, work_ms: u64) -> Result<Duration> {
    let whole = whole_ms.to_string();
    let reduction = format!("deadline_reduction_ms={}", whole_ms - work_ms);
    let fuel = format!("fuel_base={ENDLESS}");
    let more = [
        "--max-exec-time-ms",
        &whole,
        "--set",
        &reduction,
        "--set",
        &fuel,
        "--set",
        "batch_lines=1",
    ];
    let ended = process::run(&mut bench.command("unruly", source, &more))?;
    let report: serde_json::Value =
        serde_json::from_str(&ended.stdout).context("linemill printed no report")?;
    let start = report["StartTime"].as_str().context("no StartTime")?;
    let start = chrono::DateTime::parse_from_rfc3339(start)?.timestamp_millis();
    let end = ended.at.duration_since(UNIX_EPOCH)?;
    match end.checked_sub(Duration::from_millis(start.try_into()?)) {
        Some(time) => Ok(time),
        None => bail!("the clock was set"),
    }
}

/// One line of a batch traps: what does it cost to find it?
fn poison(bench: &Bench) -> Result<Vec<Row>> {
    const LINES: u64 = 4096;
    let (clean, poisoned) = (bench.data("clean.txt"), bench.data("poisoned.txt"));
    let out = bench.data("out");
    data::lines(&clean, LINES, data::text, None)?;
    let config = Config {
        batch_lines: Some(LINES as usize),
        ..with(1)
    };
    let mill = bench.mill()?;
    let job = mill.job("unruly", &out, config)?;
    let mut random = data::Random::new(3);
    let mut times = [const { Vec::new() }; 4];
    for round in 0..=bench.size(40, 15) {
        let odd = Some((random.below(LINES), "!trap"));
        data::lines(&poisoned, LINES, data::text, odd)?;
        let (report, time) = job.run_clean(&clean, LINES, 0)?;
        let (clean_batch, clean_request) = (batch_ms_of(&report)?, time.as_secs_f64());
        let (report, time) = job.run_clean(&poisoned, LINES, 1)?;
        ensure!(report.batches == 1, "there are {} batches", report.batches);
        if round > 0 {
            times[0].push(clean_batch);
            times[1].push(batch_ms_of(&report)?);
            times[2].push(clean_request);
            times[3].push(time.as_secs_f64());
        }
        clear(&out)?;
    }
    let [clean_batch, batch, clean_request, request] = times.map(Times::of);
    let row = |name: &str, poisoned: &Times, clean: &Times| {
        let extra = poisoned.median() - clean.median();
        let ours = format!("{} ({} extra)", ms(poisoned.median()), ms(extra));
        let row = Row::new(name, ours).beside(format!("clean {}", ms(clean.median())));
        (extra / clean.median(), row)
    };
    let (ratio, of_batch) = row("poison line in a batch of 4 096", &batch, &clean_batch);
    let (request_ratio, of_request) = row(
        "… the whole request, with the corrupt line written",
        &request,
        &clean_request,
    );
    Ok(vec![
        of_batch.ratio(ratio).bar("≤ 3 × extra", ratio <= 3.0),
        of_request.ratio(request_ratio),
    ])
}

fn batch_ms_of(report: &linemill::Report) -> Result<f64> {
    Ok(mill::batch_ms(report)? / 1e3)
}

/// What a batch costs besides its bytes, and what bytes cost that only pass.
fn hot_path(bench: &Bench) -> Result<Vec<Row>> {
    let mill = bench.mill()?;
    let mut rows = vec![each_batch(bench, &mill)?];
    rows.push(echo(bench, &mill)?);
    Ok(rows)
}

fn each_batch(bench: &Bench, mill: &Mill) -> Result<Row> {
    let (source, out) = (bench.data("few.txt"), bench.data("out"));
    let lines = bench.size(200_000, 50_000) as u64;
    data::lines(&source, lines, data::integer, None)?;
    let job = |batch_lines| {
        let config = Config {
            batch_lines,
            ..with(1)
        };
        mill.job("sum", &out, config)
    };
    let (single, adaptive) = (job(Some(1))?, job(None)?);
    let jobs: [Job<'_>; 2] = [
        Box::new(|| Ok(adaptive.run_clean(&source, lines, 0)?.1)),
        Box::new(|| Ok(single.run_clean(&source, lines, 0)?.1)),
    ];
    let [adaptive, single] = in_turns(5, jobs)?;
    clear(&out)?;
    let each = (single.median() - adaptive.median()) / lines as f64;
    let name = format!("a batch of one line ({lines} of them, one worker)");
    Ok(
        Row::new(name, format!("{:.2} µs each", each * 1e6)).beside(format!(
            "large batches: {:.3} µs a line",
            adaptive.median() * 1e6 / lines as f64
        )),
    )
}

fn echo(bench: &Bench, mill: &Mill) -> Result<Row> {
    let (source, out) = (bench.data("text.txt"), bench.data("out"));
    let copy = bench.data("copy.txt");
    let lines = data::generate(&source, bench.size(256, 64) * MIB, data::text)?;
    let bytes = source.metadata()?.len();
    let job = mill.job("unruly", &out, with(1))?;
    let linemill = || {
        clear(&out)?;
        Ok(job.run_clean(&source, lines, 0)?.1)
    };
    let native = || {
        let (done, time) = timed(|| native::echo(&source, &copy));
        done?;
        std::fs::remove_file(&copy)?;
        Ok(time)
    };
    let [native, linemill] = in_turns(bench.size(7, 5), [Box::new(native), Box::new(linemill)])?;
    clear(&out)?;
    let row = Row::new(
        "echo of lines of 200 bytes, one worker",
        rate(bytes, &linemill),
    );
    Ok(row
        .beside(format!("native copy by lines {}", rate(bytes, &native)))
        .ratio(linemill.median() / native.median()))
}

/// A function: from the invocation to the answer when it is warm, and from the start of its process when it is not.
fn functions(bench: &Bench) -> Result<Vec<Row>> {
    let package = bench.disk.path().join("package");
    std::fs::create_dir_all(&package)?;
    let binary = Path::new(env!("CARGO_BIN_EXE_linemill"));
    std::fs::copy(binary, package.join("bootstrap"))?;
    let (plugin, compiled) = (bench.plugins.join("sum.wasm"), package.join("sum.cwasm"));
    let mut compile = Command::new(binary);
    compile.arg("compile").arg(&plugin).arg("-o").arg(&compiled);
    compile.env("XDG_CACHE_HOME", package.join("cache"));
    process::run(&mut compile)?;
    let shipped = ("LINEMILL_PLUGIN_COMPILED", compiled.as_path());
    let empty = || {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(lambda::EMPTY);
        lambda::Function::start(command)
    };
    let bootstrap = || lambda::Function::bootstrap(&package, shipped);

    let (mut nothing, mut function) = (empty()?, bootstrap()?);
    let (mut one, mut other) = (0, 0);
    let event = |number: &mut usize| {
        *number += 1;
        lambda::ten_lines(*number)
    };
    let rounds = bench.size(2000, 500);
    let [warm_nothing, warm] = in_turns(
        rounds,
        [
            Box::new(|| nothing.invoke(&event(&mut one))),
            Box::new(|| function.invoke(&event(&mut other))),
        ],
    )?;
    drop((nothing, function));
    clear(&package.join("out"))?;

    let cold = || {
        clear(&package.join("out"))?;
        bootstrap()?.first(&lambda::ten_lines(0))
    };
    let rounds = bench.size(40, 15);
    let [cold_nothing, cold] = in_turns(
        rounds,
        [
            Box::new(|| empty()?.first(&lambda::ten_lines(0))),
            Box::new(cold),
        ],
    )?;
    let beside = |times: &Times| format!("empty handler {}", ms(times.median()));
    let overhead = warm.median() - warm_nothing.median();
    let warm = format!(
        "{} (p99 {}), overhead {}",
        ms(warm.median()),
        ms(warm.quantile(0.99)),
        ms(overhead)
    );
    let first = format!("{} (p95 {})", ms(cold.median()), ms(cold.quantile(0.95)));
    Ok(vec![
        Row::new(
            "warm invocation, SQS event of ten lines, output to a file",
            warm,
        )
        .beside(beside(&warm_nothing))
        .bar("≤ 2 ms over empty", overhead <= 0.002),
        Row::new(
            "cold start of bootstrap to first answer, shipped code",
            first,
        )
        .beside(beside(&cold_nothing))
        .bar("≤ 60 ms", cold.median() <= 0.060),
    ])
}

/// A server: how many requests it answers, how soon at half the rate that it must reach, and how soon while its
/// plugin is replaced again and again.
fn served(bench: &Bench) -> Result<Vec<Row>> {
    const CONNECTIONS: usize = 16;
    const RATE: f64 = 5000.0;
    const SWAPPED_RATE: f64 = 500.0;
    const LATE: f64 = 0.005;
    let dir = bench.disk.path().join("served");
    std::fs::create_dir_all(&dir)?;
    let (component, plugin) = (
        std::fs::read(bench.plugins.join("sum.wasm"))?,
        dir.join("p.wasm"),
    );
    std::fs::write(&plugin, &component)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_linemill"));
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--set",
        "plugin_poll_ms=20",
        "--plugin",
    ]);
    command.arg(&plugin).arg("--out").arg(dir.join("out"));
    command.env("XDG_CACHE_HOME", dir.join("cache"));
    let server = serve::Server::start(&mut command)?;
    let nothing = serve::Server::start(Command::new(std::env::current_exe()?).arg(serve::EMPTY))?;
    let lines: String = (1..=10).map(|number| format!("{number}\n")).collect();
    let span = Duration::from_secs(bench.size(5, 2) as u64);
    let ours = |span, rate| serve::load(&server, CONNECTIONS, span, rate, &lines, "55\n");
    let empty = |span| serve::load(&nothing, CONNECTIONS, span, None, &lines, &lines);
    ours(span / 4, None)?;
    empty(span / 4)?;

    let (mut rates, mut empty_rates) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        empty_rates.push(empty(span)?.rate());
        rates.push(ours(span, None)?.rate());
    }
    let (rate, empty_rate) = (middle(rates), middle(empty_rates));
    let half = ours(2 * span, Some(RATE / 2.0))?;

    let mut version = 0;
    let (mut quiet, mut swapped) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        quiet.push(ours(span, Some(SWAPPED_RATE))?);
        let over = std::sync::atomic::AtomicBool::new(false);
        let load = std::thread::scope(|scope| {
            let swapping = scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    version += 1;
                    let next = dir.join("next.wasm");
                    std::fs::write(&next, serve::another(&component, version))?;
                    std::fs::rename(&next, &plugin)?;
                    std::thread::sleep(Duration::from_millis(200));
                }
                anyhow::Ok(())
            });
            let load = ours(span, Some(SWAPPED_RATE));
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            swapping.join().expect("it does not panic")?;
            load
        });
        swapped.push(load?);
    }
    let late = |loads: &[serve::Load]| loads.iter().map(|load| load.over(LATE)).sum::<usize>();
    let all = |loads: &[serve::Load]| loads.iter().map(|load| load.times.len()).sum::<usize>();
    let p99 =
        |loads: &[serve::Load]| middle(loads.iter().map(|load| load.quantile(0.99)).collect());
    let told = |loads: &[serve::Load]| {
        format!(
            "p99 {}, {} of {} over 5 ms",
            ms(p99(loads)),
            late(loads),
            all(loads)
        )
    };
    let half_time = format!(
        "median {}, p99 {}",
        ms(half.quantile(0.5)),
        ms(half.quantile(0.99))
    );
    Ok(vec![
        Row::new(
            "serve: bodies of ten lines, 16 connections",
            format!("{rate:.0} requests/s"),
        )
        .beside(format!("empty handler {empty_rate:.0} requests/s"))
        .ratio(rate / empty_rate)
        .bar("≥ 5 000/s", rate >= RATE),
        Row::new("… at 2 500 requests/s", half_time)
            .bar("p99 ≤ 20 ms", half.quantile(0.99) <= 0.020),
        Row::new(
            format!("… at 500 requests/s, {version} new versions of the plugin"),
            told(&swapped),
        )
        .beside(format!("without: {}", told(&quiet)))
        .bar("none more over 5 ms", late(&swapped) <= late(&quiet)),
    ])
}

/// The one in the middle.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
