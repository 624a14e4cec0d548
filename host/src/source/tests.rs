//! Tests of [`Source`]: how it ends, cleanly or not, and where it begins.

use std::io::Write;

use super::*;
use crate::storage::testing::{Place, http_server};

/// All that is read from one byte before `offset` on; what was read before an error is lost.
async fn read(storage: &Storage, url: &str, offset: u64) -> Result<String> {
    let mut source = request::Request::new(url).source;
    source.range = (offset > 0).then_some(request::Range {
        offset,
        length: None,
    });
    read_all(storage, &source).await
}

async fn read_all(storage: &Storage, source: &request::Source) -> Result<String> {
    let url = source.url.clone();
    let mut source = Source::open(storage, source, &Arc::default()).await?;
    let reading = tokio::task::spawn_blocking(move || {
        let wait = Wait::until(Instant::now() + Duration::from_secs(20));
        let (mut text, mut space) = (Vec::new(), [0; 1000]);
        loop {
            match source.read(&mut space, &wait)? {
                Arrived::Bytes(n) => text.extend_from_slice(&space[..n]),
                Arrived::End => return Ok(String::from_utf8(text).unwrap()),
                Arrived::Nothing => panic!("{url} keeps its reader waiting"),
            }
        }
    });
    reading.await.unwrap()
}

async fn served(
    answer: impl Fn(&str) -> String + Send + 'static,
    name: &str,
    offset: u64,
) -> Result<String> {
    let url = format!("{}/{name}", http_server(answer));
    read(&Storage::new(), &url, offset).await
}

#[tokio::test]
async fn a_source_of_unknown_size_is_read_to_its_end() {
    let chunked =
        "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n2\r\n3\n\r\n0\r\n\r\n";
    for answer in [chunked, "200 OK\r\n\r\n1\n2\n3\n"] {
        let all = served(move |_| answer.to_owned(), "a.csv", 0).await;
        assert_eq!(all.unwrap(), "1\n2\n3\n");
        let some = served(move |_| answer.to_owned(), "a.csv", 3).await;
        assert_eq!(some.unwrap(), "2\n3\n");
        let none = served(move |_| answer.to_owned(), "a.csv", 9).await;
        assert_eq!(none.unwrap(), "");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_no_end() {
    let cut = [
        "Transfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\n1\n",
        "ETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n",
        "Content-Length: 9\r\n\r\n1\n2\n",
        "ETag: \"x\"\r\nContent-Length: 9\r\n\r\n1\n2\n",
    ];
    for answer in cut {
        let read = served(move |_| format!("200 OK\r\n{answer}"), "a.csv", 0).await;
        assert!(
            matches!(read, Err(Error::Unavailable { .. })),
            "{answer:?}: {read:?}"
        );
    }
}

#[tokio::test]
async fn a_server_may_know_ranges_or_not() {
    let whole = |_: &str| "200 OK\r\nContent-Length: 6\r\n\r\n1\n2\n3\n".to_owned();
    assert_eq!(served(whole, "a.csv", 3).await.unwrap(), "2\n3\n");
    assert_eq!(served(whole, "a.csv", 7).await.unwrap(), "");
    let part = move |head: &str| match head.contains("bytes=2-") {
        true => "206 Partial Content\r\nContent-Range: bytes 2-5/6\r\n\r\n2\n3\n".to_owned(),
        false => whole(head),
    };
    assert_eq!(served(part, "a.csv", 3).await.unwrap(), "2\n3\n");
}

fn gzip(text: &str) -> Vec<u8> {
    use tokio::io::AsyncWriteExt;
    let mut encoder = async_compression::tokio::write::GzipEncoder::new(Vec::new());
    futures::executor::block_on(async {
        encoder.write_all(text.as_bytes()).await.unwrap();
        encoder.shutdown().await.unwrap();
    });
    encoder.into_inner()
}

#[tokio::test]
async fn offsets_are_those_of_plain_bytes() {
    let place = Place::local();
    let text = "1\n".repeat(5000);
    std::fs::write(place.url("a.csv.gz"), gzip(&text)).unwrap();
    let read = read(&place.storage, &place.url("a.csv.gz"), 9999).await;
    assert_eq!(read.unwrap(), "1\n");
}

#[tokio::test]
async fn damaged_data_are_corrupt() {
    let place = Place::local();
    let good = gzip(&"1\n".repeat(1000));
    let mut damaged = good.clone();
    damaged[15] ^= 0xff;
    let cases: [(&str, &[u8]); 6] = [
        ("n.txt.zst", b"plain text\n"),
        ("n.txt.gz", b"plain text\n"),
        ("short.zst", b"\x28\xb5\x2f\xfd\x04"),
        ("short.gz", &good[..good.len() - 9]),
        ("damaged.gz", &damaged),
        ("tail.gz", &[&good[..], b"plain text\n"].concat()),
    ];
    for (name, content) in cases {
        let url = place.url(name);
        std::fs::File::create(&url)
            .unwrap()
            .write_all(content)
            .unwrap();
        let err = read(&place.storage, &url, 0).await.unwrap_err();
        assert!(matches!(err, Error::Corrupt { .. }), "{name}: {err:?}");
        assert_eq!(err.to_string(), format!("{url} is corrupt"));
    }
}

#[tokio::test]
async fn an_error_beneath_a_decoder_stays_what_it_is() {
    struct Failing(io::ErrorKind);
    impl AsyncRead for Failing {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(self.0.into()))
        }
    }
    let location = Storage::new().locate("/a.csv.zst").unwrap();
    for codec in [Codec::Plain, Codec::Gzip, Codec::Zstd] {
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::TimedOut] {
            let raw = Box::pin(counted(Failing(kind), &location, &Arc::default()));
            let Reader::Stream(mut stream) = decoded(raw, codec, &location) else {
                unreachable!("what is decoded is a stream")
            };
            let err = stream.read(&mut [0; 9]).await.unwrap_err();
            let err = Error::from_io("", err);
            match kind {
                io::ErrorKind::TimedOut => assert!(matches!(err, Error::Unavailable { .. })),
                _ => assert!(matches!(err, Error::Io { .. }), "{err:?}"),
            }
        }
    }
}

/// What is said of a body goes before what its name looks like.
#[tokio::test]
async fn a_body_is_encoded_as_it_says() {
    let read = async |name: &str, body: Body| {
        let source = request::Request::with_body(name, body).source;
        read_all(&Storage::new(), &source).await
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"x\n").unwrap();
    let gzip = gzip.finish().unwrap();
    let (plain, packed) = (Body::bytes("x\n"), Body::bytes(gzip));
    for (name, body) in [
        ("sqs://q/a.csv.gz", plain.clone().encoded("identity")),
        ("sqs://q/a.csv", plain.clone().encoded("identity")),
        ("sqs://q/a.csv", plain.clone()),
        ("sqs://q/a.csv", packed.clone().encoded("gzip")),
        ("sqs://q/a.csv.gz", packed.clone().encoded("gzip")),
        ("sqs://q/a.csv.gz", packed),
    ] {
        assert_eq!(
            read(name, body.clone()).await.unwrap(),
            "x\n",
            "{name} {body:?}"
        );
    }
    assert!(read("sqs://q/a.csv.gz", plain.clone()).await.is_err());
    assert!(read("sqs://q/a.csv", plain.encoded("br")).await.is_err());
}
