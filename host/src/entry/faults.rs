//! `linemill faults`: why lines were not processed.

use std::process::ExitCode;

use anyhow::Result;
use linemill::{FaultFile, Group, Storage, Survey, Surveyed, printable};

use super::faulted::{self, Faulted, Picking, counted};
use super::{ALL_PROCESSED, SOME_LEFT, print};

/// What `faults` takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reasons that differ only in numbers, ids and quoted values are one: bad number \"…\" stands for
bad number \"17x\" and bad number \"abc\". `linemill redrive` takes the same files, --reason and --kind.

Exit codes: 0 all could be read; 1 something is damaged or missing, the rest was counted; 2 could not run."
)]
pub(crate) struct Args {
    /// A faults file or the object that it stands beside: a path, a glob, a prefix ending in /, a URL, or - for rows on stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    picking: Picking,
    /// Group by the reasons as they are
    #[arg(long)]
    exact: bool,
    /// Show so many lines of each group; 0 leaves the objects of lines unread
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=100))]
    samples: u16,
    /// Show the N largest groups
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Groups and prints.
pub(crate) async fn faults(args: Args) -> Result<ExitCode> {
    let pick = args.picking.pick()?;
    let storage = Storage::new();
    let found = faulted::find(&storage, &args.files).await?;
    let mut survey = Survey::new(pick, args.exact, usize::from(args.samples));
    for faulted in found {
        match faulted {
            Faulted {
                lines,
                rows: Some(rows_url),
            } => {
                if lines.is_none() && rows_url != "-" && args.samples > 0 {
                    tracing::warn!(
                        "{rows_url} stands alone: its lines are gone, so there are no samples"
                    );
                }
                let lines_url = lines;
                survey
                    .add(
                        &storage,
                        &FaultFile {
                            rows_url,
                            lines_url,
                        },
                    )
                    .await;
            }
            Faulted { lines, rows: None } => {
                let lines = lines.unwrap_or_default();
                survey.problem(&format!("{lines}: no faults file stands beside it"));
            }
        }
    }
    let surveyed = survey.end(args.top);
    match args.json {
        true => print(&serde_json::to_string(&surveyed)?)?,
        false => print(show(&surveyed).trim_end())?,
    }
    Ok(ExitCode::from(match surveyed.problems.is_empty() {
        true => ALL_PROCESSED,
        false => SOME_LEFT,
    }))
}

/// For a person: a paragraph for each group.
pub(crate) fn show(surveyed: &Surveyed) -> String {
    let mut text = String::new();
    let Surveyed {
        files,
        lines,
        picked,
        ..
    } = surveyed;
    let of = match picked == lines {
        true => String::new(),
        false => format!(" of {lines}"),
    };
    text.push_str(&format!(
        "{}{of}, in {}\n",
        counted(*picked, "line"),
        counted(*files, "faults file")
    ));
    for group in &surveyed.groups {
        text.push_str(&format!("\n{}\n", show_group(group)));
    }
    if surveyed.more_groups > 0 || surveyed.others > 0 {
        text.push_str(&format!(
            "\n{} for other reasons (--top shows more groups)\n",
            counted(surveyed.others, "line")
        ));
    }
    if surveyed.at_least {
        text.push_str("so many reasons that counts may be too small by the number of those\n");
    }
    if surveyed.unread > 0 {
        text.push_str(&format!(
            "\n{} without a row: never run\n",
            counted(surveyed.unread, "line")
        ));
    }
    for problem in &surveyed.problems {
        text.push_str(&format!("\nproblem: {}", printable(problem.as_bytes())));
    }
    if surveyed.more_problems > 0 {
        text.push_str(&format!("\nand {} more problems", surveyed.more_problems));
    }
    text
}

fn show_group(group: &Group) -> String {
    let mut text = format!(
        "{} {}: {}",
        group.count,
        group.kind,
        printable(group.reason.as_bytes())
    );
    if let Some(example) = &group.example {
        text.push_str(&format!("\n  such as: {}", printable(example.as_bytes())));
    }
    let (least, most) = group.attempts;
    let attempts = match least == most {
        true => format!("attempt {least}"),
        false => format!("attempts {least} to {most}"),
    };
    let lines = match (group.files, group.first_line == group.last_line) {
        (1, true) => format!("line {}", group.first_line),
        (1, false) => format!("lines {} to {}", group.first_line, group.last_line),
        (files, _) => format!("{files} files"),
    };
    let files = group.file_names.join(", ");
    let more = match group.files > group.file_names.len() as u64 {
        true => ", …",
        false => "",
    };
    text.push_str(&format!(
        "\n  {lines}, {attempts}: {}{more}",
        printable(files.as_bytes())
    ));
    let plugins: Vec<_> = group.plugins.iter().map(|digest| short(digest)).collect();
    text.push_str(&format!(
        "\n  plugin {}",
        printable(plugins.join(", ").as_bytes())
    ));
    for sample in &group.samples {
        let more = if sample.cut { "…" } else { "" };
        text.push_str(&format!("\n  {:>8} | {}{more}", sample.line, sample.text));
    }
    text
}

/// Enough of a digest to know it by.
fn short(digest: &str) -> &str {
    const SHOWN: usize = "sha256:".len() + 12;
    digest.get(..SHOWN).unwrap_or(digest)
}
