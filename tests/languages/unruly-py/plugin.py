"""A guest whose lines tell it how to misbehave; ../unruly-js/plugin.js says how. Other lines are echoed."""

import os

from linemill import Corrupt, Fatal, Partial, Plugin, Retry, export, setting


class Unruly(Plugin):
    def pre(self, request):
        return {"attempt": request.attempt, "setting": setting("context", "null")}

    def open(self, context):
        self.sent = context

    def line(self, line, batch):
        if not line.bytes.startswith(b"!"):
            return batch.emit_line(line.bytes)
        name, _, rest = line.text[1:].partition(" ")
        getattr(self, name)(rest, batch, line)

    def merge(self, into, new):
        return into + new

    def post(self, request, counts, total, closing):
        if setting("post") == "emit":
            closing.emit_line(f"post: {counts.loaded} {counts.processed} {counts.corrupted} {counts.retried} {total or ''}")

    @staticmethod
    def effects(batch):
        batch.emit("never")
        batch.route("more").emit("never")
        batch.count("never")
        batch.sample("never", "", 1)

    def corrupt(self, text, batch, _):
        self.effects(batch)
        raise Corrupt(text)

    def retry(self, text, batch, _):
        self.effects(batch)
        raise Retry(text)

    def rest(self, text, batch, _):
        self.effects(batch)
        raise Partial(text)

    def fatal(self, text, batch, _):
        self.effects(batch)
        raise Fatal(text)

    def count(self, text, batch, _):
        name, key, n = text.split(" ")
        batch.count(name, key, int(n))

    def sample(self, text, batch, _):
        name, x = text.split(" ")
        batch.sample(name, "", float(x))

    def route(self, text, batch, _):
        name, _, text = text.partition(" ")
        batch.route(name).emit_line(text)

    def partial(self, text, batch, _):
        batch.partial = f"{batch.partial or ''}{text},"

    def setting(self, name, batch, _):
        batch.emit_line(setting(name, "(not set)"))

    def context(self, _, batch, line):
        batch.emit_line(f"{self.sent['attempt']} {self.sent['setting']}")

    def number(self, _, batch, line):
        batch.emit_line(f"{line.number} {line.index}")

    def text(self, text, batch, _):
        batch.emit_line(str(len(text)))

    def bug(self, text, batch, _):
        tell_what_is_none(text)

    def grow(self, *_):
        everything = []
        while True:
            everything.append(bytearray(1 << 20))

    def spin(self, *_):
        while True:
            pass

    def recurse(self, *arguments):
        return self.recurse(*arguments)

    def abort(self, *_):
        os.abort()


def tell_what_is_none(text):
    return None[text]


Made, Reducer = export(Unruly)


class Processor(Made):
    def process(self, first_line, content):
        if content.startswith(b"!e"):
            tell_what_is_none("escape")
        return super().process(first_line, content)
