//! linemill in this process, by its library.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use linemill::{
    Call, Config, Deadline, GuestContext, Host, Instance, Limits, Plugin, Progress, Report,
    Request, Runtime, Stop, Storage,
};
use tokio::sync::Barrier;
use tokio_util::sync::CancellationToken;

/// What all requests of a run of the benchmark use.
pub struct Mill {
    io: tokio::runtime::Runtime,
    runtime: Arc<Runtime>,
    plugins: PathBuf,
}

/// A plugin with a configuration, warm.
pub struct Job<'a> {
    mill: &'a Mill,
    /// The plugin.
    pub plugin: Plugin,
    host: Host,
}

impl Mill {
    /// An engine, threads, and where the plugins are.
    pub fn new(plugins: PathBuf, cache_dir: PathBuf, config: Config) -> Result<Self> {
        let runtime = Runtime::new(Limits {
            memory_bytes_max: config.memory_bytes_max,
            table_elements_max: config.table_elements_max,
            instances: config.concurrency.max(2) + 1,
            cache_dir: Some(cache_dir),
            grants: config.grants,
        })?;
        let io = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("could not start threads")?;
        Ok(Mill {
            io,
            runtime,
            plugins,
        })
    }

    /// Loads a plugin; what it writes goes below `out`, apart for each request.
    pub fn job(&self, plugin: &str, out: &Path, mut config: Config) -> Result<Job<'_>> {
        let path = self.plugins.join(format!("{plugin}.wasm"));
        let bytes =
            std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        let plugin = Plugin::load(&self.runtime, &path.to_string_lossy(), &bytes)?;
        let below = |kind: &str| Some(format!("{}/$RequestId/{kind}", out.display()));
        config.destination_url = below("destination");
        config.corruption_url = below("corruption");
        config.retry_url = below("retry");
        config.failed_url = below("failed");
        let host = Host {
            storage: Storage::new(),
            config: Arc::new(config),
            progress: Arc::new(Progress::default()),
            cwd: std::env::current_dir()?,
        };
        Ok(Job {
            mill: self,
            plugin,
            host,
        })
    }
}

impl Job<'_> {
    /// Starts so many instances on the plugin's own threads, as workers do; gives back how long that takes in all.
    pub fn start_instances(&self, count: usize) -> Result<Duration> {
        let all = Arc::new(Barrier::new(count + 1));
        let start = Instant::now();
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let starting = start_instance(self.plugin.clone(), all.clone());
                self.plugin.compute().spawn(starting)
            })
            .collect();
        self.mill.io.block_on(async {
            all.wait().await;
            let time = start.elapsed();
            for task in tasks {
                task.await??;
            }
            Ok(time)
        })
    }

    /// Runs a source whatever comes of it, from its name to the report.
    pub fn run(&self, source: &Path) -> (Report, Duration) {
        let start = Instant::now();
        let request = Request::new(source.to_string_lossy());
        let running = linemill::run(&self.host, &self.plugin, request, Arc::new(Stop::default()));
        let report = self.mill.io.block_on(running);
        (report, start.elapsed())
    }

    /// Runs a source, all lines of which must be loaded, and all but `corrupt` processed.
    pub fn run_clean(&self, source: &Path, lines: u64, corrupt: u64) -> Result<(Report, Duration)> {
        let (report, time) = self.run(source);
        let counts = &report.counts;
        ensure!(
            (counts.loaded, counts.processed) == (lines, lines - corrupt)
                && counts.corrupted == corrupt,
            "the request did not do what it should: {}",
            serde_json::to_string(&report)?
        );
        Ok((report, time))
    }
}

/// Makes an instance, and waits until all have theirs, so that none takes the place of another.
async fn start_instance(plugin: Plugin, all: Arc<Barrier>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(60);
    let call = Call {
        fuel: 10_000_000_000,
        until,
        cut_at: until,
        cut: CancellationToken::new(),
        output_bytes_max: 0,
    };
    let deadline = Deadline::new(Instant::now(), None, None);
    let guest = Arc::new(GuestContext::new(&plugin.id.name, deadline, 0, 0));
    let instance = Instance::start(&plugin, &guest, &call).await;
    all.wait().await;
    instance.map(drop).map_err(|trap| anyhow!("{trap}"))
}

/// Milliseconds that all batches of a request took together.
pub fn batch_ms(report: &Report) -> Result<f64> {
    let json = serde_json::to_value(&report.latency)?;
    let number = |name: &str| json[name].as_f64().context("the report has no latency");
    Ok(number("Count")? * number("Mean")?)
}

/// The first line that a request wrote to its destination.
pub fn written(report: &Report) -> Result<String> {
    let url = report.written.destination.as_deref();
    let path = url.context("the request wrote nothing")?;
    Ok(std::fs::read_to_string(path.trim_start_matches("file://"))?
        .trim()
        .to_owned())
}
