// Keeps the lines of a log that matter.
//
// A line is `TIME LEVEL MESSAGE`, such as `2026-01-31T23:59:59Z WARN disk 91 % full`. The setting `level` (default
// `WARN`) says from which level on lines are kept; all are counted, in the metric `lines`. Blank lines are skipped.
#include <stdlib.h>
#include <string.h>

#include "linemill.h"

// The least important first.
static const char *const LEVELS[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};
enum { LEVEL_COUNT = sizeof LEVELS / sizeof *LEVELS, WARN = 3 };

// The place in LEVELS from which on lines are kept.
static int least;

// The place of a level, or -1.
static int rank_of(const char *ptr, size_t len) {
  for (int rank = 0; rank < LEVEL_COUNT; rank++) {
    if (strlen(LEVELS[rank]) == len && memcmp(LEVELS[rank], ptr, len) == 0) return rank;
  }
  return -1;
}

// Runs once for each request, before its lines are read; the partial that it makes reaches every instance.
lm_status linemill_pre(const lm_request *request, lm_out *out) {
  (void)request;
  char *level = lm_setting("level");
  int rank = level ? rank_of(level, strlen(level)) : WARN;
  lm_status status = LM_OK;
  if (rank < 0) {
    status = lm_fatal(out, "setting `level`: `%s` is none of TRACE, DEBUG, INFO, WARN, ERROR", level);
  } else {
    *(int *)lm_partial(out, sizeof rank) = rank;
  }
  free(level);
  return status;
}

// Runs once in each instance.
lm_status linemill_open(lm_bytes context, lm_out *out) {
  if (context.len != sizeof least) return lm_fatal(out, "a context of %zu bytes", context.len);
  memcpy(&least, context.ptr, sizeof least);
  return LM_OK;
}

static bool is_blank(const lm_line *line) {
  for (size_t at = 0; at < line->len; at++) {
    if (!memchr(" \t\n\f\r", line->ptr[at], 5)) return false;
  }
  return true;
}

// Runs for each line. What a line that fails has emitted and counted is taken back.
lm_status linemill_line(const lm_line *line, lm_out *out) {
  if (is_blank(line)) return LM_OK;
  const char *end = line->ptr + line->len;
  const char *space = memchr(line->ptr, ' ', line->len);
  if (!space) return lm_corrupt(out, "there is no level");
  const char *level = space + 1;
  const char *stop = memchr(level, ' ', (size_t)(end - level));
  size_t len = (size_t)((stop ? stop : end) - level);
  int rank = rank_of(level, len);
  if (rank < 0) return lm_corrupt(out, "`%s` is no level", lm_shown(level, len));
  lm_count(out, "lines", LEVELS[rank], 1);
  if (rank >= least) lm_emit_line(out, line->ptr, line->len);
  return LM_OK;
}
