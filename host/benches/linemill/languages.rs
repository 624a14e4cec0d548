//! The same plugins in several languages: what their components cost, and how fast they are beside their Rust twins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::mill::{Job, Mill};
use crate::table::{self, Row};
use crate::{Bench, MIB, clear, data, in_turns, mib, ms, process, us, with};

/// A plugin in some language, and the one in Rust that does the same.
struct Language {
    name: &'static str,
    plugin: &'static str,
    twin: &'static Twin,
    /// Lines in a second that it must reach.
    bar: Option<f64>,
}

/// A plugin in Rust, and what it is run on.
struct Twin {
    plugin: &'static str,
    line: data::Line,
    mib: usize,
}

const SUM: Twin = Twin {
    plugin: "sum",
    line: data::integer,
    mib: 32,
};
const CSV: Twin = Twin {
    plugin: "csv_to_json",
    line: data::csv,
    mib: 16,
};

const fn of(name: &'static str, plugin: &'static str, twin: &'static Twin) -> Language {
    Language {
        name,
        plugin,
        twin,
        bar: None,
    }
}

const LANGUAGES: [Language; 6] = [
    of("Rust", "sum", &SUM),
    of("C", "sum_c", &SUM),
    of("Zig", "sum_zig", &SUM),
    Language {
        bar: Some(1e6),
        ..of("Python", "sum_py", &SUM)
    },
    of("Rust", "csv_to_json", &CSV),
    Language {
        bar: Some(150e3),
        ..of("JavaScript", "csv_to_json_js", &CSV)
    },
];

/// How many workers are many.
const MANY: usize = 50;

const HEAD: [&str; 12] = [
    "plugin",
    "language",
    "component",
    "compiled in",
    "loaded from cache in",
    "instance",
    "50 instances at once",
    "memory, one worker",
    "50 workers",
    "fuel a line",
    "lines/s",
    "time ÷ Rust",
];

/// Prints a table of all that are built; gives back those that have a bar.
pub fn languages(bench: &Bench) -> Result<Vec<Row>> {
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for language in &LANGUAGES {
        if !component(bench, language).is_file() {
            let name = language.name;
            eprintln!(
                "{name} is left out: there is no {}.wasm, `make languages` builds it",
                language.plugin
            );
            continue;
        }
        eprintln!("measuring {} in {} …", language.twin.plugin, language.name);
        let (cells, rate) = measure(bench, language)?;
        lines.push(cells);
        rows.extend(language.bar.map(|bar| {
            let name = format!("{} in {}, one worker", language.twin.plugin, language.name);
            let least = format!("≥ {bar:.0} lines/s");
            Row::new(name, format!("{rate:.0} lines/s")).bar(least, rate >= bar)
        }));
    }
    table::markdown(&HEAD.map(str::to_owned), &lines);
    println!();
    Ok(rows)
}

fn component(bench: &Bench, language: &Language) -> PathBuf {
    bench.plugins.join(format!("{}.wasm", language.plugin))
}

/// The cells of a language, and its lines in a second.
fn measure(bench: &Bench, language: &Language) -> Result<([String; HEAD.len()], f64)> {
    let size = component(bench, language).metadata()?.len();
    let (compiled, loaded) = loading(bench, language)?;
    let (one, many) = starting(bench, language)?;
    let speed = running(bench, language)?;
    let small = memory(bench, language, speed.fuel, 1)?;
    let large = memory(bench, language, speed.fuel, MANY)?;
    let cells = [
        language.twin.plugin.replace('_', "-"),
        language.name.to_owned(),
        mib(size),
        ms(compiled),
        ms(loaded),
        us(one),
        ms(many),
        mib(small),
        format!("{} ({:.1} ×)", mib(large), large as f64 / small as f64),
        format!("{:.0}", speed.fuel),
        format!("{:.2} M", speed.rate / 1e6),
        format!("{:.2}", speed.ratio),
    ];
    Ok((cells, speed.rate))
}

/// How long its code takes to compile, and to load when it was compiled before: the best of three.
fn loading(bench: &Bench, language: &Language) -> Result<(f64, f64)> {
    let mut best = [f64::MAX; 2];
    for round in 0..3 {
        let cache = bench.data(&format!("cache-{}-{round}", language.plugin));
        for (best, cached) in best.iter_mut().zip([false, true]) {
            // A runtime of its own, as in another process.
            let mill = Mill::new(bench.plugins.clone(), cache.clone(), with(1))?;
            let job = mill.job(language.plugin, &bench.data("out"), with(1))?;
            ensure!(job.plugin.cached == cached, "the cache does not work");
            *best = best.min(job.plugin.compile_time.as_secs_f64());
        }
        clear(&cache)?;
    }
    let [compiled, loaded] = best;
    Ok((compiled, loaded))
}

/// How long an instance takes to start, and as many as there are workers, all at once: medians.
fn starting(bench: &Bench, language: &Language) -> Result<(f64, f64)> {
    let mill = bench.mill_with(with(MANY))?;
    let job = mill.job(language.plugin, &bench.data("out"), with(MANY))?;
    let starts = |at_once, rounds| -> Result<f64> {
        let [times] = in_turns(rounds, [Box::new(|| job.start_instances(at_once))])?;
        Ok(times.median())
    };
    Ok((starts(1, 100)?, starts(MANY, 10)?))
}

/// Fuel of a batch that lets other workers have their turn before it is done.
const LONG: f64 = 15e6;

/// The most memory that a process has with so many workers, all of which have an instance at once.
fn memory(bench: &Bench, language: &Language, fuel: f64, workers: usize) -> Result<u64> {
    let source = bench.data("turns.txt");
    let batch = (LONG / fuel).ceil() as u64;
    data::lines(&source, 2 * MANY as u64 * batch, language.twin.line, None)?;
    let (workers, batch) = (workers.to_string(), format!("batch_lines={batch}"));
    let more = ["--concurrency", &workers, "--set", &batch];
    let mut most = 0;
    for _ in 0..3 {
        let mut command = bench.command(language.plugin, &source, &more);
        most = most.max(process::peak_memory(&mut command)?);
        clear(&bench.data("out"))?;
    }
    Ok(most)
}

/// How fast a plugin is.
struct Speed {
    /// Lines in a second.
    rate: f64,
    /// Fuel for each.
    fuel: f64,
    /// Its time, in times that of its twin.
    ratio: f64,
}

/// One worker, in turns with the twin.
fn running(bench: &Bench, language: &Language) -> Result<Speed> {
    let twin = language.twin;
    let (source, out) = (bench.data("same.txt"), bench.data("out"));
    let bytes = bench.size(twin.mib, twin.mib / 8) * MIB;
    let lines = data::generate(&source, bytes, twin.line)?;
    let mill = bench.mill()?;
    let job = |plugin| mill.job(plugin, &out, with(1));
    let (reference, ours) = (job(twin.plugin)?, job(language.plugin)?);
    let fuel = same(&reference, &ours, &source, lines)?;
    let run = |job: &Job<'_>| -> Result<Duration> {
        clear(&out)?;
        Ok(job.run_clean(&source, lines, 0)?.1)
    };
    let jobs: [crate::Job<'_>; 2] = [Box::new(|| run(&reference)), Box::new(|| run(&ours))];
    let [reference, ours] = in_turns(bench.size(5, 3), jobs)?;
    clear(&out)?;
    Ok(Speed {
        rate: lines as f64 / ours.median(),
        fuel: fuel as f64 / lines as f64,
        ratio: ours.median() / reference.median(),
    })
}

/// Sees that both write the same; gives back the fuel of the second.
fn same(reference: &Job<'_>, ours: &Job<'_>, source: &Path, lines: u64) -> Result<u64> {
    let run = |job: &Job<'_>| -> Result<(Vec<u8>, u64)> {
        let (report, _) = job.run_clean(source, lines, 0)?;
        let url = report.written.destination.as_deref();
        let path = url.context("nothing was written")?;
        let written = std::fs::read(path.trim_start_matches("file://"))?;
        Ok((written, report.fuel))
    };
    let ((expected, _), (written, fuel)) = (run(reference)?, run(ours)?);
    ensure!(
        written == expected,
        "it does not write the same as its twin"
    );
    Ok(fuel)
}
