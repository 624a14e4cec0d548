//! `linemill new`: the folder of a new plugin, whole or not at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use linemill::{Language, Scaffold};

use super::say;

/// What `new` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to make; its last part is the plugin's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The language to write the plugin in
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Lang {
    Rust,
    Js,
    Python,
    C,
}

impl Lang {
    fn language(self) -> Language {
        match self {
            Lang::Rust => Language::Rust,
            Lang::Js => Language::JavaScript,
            Lang::Python => Language::Python,
            Lang::C => Language::C,
        }
    }
}

/// Makes it.
pub(crate) fn new(args: &Args) -> Result<ExitCode> {
    let folder = &args.folder;
    let shown = folder.display();
    let name = folder
        .file_name()
        .with_context(|| format!("`{shown}` ends in no name: name a folder to make"))?;
    let scaffold = Scaffold::new(&name.to_string_lossy(), args.lang.language())?;
    check_free(folder)?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)
        .with_context(|| format!("could not make the folder {}", parent.display()))?;
    write(parent, folder, &scaffold).with_context(|| format!("could not make {shown}"))?;
    say(&format!(
        "made {shown}; its README.md says how it is built, tested and run"
    ));
    Ok(ExitCode::SUCCESS)
}

fn check_free(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let taken = "take another name, or another place";
    match folder.symlink_metadata() {
        // What hinders says itself when the folder is made.
        Err(_) => Ok(()),
        Ok(there) if !there.is_dir() => bail!("{shown} is there already, and no folder: {taken}"),
        Ok(_) => {
            let mut entries =
                fs::read_dir(folder).with_context(|| format!("could not read {shown}"))?;
            match entries.next() {
                Some(_) => bail!("{shown} is there already, and not empty: {taken}"),
                None => Ok(()),
            }
        }
    }
}

/// Beside its place first, so that nothing half-written is ever there.
fn write(parent: &Path, folder: &Path, scaffold: &Scaffold) -> Result<()> {
    let builder = tempfile::Builder::new()
        .prefix(".new-")
        .permissions(Permissions::from_mode(0o777))
        .tempdir_in(parent)?;
    for (path, text) in scaffold.files() {
        let path = builder.path().join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(path, text)?;
    }
    // In the place of nothing, or of an empty folder.
    fs::rename(builder.path(), folder)?;
    let _ = builder.keep();
    Ok(())
}
