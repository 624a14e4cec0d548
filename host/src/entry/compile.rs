//! `linemill compile`: a component as compiled code, to be shipped with a function.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use linemill::{Plugin, Runtime, Storage};

use super::settings::Settings;
use super::{engine, limits, say};

/// What `compile` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The code is for this version of linemill and for the memory_bytes_max and table_elements_max of the configuration. Name it with plugin_compiled; it and its folder must be writable by their owner only."
)]
pub(crate) struct Args {
    /// Path or URL of the component
    component: String,
    /// Where the code is written
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Compile for all that this processor can do, rather than for any of its architecture
    #[arg(long)]
    native: bool,
    /// Configuration file, TOML or JSON [env: LINEMILL_CONFIG]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting, by its name in the configuration (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

/// Compiles it.
pub(crate) async fn compile(args: Args) -> Result<ExitCode> {
    let mut settings = Settings::few(args.config, args.set);
    settings.set_plugin(args.component.clone());
    let mut config = settings.effective()?.config;
    // They are of the machine that it will run on.
    config.grants.env.clear();
    config.grants.dirs.clear();
    let runtime = match args.native {
        true => engine(&config, 1)?,
        false => Runtime::portable(limits(&config, 1))?,
    };
    let bytes = linemill::fetch_plugin(&Storage::new(), &args.component, &config).await?;
    let plugin = Plugin::load(&runtime, &args.component, &bytes)?;
    let code = plugin.compiled()?;
    write(&args.output, &code)
        .with_context(|| format!("could not write {}", args.output.display()))?;
    let (output, digest) = (args.output.display(), &plugin.id.digest);
    say(&format!("{output}: {} bytes, of {digest}", code.len()));
    Ok(ExitCode::SUCCESS)
}

/// Whole or not at all; anybody may read it.
fn write(path: &Path, code: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(code)?;
    file.persist(path)?;
    Ok(())
}
