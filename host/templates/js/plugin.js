// Keeps the lines of a log that matter.
//
// A line is `TIME LEVEL MESSAGE`, such as `2026-01-31T23:59:59Z WARN disk 91 % full`. The setting `level` (default
// `WARN`) says from which level on lines are kept; all are counted, in the metric `lines`. Blank lines are skipped.

import { Corrupt, Fatal, plugin, setting } from './sdk/linemill.js';

/** The least important first. */
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR'];

/** The place in `LEVELS` from which on lines are kept. */
let least;

export const { processor, reducer } = plugin({
  /** Runs once for each request, before its lines are read; what it returns reaches every instance. */
  pre() {
    const level = setting('level', 'WARN');
    const rank = LEVELS.indexOf(level);
    if (rank < 0) throw new Fatal(`setting \`level\`: \`${level}\` is none of ${LEVELS.join(', ')}`);
    return rank;
  },

  /** Runs once in each instance. */
  open(rank) {
    least = rank;
  },

  /** Runs for each line. What a line that throws has emitted and counted is taken back. */
  line(line, batch) {
    if (line.isBlank) return;
    const level = line.text.split(' ', 2)[1];
    if (level === undefined) throw new Corrupt('there is no level');
    const rank = LEVELS.indexOf(level);
    if (rank < 0) throw new Corrupt(`\`${level}\` is no level`);
    batch.count('lines', level);
    if (rank >= least) batch.emitLine(line.text);
  },
});
