// Write a linemill plugin in C: implement `linemill_line`, and of the other `linemill_…` functions what is needed.
//
//     #include "linemill.h"
//
//     lm_status linemill_line(const lm_line *line, lm_out *out) {
//       if (line->len > 80) return lm_corrupt(out, "%zu bytes are too many", line->len);
//       lm_emit_line(out, line->ptr, line->len);
//       lm_count(out, "lines", "", 1);
//       return LM_OK;
//     }
//
// A line that fails leaves nothing of what it emitted, counted or sampled; only the partial is not taken back, so touch
// it last. What traps (abort, a failed assert) is contained too, but costs the host an instance and several runs of
// the batch: prefer lm_corrupt.
#ifndef LINEMILL_H
#define LINEMILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// Bytes that belong to someone else. They are not ended by a zero.
typedef struct {
  const char *ptr;
  size_t len;
} lm_bytes;

// One line, without its line end, and where it stands.
typedef struct {
  const char *ptr;
  size_t len;
  uint32_t index;  // in the batch, from 0
  uint64_t number; // in the source, from 1
} lm_line;

// What a request is about: one source, run once.
typedef struct {
  lm_bytes id;
  lm_bytes source;
  uint32_t attempt;    // 0 for the first run
  uint64_t started_at; // milliseconds since the Unix epoch
} lm_request;

// How the lines of a request ended: `loaded` is the sum of the others.
typedef struct {
  uint64_t loaded, processed, corrupted, retried;
} lm_counts;

// Who is to blame, and so what happens to the line. Made by lm_corrupt and its siblings, with a reason.
typedef enum {
  LM_OK,
  LM_CORRUPT, // the data: running the line again cannot help
  LM_RETRY,   // something else: running the line again may help
  LM_FATAL,   // the whole request: it stops, and what is left is retried
} lm_status;

// What a call writes, measures and adds to the aggregate.
typedef struct lm_out lm_out;

// ---- What a plugin implements; linemill_line or linemill_batch must be there.

// Runs one line.
lm_status linemill_line(const lm_line *line, lm_out *out);
// Runs one batch of whole lines: lm_each unless it is implemented.
lm_status linemill_batch(uint64_t first_line, lm_bytes lines, lm_out *out);
// Once for each request, before anything else; the partial that it makes is the context of every linemill_open.
lm_status linemill_pre(const lm_request *request, lm_out *out);
// Once for each instance, before its first batch.
lm_status linemill_open(lm_bytes context, lm_out *out);
// Adds a partial to that of `into`, which stands before it in line order; any grouping must mean the same.
lm_status linemill_merge(lm_out *into, lm_bytes from);
// Once for each request, after its last batch. `total` is empty without partials.
lm_status linemill_post(const lm_request *request, const lm_counts *counts, lm_bytes total, lm_out *closing);

// ---- What it may call.

// Appends bytes as they are, or with a line end, or as printf does.
void lm_emit(lm_out *out, const char *ptr, size_t len);
void lm_emit_line(lm_out *out, const char *ptr, size_t len);
void lm_emitf(lm_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The same to a named route of the configuration.
void lm_emit_to(lm_out *out, const char *route, const char *ptr, size_t len);

// Adds to the count `name` under `key` (may be ""). Keys are kept until the report, so take few.
void lm_count(lm_out *out, const char *name, const char *key, int64_t n);
// Adds a sample. Each crosses to the host: for some lines, not for each.
void lm_sample(lm_out *out, const char *name, const char *key, double value);

// What the call adds to the request's aggregate, `size` bytes of the plugin's own form: zeros at first, kept from one
// call of lm_partial to the next. Sent when it was asked for.
void *lm_partial(lm_out *out, size_t size);
size_t lm_partial_len(const lm_out *out);

// Say why, as printf does, and give back the status to return.
lm_status lm_corrupt(lm_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
lm_status lm_retry(lm_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
lm_status lm_fatal(lm_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Part of the line is done, and only this rest, without a line end, is to be run again.
lm_status lm_rest(lm_out *out, lm_bytes rest, const char *format, ...) __attribute__((format(printf, 3, 4)));

// Runs `step` on each line: one that fails leaves a fault and nothing else, and lines that time does not suffice for
// are handed back.
lm_status lm_each(uint64_t first_line, lm_bytes lines, lm_out *out, lm_status (*step)(const lm_line *, lm_out *));
// The lines of a batch: `lm_lines lines = lm_cut(first_line, bytes); while (lm_next(&lines, &line)) …`
typedef struct {
  lm_bytes rest;
  uint32_t index;
  uint64_t number;
} lm_lines;
lm_lines lm_cut(uint64_t first_line, lm_bytes lines);
bool lm_next(lm_lines *lines, lm_line *line);
// Says that a line failed, with the reason given last, for implementations of linemill_batch. Takes nothing back.
lm_status lm_fault(lm_out *out, uint32_t index, lm_status status);
// Hands the lines from `index` on back, to be run another time.
void lm_attempted(lm_out *out, uint32_t index);

// A value of the configuration's `settings`, ended by a zero; NULL where it is not set. Free it.
char *lm_setting(const char *name);
uint64_t lm_remaining_ms(void);
typedef enum { LM_TRACE, LM_DEBUG, LM_INFO, LM_WARN, LM_ERROR } lm_level;
void lm_log(lm_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

// `bytes` as they are shown in a reason: at most 40 of them, those that are no printable ASCII escaped. The text
// lives until the next call.
const char *lm_shown(const char *ptr, size_t len);

#ifdef __cplusplus
}
#endif
#endif
