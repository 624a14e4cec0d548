// Write a linemill plugin in JavaScript: say what is done with a line, and export what `plugin` makes of it.
//
//     import { plugin, Corrupt } from './linemill.js';
//
//     export const { processor, reducer } = plugin({
//       line(line, batch) {
//         const { id, name } = JSON.parse(line.text);
//         if (!id) throw new Corrupt('there is no id');
//         batch.emitLine(`${id}\t${name}`);
//         batch.partial = (batch.partial ?? 0) + 1;
//       },
//       merge: (a, b) => a + b,
//       post(request, counts, total, closing) {
//         closing.emitLine(`${total ?? 0} lines`);
//       },
//     });
//
// A line that throws leaves nothing of what it emitted, counted or sampled. `Corrupt` blames the data, `Partial`
// says what of the line is left to do, `Fatal` stops the request, and anything else asks for the line to be run
// again later; the message and the stack become the reason. Only `batch.partial` is not taken back, so touch it last.
// Functions may be async.

import * as host from 'linemill:plugin/host@0.1.0';

// What is meant says itself in its message: an error like any other, only without the stack, which costs more than all else.
class Meant {
  constructor(message = '') {
    this.message = String(message);
  }
}
Object.setPrototypeOf(Meant.prototype, Error.prototype);

/** The data are at fault: running the line again cannot help. */
export class Corrupt extends Meant {}

/** Running the line again may help. */
export class Retry extends Meant {}

/** Part of the line is done, and only `remainder` (text or bytes, without a line end) is to be run again. */
export class Partial extends Retry {
  constructor(remainder, message = 'part of the line is done') {
    super(message);
    this.remainder = toBytes(remainder);
  }
}

/** Nothing more of this request can succeed now: it stops, and what is left is retried. */
export class Fatal extends Meant {}

/** A value of the configuration's `settings`, or `otherwise` where it is not set. */
export function setting(name, otherwise) {
  return host.setting(name) ?? otherwise;
}

/** Milliseconds until work on this request stops. */
export function remainingMs() {
  return Number(host.remainingMs());
}

/** Tells the operator something; `level` is trace, debug, info, warn or error. */
export function log(level, message) {
  host.log(level, String(message));
}

/** What a component exports, for the world `reducing-plugin`. */
export function plugin(definition) {
  let opened = false;
  const pace = new Pace();

  async function processBatch(firstLine, bytes) {
    if (!opened) {
      await definition.open?.(fromJson(host.context()));
      opened = true;
    }
    // What comes from outside is of another global object, so that `instanceof` knows nothing of it.
    const own = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const lines = new Lines(Number(firstLine), own);
    const batch = new Batch(pace);
    if (definition.batch) await definition.batch(lines, batch);
    else await batch.each(lines, (line) => definition.line(line, batch));
    return batch._outcome(lines);
  }

  async function mergeAll(partials) {
    let total;
    for (const bytes of partials) {
      const partial = fromJson(bytes);
      if (total === undefined) total = partial;
      else if (definition.merge) total = await definition.merge(total, partial);
      else throw new Fatal('the plugin has partials, but no `merge`');
    }
    return total;
  }

  async function closeRequest(request, counts, partials) {
    const closing = new Effects();
    await definition.post?.(request, asNumbers(counts), await mergeAll(partials), closing);
    return closing._told();
  }

  return {
    processor: {
      pre: (request) => guarded(async () => toJson(await definition.pre?.(request)) ?? new Uint8Array()),
      process: (firstLine, bytes) => guarded(() => processBatch(firstLine, bytes)),
      post: (request, counts, partials) => guarded(() => closeRequest(request, counts, partials)),
    },
    reducer: {
      merge: (partials) => guarded(async () => toJson(await mergeAll(partials)) ?? new Uint8Array()),
    },
  };
}

/** One line: where it stands, and what it says without its line end. */
export class Line {
  constructor(lines, index, content) {
    this.index = index; // in the batch, from 0
    this.number = lines.firstLine + index; // in the source, from 1
    this._content = content;
  }

  /** The line as text. Bytes that are not UTF-8 blame the data. */
  get text() {
    if (typeof this._content === 'string') return this._content;
    const text = decoded(this._content);
    if (text === undefined) throw new Corrupt('the line is not UTF-8');
    return text;
  }

  /** The line as bytes. */
  get bytes() {
    return toBytes(this._content);
  }

  /** Whether there is nothing, or only ASCII white space. */
  get isBlank() {
    return typeof this._content === 'string'
      ? BLANK.test(this._content)
      : this._content.every((byte) => byte === 32 || (byte >= 9 && byte <= 13 && byte !== 11));
  }
}

const BLANK = /^[ \t\n\f\r]*$/;

/** The lines of a batch; `bytes` and `text` are all of them as they are, line ends included. */
export class Lines {
  constructor(firstLine, bytes) {
    this.firstLine = firstLine;
    this.bytes = bytes;
    this._contents = undefined;
    this._text = null;
  }

  /** All of it as text; undefined where some of it is not UTF-8. */
  get text() {
    if (this._text === null) this._text = decoded(this.bytes);
    return this._text;
  }

  /** How many there are. */
  get length() {
    return this._split().length;
  }

  /** The line at an index. */
  at(index) {
    return new Line(this, index, this._split()[index]);
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }

  // Text is split at once, which costs less than to decode each line. Whatever is not text stays bytes.
  _split() {
    return (this._contents ??= this.text === undefined ? splitBytes(this.bytes) : splitText(this.text));
  }
}

function splitText(text) {
  const parts = text.split('\n');
  if (parts.at(-1) === '') parts.pop();
  if (!text.includes('\r\n')) return parts;
  const ended = text.endsWith('\n') ? parts.length : parts.length - 1;
  for (let index = 0; index < ended; index++) {
    if (parts[index].endsWith('\r')) parts[index] = parts[index].slice(0, -1);
  }
  return parts;
}

function splitBytes(bytes) {
  const parts = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(10, start);
    if (end < 0) {
      parts.push(bytes.subarray(start));
      break;
    }
    parts.push(bytes.subarray(start, end > start && bytes[end - 1] === 13 ? end - 1 : end));
    start = end + 1;
  }
  return parts;
}

/** What is written to one destination. */
class Output {
  constructor() {
    this._chunks = [];
    this._kept = 0;
  }

  /** Appends text or bytes as they are. */
  emit(chunk) {
    this._chunks.push(typeof chunk === 'string' || ArrayBuffer.isView(chunk) ? chunk : String(chunk));
  }

  /** Appends text or bytes and a line end. */
  emitLine(chunk) {
    if (ArrayBuffer.isView(chunk)) this._chunks.push(chunk, LINE_END);
    else this._chunks.push(`${chunk}\n`);
  }

  _keep() {
    this._kept = this._chunks.length;
  }

  _undo() {
    this._chunks.length = this._kept;
  }

  _bytes() {
    const chunks = this._chunks;
    if (chunks.every((chunk) => typeof chunk === 'string')) return ENCODER.encode(chunks.join(''));
    const parts = chunks.map(toBytes);
    const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }
}

/** What a call writes and measures; what `post` fills is one of these. */
class Effects extends Output {
  constructor() {
    super();
    this._dirty = false; // the line at hand did more than emit
    this._routes = new Map();
    this._counts = new Map();
    this._pending = [];
    this._samples = [];
    this._keptSamples = 0;
  }

  /** The output to a named route of the configuration. */
  route(name) {
    if (name === '') return this;
    this._dirty = true;
    let output = this._routes.get(name);
    if (!output) this._routes.set(name, (output = new Output()));
    return output;
  }

  /** Adds a whole number to the count `name`, under `key`. Keys are kept until the report: take few. */
  count(name, key = '', n = 1) {
    this._dirty = true;
    this._pending.push([checkedName(name), cleanKey(key), BigInt(n)]);
  }

  /** Adds a sample to `name`, under `key`. Each crosses to the host: for some lines, not for each. */
  sample(name, key, value) {
    this._dirty = true;
    this._samples.push({ name: checkedName(name), key: cleanKey(key), value: { tag: 'sample', val: Number(value) } });
  }

  _keep() {
    this._kept = this._chunks.length;
    if (this._dirty) this._keepRest();
  }

  _keepRest() {
    for (const output of this._routes.values()) output._keep();
    this._addUp();
    this._keptSamples = this._samples.length;
    this._dirty = false;
  }

  _addUp() {
    for (const [name, key, n] of this._pending) {
      const id = `${name}\n${key}`;
      const known = this._counts.get(id);
      const value = { tag: 'count', val: saturated((known?.value.val ?? 0n) + n) };
      this._counts.set(id, { name, key, value });
    }
    this._pending.length = 0;
  }

  _undo() {
    super._undo();
    for (const output of this._routes.values()) output._undo();
    this._pending.length = 0;
    this._samples.length = this._keptSamples;
    this._dirty = false;
  }

  _told() {
    this._keep();
    const outputs = [{ route: '', data: this._bytes() }];
    for (const [route, output] of this._routes) outputs.push({ route, data: output._bytes() });
    return {
      outputs: outputs.filter((output) => output.data.length > 0),
      metrics: [...this._counts.values(), ...this._samples],
    };
  }
}

/** What a batch did: what it wrote, measured, added to the aggregate, and which lines failed. */
class Batch extends Effects {
  constructor(pace) {
    super();
    /** What the batch adds to the request's aggregate, as JSON; undefined adds nothing. */
    this.partial = undefined;
    this._pace = pace;
    this._faults = new Map();
    this._attempted = undefined;
  }

  /** Says that the line at `index` failed. Takes nothing back. */
  fault(index, error) {
    this._faults.set(index, asFault(index, error));
  }

  /** Hands the lines from `index` on back, to be run another time. */
  attempted(index) {
    this._attempted = index;
  }

  /** Runs `step` on each line: one that throws leaves a fault and nothing else, and lines that time does not suffice
   * for are handed back. With an async `step`, or to be sure: await it. */
  async each(lines, step) {
    this._keep();
    const pace = this._pace;
    pace.start(remainingMs());
    const contents = lines._split();
    for (let index = 0, count = contents.length; index < count; index++) {
      if (index === pace.next && pace.mustStop(index, remainingMs())) {
        this._attempted = index;
        break;
      }
      try {
        const returned = step(new Line(lines, index, contents[index]), this);
        if (returned instanceof Promise) await returned;
        this._keep();
      } catch (error) {
        this._undo();
        this.fault(index, error);
      }
    }
  }

  _outcome(lines) {
    const faults = [];
    if (this._faults.size > 0 || this._attempted !== undefined) {
      const count = lines.length;
      if (!(this._attempted < count)) this._attempted = undefined;
      const attempted = this._attempted ?? count;
      for (const fault of this._faults.values()) {
        if (!(fault.line >= 0 && fault.line < count)) {
          throw new Fatal(`fault of line ${fault.line} in a batch of ${count} lines`);
        }
        if (fault.line < attempted) faults.push(fault);
      }
    }
    const partial = toJson(this.partial);
    return { attempted: this._attempted, faults, partial, ...this._told() };
  }
}

function asFault(line, error) {
  if (error instanceof Corrupt) return { line, kind: 'corrupt', reason: error.message, remainder: undefined };
  if (error instanceof Fatal || isEnd(error)) throw error;
  return { line, kind: 'retry', reason: reasonOf(error), remainder: error?.remainder };
}

// Of what was not meant, the stack tells where in the plugin it happened.
function reasonOf(error) {
  if (error instanceof Meant) return error.message;
  const stack = error instanceof Error && error.stack ? error.stack.trimEnd().split('\n') : [];
  const own = stack.filter((frame) => !/(^|[/@])(linemill|initializer)\.js:/.test(frame));
  return [String(error), ...own].join('\n');
}

// Without memory nothing can be promised any more: the host ends the instance and finds the line.
function isEnd(error) {
  return error === 'out of memory' || (error instanceof Error && !(error instanceof Meant) && error.message === 'out of memory');
}

/** Runs a call of the host; what it throws is the failure of the whole call. */
async function guarded(call) {
  try {
    return await call();
  } catch (error) {
    if (isEnd(error)) throw new Error('out of memory');
    const tag = error instanceof Fatal ? 'fatal' : error instanceof Corrupt ? 'corrupt' : 'retry';
    throw Object.assign(new Error(), { payload: { tag, val: reasonOf(error) } });
  }
}

/** When to look at the clock: after one line at first, then at distances that double while a stretch takes little
 * time, and halve when it takes more. */
class Pace {
  constructor() {
    this.stride = 1;
    this.next = 0;
    this.left = 0;
  }

  start(left) {
    this.stride = left < 50 ? 1 : Math.max(1, this.stride >> 2);
    this.goOn(0, left);
  }

  mustStop(index, left) {
    const stretch = Math.max(0, this.left - left);
    this.stride = stretch < 5 ? Math.min(4096, this.stride * 2) : Math.max(1, this.stride >> 1);
    this.goOn(index, left);
    return left < Math.max(50, stretch * 2);
  }

  goOn(index, left) {
    this.next = index + this.stride;
    this.left = left;
  }
}

const ENCODER = new TextEncoder();
const LINE_END = ENCODER.encode('\n');
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decoded(bytes) {
  try {
    return DECODER.decode(bytes);
  } catch {
    return undefined;
  }
}

function toBytes(chunk) {
  return ArrayBuffer.isView(chunk) ? chunk : ENCODER.encode(String(chunk));
}

function toJson(value) {
  const json = JSON.stringify(value);
  return json === undefined ? undefined : ENCODER.encode(json);
}

function fromJson(bytes) {
  return bytes.length === 0 ? undefined : JSON.parse(DECODER.decode(bytes));
}

function asNumbers({ loaded, processed, corrupted, retried }) {
  const [l, p, c, r] = [loaded, processed, corrupted, retried].map(Number);
  return { loaded: l, processed: p, corrupted: c, retried: r };
}

function checkedName(name) {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name)) {
    throw new Fatal(`metric name \`${name}\` is not [A-Za-z_][A-Za-z0-9_]* of at most 64 characters`);
  }
  return name;
}

// Keys often come from data: one that the host would refuse is cut and cleaned instead.
function cleanKey(key) {
  const clean = String(key).replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
  const bytes = ENCODER.encode(clean);
  if (bytes.length <= 128) return clean;
  let end = 128;
  while ((bytes[end] & 0xc0) === 0x80) end--;
  return DECODER.decode(bytes.subarray(0, end));
}

function saturated(n) {
  const wrapped = BigInt.asIntN(64, n);
  return wrapped === n ? n : n < 0n ? -(2n ** 63n) : 2n ** 63n - 1n;
}
