//! `linemill config`: the effective configuration, with the origin of each value.

use std::process::ExitCode;

use anyhow::Result;

use super::settings::Settings;

/// What `config` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON instead of TOML
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Prints it.
pub(crate) fn print(args: &Args) -> Result<ExitCode> {
    let effective = args.settings.effective()?;
    match args.json {
        true => super::print(&serde_json::to_string_pretty(&effective.to_json())?)?,
        false => super::print(effective.to_string().trim_end())?,
    }
    Ok(ExitCode::SUCCESS)
}
