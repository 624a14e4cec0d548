// What linemill.h offers, on top of what wit-bindgen makes of the contract.
#include "linemill.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reducing_plugin.h"

typedef linemill_plugin_types_failure_t failure;
typedef reducing_plugin_list_u8_t list_u8;
typedef reducing_plugin_string_t string;

enum { REASON_MAX = 4096, NAME_MAX = 64, KEY_MAX = 128, SHOWN_MAX = 40 };

// ---- Memory: there is some, or the instance ends.

static void *grown(void *ptr, size_t size) {
  void *grown = realloc(ptr, size);
  if (!grown && size) {
    fputs("out of memory\n", stderr);
    abort();
  }
  return grown;
}

static char *copied(const char *ptr, size_t len) {
  return len ? memcpy(grown(NULL, len), ptr, len) : NULL;
}

// Room for one element more.
static void *pushed(void *list, size_t len, size_t size) {
  bool full = (len & (len - 1)) == 0; // at powers of two, and at 0
  return full ? grown(list, (len ? 2 * len : 1) * size) : list;
}

typedef struct {
  char *ptr;
  size_t len, room;
  size_t kept; // bytes that no failing line takes back
} buffer;

static void append(buffer *to, const char *ptr, size_t len) {
  if (to->room - to->len < len) {
    to->room = (to->len + len) * 2;
    to->ptr = grown(to->ptr, to->room);
  }
  if (len) memcpy(to->ptr + to->len, ptr, len);
  to->len += len;
}

// ---- What a call did.

typedef struct {
  char *name;
  buffer data;
} route;

typedef struct {
  char *name;
  char key[KEY_MAX + 1];
  int64_t total, pending;
  bool counted, open;
} series;

typedef struct {
  size_t series;
  double value;
} sample;

typedef linemill_plugin_types_fault_t fault;

// When to look at the clock: after one line at first, then at distances that double while a stretch takes little
// time, and halve when it takes more.
typedef struct {
  uint32_t stride, next;
  uint64_t left;
} pace;

struct lm_out {
  buffer written;
  route *routes;
  size_t routes_len;
  series *series;
  size_t series_len;
  sample *samples;
  size_t samples_len, samples_kept;
  bool dirty; // the line at hand did more than write
  buffer partial;
  bool has_partial;
  fault *faults;
  size_t faults_len;
  bool stopped;
  uint32_t attempted;
  char reason[REASON_MAX];
  bool has_rest;
  lm_bytes rest;
  bool broken; // the plugin used this interface wrongly: `reason` says how
};

static pace the_pace = {.stride = 1};

void lm_emit(lm_out *out, const char *ptr, size_t len) { append(&out->written, ptr, len); }

void lm_emit_line(lm_out *out, const char *ptr, size_t len) {
  append(&out->written, ptr, len);
  append(&out->written, "\n", 1);
}

void lm_emitf(lm_out *out, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int len = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (len > 0) {
    char *text = grown(NULL, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    append(&out->written, text, (size_t)len);
    free(text);
  }
  va_end(again);
}

void lm_emit_to(lm_out *out, const char *name, const char *ptr, size_t len) {
  if (!*name) return lm_emit(out, ptr, len);
  out->dirty = true;
  size_t at = 0;
  while (at < out->routes_len && strcmp(out->routes[at].name, name) != 0) at++;
  if (at == out->routes_len) {
    out->routes = pushed(out->routes, at, sizeof(route));
    out->routes[out->routes_len++] = (route){.name = copied(name, strlen(name) + 1)};
  }
  append(&out->routes[at].data, ptr, len);
}

static void explain(lm_out *out, const char *format, va_list arguments) {
  if (!out->broken) vsnprintf(out->reason, sizeof out->reason, format, arguments);
}

static bool is_name(const char *name) {
  size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
  return len > 0 && len <= NAME_MAX && !name[len] && !(*name >= '0' && *name <= '9');
}

// Keys often come from data: one that the host would refuse is cut and cleaned instead.
static void clean_key(char *clean, const char *key) {
  size_t len = strnlen(key, KEY_MAX + 1);
  if (len > KEY_MAX) {
    len = KEY_MAX;
    while (len && ((unsigned char)key[len] & 0xc0) == 0x80) len--;
  }
  for (size_t at = 0; at < len; at++) clean[at] = (unsigned char)key[at] < 32 || key[at] == 127 ? '?' : key[at];
  clean[len] = 0;
}

static size_t find_series(lm_out *out, const char *name, const char *key) {
  char clean[KEY_MAX + 1];
  clean_key(clean, key);
  size_t at = 0;
  while (at < out->series_len && (strcmp(out->series[at].name, name) != 0 || strcmp(out->series[at].key, clean) != 0)) at++;
  if (at == out->series_len) {
    if (!is_name(name)) {
      lm_fatal(out, "metric name `%.100s` is not [A-Za-z_][A-Za-z0-9_]* of at most 64 characters", name);
      out->broken = true;
    }
    out->series = pushed(out->series, at, sizeof(series));
    out->series[out->series_len++] = (series){.name = copied(name, strlen(name) + 1)};
    strcpy(out->series[at].key, clean);
  }
  return at;
}

static int64_t saturated(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN : INT64_MAX) : sum;
}

void lm_count(lm_out *out, const char *name, const char *key, int64_t n) {
  out->dirty = true;
  // In two steps: finding it may move them all.
  size_t at = find_series(out, name, key);
  series *found = &out->series[at];
  found->pending = saturated(found->pending, n);
  found->open = true;
}

void lm_sample(lm_out *out, const char *name, const char *key, double value) {
  out->dirty = true;
  size_t at = find_series(out, name, key);
  out->samples = pushed(out->samples, out->samples_len, sizeof(sample));
  out->samples[out->samples_len++] = (sample){at, value};
}

void *lm_partial(lm_out *out, size_t size) {
  buffer *partial = &out->partial;
  if (partial->room < size || !partial->ptr) {
    partial->ptr = grown(partial->ptr, size ? size : 1);
    partial->room = size;
  }
  if (partial->len < size) memset(partial->ptr + partial->len, 0, size - partial->len);
  partial->len = size;
  out->has_partial = true;
  return partial->ptr;
}

size_t lm_partial_len(const lm_out *out) { return out->partial.len; }

// The line succeeded: what it did stays.
static void keep(lm_out *out) {
  out->written.kept = out->written.len;
  if (!out->dirty) return;
  for (size_t at = 0; at < out->routes_len; at++) out->routes[at].data.kept = out->routes[at].data.len;
  for (size_t at = 0; at < out->series_len; at++) {
    series *one = &out->series[at];
    if (!one->open) continue;
    one->total = saturated(one->total, one->pending);
    one->counted = true;
    one->pending = one->open = 0;
  }
  out->samples_kept = out->samples_len;
  out->dirty = false;
}

// The line failed: what it did never happened.
static void undo(lm_out *out) {
  out->written.len = out->written.kept;
  for (size_t at = 0; at < out->routes_len; at++) out->routes[at].data.len = out->routes[at].data.kept;
  for (size_t at = 0; at < out->series_len; at++) out->series[at].pending = out->series[at].open = 0;
  out->samples_len = out->samples_kept;
  out->dirty = false;
}

// ---- What failed.

#define EXPLAIN(status)               \
  va_list arguments;                  \
  va_start(arguments, format);        \
  explain(out, format, arguments);    \
  va_end(arguments);                  \
  return status

lm_status lm_corrupt(lm_out *out, const char *format, ...) { EXPLAIN(LM_CORRUPT); }
lm_status lm_retry(lm_out *out, const char *format, ...) { EXPLAIN(LM_RETRY); }
lm_status lm_fatal(lm_out *out, const char *format, ...) { EXPLAIN(LM_FATAL); }

lm_status lm_rest(lm_out *out, lm_bytes rest, const char *format, ...) {
  out->has_rest = true;
  free((char *)out->rest.ptr);
  out->rest = (lm_bytes){copied(rest.ptr, rest.len), rest.len};
  EXPLAIN(LM_RETRY);
}

// The bytes of UTF-8 that `text` begins with: the contract's strings are nothing else.
static string as_string(const char *text) {
  size_t at = 0, out = 0, len = strlen(text);
  char *clean = grown(NULL, 3 * len + 1);
  while (at < len) {
    const unsigned char *c = (const unsigned char *)text + at;
    size_t want = *c < 0x80 ? 1 : *c >= 0xc2 && *c < 0xe0 ? 2 : *c >= 0xe0 && *c < 0xf0 ? 3 : *c >= 0xf0 && *c < 0xf5 ? 4 : 0;
    bool good = want > 0 && at + want <= len;
    for (size_t next = 1; good && next < want; next++) good = (c[next] & 0xc0) == 0x80;
    good = good && !(*c == 0xe0 && c[1] < 0xa0) && !(*c == 0xed && c[1] > 0x9f) && !(*c == 0xf0 && c[1] < 0x90) &&
           !(*c == 0xf4 && c[1] > 0x8f);
    memcpy(clean + out, good ? (const char *)c : "\xef\xbf\xbd", good ? want : 3);
    out += good ? want : 3;
    at += good ? want : 1;
  }
  return (string){(uint8_t *)clean, out};
}

lm_status lm_fault(lm_out *out, uint32_t index, lm_status status) {
  if (status == LM_OK || status == LM_FATAL || out->broken) return out->broken ? LM_FATAL : status;
  bool rest = out->has_rest && status == LM_RETRY;
  fault made = {
      .line = index,
      .kind = status == LM_CORRUPT ? LINEMILL_PLUGIN_TYPES_FAULT_KIND_CORRUPT : LINEMILL_PLUGIN_TYPES_FAULT_KIND_RETRY,
      .reason = as_string(out->reason),
      .remainder = {rest, {rest ? (uint8_t *)out->rest.ptr : NULL, rest ? out->rest.len : 0}},
  };
  if (!rest) free((char *)out->rest.ptr);
  out->has_rest = false;
  out->rest = (lm_bytes){0};
  out->reason[0] = 0;
  out->faults = pushed(out->faults, out->faults_len, sizeof(fault));
  out->faults[out->faults_len++] = made;
  return LM_OK;
}

void lm_attempted(lm_out *out, uint32_t index) {
  out->stopped = true;
  out->attempted = index;
}

const char *lm_shown(const char *ptr, size_t len) {
  static char shown[SHOWN_MAX * 4 + sizeof "…"];
  char *end = shown;
  for (size_t at = 0; at < len && at < SHOWN_MAX; at++) {
    unsigned char c = (unsigned char)ptr[at];
    const char *special = c == '\t' ? "t" : c == '\r' ? "r" : c == '\n' ? "n" : NULL;
    if (special) end += sprintf(end, "\\%s", special);
    else if (c == '"' || c == '\'' || c == '\\') end += sprintf(end, "\\%c", c);
    else end += sprintf(end, c >= 32 && c < 127 ? "%c" : "\\x%02x", c);
  }
  strcpy(end, len > SHOWN_MAX ? "…" : "");
  return shown;
}

// ---- Lines.

lm_lines lm_cut(uint64_t first_line, lm_bytes lines) { return (lm_lines){lines, 0, first_line}; }

bool lm_next(lm_lines *lines, lm_line *line) {
  lm_bytes *rest = &lines->rest;
  if (rest->len == 0) return false;
  const char *end = memchr(rest->ptr, '\n', rest->len);
  size_t len = end ? (size_t)(end - rest->ptr) : rest->len;
  *line = (lm_line){rest->ptr, len, lines->index++, lines->number++};
  if (end && len && rest->ptr[len - 1] == '\r') line->len--;
  rest->ptr += len + (end != NULL);
  rest->len -= len + (end != NULL);
  return true;
}

static bool must_stop(uint32_t index) {
  uint64_t left = lm_remaining_ms(), stretch = the_pace.left > left ? the_pace.left - left : 0;
  uint32_t stride = the_pace.stride;
  stride = stretch < 5 ? (stride < 2048 ? 2 * stride : 4096) : (stride > 1 ? stride / 2 : 1);
  the_pace = (pace){stride, index + stride, left};
  return left < (stretch > 25 ? 2 * stretch : 50);
}

lm_status lm_each(uint64_t first_line, lm_bytes bytes, lm_out *out, lm_status (*step)(const lm_line *, lm_out *)) {
  lm_lines lines = lm_cut(first_line, bytes);
  lm_line line;
  uint64_t left = lm_remaining_ms();
  uint32_t stride = left < 50 || the_pace.stride < 4 ? 1 : the_pace.stride / 4;
  the_pace = (pace){stride, stride, left};
  keep(out);
  while (lm_next(&lines, &line)) {
    if (line.index == the_pace.next && must_stop(line.index)) {
      lm_attempted(out, line.index);
      break;
    }
    lm_status status = step(&line, out);
    if (out->broken) return LM_FATAL;
    if (status == LM_OK) {
      keep(out);
      continue;
    }
    undo(out);
    status = lm_fault(out, line.index, status);
    if (status != LM_OK) return status;
  }
  return LM_OK;
}

// ---- What the host offers.

char *lm_setting(const char *name) {
  string asked = {(uint8_t *)name, strlen(name)}, value;
  if (!linemill_plugin_host_setting(&asked, &value)) return NULL;
  char *text = grown(NULL, value.len + 1);
  memcpy(text, value.ptr, value.len);
  text[value.len] = 0;
  reducing_plugin_string_free(&value);
  return text;
}

uint64_t lm_remaining_ms(void) { return linemill_plugin_host_remaining_ms(); }

void lm_log(lm_level level, const char *format, ...) {
  char text[REASON_MAX];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  string message = as_string(text);
  linemill_plugin_host_log((linemill_plugin_host_level_t)level, &message);
  reducing_plugin_string_free(&message);
}

// ---- What a plugin may leave out.

#define OPTIONAL __attribute__((weak))

OPTIONAL lm_status linemill_line(const lm_line *line, lm_out *out) {
  (void)line;
  return lm_fatal(out, "the plugin implements neither linemill_line nor linemill_batch");
}

OPTIONAL lm_status linemill_batch(uint64_t first_line, lm_bytes lines, lm_out *out) {
  return lm_each(first_line, lines, out, linemill_line);
}

OPTIONAL lm_status linemill_pre(const lm_request *request, lm_out *out) {
  (void)request, (void)out;
  return LM_OK;
}

OPTIONAL lm_status linemill_open(lm_bytes context, lm_out *out) {
  (void)context, (void)out;
  return LM_OK;
}

OPTIONAL lm_status linemill_merge(lm_out *into, lm_bytes from) {
  (void)from;
  return lm_fatal(into, "the plugin has partials, but no linemill_merge");
}

OPTIONAL lm_status linemill_post(const lm_request *request, const lm_counts *counts, lm_bytes total, lm_out *closing) {
  (void)request, (void)counts, (void)total, (void)closing;
  return LM_OK;
}

// ---- From the component's exports to what a plugin implements.

// Gives back what the host is told; what is not told is freed.
static bool failed(lm_out *out, lm_status status, failure *failure) {
  if (out->broken) status = LM_FATAL;
  if (status == LM_OK) return false;
  failure->tag = status == LM_CORRUPT ? LINEMILL_PLUGIN_TYPES_FAILURE_CORRUPT
                 : status == LM_RETRY ? LINEMILL_PLUGIN_TYPES_FAILURE_RETRY
                                      : LINEMILL_PLUGIN_TYPES_FAILURE_FATAL;
  failure->val.retry = as_string(out->reason); // The same place in each variant.
  return true;
}

static void dropped(lm_out *out) {
  for (size_t at = 0; at < out->routes_len; at++) {
    free(out->routes[at].name);
    free(out->routes[at].data.ptr);
  }
  for (size_t at = 0; at < out->series_len; at++) free(out->series[at].name);
  for (size_t at = 0; at < out->faults_len; at++) linemill_plugin_types_fault_free(&out->faults[at]);
  free(out->written.ptr);
  free(out->routes);
  free(out->series);
  free(out->samples);
  free(out->partial.ptr);
  free(out->faults);
  free((char *)out->rest.ptr);
  free(out);
}

static lm_out *fresh(void) { return memset(grown(NULL, sizeof(lm_out)), 0, sizeof(lm_out)); }

static void told_output(linemill_plugin_types_list_output_t *to, const char *name, buffer *data) {
  if (data->len == 0) return;
  to->ptr = pushed(to->ptr, to->len, sizeof *to->ptr);
  to->ptr[to->len++] = (linemill_plugin_types_output_t){as_string(name), {(uint8_t *)data->ptr, data->len}};
  *data = (buffer){0};
}

static linemill_plugin_types_metric_t *told_metric(linemill_plugin_types_list_metric_t *to, const series *one) {
  to->ptr = pushed(to->ptr, to->len, sizeof *to->ptr);
  linemill_plugin_types_metric_t *metric = &to->ptr[to->len++];
  metric->name = as_string(one->name);
  metric->key = as_string(one->key);
  return metric;
}

static void told(lm_out *out, linemill_plugin_types_list_output_t *outputs, linemill_plugin_types_list_metric_t *metrics) {
  keep(out);
  told_output(outputs, "", &out->written);
  for (size_t at = 0; at < out->routes_len; at++) told_output(outputs, out->routes[at].name, &out->routes[at].data);
  for (size_t at = 0; at < out->series_len; at++) {
    if (!out->series[at].counted) continue;
    linemill_plugin_types_metric_t *metric = told_metric(metrics, &out->series[at]);
    metric->value.tag = LINEMILL_PLUGIN_TYPES_MEASURE_COUNT;
    metric->value.val.count = out->series[at].total;
  }
  for (size_t at = 0; at < out->samples_len; at++) {
    linemill_plugin_types_metric_t *metric = told_metric(metrics, &out->series[out->samples[at].series]);
    metric->value.tag = LINEMILL_PLUGIN_TYPES_MEASURE_SAMPLE;
    metric->value.val.sample = out->samples[at].value;
  }
}

static list_u8 told_partial(lm_out *out) {
  list_u8 bytes = {(uint8_t *)out->partial.ptr, out->partial.len};
  out->partial = (buffer){0};
  if (bytes.len == 0) free(bytes.ptr), bytes.ptr = NULL;
  return bytes;
}

static lm_bytes bytes_of(const uint8_t *ptr, size_t len) { return (lm_bytes){(const char *)ptr, len}; }

static lm_request request_of(const linemill_plugin_types_request_t *request) {
  return (lm_request){
      bytes_of(request->id.ptr, request->id.len),
      bytes_of(request->source.ptr, request->source.len),
      request->attempt,
      request->started_at,
  };
}

// All partials in one: the first as it is, the others added to it.
static lm_status total_of(reducing_plugin_list_list_u8_t *partials, lm_out *out) {
  for (size_t at = 0; at < partials->len; at++) {
    lm_bytes one = bytes_of(partials->ptr[at].ptr, partials->ptr[at].len);
    if (at == 0) {
      void *first = lm_partial(out, one.len);
      if (one.len) memcpy(first, one.ptr, one.len);
      continue;
    }
    lm_status status = linemill_merge(out, one);
    if (status != LM_OK) return status;
  }
  return LM_OK;
}

bool exports_linemill_plugin_processor_pre(linemill_plugin_types_request_t *from, list_u8 *ret, failure *failure) {
  lm_out *out = fresh();
  lm_request request = request_of(from);
  bool ok = !failed(out, linemill_pre(&request, out), failure);
  if (ok) *ret = told_partial(out);
  dropped(out);
  linemill_plugin_types_request_free(from);
  return ok;
}

static lm_status opened(lm_out *out) {
  static bool done = false;
  if (done) return LM_OK;
  list_u8 context;
  linemill_plugin_host_context(&context);
  lm_status status = linemill_open(bytes_of(context.ptr, context.len), out);
  done = status == LM_OK;
  reducing_plugin_list_u8_free(&context);
  return status;
}

static int by_line(const void *a, const void *b) {
  uint32_t one = ((const fault *)a)->line, other = ((const fault *)b)->line;
  return one < other ? -1 : one > other;
}

// Drops faults of lines that are handed back, and finds those of lines that there are not.
static lm_status settled(lm_out *out, lm_bytes bytes) {
  if (!out->stopped && out->faults_len == 0) return LM_OK;
  lm_lines lines = lm_cut(0, bytes);
  for (lm_line line; lm_next(&lines, &line);) {}
  uint32_t count = lines.index;
  out->stopped = out->stopped && out->attempted < count;
  uint32_t attempted = out->stopped ? out->attempted : count;
  if (out->faults_len) qsort(out->faults, out->faults_len, sizeof(fault), by_line);
  for (; out->faults_len; out->faults_len--) {
    fault *last = &out->faults[out->faults_len - 1];
    if (last->line >= count) return lm_fatal(out, "fault of line %u in a batch of %u lines", last->line, count);
    if (last->line < attempted) break;
    linemill_plugin_types_fault_free(last);
  }
  return LM_OK;
}

bool exports_linemill_plugin_processor_process(uint64_t first_line, list_u8 *lines, linemill_plugin_types_outcome_t *ret, failure *failure) {
  lm_out *out = fresh();
  lm_bytes bytes = bytes_of(lines->ptr, lines->len);
  lm_status status = opened(out);
  if (status == LM_OK) status = linemill_batch(first_line, bytes, out);
  if (status == LM_OK) status = settled(out, bytes);
  bool ok = !failed(out, status, failure);
  if (ok) {
    *ret = (linemill_plugin_types_outcome_t){.attempted = {out->stopped, out->attempted}};
    ret->faults = (linemill_plugin_types_list_fault_t){out->faults, out->faults_len};
    out->faults = NULL;
    out->faults_len = 0;
    told(out, &ret->outputs, &ret->metrics);
    ret->partial.is_some = out->has_partial;
    if (out->has_partial) ret->partial.val = told_partial(out);
  }
  dropped(out);
  reducing_plugin_list_u8_free(lines);
  return ok;
}

bool exports_linemill_plugin_processor_post(linemill_plugin_types_request_t *from, linemill_plugin_types_counts_t *counted,
                                            reducing_plugin_list_list_u8_t *partials, linemill_plugin_types_closing_t *ret, failure *failure) {
  lm_out *out = fresh();
  lm_request request = request_of(from);
  lm_counts counts = {counted->loaded, counted->processed, counted->corrupted, counted->retried};
  lm_status status = total_of(partials, out);
  lm_bytes total = {out->partial.ptr, out->partial.len};
  if (status == LM_OK) status = linemill_post(&request, &counts, total, out);
  bool ok = !failed(out, status, failure);
  if (ok) {
    *ret = (linemill_plugin_types_closing_t){0};
    told(out, &ret->outputs, &ret->metrics);
  }
  dropped(out);
  linemill_plugin_types_request_free(from);
  reducing_plugin_list_list_u8_free(partials);
  return ok;
}

bool exports_linemill_plugin_reducer_merge(reducing_plugin_list_list_u8_t *partials, list_u8 *ret, failure *failure) {
  lm_out *out = fresh();
  bool ok = !failed(out, total_of(partials, out), failure);
  if (ok) *ret = told_partial(out);
  dropped(out);
  reducing_plugin_list_list_u8_free(partials);
  return ok;
}
