//! The files that cases are in: which are meant, and what is in them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use linemill::{Case, Layers, Trial};

use crate::entry::say;

/// A case is read whole.
const CASE_BYTES_MAX: u64 = 64 << 20;
/// Mistakes of one file that are told.
const MISTAKES_MAX: usize = 20;

/// Reads the cases, sorted by name; `None`: there are mistakes in them, which have been told.
pub(super) fn read_all(
    folder: &Path,
    words: &[String],
    layers: &Layers,
) -> Result<Option<Vec<Trial>>> {
    let files = find(folder, words)?;
    let (mut trials, mut wrong) = (Vec::new(), 0);
    for path in files {
        let name = path
            .strip_prefix(".")
            .unwrap_or(&path)
            .display()
            .to_string();
        let bytes = read(&path).with_context(|| format!("could not read the case {name}"))?;
        let trial = Case::parse(&name, &bytes).and_then(|case| Trial::new(case, layers));
        match trial {
            Ok(trial) => trials.push(trial),
            Err(mistakes) => {
                wrong += 1;
                for mistake in mistakes.iter().take(MISTAKES_MAX) {
                    say(&format!("{name}:{mistake}"));
                }
                if mistakes.len() > MISTAKES_MAX {
                    say(&format!("{name}: {} more", mistakes.len() - MISTAKES_MAX));
                }
            }
        }
    }
    if wrong > 0 {
        say(&format!(
            "linemill: mistakes in {wrong} of the cases, none was run"
        ));
        return Ok(None);
    }
    Ok(Some(trials))
}

fn find(folder: &Path, words: &[String]) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| {
        format!(
            "there are no cases in {}: write some, or name their folder with --cases",
            folder.display()
        )
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("could not read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|suffix| suffix == "txt") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!(
            "there are no cases in {}: a case is a file whose name ends in .txt",
            folder.display()
        );
    }
    files.sort();
    let count = files.len();
    let name = |path: &Path| {
        path.file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    files.retain(|path| words.is_empty() || words.iter().any(|word| name(path).contains(word)));
    if files.is_empty() {
        bail!(
            "none of the {count} cases in {} has {} in its name",
            folder.display(),
            words.join(" or ")
        );
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > CASE_BYTES_MAX {
        bail!("it has {size} bytes, more than {CASE_BYTES_MAX}: shorten its input");
    }
    Ok(std::fs::read(path)?)
}
