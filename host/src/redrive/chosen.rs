//! Chooses the lines of an object that are run again.

use std::path::Path;
use std::sync::Arc;

use memchr::memchr;

use super::Redrive;
use crate::config::mask_secrets;
use crate::error::{Error, Result};
use crate::faults::{Kind, Pick, Row, Rows};
use crate::request::{self, Request, attempt_of, is_pointer, is_sidecar};
use crate::source::Source;
use crate::storage::Storage;

const BUFFER: usize = 256 * 1024;

/// What is chosen of an object.
#[derive(Debug)]
pub struct Chosen {
    /// How many lines the object has.
    pub lines: u64,
    /// How many of them are to be run again.
    pub picked: u64,
    /// Runs those; `None`: there are none.
    pub request: Option<Request>,
}

/// The choice while it is made.
#[derive(Default)]
struct Choosing {
    chosen: Vec<u64>,
    origins: Vec<(u64, u64)>,
    /// Lines that rows were read about.
    about: u64,
    /// The most often that a chosen line had been tried.
    attempt: u32,
    corrupt: bool,
}

impl Chosen {
    /// Chooses from the object of faulted lines at `url` what `pick` takes. Nothing is run or written yet.
    ///
    /// # Errors
    /// The object and the faults file beside it do not fit together, or cannot be read.
    pub async fn of(storage: &Storage, url: &str, pick: &Pick) -> Result<Chosen> {
        let shown = mask_secrets(url);
        let location = storage.locate(url)?;
        location.refuse_stdio("run again what comes over")?;
        location.refuse_folder()?;
        if location.local_path().is_some_and(is_stream) {
            return Err(Error::invalid(
                shown,
                "is no file: it cannot be read more than once",
            ));
        }
        if is_pointer(url) || is_sidecar(url) {
            return Err(Error::invalid(shown, "is no object of lines"));
        }
        refuse_done(storage, url).await?;
        let mut source = Request::new(url).source;
        let (etag, lines) = scan(storage, &source, |_, _| ()).await?;
        source.etag = etag;
        let mut choosing = Choosing::default();
        let rows = choosing.read_rows(storage, url, lines, pick).await?;
        if rows.is_none() && attempt_of(url) == 0 {
            return Err(Error::invalid(
                shown,
                "no faults file stands beside it: `linemill run` runs all of it",
            ));
        }
        choosing.fit(storage, &source, lines, pick).await?;
        let picked = choosing.origins.len() as u64;
        let attempt = choosing.attempt.max(attempt_of(url)).max(1);
        source.redrive = Some(Arc::new(Redrive {
            chosen: choosing.chosen,
            lines,
            origins: choosing.origins,
            rows,
        }));
        let request = Request {
            source,
            attempt,
            ..Request::new(url)
        };
        Ok(Chosen {
            lines,
            picked,
            request: (picked > 0).then_some(request),
        })
    }
}

fn is_stream(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// What is left of an object that was run again in part is in another one: nothing of it must be run twice.
async fn refuse_done(storage: &Storage, url: &str) -> Result<()> {
    let rest = request::rest_of(url);
    if storage.locate(url)?.is_http() || !storage.exists(&rest).await? {
        return Ok(());
    }
    Err(Error::invalid(
        mask_secrets(url),
        format!(
            "it was run again in part already, and {} holds what was not run: go on with that",
            mask_secrets(&rest)
        ),
    ))
}

impl Choosing {
    /// Reads the faults file; gives back its version. `None`: there is no such file.
    async fn read_rows(
        &mut self,
        storage: &Storage,
        url: &str,
        lines: u64,
        pick: &Pick,
    ) -> Result<Option<Option<String>>> {
        let rows_url = request::sidecar(url);
        let mut rows = match Rows::open(storage, &rows_url, None).await {
            Ok(rows) => rows,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        while let Some(read) = rows.next().await? {
            match read.row {
                // No more is kept than there are lines.
                Ok(row) if self.about + row.lines <= lines => self.add(&row, pick),
                Ok(row) => self.about += row.lines,
                Err(why) => {
                    return Err(Error::invalid(
                        format!("{}, row {}", mask_secrets(&rows_url), read.number),
                        format!("{why}; nothing was run, since which line it is about is not sure"),
                    ));
                }
            }
        }
        Ok(Some(rows.etag()))
    }

    fn add(&mut self, row: &Row<'_>, pick: &Pick) {
        self.corrupt |= row.kind == Kind::Corrupt;
        let takes = pick.takes(row.kind, Some(&row.reason));
        if takes {
            self.attempt = self.attempt.max(row.attempt.saturating_add(1));
            for line in self.about..self.about + row.lines {
                self.choose(line, (row.line, row.offset));
            }
        }
        self.about += row.lines;
    }

    fn choose(&mut self, line: u64, origin: (u64, u64)) {
        let word = (line / 64) as usize;
        if self.chosen.len() <= word {
            self.chosen.resize(word + 1, 0);
        }
        self.chosen[word] |= 1 << (line % 64);
        self.origins.push(origin);
    }

    /// Looks whether rows and lines belong together. Lines behind those that rows are about were never run.
    async fn fit(
        &mut self,
        storage: &Storage,
        source: &request::Source,
        lines: u64,
        pick: &Pick,
    ) -> Result<()> {
        // Only what was to be retried or has failed has such lines.
        if lines < self.about || lines > self.about && self.corrupt {
            return Err(unfit(&source.url, lines, self.about));
        }
        if lines > self.about && pick.takes(Kind::Unread, None) {
            let about = self.about;
            // They are told by their place in the object.
            let found = scan(storage, source, |line, offset| {
                if line >= about {
                    self.choose(line, (line + 1, offset));
                }
            });
            found.await?;
        }
        Ok(())
    }
}

fn unfit(url: &str, lines: u64, about: u64) -> Error {
    Error::invalid(
        mask_secrets(url),
        format!(
            "it has {lines} lines, and the faults file beside it is about {about}: which belong together is not sure"
        ),
    )
}

/// Goes through the lines of an object: calls `each` with index and offset of each. Gives back the object's version,
/// and how many lines it has.
async fn scan(
    storage: &Storage,
    source: &request::Source,
    mut each: impl FnMut(u64, u64),
) -> Result<(Option<String>, u64)> {
    let mut from = Source::open(storage, source, &Default::default()).await?;
    let mut buffer = vec![0; BUFFER];
    let (mut lines, mut offset) = (0, 0);
    let mut ended = true;
    loop {
        let n = from.read_some(&mut buffer).await?;
        if n == 0 {
            break;
        }
        let mut at = 0;
        while at < n {
            if ended {
                each(lines, offset + at as u64);
                lines += 1;
            }
            let end = memchr(b'\n', &buffer[at..n]);
            ended = end.is_some();
            at = end.map_or(n, |end| at + end + 1);
        }
        offset += n as u64;
    }
    from.check_unchanged()?;
    Ok((from.etag.clone(), lines))
}
