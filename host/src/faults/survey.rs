//! Goes through faults files and the lines beside them, and says what is in there.

use serde::Serialize;

use super::groups::{Group, Groups, SAMPLE_MAX};
use super::rows::{Lines, Rows};
use super::{Kind, Pick, Row};
use crate::config::mask_secrets;
use crate::error::{Error, Result};
use crate::report::chain;
use crate::storage::Storage;

/// So many problems are told; the rest are counted.
const PROBLEMS_MAX: usize = 20;

/// A faults file and the object that it stands beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultFile {
    /// Where the rows are; `-` is standard input.
    pub rows_url: String,
    /// Where the lines are, if anywhere.
    pub lines_url: Option<String>,
}

/// Faults files while they are gone through. What is kept does not grow with them.
pub struct Survey {
    pick: Pick,
    samples: usize,
    groups: Groups,
    surveyed: Surveyed,
}

/// What is in faults files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Surveyed {
    /// How many files were read.
    pub files: u64,
    /// Lines that the rows in them are about.
    pub lines: u64,
    /// Of those: the ones that were asked for.
    pub picked: u64,
    /// Lines that were handed over without having been run: they stand beside the faulted ones and have no rows.
    pub unread: u64,
    /// The groups, the largest first.
    pub groups: Vec<Group>,
    /// How many groups there are besides, of those that were kept.
    pub more_groups: u64,
    /// Lines in those, and in groups that were too many to be kept.
    pub others: u64,
    /// Groups were too many to be kept: counts may be too small, by no more than `Others` in all.
    pub at_least: bool,
    /// What could not be read or does not fit together.
    pub problems: Vec<String>,
    /// How many problems there are besides.
    pub more_problems: u64,
}

impl Survey {
    /// Groups what `pick` takes: by pattern, or, if `exact`, by reason. Of each group, `samples` lines are kept.
    pub fn new(pick: Pick, exact: bool, samples: usize) -> Self {
        Survey {
            pick,
            samples,
            groups: Groups::new(exact, samples),
            surveyed: Surveyed::default(),
        }
    }

    /// Goes through a file. What is wrong with it is told in the end; the rest of it is counted all the same.
    pub async fn add(&mut self, storage: &Storage, file: &FaultFile) {
        self.surveyed.files += 1;
        let lines = match self.open_lines(storage, file).await {
            Ok(lines) => lines,
            Err(error) => {
                self.problem(&format!("{}; its rows are counted", chain(&error)));
                None
            }
        };
        if let Err(error) = self.read(storage, file, lines).await {
            self.problem(&chain(&error));
        }
    }

    /// Lines are read for their samples.
    async fn open_lines(&self, storage: &Storage, file: &FaultFile) -> Result<Option<Lines>> {
        match &file.lines_url {
            Some(url) if self.samples > 0 => Lines::open(storage, url, None).await.map(Some),
            _ => Ok(None),
        }
    }

    async fn read(
        &mut self,
        storage: &Storage,
        file: &FaultFile,
        mut lines: Option<Lines>,
    ) -> Result<()> {
        let name = mask_secrets(&file.rows_url);
        let mut rows = Rows::open(storage, &file.rows_url, None).await?;
        let mut text = Vec::new();
        let mut about = 0;
        let mut whole = true;
        while let Some(read) = rows.next().await? {
            // Which line a damaged row is about is known all the same: the next one.
            let count = read.row.as_ref().map_or(1, |row| row.lines);
            about += count;
            let mut first = None;
            for at in 0..count {
                let Some(open) = &mut lines else { break };
                let mut skipped = Vec::new();
                let into = if at == 0 { &mut text } else { &mut skipped };
                match open.next(into, SAMPLE_MAX).await {
                    Ok(Some(len)) => first = first.or(Some(len)),
                    ended => {
                        self.no_more_lines(file, ended.err());
                        (lines, whole) = (None, false);
                    }
                }
            }
            match read.row {
                Ok(row) => self.take(&name, &row, first.map(|len| (&text[..], len))),
                Err(why) => self.problem(&format!("{name}, row {}: {why}", read.number)),
            }
        }
        if let Some(lines) = lines.filter(|_| whole) {
            self.count_unread(file, lines, about).await?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, row: &Row<'_>, text: Option<(&[u8], u64)>) {
        self.surveyed.lines += row.lines;
        if self.pick.takes(row.kind, Some(&row.reason)) {
            self.surveyed.picked += row.lines;
            self.groups
                .add(self.surveyed.files as usize, name, row, text);
        }
    }

    async fn count_unread(&mut self, file: &FaultFile, mut lines: Lines, about: u64) -> Result<()> {
        let mut unread = 0;
        while lines.next(&mut Vec::new(), 0).await?.is_some() {
            unread += 1;
        }
        if unread > 0 && self.pick.takes(Kind::Unread, None) {
            self.surveyed.unread += unread;
        }
        tracing::debug!(file = %mask_secrets(&file.rows_url), about, unread, "read");
        Ok(())
    }

    fn no_more_lines(&mut self, file: &FaultFile, error: Option<Error>) {
        let url = mask_secrets(file.lines_url.as_deref().unwrap_or_default());
        self.problem(&match error {
            Some(error) => chain(&error),
            None => format!(
                "{url} has fewer lines than there are rows beside it: samples may be of other lines"
            ),
        });
    }

    /// Something is wrong with what was asked for.
    pub fn problem(&mut self, what: &str) {
        match self.surveyed.problems.len() < PROBLEMS_MAX {
            true => self.surveyed.problems.push(what.to_owned()),
            false => self.surveyed.more_problems += 1,
        }
    }

    /// What was found: the `top` largest groups, and how much there is besides.
    pub fn end(self, top: usize) -> Surveyed {
        let mut surveyed = self.surveyed;
        surveyed.at_least = self.groups.others > 0;
        surveyed.others = self.groups.others;
        surveyed.groups = self.groups.into_sorted();
        let more = surveyed.groups.split_off(surveyed.groups.len().min(top));
        surveyed.more_groups = more.len() as u64;
        surveyed.others += more.iter().map(|group| group.count).sum::<u64>();
        surveyed
    }
}
