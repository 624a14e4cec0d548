// Turns CSV records `ID,Region,SegmentIDS` into JSON objects, as `plugins/csv-to-json` does in Rust, byte for byte.
//
// Nearly all records are plain, and one regular expression rewrites all of these in a batch at once. Whatever is not
// plain (quoted text, signs, spaces, blank lines, what is broken) goes line by line through `slowly`.

import { Corrupt, plugin } from '../../guest-sdk/js/linemill.js';

const INTEGER = '(?:0|-?[1-9]\\d{0,17})';
const REGION = '[^",\\\\\\x00-\\x1f]*';
const QUOTED = '[^"\\\\\\x00-\\x1f]*';
const LIST = `(?:${INTEGER}(?:,${INTEGER})*)?`;
/** A plain record in groups 1 to 5, or else any line in group 6. */
const RECORD = new RegExp(
  `(${INTEGER}),(?:(${REGION})|"(${QUOTED})"),(?:"(${LIST})"|(${INTEGER}?))\\r?\\n|([^\\n]*)\\n`,
  'g',
);
const OBJECT = '{"ID":$1,"Region":"$2$3","SegmentIDS":[$4$5]}$6\n';
/** What `OBJECT` is for a line that is not plain; a plain one never has it in it. */
const NOT_PLAIN = '{"ID":,"Region":"","SegmentIDS":[]}';

export const { processor, reducer } = plugin({
  async batch(lines, batch) {
    if (lines.text === undefined || lines.text.startsWith('\uFEFF') || lines.text.includes('\n\uFEFF')) {
      await batch.each(lines, (line) => slowly(line, batch));
      return;
    }
    const ended = lines.text.endsWith('\n') ? lines.text : `${lines.text}\n`;
    const objects = ended.replace(RECORD, OBJECT);
    let kept = 0;
    let counted = 0;
    let index = 0;
    for (let at = objects.indexOf(NOT_PLAIN); at >= 0; at = objects.indexOf(NOT_PLAIN, kept)) {
      if (at > kept) batch.emit(objects.slice(kept, at));
      kept = objects.indexOf('\n', at) + 1;
      index += countOf('\n', objects, counted, at);
      counted = at;
      try {
        slowly(lines.at(index), batch);
      } catch (error) {
        batch.fault(index, error);
      }
    }
    batch.emit(kept === 0 ? objects : objects.slice(kept));
  },
});

function countOf(character, text, from, to) {
  let count = 0;
  for (let at = text.indexOf(character, from); at >= 0 && at < to; at = text.indexOf(character, at + 1)) count++;
  return count;
}

/** Any line, part by part. */
function slowly(line, batch) {
  if (line.isBlank) return;
  const columns = columnsOf(line);
  if (columns.length !== 3) throw new Corrupt(`the record has ${columns.length} columns, not 3`);
  const [id, region, segments] = columns;
  const ids = segments === '' ? [] : segments.split(',').map((segment) => integer('SegmentIDS', segment));
  batch.emitLine(`{"ID":${integer('ID', id)},"Region":${JSON.stringify(region)},"SegmentIDS":[${ids}]}`);
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The columns of a line as text. Of bytes that are not, it is the column that is looked at as text. */
function columnsOf(line) {
  let whole;
  try {
    whole = line.text;
  } catch {
    const columns = split(binary(line.bytes), '\xef\xbb\xbf');
    return columns.length === 3 ? columns.map(asText) : columns;
  }
  return split(whole, '\uFEFF');
}

/** Each byte as a character, to be split like text. */
function binary(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 4096) parts.push(String.fromCharCode(...bytes.subarray(at, at + 4096)));
  return parts.join('');
}

function asText(column) {
  const bytes = Uint8Array.from(column, (character) => character.charCodeAt(0));
  try {
    return DECODER.decode(bytes);
  } catch {
    throw new Corrupt(whyNoText(bytes));
  }
}

/** The columns of a line, without their quotes and without a byte order mark before them. A quote means something at
 * the start of a column only. */
function split(line, mark) {
  const columns = [];
  for (let at = line.startsWith(mark) ? mark.length : 0; ; ) {
    let column = '';
    if (line[at] === '"') [column, at] = unquote(line, at + 1);
    const comma = line.indexOf(',', at);
    columns.push(column + line.slice(at, comma < 0 ? line.length : comma));
    if (comma < 0) return columns;
    at = comma + 1;
  }
}

/** What stands in quotes, and where it goes on behind them. */
function unquote(line, at) {
  for (let column = ''; ; column += '"') {
    const quote = line.indexOf('"', at);
    if (quote < 0) throw new Corrupt('a quote is not closed');
    column += line.slice(at, quote);
    if (line[quote + 1] !== '"') return [column, quote + 1];
    at = quote + 2;
  }
}

/** Where bytes stop being UTF-8, in the words of the Rust twin. */
function whyNoText(bytes) {
  for (let at = 0; ;) {
    const wanted = lengthOf(bytes[at]);
    let valid = wanted === 0 ? 0 : 1;
    while (valid < wanted && at + valid < bytes.length && continues(bytes, at, valid)) valid++;
    if (wanted > 0 && valid === wanted) at += wanted;
    else if (valid > 0 && at + valid === bytes.length) return `incomplete utf-8 byte sequence from index ${at}`;
    else return `invalid utf-8 sequence of ${Math.max(valid, 1)} bytes from index ${at}`;
  }
}

function lengthOf(first) {
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

function continues(bytes, start, offset) {
  const byte = bytes[start + offset];
  const [low, high] = offset > 1 ? [0x80, 0xbf] : SECOND[bytes[start]] ?? [0x80, 0xbf];
  return byte >= low && byte <= high;
}

/** The second byte, where not all are allowed behind the first. */
const SECOND = { 0xe0: [0xa0, 0xbf], 0xed: [0x80, 0x9f], 0xf0: [0x90, 0xbf], 0xf4: [0x80, 0x8f] };

const LARGEST = 2n ** 63n - 1n;
const SMALLEST = -(2n ** 63n);
const SHORT = /^[+-]?\d{1,15}$/;

/** The decimal integer of 64 bits that a text is. */
function integer(column, text) {
  if (SHORT.test(text)) return Number(text);
  const blame = (why) => new Corrupt(`column ${column}, \`${text}\`: ${why}`);
  const trimmed = text.replace(/^[ \t\n\f\r]+|[ \t\n\f\r]+$/g, '');
  if (trimmed === '') throw blame('cannot parse integer from empty string');
  const [, sign, digits, rest] = /^([+-]?)(\d*)(.*)$/s.exec(trimmed);
  const number = BigInt(`${sign === '-' ? '-' : ''}${digits || '0'}`);
  if (number > LARGEST) throw blame('number too large to fit in target type');
  if (number < SMALLEST) throw blame('number too small to fit in target type');
  if (digits === '' || rest !== '') throw blame('invalid digit found in string');
  return number;
}
