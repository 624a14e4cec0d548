// A guest whose lines tell it how to misbehave; ../unruly-js/plugin.js says how. Other lines are echoed.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linemill.h"

static char *context;

lm_status linemill_pre(const lm_request *request, lm_out *out) {
  char *setting = lm_setting("context");
  char text[100];
  int len = snprintf(text, sizeof text, "%u %s", request->attempt, setting ? setting : "null");
  memcpy(lm_partial(out, (size_t)len + 1), text, (size_t)len + 1);
  free(setting);
  return LM_OK;
}

lm_status linemill_open(lm_bytes sent, lm_out *out) {
  (void)out;
  context = malloc(sent.len);
  memcpy(context, sent.ptr, sent.len);
  return LM_OK;
}

static void effects(lm_out *out) {
  lm_emitf(out, "never");
  lm_emit_to(out, "more", "never", 5);
  lm_count(out, "never", "", 1);
  lm_sample(out, "never", "", 1);
}

static size_t characters(const char *text) {
  size_t count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xc0) != 0x80;
  return count;
}

// Not to be told from work.
static volatile unsigned sink;

__attribute__((noinline)) static unsigned recurse(unsigned depth) {
  volatile char room[1000];
  if (depth == UINT32_MAX) return 0;
  room[depth % sizeof room] = (char)depth;
  return recurse(depth + 1) + (unsigned)room[depth % sizeof room];
}

static void never(const char *name) {
  if (!strcmp(name, "bug")) assert(name[0] == 'c');
  if (!strcmp(name, "abort")) abort();
  if (!strcmp(name, "escape")) exit(3);
  if (!strcmp(name, "recurse")) sink = recurse(0);
  while (!strcmp(name, "spin")) sink++;
  while (!strcmp(name, "grow")) {
    char *more = malloc(1 << 20);
    if (!more) {
      fputs("no more memory\n", stderr);
      abort();
    }
    memset(more, 1, 1 << 20);
    sink += (unsigned)more[sink % (1 << 20)];
  }
}

// Cuts the first word off, which may be empty; gives back the rest.
static char *cut(char *text) {
  char *space = strchr(text, ' ');
  if (space) *space = 0;
  return space ? space + 1 : text + strlen(text);
}

static lm_status answer(const char *name, char *rest, const lm_line *line, lm_out *out) {
  if (!strcmp(name, "count")) {
    char *key = cut(rest), *n = cut(key);
    lm_count(out, rest, key, atoll(n));
  } else if (!strcmp(name, "sample")) {
    char *x = cut(rest);
    lm_sample(out, rest, "", atof(x));
  } else if (!strcmp(name, "route")) {
    char *text = cut(rest);
    lm_emit_to(out, rest, text, strlen(text));
    lm_emit_to(out, rest, "\n", 1);
  } else if (!strcmp(name, "partial")) {
    size_t have = lm_partial_len(out), len = strlen(rest);
    char *partial = lm_partial(out, have + len + 1);
    memcpy(partial + have, rest, len);
    partial[have + len] = ',';
  } else if (!strcmp(name, "setting")) {
    char *setting = lm_setting(rest);
    lm_emitf(out, "%s\n", setting ? setting : "(not set)");
    free(setting);
  } else if (!strcmp(name, "context")) {
    lm_emitf(out, "%s\n", context);
  } else if (!strcmp(name, "number")) {
    lm_emitf(out, "%" PRIu64 " %u\n", line->number, line->index);
  } else if (!strcmp(name, "text")) {
    lm_emitf(out, "%zu\n", characters(rest));
  } else {
    never(name);
  }
  return LM_OK;
}

lm_status linemill_line(const lm_line *line, lm_out *out) {
  if (line->len == 0 || line->ptr[0] != '!') {
    lm_emit_line(out, line->ptr, line->len);
    return LM_OK;
  }
  char *text = calloc(line->len + 1, 1);
  memcpy(text, line->ptr + 1, line->len - 1);
  char *rest = cut(text);
  bool corrupt = !strcmp(text, "corrupt"), retry = !strcmp(text, "retry");
  lm_status status;
  if (corrupt || retry || !strcmp(text, "rest") || !strcmp(text, "fatal")) {
    effects(out);
    lm_bytes left = {rest, strlen(rest)};
    status = corrupt               ? lm_corrupt(out, "%s", rest)
             : retry               ? lm_retry(out, "%s", rest)
             : !strcmp(text, "rest") ? lm_rest(out, left, "part of the line is done")
                                   : lm_fatal(out, "%s", rest);
  } else {
    status = answer(text, rest, line, out);
  }
  free(text);
  return status;
}

lm_status linemill_merge(lm_out *into, lm_bytes from) {
  size_t have = lm_partial_len(into);
  char *partial = lm_partial(into, have + from.len);
  memcpy(partial + have, from.ptr, from.len);
  return LM_OK;
}

lm_status linemill_post(const lm_request *request, const lm_counts *counts, lm_bytes total, lm_out *closing) {
  (void)request;
  char *post = lm_setting("post");
  if (post && !strcmp(post, "emit")) {
    lm_emitf(closing, "post: %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " ", counts->loaded, counts->processed, counts->corrupted, counts->retried);
    lm_emit_line(closing, total.ptr, total.len);
  }
  free(post);
  return LM_OK;
}
