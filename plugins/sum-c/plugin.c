// Adds up lines that are integers, and writes the sum at the end, as plugins/sum does in Rust, byte for byte.
#include <inttypes.h>
#include <string.h>

#include "linemill.h"

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r'; }

// Reads a decimal integer of 64 bits, with a sign allowed.
static bool integer(const char *at, const char *end, int64_t *number) {
  bool negative = at < end && *at == '-';
  if (at < end && (*at == '-' || *at == '+')) at++;
  if (at == end) return false;
  for (*number = 0; at < end; at++) {
    unsigned digit = (unsigned char)*at - '0';
    if (digit > 9 || __builtin_mul_overflow(*number, 10, number)) return false;
    // Downwards for what is negative: the smallest number has no positive counterpart.
    if (__builtin_add_overflow(*number, negative ? -(int64_t)digit : digit, number)) return false;
  }
  return true;
}

static lm_status add(lm_out *out, int64_t number) {
  int64_t *sum = lm_partial(out, sizeof *sum);
  int64_t added;
  if (__builtin_add_overflow(*sum, number, &added)) return lm_corrupt(out, "the sum does not fit in 64 bits");
  *sum = added;
  return LM_OK;
}

lm_status linemill_line(const lm_line *line, lm_out *out) {
  const char *at = line->ptr, *end = line->ptr + line->len;
  while (at < end && is_space(*at)) at++;
  while (at < end && is_space(end[-1])) end--;
  if (at == end) return LM_OK;
  int64_t number;
  if (!integer(at, end, &number)) return lm_corrupt(out, "not a valid integer: `%s`", lm_shown(line->ptr, line->len));
  return add(out, number);
}

lm_status linemill_merge(lm_out *into, lm_bytes from) {
  int64_t number;
  if (from.len != sizeof number) return lm_fatal(into, "a partial of %zu bytes", from.len);
  memcpy(&number, from.ptr, sizeof number);
  return add(into, number);
}

lm_status linemill_post(const lm_request *request, const lm_counts *counts, lm_bytes total, lm_out *closing) {
  (void)request, (void)counts;
  int64_t sum = 0;
  if (total.len == sizeof sum) memcpy(&sum, total.ptr, sizeof sum);
  lm_emitf(closing, "%" PRId64 "\n", sum);
  return LM_OK;
}
