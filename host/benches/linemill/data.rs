//! What is measured on: generated from a seed, so that every run is about the same lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Bytes that are generated; a larger file repeats them.
const BLOCK: usize = 8 << 20;

/// A small generator of numbers (xorshift64*): the data need no better one.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

/// A line of one kind of data.
pub type Line = fn(&mut Random, &mut Vec<u8>) -> io::Result<()>;

/// A decimal integer of one to eight digits, 7.9 bytes with its line end.
pub fn integer(random: &mut Random, to: &mut Vec<u8>) -> io::Result<()> {
    let digits = [6, 7, 7, 8][random.below(4) as usize];
    writeln!(to, "{}", random.below(10u64.pow(digits)))
}

/// A CSV record of three columns, about 45 bytes.
pub fn csv(random: &mut Random, to: &mut Vec<u8>) -> io::Result<()> {
    let regions = ["us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2"];
    let region = regions[random.below(4) as usize];
    write!(to, "{},{region},\"", random.below(10_000_000))?;
    for at in 0..=random.below(6) {
        let comma = if at == 0 { "" } else { "," };
        write!(to, "{comma}{}", random.below(100_000))?;
    }
    to.write_all(b"\"\n")
}

/// A JSON event, about 150 bytes; two of three have the status 200.
pub fn event(random: &mut Random, to: &mut Vec<u8>) -> io::Result<()> {
    let status = [200, 200, 404][random.below(3) as usize];
    writeln!(
        to,
        r#"{{"ts":{}.{:03},"user":"user-{}","path":"/items/{}","status":{status},"bytes":{},"agent":"client/{} (x86_64; linux)","tags":["a","b"]}}"#,
        1_700_000_000 + random.below(1_000_000),
        random.below(1000),
        random.below(100_000),
        random.below(1_000_000),
        random.below(65_536),
        random.below(20)
    )
}

/// A line of text of 200 bytes.
pub fn text(random: &mut Random, to: &mut Vec<u8>) -> io::Result<()> {
    to.extend((0..199).map(|_| b'a' + random.below(26) as u8));
    to.push(b'\n');
    Ok(())
}

/// Writes a file of at least `bytes` bytes; gives back how many lines it has.
pub fn generate(path: &Path, bytes: usize, line: Line) -> io::Result<u64> {
    let mut random = Random::new(1);
    let mut block = Vec::new();
    let mut lines = 0;
    while block.len() < bytes.min(BLOCK) {
        line(&mut random, &mut block)?;
        lines += 1;
    }
    let mut file = File::create(path)?;
    let blocks = bytes.div_ceil(block.len().max(1));
    for _ in 0..blocks {
        file.write_all(&block)?;
    }
    Ok(lines * blocks as u64)
}

/// Writes a file of `count` lines, one of which may be another.
pub fn lines(path: &Path, count: u64, line: Line, odd: Option<(u64, &str)>) -> io::Result<()> {
    let mut random = Random::new(2);
    let mut file = BufWriter::new(File::create(path)?);
    let mut buffer = Vec::new();
    for at in 0..count {
        buffer.clear();
        match odd {
            Some((index, text)) if index == at => writeln!(buffer, "{text}")?,
            _ => line(&mut random, &mut buffer)?,
        }
        file.write_all(&buffer)?;
    }
    file.flush()
}
