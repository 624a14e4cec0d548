/** Types of linemill.js, for editors and for plugins written in TypeScript. */

/** The data are at fault: running the line again cannot help. */
export class Corrupt extends Error {}
/** Running the line again may help. */
export class Retry extends Error {}
/** Part of the line is done, and only `remainder` is to be run again. */
export class Partial extends Retry {
  constructor(remainder: string | Uint8Array, message?: string);
  readonly remainder: Uint8Array;
}
/** Nothing more of this request can succeed now: it stops, and what is left is retried. */
export class Fatal extends Error {}

/** A value of the configuration's `settings`, or `otherwise` where it is not set. */
export function setting(name: string): string | undefined;
export function setting<T>(name: string, otherwise: T): string | T;
/** Milliseconds until work on this request stops. */
export function remainingMs(): number;
/** Tells the operator something. */
export function log(level: 'trace' | 'debug' | 'info' | 'warn' | 'error', message: unknown): void;

/** What a request is about: one source, run once. */
export interface Request {
  readonly id: string;
  readonly source: string;
  readonly attempt: number;
  readonly startedAt: bigint;
  readonly attributes: [string, string][];
}

/** How the lines of a request ended: `loaded` is the sum of the others. */
export interface Counts {
  readonly loaded: number;
  readonly processed: number;
  readonly corrupted: number;
  readonly retried: number;
}

export interface Line {
  /** In the batch, from 0. */
  readonly index: number;
  /** In the source, from 1. */
  readonly number: number;
  /** Without its line end; throws Corrupt where it is not UTF-8. */
  readonly text: string;
  /** Without its line end. */
  readonly bytes: Uint8Array;
  readonly isBlank: boolean;
}

export interface Lines extends Iterable<Line> {
  readonly firstLine: number;
  readonly length: number;
  /** All of the batch as it is, line ends included. */
  readonly bytes: Uint8Array;
  /** The same as text; undefined where some of it is not UTF-8. */
  readonly text: string | undefined;
  at(index: number): Line;
}

export interface Output {
  emit(chunk: string | Uint8Array): void;
  emitLine(chunk: string | Uint8Array): void;
}

export interface Effects extends Output {
  route(name: string): Output;
  count(name: string, key?: string, n?: number | bigint): void;
  sample(name: string, key: string, value: number): void;
}

export interface Batch<P> extends Effects {
  partial: P | undefined;
  fault(index: number, error: unknown): void;
  attempted(index: number): void;
  each(lines: Lines, step: (line: Line, batch: Batch<P>) => void | Promise<void>): Promise<void>;
}

type Later<T> = T | Promise<T>;

/** A plugin: `line` or `batch`, and the rest where it is needed. `C` and `P` are sent as JSON. */
export interface Definition<C, P> {
  /** Once for each request, before anything else; what it returns reaches every `open`. */
  pre?(request: Request): Later<C | void>;
  /** Once for each instance, before its first batch. */
  open?(context: C): Later<void>;
  line?(line: Line, batch: Batch<P>): Later<void>;
  batch?(lines: Lines, batch: Batch<P>): Later<void>;
  /** Makes one partial of two that follow each other; any grouping must mean the same. */
  merge?(into: P, from: P): Later<P>;
  /** Once for each request, after its last batch. */
  post?(request: Request, counts: Counts, total: P | undefined, closing: Effects): Later<void>;
}

/** What a component exports, for the world `reducing-plugin`. */
export function plugin<C = unknown, P = unknown>(definition: Definition<C, P>): { processor: object; reducer: object };
