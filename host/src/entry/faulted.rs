//! What the command line names as lines that were not processed: objects of them and the faults files beside these,
//! either of the two, alone, by glob or by prefix.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use linemill::{Kind, Pick, Storage, attempt_of, is_pointer, is_sidecar, sidecar};

use super::sources::is_many;

const SIDECAR_SUFFIX: &str = ".faults.ndjson";

/// An object of faulted lines and the faults file beside it, where they are known to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Faulted {
    pub(crate) lines: Option<String>,
    pub(crate) rows: Option<String>,
}

/// Which faults are meant.
#[derive(Debug, clap::Args)]
pub(crate) struct Picking {
    /// Only for this reason: a part of it, as `faults` shows it, or a regular expression as /REGEX/ (repeatable)
    #[arg(long = "reason", value_name = "TEXT")]
    reasons: Vec<String>,
    /// Only what became of lines: corrupt, retry, partial, failed, or unread for those that were never run (repeatable)
    #[arg(long = "kind", value_name = "KIND", value_parser = kind)]
    kinds: Vec<Kind>,
}

impl Picking {
    pub(crate) fn pick(&self) -> Result<Pick> {
        Pick::new(&self.kinds, &self.reasons).map_err(anyhow::Error::msg)
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    let named = Kind::ALL.into_iter().find(|kind| kind.name() == text);
    named.ok_or_else(|| format!("use one of {}", Kind::ALL.map(Kind::name).join(", ")))
}

/// What the arguments stand for, in their order and each once; what a prefix or glob names is sorted.
pub(crate) async fn find(storage: &Storage, arguments: &[String]) -> Result<Vec<Faulted>> {
    let mut found: Vec<Faulted> = Vec::new();
    for argument in arguments {
        let named = match argument.as_str() {
            "-" => vec![rows_alone("-")],
            many if is_many(storage, many) => find_many(storage, many).await?,
            one => vec![find_one(storage, one).await?],
        };
        for faulted in named {
            if !found.contains(&faulted) {
                found.push(faulted);
            }
        }
    }
    Ok(found)
}

fn rows_alone(url: &str) -> Faulted {
    Faulted {
        lines: None,
        rows: Some(url.to_owned()),
    }
}

async fn find_one(storage: &Storage, url: &str) -> Result<Faulted> {
    let exists = async |url: &str| {
        let found = storage.exists(url).await;
        found.with_context(|| format!("could not look for {url}"))
    };
    if let Some(object) = object_of(url) {
        return Ok(Faulted {
            lines: exists(object).await?.then(|| object.to_owned()),
            rows: Some(url.to_owned()),
        });
    }
    if is_pointer(url) {
        bail!("{url} points at lines that were never read: `linemill run` runs them");
    }
    if !exists(url).await? {
        bail!("{url} does not exist");
    }
    let rows = sidecar(url);
    Ok(Faulted {
        lines: Some(url.to_owned()),
        rows: exists(&rows).await?.then_some(rows),
    })
}

/// A prefix names all that is there; of what a glob names, the other one of the two may have a name that does not fit.
async fn find_many(storage: &Storage, argument: &str) -> Result<Vec<Faulted>> {
    let prefix = argument.ends_with('/');
    let listed = match prefix {
        true => storage.list(argument).await,
        false => storage.glob(argument).await,
    };
    let listed = listed.with_context(|| argument.to_owned())?;
    let urls: BTreeSet<String> = listed.into_iter().map(|object| object.url).collect();
    let mut found = pair(&urls);
    if !prefix {
        for faulted in &mut found {
            let whole = match faulted {
                Faulted {
                    lines: Some(url),
                    rows: None,
                }
                | Faulted {
                    lines: None,
                    rows: Some(url),
                } => url.clone(),
                _ => continue,
            };
            *faulted = find_one(storage, &whole).await?;
        }
    }
    // Lines that were handed over without having been run may stand alone, but so does the output of a retry, and has
    // the same name: running that would be worse than naming those.
    let alone = found.iter().filter(|faulted| faulted.is_again_alone());
    if let Some(Faulted {
        lines: Some(first), ..
    }) = alone.clone().next()
    {
        tracing::warn!(
            "{} in {argument} left out, which no faults file stands beside, such as {first}: an object of lines that were never run is to be named itself",
            counted(alone.count() as u64, "object")
        );
    }
    found.retain(|faulted| faulted.rows.is_some());
    if found.is_empty() {
        bail!("{argument}: no lines are there that were not processed");
    }
    Ok(found)
}

/// Brings objects and faults files together by their names.
fn pair(urls: &BTreeSet<String>) -> Vec<Faulted> {
    let mut found = Vec::new();
    for url in urls {
        if let Some(object) = object_of(url) {
            found.push(Faulted {
                lines: urls.get(object).cloned(),
                rows: Some(url.clone()),
            });
        } else if !is_pointer(url) && !is_sidecar(url) && !urls.contains(&sidecar(url)) {
            found.push(Faulted {
                lines: Some(url.clone()),
                rows: None,
            });
        }
    }
    found
}

/// The object that a faults file, packed or not, stands beside.
fn object_of(url: &str) -> Option<&str> {
    let plain = url.strip_suffix(".gz").or(url.strip_suffix(".zst"));
    let plain = plain.filter(|plain| is_sidecar(plain)).unwrap_or(url);
    plain.strip_suffix(SIDECAR_SUFFIX)
}

impl Faulted {
    /// Whether it may be lines that were handed over without having been run, going by its name.
    fn is_again_alone(&self) -> bool {
        self.rows.is_none() && self.lines.as_ref().is_some_and(|url| attempt_of(url) > 0)
    }
}

/// `1 line`, `2 lines`.
pub(crate) fn counted(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_and_faults_files_are_brought_together() {
        let urls = [
            "c/a.csv",
            "c/a.csv.faults.ndjson",
            "c/b.csv.gz",
            "c/b.csv.gz.faults.ndjson",
            "c/gone.csv.faults.ndjson",
            "c/packed.csv",
            "c/packed.csv.faults.ndjson.gz",
            "r/a-retry01.csv",
            "r/a-retry01.csv.resume.json",
            "r/a-retry02.csv.capsules.ndjson",
            "x/other.txt",
        ];
        let found = pair(&urls.map(str::to_owned).into_iter().collect());
        let shown: Vec<_> = found
            .iter()
            .map(|Faulted { lines, rows }| {
                let or_none = |url: &Option<String>| url.as_deref().unwrap_or("-").to_owned();
                format!("{} {}", or_none(lines), or_none(rows))
            })
            .collect();
        let expected = [
            "c/a.csv c/a.csv.faults.ndjson",
            "c/b.csv.gz c/b.csv.gz.faults.ndjson",
            "- c/gone.csv.faults.ndjson",
            "c/packed.csv -",
            "c/packed.csv c/packed.csv.faults.ndjson.gz",
            "r/a-retry01.csv -",
            "x/other.txt -",
        ];
        assert_eq!(shown, expected);
    }
}
