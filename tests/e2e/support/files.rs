//! The files of a case: what is there before and after, packed and unpacked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

/// Regular files by their path below a folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// All regular files below `dir`.
pub(crate) fn snapshot(dir: &Path) -> Files {
    let mut files = Files::new();
    collect(dir, "", &mut files);
    files
}

fn collect(dir: &Path, prefix: &str, files: &mut Files) {
    // What cannot be listed or read is there on purpose: the case took the right away.
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() {
            files.insert(path, std::fs::read(entry.path()).unwrap_or_default());
        }
    }
}

/// Writes a file, and the folders that it needs.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    let folder = path.parent().expect("a file is in a folder");
    std::fs::create_dir_all(folder).expect("the folder of a case can be written to");
    std::fs::write(path, bytes).expect("the folder of a case can be written to");
}

/// The lines of `bytes` without their `\n`; the last one may lack it.
pub(crate) fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .collect()
}

/// The plain bytes of a file whose name tells its codec; as far as they go where it breaks off.
pub(crate) fn unpack(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let unpacked = if name.ends_with(".gz") {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain)
    } else if name.ends_with(".zst") {
        zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut plain))
    } else {
        return bytes.to_vec();
    };
    // A case that feeds a broken stream checks itself what is made of it.
    drop(unpacked);
    plain
}

/// `bytes` as gzip.
pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder
        .write_all(bytes.as_ref())
        .expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

/// `bytes` as zstd.
pub(crate) fn zstd(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    zstd::encode_all(bytes.as_ref(), 0).expect("memory can be written to")
}

/// So many numbered lines.
pub(crate) fn numbered(lines: usize) -> String {
    (0..lines).map(|n| format!("line {n}\n")).collect()
}
