"""Write a linemill plugin in Python: a class that says what is done with a line, and what `export` makes of it.

    import json
    from linemill import Corrupt, Plugin, export

    class Names(Plugin):
        def line(self, line, batch):
            person = json.loads(line.text)
            if "id" not in person:
                raise Corrupt("there is no id")
            batch.emit_line(f"{person['id']}\\t{person['name']}")
            batch.partial = (batch.partial or 0) + 1

        def merge(self, into, new):
            return into + new

        def post(self, request, counts, total, closing):
            closing.emit_line(f"{total or 0} lines")

    Processor, Reducer = export(Names)

A line that raises leaves nothing of what it emitted, counted or sampled. `Corrupt` blames the data, `Partial` says what
of the line is left to do, `Fatal` stops the request, and any other exception asks for the line to be run again later;
its message, or its traceback, becomes the reason. Only `batch.partial` is not taken back, so touch it last.
"""

import json
import re
import traceback

from componentize_py_types import Err
from wit_world.imports import host, types

__all__ = ["Corrupt", "Fatal", "Line", "Partial", "Plugin", "Retry", "export", "log", "remaining_ms", "setting"]


class Corrupt(Exception):
    """The data are at fault: running the line again cannot help."""


class Retry(Exception):
    """Running the line again may help."""


class Partial(Retry):
    """Part of the line is done, and only `remainder` (text or bytes, without a line end) is to be run again."""

    def __init__(self, remainder, message="part of the line is done"):
        super().__init__(message)
        self.remainder = _bytes(remainder)


class Fatal(Exception):
    """Nothing more of this request can succeed now: it stops, and what is left is retried."""


def setting(name, otherwise=None):
    """A value of the configuration's `settings`, or `otherwise` where it is not set."""
    value = host.setting(name)
    return otherwise if value is None else value


def remaining_ms():
    """Milliseconds until work on this request stops."""
    return host.remaining_ms()


def log(level, message):
    """Tells the operator something; `level` is trace, debug, info, warn or error."""
    host.log(host.Level[level.upper()], str(message))


class Plugin:
    """A plugin. Implement `line` (or `batch`); the rest is there when it is needed."""

    def pre(self, request):
        """Once for each request, before anything else; what it returns is sent to every `open`, as JSON."""

    def open(self, context):
        """Once for each instance, before its first batch."""

    def line(self, line, batch):
        """Runs one line."""
        raise Fatal("the plugin implements neither `line` nor `batch`")

    def batch(self, lines, batch):
        """Runs one batch. Implement it for what is better done for many lines at once."""
        batch.each(lines, self.line)

    def merge(self, into, new):
        """Makes one partial of two that follow each other; any grouping must mean the same."""
        raise Fatal("the plugin has partials, but no `merge`")

    def post(self, request, counts, total, closing):
        """Once for each request, after its last batch. `total` is None without partials."""


class Line:
    """One line: where it stands, and its bytes without its line end."""

    __slots__ = ("bytes", "index", "number")

    def __init__(self, content, index, number):
        self.bytes = content
        self.index = index  # in the batch, from 0
        self.number = number  # in the source, from 1

    @property
    def text(self):
        """The line as text. Bytes that are not UTF-8 blame the data."""
        try:
            return self.bytes.decode()
        except UnicodeDecodeError as error:
            raise Corrupt(str(error)) from None

    @property
    def is_blank(self):
        """Whether there is nothing, or only ASCII white space."""
        return not self.bytes.strip(b" \t\n\f\r")


class Lines:
    """The lines of a batch; `bytes` is all of them as they are, line ends included."""

    def __init__(self, first_line, content):
        self.first_line = first_line
        self.bytes = content

    def split(self):
        """All lines as bytes, without their line ends."""
        lines = self.bytes.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if b"\r\n" in self.bytes:
            ended = len(lines) - (not self.bytes.endswith(b"\n"))
            lines[:ended] = [line[:-1] if line.endswith(b"\r") else line for line in lines[:ended]]
        return lines

    def __iter__(self):
        first = self.first_line
        return (Line(content, index, first + index) for index, content in enumerate(self.split()))


class Output:
    """What is written to one destination."""

    def __init__(self):
        self._chunks = []
        self._kept = 0

    def emit(self, chunk):
        """Appends text or bytes as they are."""
        self._chunks.append(_bytes(chunk))

    def emit_line(self, chunk):
        """Appends text or bytes and a line end."""
        self._chunks.append(_bytes(chunk) + b"\n")

    def _keep(self):
        self._kept = len(self._chunks)

    def _undo(self):
        del self._chunks[self._kept :]


class Effects(Output):
    """What a call writes and measures; what `post` fills is one of these."""

    def __init__(self):
        super().__init__()
        self._routes = {}
        self._counts = {}
        self._pending = []
        self._samples = []
        self._kept_samples = 0

    def route(self, name):
        """The output to a named route of the configuration."""
        return self._routes.setdefault(name, Output()) if name else self

    def count(self, name, key="", n=1):
        """Adds a whole number to the count `name`, under `key`. Keys are kept until the report: take few."""
        self._pending.append(((_name(name), _key(key)), n))

    def sample(self, name, key, value):
        """Adds a sample to `name`, under `key`. Each crosses to the host: for some lines, not for each."""
        self._samples.append(types.Metric(_name(name), _key(key), types.Measure_Sample(float(value))))

    def _keep(self):
        super()._keep()
        for output in self._routes.values():
            output._keep()
        for series, n in self._pending:
            added = self._counts.get(series, 0) + n
            self._counts[series] = max(-(2**63), min(added, 2**63 - 1))
        self._pending.clear()
        self._kept_samples = len(self._samples)

    def _undo(self):
        super()._undo()
        for output in self._routes.values():
            output._undo()
        self._pending.clear()
        del self._samples[self._kept_samples :]

    def _told(self):
        self._keep()
        outputs = [("", self), *self._routes.items()]
        outputs = [types.Output(route, b"".join(output._chunks)) for route, output in outputs if output._chunks]
        counts = [types.Metric(name, key, types.Measure_Count(n)) for (name, key), n in self._counts.items()]
        return outputs, counts + self._samples


class Batch(Effects):
    """What a batch did: what it wrote, measured, added to the aggregate, and which lines failed."""

    def __init__(self, pace):
        super().__init__()
        self.partial = None  # added to the request's aggregate, as JSON
        self._pace = pace
        self._faults = {}
        self._attempted = None

    def fault(self, index, error):
        """Says that the line at `index` failed. Takes nothing back."""
        if isinstance(error, Fatal):
            raise error
        kind = types.FaultKind.CORRUPT if isinstance(error, Corrupt) else types.FaultKind.RETRY
        self._faults[index] = types.Fault(index, kind, _reason(error), getattr(error, "remainder", None))

    def attempted(self, index):
        """Hands the lines from `index` on back, to be run another time."""
        self._attempted = index

    def each(self, lines, step):
        """Runs `step` on each line: one that raises leaves a fault and nothing else, and lines that time does not
        suffice for are handed back."""
        self._keep()
        pace = self._pace
        pace.start(host.remaining_ms())
        for line in lines:
            if line.index == pace.next and pace.must_stop(line.index, host.remaining_ms()):
                self._attempted = line.index
                break
            try:
                step(line, self)
            except MemoryError:
                raise  # Nothing can be promised any more: the host ends the instance and finds the line.
            except Exception as error:
                self._undo()
                self.fault(line.index, error)
            else:
                self._keep()

    def _outcome(self, lines):
        faults = list(self._faults.values())
        if faults or self._attempted is not None:
            count = lines.bytes.count(b"\n") + (not lines.bytes.endswith(b"\n"))
            for fault in faults:
                if not 0 <= fault.line < count:
                    raise Fatal(f"fault of line {fault.line} in a batch of {count} lines")
            if self._attempted is not None and self._attempted >= count:
                self._attempted = None
            attempted = count if self._attempted is None else self._attempted
            faults = [fault for fault in faults if fault.line < attempted]
        partial = None if self.partial is None else _json(self.partial)
        outputs, metrics = self._told()
        return types.Outcome(self._attempted, faults, outputs, metrics, partial)


class _Pace:
    """When to look at the clock: after one line at first, then at distances that double while a stretch takes little
    time, and halve when it takes more."""

    def __init__(self):
        self.stride = 1
        self.next = 0
        self.left = 0

    def start(self, left):
        self.stride = 1 if left < 50 else max(1, self.stride // 4)
        self._go_on(0, left)

    def must_stop(self, index, left):
        stretch = max(0, self.left - left)
        self.stride = min(4096, self.stride * 2) if stretch < 5 else max(1, self.stride // 2)
        self._go_on(index, left)
        return left < max(50, stretch * 2)

    def _go_on(self, index, left):
        self.next = index + self.stride
        self.left = left


def export(plugin):
    """The classes that a component exports for the world `reducing-plugin`: `Processor, Reducer = export(Names)`."""
    instance = plugin()
    pace = _Pace()
    opened = False

    def total(partials):
        merged = None
        for partial in partials:
            partial = json.loads(partial)
            merged = partial if merged is None else instance.merge(merged, partial)
        return merged

    class Processor:
        @_guarded
        def pre(self, request):
            context = instance.pre(request)
            return b"" if context is None else _json(context)

        @_guarded
        def process(self, first_line, content):
            nonlocal opened
            if not opened:
                context = host.context()
                instance.open(json.loads(context) if context else None)
                opened = True
            lines = Lines(first_line, content)
            batch = Batch(pace)
            instance.batch(lines, batch)
            return batch._outcome(lines)

        @_guarded
        def post(self, request, counts, partials):
            closing = Effects()
            instance.post(request, counts, total(partials), closing)
            return types.Closing(*closing._told())

    class Reducer:
        @_guarded
        def merge(self, partials):
            return _json(total(partials))

    return Processor, Reducer


def _guarded(call):
    """What a call of the host raises is the failure of the whole call."""

    def guarded(*arguments):
        try:
            return call(*arguments)
        except MemoryError:
            raise
        except Fatal as error:
            raise Err(types.Failure_Fatal(_reason(error))) from None
        except Corrupt as error:
            raise Err(types.Failure_Corrupt(_reason(error))) from None
        except Exception as error:
            raise Err(types.Failure_Retry(_reason(error))) from None

    return guarded


# The host keeps this much of a reason. What matters of a traceback is its end.
_REASON_BYTES = 4000


def _reason(error):
    """What was meant says itself; of what was not, the traceback tells where it happened."""
    if isinstance(error, (Corrupt, Retry, Fatal)):
        return str(error)
    told = "".join(traceback.format_exception(error)).rstrip()
    told = re.sub(r'File "/[0-9]+/', 'File "', told)  # where the folders of modules stood at build time
    return told.encode(errors="replace")[-_REASON_BYTES:].decode(errors="ignore")


def _bytes(chunk):
    return bytes(chunk) if isinstance(chunk, (bytes, bytearray, memoryview)) else str(chunk).encode()


def _json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def _name(name):
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise Fatal(f"metric name {name!r} is not [A-Za-z_][A-Za-z0-9_]* of at most 64 characters")
    return name


def _key(key):
    """Keys often come from data: one that the host would refuse is cut and cleaned instead."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f]", "?", str(key))
    return clean.encode(errors="replace")[:128].decode(errors="ignore")
