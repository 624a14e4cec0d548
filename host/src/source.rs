//! Opens a source as a stream of plain bytes: a file, an object, standard input; decompressed, from an offset on.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use futures::TryStreamExt;
use object_store::{Attribute, GetOptions, GetRange, GetResult};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt, BufReader, ReadBuf};
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::redrive::Sifted;
use crate::request;
use crate::storage::{Location, Meta, Storage};

/// Bytes that a compressed file is read by.
const FILE_BUFFER: usize = 256 * 1024;
/// How long a slow source may hold back lines that have arrived.
const LINGER: Duration = Duration::from_millis(10);

/// An opened source.
pub struct Source {
    location: Location,
    reader: Reader,
    /// Entity tag of what is being read, where there is one.
    pub etag: Option<String>,
    progress: Arc<Progress>,
    runtime: tokio::runtime::Handle,
}

enum Reader {
    /// A local file that is not compressed: read straight into the batch.
    File(File),
    /// Everything else.
    Stream(Pin<Box<dyn AsyncRead + Send>>),
}

impl Reader {
    fn into_stream(
        self,
        location: &Location,
        progress: &Arc<Progress>,
    ) -> Pin<Box<dyn AsyncRead + Send>> {
        match self {
            Reader::File(file) => {
                let file = tokio::fs::File::from_std(file);
                Box::pin(counted(file, location, progress))
            }
            Reader::Stream(stream) => stream,
        }
    }
}

/// How long a read may wait for bytes.
#[derive(Debug, Clone)]
pub struct Wait {
    /// Until then.
    pub until: Instant,
    /// Until this is cancelled.
    pub stop: CancellationToken,
    /// For more, although some are there.
    pub patient: bool,
}

impl Wait {
    /// Until a moment, for as much as there is room for.
    pub fn until(until: Instant) -> Self {
        Wait {
            until,
            stop: CancellationToken::new(),
            patient: true,
        }
    }
}

/// What came of asking for more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// So many bytes; never 0.
    Bytes(usize),
    /// The source has ended, cleanly.
    End,
    /// Nothing more came in the time there was.
    Nothing,
}

impl Source {
    /// Opens what the request names, so that the first byte read is the one before its range (the first of all
    /// without one). Opening a file blocks: this is polled on a thread that may.
    ///
    /// # Errors
    /// The source is missing, unreadable, or not the version that the request is about.
    pub async fn open(
        storage: &Storage,
        source: &request::Source,
        progress: &Arc<Progress>,
    ) -> Result<Self> {
        let location = match source.body {
            Some(_) => Location::nowhere(&source.url),
            None => storage.locate(&source.url)?,
        };
        let runtime = tokio::runtime::Handle::current();
        let skip = source
            .range
            .map_or(0, |range| range.offset.saturating_sub(1));
        let progress = progress.clone();
        let opened = if let Some(body) = &source.body {
            open_body(&location, body, skip, &progress)?
        } else if location.is_stdio() {
            let stdin: Raw = Box::pin(counted(tokio::io::stdin(), &location, &progress));
            Opened {
                reader: decoded(stdin, Codec::Plain, &location),
                etag: None,
            }
        } else if let Some(path) = location.local_path() {
            open_file(&location, path, skip, &progress)?
        } else {
            open_object(&location, source, skip, &progress).await?
        };
        if let (Some(expected), Some(found)) = (&source.etag, &opened.etag)
            && expected.trim_matches('"') != found.trim_matches('"')
        {
            return Err(Error::SourceChanged {
                url: location.shown(),
            });
        }
        let Opened { mut reader, etag } = opened;
        if let Some(redrive) = &source.redrive {
            let whole = reader.into_stream(&location, &progress);
            reader = Reader::Stream(Box::pin(Sifted::new(whole, redrive)));
        }
        Ok(Source {
            location,
            reader,
            etag,
            progress,
            runtime,
        })
    }

    /// Reads into `space`, filling it where the source is quick. Blocks: it must not be called from async code.
    ///
    /// # Errors
    /// The source broke off, or its compressed data are damaged.
    pub fn read(&mut self, space: &mut [u8], wait: &Wait) -> Result<Arrived> {
        let read = match &mut self.reader {
            Reader::File(file) => read_file(file, space, &self.progress),
            Reader::Stream(stream) => self.runtime.block_on(read_stream(stream, space, wait)),
        };
        read.map_err(|error| Error::from_io(self.location.url(), error))
    }

    /// Reads into `space` from async code; 0: the source has ended.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub async fn read_some(&mut self, space: &mut [u8]) -> Result<usize> {
        let reader = std::mem::replace(
            &mut self.reader,
            Reader::Stream(Box::pin(tokio::io::empty())),
        );
        let mut stream = reader.into_stream(&self.location, &self.progress);
        let read = stream.read(space).await;
        self.reader = Reader::Stream(stream);
        read.map_err(|error| Error::from_io(self.location.url(), error))
    }

    /// Checks, once it was read to its end, that a file still is what was opened. Blocks. (Of an object, one version
    /// is read from beginning to end.)
    ///
    /// # Errors
    /// [`Error::SourceChanged`].
    pub fn check_unchanged(&self) -> Result<()> {
        let (Some(path), Some(etag)) = (self.location.local_path(), &self.etag) else {
            return Ok(());
        };
        let found = std::fs::metadata(path);
        let found = found.map_err(|error| Error::from_io(self.location.url(), error))?;
        match Meta::of_file(&found).etag.as_ref() == Some(etag) {
            true => Ok(()),
            false => Err(Error::SourceChanged {
                url: self.location.shown(),
            }),
        }
    }
}

struct Opened {
    reader: Reader,
    etag: Option<String>,
}

fn open_body(
    location: &Location,
    body: &Body,
    skip: u64,
    progress: &Arc<Progress>,
) -> Result<Opened> {
    let Some(bytes) = body.take() else {
        let why = "was read before, and came only once";
        return Err(Error::invalid(location.url(), why));
    };
    let codec = match body.encoding.as_deref() {
        None => codec_of(location.name()),
        told => codec_of_encoding(location, told)?,
    };
    // A few lines do not need more room than they take.
    let room = body
        .as_bytes()
        .map_or(FILE_BUFFER, |bytes| bytes.len().clamp(1, FILE_BUFFER));
    let raw: Raw = Box::pin(counted_by(room, bytes, location, progress));
    Ok(Opened {
        reader: skipping(decoded(raw, codec, location), skip),
        etag: None,
    })
}

fn open_file(
    location: &Location,
    path: &std::path::Path,
    skip: u64,
    progress: &Arc<Progress>,
) -> Result<Opened> {
    let failed = |error| Error::from_io(location.url(), error);
    let codec = codec_of(location.name());
    let mut file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Error::invalid(
            location.url(),
            "is a folder: end it with / to run all that is in it",
        ));
    }
    let etag = Meta::of_file(&meta).etag.filter(|_| meta.is_file());
    let reader = match (meta.is_file(), codec) {
        (true, Codec::Plain) => {
            file.seek(SeekFrom::Start(skip)).map_err(failed)?;
            Reader::File(file)
        }
        // A pipe or a device may keep its reader waiting.
        _ => {
            let file = tokio::fs::File::from_std(file);
            let raw: Raw = Box::pin(counted(file, location, progress));
            skipping(decoded(raw, codec, location), skip)
        }
    };
    Ok(Opened { reader, etag })
}

async fn open_object(
    location: &Location,
    source: &request::Source,
    skip: u64,
    progress: &Arc<Progress>,
) -> Result<Opened> {
    let seeks = skip > 0
        && codec_of(location.name()) == Codec::Plain
        && location.head().await?.size.is_some_and(|size| skip < size);
    let mut result = get(location, source, if seeks { skip } else { 0 }).await?;
    let encoding = result
        .attributes
        .get(&Attribute::ContentEncoding)
        .map(|encoding| encoding.as_ref().to_owned());
    let codec = match codec_of(location.name()) {
        Codec::Plain => codec_of_encoding(location, encoding.as_deref())?,
        known => known,
    };
    if result.range.start > 0 && codec != Codec::Plain {
        // Offsets are those of the plain bytes: compressed data are read from their beginning.
        result = get(location, source, 0).await?;
    }
    let left = skip - result.range.start;
    let meta = Meta::from(&result.meta);
    let past_end = left > 0 && meta.size.is_some_and(|size| skip >= size);
    if past_end && codec == Codec::Plain {
        let reader = Reader::Stream(Box::pin(tokio::io::empty()));
        return Ok(Opened {
            reader,
            etag: meta.etag,
        });
    }
    let url = location.url().to_owned();
    let broke_off = move |error| io::Error::from(Error::broke_off(&url, error));
    let stream = StreamReader::new(result.into_stream().map_err(broke_off));
    let raw: Raw = Box::pin(counted(stream, location, progress));
    Ok(Opened {
        reader: skipping(decoded(raw, codec, location), left),
        etag: meta.etag,
    })
}

/// The version that the request is about, from an offset on, or whole if the server knows no ranges.
async fn get(location: &Location, source: &request::Source, from: u64) -> Result<GetResult> {
    let mut options = GetOptions {
        if_match: source.etag.clone(),
        range: (from > 0).then_some(GetRange::Offset(from)),
        ..GetOptions::default()
    };
    let (store, path) = (location.store(), location.path());
    let mut result = store.get_opts(path, options.clone()).await;
    if let Err(object_store::Error::NotSupported { .. }) = &result
        && options.range.take().is_some()
    {
        result = store.get_opts(path, options).await;
    }
    result.map_err(|error| Error::from_store(location.url(), error))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
}

fn codec_of(name: &str) -> Codec {
    match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("gz") => Codec::Gzip,
        Some("zst") => Codec::Zstd,
        _ => Codec::Plain,
    }
}

fn codec_of_encoding(location: &Location, encoding: Option<&str>) -> Result<Codec> {
    match encoding.map(str::trim) {
        None | Some("" | "identity" | "aws-chunked") => Ok(Codec::Plain),
        Some("gzip" | "x-gzip") => Ok(Codec::Gzip),
        Some("zstd") => Ok(Codec::Zstd),
        Some(other) => Err(Error::invalid(
            location.shown(),
            format!("its content encoding is {other:?}; gzip and zstd are understood"),
        )),
    }
}

type Raw = Pin<Box<dyn AsyncBufRead + Send>>;

fn decoded(raw: Raw, codec: Codec, location: &Location) -> Reader {
    let shown = location.shown();
    Reader::Stream(match codec {
        Codec::Plain => Box::pin(raw),
        Codec::Gzip => {
            let mut decoder = GzipDecoder::new(raw);
            decoder.multiple_members(true);
            Box::pin(Decoded { decoder, shown })
        }
        Codec::Zstd => {
            let mut decoder = ZstdDecoder::new(raw);
            decoder.multiple_members(true);
            Box::pin(Decoded { decoder, shown })
        }
    })
}

/// Tells what a decoder says, of damaged data, from what befell the raw bytes, which [`Counted`] marks.
struct Decoded<D> {
    decoder: D,
    shown: String,
}

impl<D: AsyncRead + Unpin> AsyncRead for Decoded<D> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.decoder).poll_read(cx, buf);
        polled.map_err(|error| match error.downcast::<Error>() {
            Ok(marked) => marked.into(),
            Err(error) => io::Error::from(Error::Corrupt {
                url: self.shown.clone(),
                source: Box::new(error),
            }),
        })
    }
}

/// Leaves out the first `skip` bytes of a stream that cannot seek, as it is first read.
fn skipping(reader: Reader, skip: u64) -> Reader {
    match reader {
        Reader::Stream(stream) if skip > 0 => {
            Reader::Stream(Box::pin(Skipping { stream, left: skip }))
        }
        reader => reader,
    }
}

struct Skipping {
    stream: Pin<Box<dyn AsyncRead + Send>>,
    left: u64,
}

impl AsyncRead for Skipping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut scratch = [0; 16 * 1024];
        while self.left > 0 {
            let most = scratch
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let mut passed = ReadBuf::new(&mut scratch[..most]);
            std::task::ready!(self.stream.as_mut().poll_read(cx, &mut passed))?;
            match passed.filled().len() {
                0 => self.left = 0,
                n => self.left -= n as u64,
            }
        }
        self.stream.as_mut().poll_read(cx, buf)
    }
}

/// Counts the bytes that pass, as stored. Its errors are an [`Error`] each.
struct Counted<R> {
    reader: R,
    url: String,
    progress: Arc<Progress>,
}

fn counted<R: AsyncRead + Send + Unpin + 'static>(
    reader: R,
    location: &Location,
    progress: &Arc<Progress>,
) -> BufReader<Counted<R>> {
    counted_by(FILE_BUFFER, reader, location, progress)
}

/// The same, with room for so many bytes.
fn counted_by<R: AsyncRead + Send + Unpin + 'static>(
    room: usize,
    reader: R,
    location: &Location,
    progress: &Arc<Progress>,
) -> BufReader<Counted<R>> {
    BufReader::with_capacity(
        room,
        Counted {
            reader,
            url: location.url().to_owned(),
            progress: progress.clone(),
        },
    )
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buf);
        self.progress
            .bytes
            .fetch_add((buf.filled().len() - before) as u64, Relaxed);
        polled.map_err(|error| Error::from_io(&self.url, error).into())
    }
}

fn read_file(file: &mut File, space: &mut [u8], progress: &Progress) -> io::Result<Arrived> {
    loop {
        match file.read(space) {
            Ok(0) => return Ok(Arrived::End),
            Ok(n) => {
                progress.bytes.fetch_add(n as u64, Relaxed);
                return Ok(Arrived::Bytes(n));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Fills the space from a stream that hands out small pieces, unless the next one is long in coming.
async fn read_stream(
    stream: &mut Pin<Box<dyn AsyncRead + Send>>,
    space: &mut [u8],
    wait: &Wait,
) -> io::Result<Arrived> {
    let mut filled = 0;
    let linger = Instant::now() + LINGER;
    while filled < space.len() {
        let end = match filled > 0 && !wait.patient {
            true => wait.until.min(linger),
            false => wait.until,
        };
        let read = tokio::select! {
            read = stream.read(&mut space[filled..]) => Some(read),
            () = wait.stop.cancelled() => None,
            () = tokio::time::sleep_until(end.into()) => None,
        };
        match read {
            Some(Ok(0)) => break,
            Some(Ok(n)) => filled += n,
            // What arrived before the stream broke is given out first; the next read says how it broke.
            Some(Err(error)) if filled == 0 => return Err(error),
            Some(Err(error)) => {
                *stream = Box::pin(Broken(Some(error)));
                break;
            }
            None if filled == 0 => return Ok(Arrived::Nothing),
            None => break,
        }
    }
    Ok(if filled == 0 {
        Arrived::End
    } else {
        Arrived::Bytes(filled)
    })
}

/// A stream that broke off: says so when it is read again.
struct Broken(Option<io::Error>);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let error = self
            .0
            .take()
            .unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
        Poll::Ready(Err(error))
    }
}

#[cfg(test)]
mod tests;
