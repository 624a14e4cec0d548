//! One engine for a process: fuel, pooled instances, and threads of its own for the code of plugins.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use tokio::runtime::Handle;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::answers::Answers;
use super::granted::Granted;
use super::linker;
use super::network::Network;
use super::state::State;
use super::threads::Threads;
use crate::config::Grants;

/// What runs plugins: its version decides what an instruction costs.
pub const ENGINE: &str = "wasmtime 48";
/// How much fuel a plugin burns before its thread looks up: seldom enough to cost nothing, often enough to stop a
/// spinning plugin within a few milliseconds.
pub(super) const YIELD_FUEL: u64 = 5_000_000;
/// Bytes of a freed memory that are zeroed rather than given back to the system.
const KEEP_RESIDENT: usize = 256 * 1024;
/// Core modules, memories and tables that one component may consist of.
const CORE_INSTANCES: u32 = 64;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;

/// What the instances of a process may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Linear memory of an instance, in bytes.
    pub memory_bytes_max: usize,
    /// Elements of a table.
    pub table_elements_max: usize,
    /// How many instances live at once.
    pub instances: usize,
    /// Where compiled code is kept; `None`: in the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// What plugins may reach besides their lines.
    pub grants: Grants,
}

/// The engine, what plugins may import, and the threads that they run on.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    pub(super) limits: Limits,
    /// Variables and folders.
    pub(super) granted: Granted,
    /// What answers HTTP requests, for all instances.
    pub(super) answers: Arc<dyn Answers>,
    threads: Threads,
}

impl Runtime {
    /// Sets the engine up.
    ///
    /// # Errors
    /// When the machine cannot run it: no threads, or an engine configuration that this build does not support; or
    /// when something that is granted is not there.
    pub fn new(limits: Limits) -> Result<Arc<Self>> {
        Self::with(config(), limits)
    }

    /// The same, but code is compiled for any processor of this architecture, not for what this one can do besides.
    ///
    /// # Errors
    /// As [`Runtime::new`].
    pub fn portable(limits: Limits) -> Result<Arc<Self>> {
        let mut config = config();
        // Which is the same system, only that the engine does not look at the processor.
        let system = match (cfg!(target_os = "macos"), cfg!(target_env = "musl")) {
            (true, _) => "apple-darwin",
            (_, true) => "unknown-linux-musl",
            (_, false) => "unknown-linux-gnu",
        };
        config.target(&format!("{}-{system}", std::env::consts::ARCH))?;
        Self::with(config, limits)
    }

    fn with(config: Config, limits: Limits) -> Result<Arc<Self>> {
        let engine = pooled(config.clone(), &limits).or_else(|error| {
            // Address space is limited here (`ulimit -v`, a small container): instances cost more, but work.
            tracing::warn!("no pooled instances, instances are allocated one by one: {error:#}");
            unpooled(config)
        })?;
        let linker = linker::linker(&engine, !limits.grants.http.is_empty())?;
        let network = Network::new(&limits.grants).map_err(|why| anyhow!("grants.http {why}"))?;
        Ok(Arc::new(Runtime {
            engine,
            linker,
            granted: Granted::new(&limits.grants)?,
            answers: Arc::new(network),
            limits,
            threads: Threads::start()?,
        }))
    }

    /// Where the next call into a plugin runs: one thread after the other.
    pub fn compute(&self) -> &Handle {
        self.threads.next()
    }

    /// Where things run that nobody waits for, at the lowest priority.
    ///
    /// # Errors
    /// There can be no such thread.
    pub fn background(&self) -> Result<Handle> {
        self.threads.background()
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.memory_init_cow(true);
    config
}

/// Little address space is reserved, so bounds are checked by code.
fn unpooled(mut config: Config) -> Result<Engine> {
    config.memory_reservation(0);
    config.memory_guard_size(0);
    config.memory_reservation_for_growth(1 << 20);
    Ok(Engine::new(&config)?)
}

fn pooled(mut config: Config, limits: &Limits) -> Result<Engine> {
    let instances = u32::try_from(limits.instances).unwrap_or(u32::MAX).max(4);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES / 2))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memory_size(limits.memory_bytes_max)
        .table_elements(limits.table_elements_max)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT / 16)
        .async_stack_keep_resident(KEEP_RESIDENT / 16)
        // Where the kernel tells which pages were written, only these are cleared for the next instance.
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_engine_is_what_is_built_in() {
        let manifest = include_str!("../../Cargo.toml");
        let (name, version) = super::ENGINE.split_once(' ').expect("name and version");
        assert!(manifest.contains(&format!("\n{name} = {{ version = \"{version}\"")));
    }
}
