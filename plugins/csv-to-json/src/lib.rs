//! Turns CSV records `ID,Region,SegmentIDS` into JSON objects:
//! `1,us-east-1,"1,2,3"` into `{"ID":1,"Region":"us-east-1","SegmentIDS":[1,2,3]}`.
//!
//! A record is one line, quoted as RFC 4180 says; blank lines are skipped.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder, Terminator};
use linemill_sdk::{Batch, Blame, Error, Line, Processor, Result, corrupt};
use serde::Serialize;

const COLUMNS: usize = 3;

/// What a line becomes.
#[derive(Serialize)]
struct Segment<'a> {
    #[serde(rename = "ID")]
    id: i64,
    #[serde(rename = "Region")]
    region: &'a str,
    #[serde(rename = "SegmentIDS")]
    segment_ids: &'a [i64],
}

/// Turns CSV records into JSON objects. The buffers are kept from line to line.
#[derive(Debug, Default)]
pub struct CsvToJson {
    record: Record,
    segment_ids: Vec<i64>,
}

impl Processor for CsvToJson {
    type Context = ();
    type Partial = ();

    fn line(&mut self, line: Line<'_>, batch: &mut Batch<()>) -> Result<()> {
        if line.is_blank() {
            return Ok(());
        }
        let [id, region, segment_ids] = self.record.read(line)?;
        self.segment_ids.clear();
        for id in segment_ids.split(',').filter(|_| !segment_ids.is_empty()) {
            self.segment_ids.push(integer("SegmentIDS", id)?);
        }
        let segment = Segment {
            id: integer("ID", id)?,
            region,
            segment_ids: &self.segment_ids,
        };
        serde_json::to_writer(&mut *batch, &segment)?;
        batch.emit("\n");
        Ok(())
    }
}

fn integer(column: &str, text: &str) -> Result<i64> {
    let number = text.trim_ascii().parse();
    number.corrupt_with(|| format!("column {column}, `{text}`"))
}

/// Splits one line into columns, without quotes.
#[derive(Debug)]
struct Record {
    reader: Reader,
    /// The columns, one after the other.
    text: Vec<u8>,
    /// Where in `text` each column ends.
    ends: Vec<usize>,
}

impl Default for Record {
    fn default() -> Self {
        let mut builder = ReaderBuilder::new();
        Self {
            reader: builder.terminator(Terminator::Any(b'\n')).build(),
            text: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl Record {
    fn read(&mut self, line: Line<'_>) -> Result<[&str; COLUMNS]> {
        let columns = self.split(&line)?;
        if columns != COLUMNS {
            return Err(corrupt!("the record has {columns} columns, not {COLUMNS}"));
        }
        let mut start = 0;
        let mut columns = [""; COLUMNS];
        for (column, &end) in columns.iter_mut().zip(&self.ends) {
            *column = std::str::from_utf8(&self.text[start..end]).corrupt()?;
            start = end;
        }
        Ok(columns)
    }

    /// Fills `text` and `ends`, and counts the columns.
    fn split(&mut self, line: &[u8]) -> Result<usize> {
        self.reader.reset();
        // A column is never longer than it is written, and each ends at a byte, or at the end.
        self.text.resize(self.text.len().max(line.len() + 1), 0);
        self.ends.resize(self.ends.len().max(line.len() + 1), 0);
        let (_, _, written, columns) =
            (self.reader).read_record(line, &mut self.text, &mut self.ends);
        // The line end is data within quotes, and ends the record otherwise.
        let (result, _, _, last) =
            self.reader
                .read_record(b"\n", &mut self.text[written..], &mut self.ends[columns..]);
        match result {
            ReadRecordResult::Record => Ok(columns + last),
            _ => Err(Error::corrupt("a quote is not closed")),
        }
    }
}

linemill_sdk::export!(CsvToJson);

#[cfg(test)]
mod tests {
    use super::CsvToJson;
    use linemill_sdk::testing::run;

    fn check(line: &str, expected: &str) {
        let report = run::<CsvToJson>(line);
        let faults: String = report
            .faults
            .iter()
            .map(|fault| fault.reason.as_str())
            .collect();
        let output = report.text("").trim_end();
        assert_eq!(
            if faults.is_empty() { output } else { &faults },
            expected,
            "{line}"
        );
    }

    #[test]
    fn records_become_objects() {
        check(
            r#"1,us-east-1,"1,2,3""#,
            r#"{"ID":1,"Region":"us-east-1","SegmentIDS":[1,2,3]}"#,
        );
        check("-2,eu,7\r\n", r#"{"ID":-2,"Region":"eu","SegmentIDS":[7]}"#);
        check("3,,", r#"{"ID":3,"Region":"","SegmentIDS":[]}"#);
        check("\"4\",\"\",\"\"", r#"{"ID":4,"Region":"","SegmentIDS":[]}"#);
        check(
            r#"5,"a ""b"", c","1, 2""#,
            r#"{"ID":5,"Region":"a \"b\", c","SegmentIDS":[1,2]}"#,
        );
        check(
            "6,caf\u{e9}\r,1",
            "{\"ID\":6,\"Region\":\"caf\u{e9}\\r\",\"SegmentIDS\":[1]}",
        );
        check("", "");
        check(" \n", "");
    }

    #[test]
    fn what_is_no_such_record_is_corrupt() {
        check("1,us-east-1", "the record has 2 columns, not 3");
        check("1,us-east-1,1,2", "the record has 4 columns, not 3");
        check("x", "the record has 1 columns, not 3");
        check(",,,,,,,,,", "the record has 10 columns, not 3");
        check("x,us,1", "column ID, `x`: invalid digit found in string");
        check(
            r#"1,us,"1,x""#,
            "column SegmentIDS, `x`: invalid digit found in string",
        );
        check(r#"1,us,"1,2"#, "a quote is not closed");
        check(
            "99999999999999999999,us,1",
            "column ID, `99999999999999999999`: number too large to fit in target type",
        );
    }

    #[test]
    fn a_corrupt_line_does_not_touch_the_others() {
        let report = run::<CsvToJson>("1,a,1\n2,\"b\n3,c,3\n");
        let expected = concat!(
            "{\"ID\":1,\"Region\":\"a\",\"SegmentIDS\":[1]}\n",
            "{\"ID\":3,\"Region\":\"c\",\"SegmentIDS\":[3]}\n",
        );
        assert_eq!((report.text(""), report.faults[0].line), (expected, 2));
    }

    #[test]
    fn bytes_that_are_no_text_are_corrupt() {
        let report = run::<CsvToJson>(b"1,\xff,1\n");
        assert_eq!(report.counts.corrupted, 1);
    }
}
