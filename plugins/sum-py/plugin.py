"""Adds up lines that are integers, and writes the sum at the end, as `plugins/sum` does in Rust, byte for byte.

Numbers of a whole batch are read and added by calls that run in C. Whatever makes such a call fail is looked at again
in smaller parts, and at last line by line.
"""

from linemill import Corrupt, Plugin, export

LARGEST = 2**63 - 1
SMALLEST = -(2**63)
# Other white space than this, and what else `int` takes (`1_000`), is no part of a number.
PLAIN = b"0123456789+- \t\f\r\n"
PART = 64


class Sum(Plugin):
    def batch(self, lines, batch):
        total = batch.partial or 0
        added = add(total, lines.bytes.split(b"\n"), lines.bytes)
        if added is None:
            added = by_parts(total, lines.split(), batch)
        batch.partial = added

    def merge(self, into, new):
        total = into + new
        if not SMALLEST <= total <= LARGEST:
            raise Corrupt("the sum does not fit in 64 bits")
        return total

    def post(self, request, counts, total, closing):
        closing.emit_line(str(total or 0))


def add(total, lines, content):
    """Adds plain numbers; None where one is not plain, or where a sum on the way may not fit."""
    if content.translate(None, PLAIN):
        return None
    try:
        numbers = list(map(int, filter(None, lines)))
    except ValueError:
        return None
    if not numbers:
        return total
    largest = max(max(numbers), -min(numbers))
    if abs(total) + largest * len(numbers) > LARGEST:
        return None
    return total + sum(numbers)


def by_parts(total, lines, batch):
    for start in range(0, len(lines), PART):
        part = lines[start : start + PART]
        added = add(total, part, b"".join(part))
        total = one_by_one(total, part, start, batch) if added is None else added
    return total


def one_by_one(total, lines, start, batch):
    for index, line in enumerate(lines, start):
        text = line.strip(b" \t\n\f\r")
        if not text:
            continue
        number = integer(text)
        if number is None:
            batch.fault(index, Corrupt(f"not a valid integer: `{shown(line)}`"))
        elif not SMALLEST <= total + number <= LARGEST:
            batch.fault(index, Corrupt("the sum does not fit in 64 bits"))
        else:
            total += number
    return total


def integer(text):
    """The decimal integer of 64 bits that a text is, or None."""
    digits = text[1:] if text[:1] in (b"+", b"-") else text
    significant = digits.lstrip(b"0")
    if not digits.isdigit() or len(significant) > 19:
        return None
    number = int(significant or b"0")
    number = -number if text.startswith(b"-") else number
    return number if SMALLEST <= number <= LARGEST else None


ESCAPES = {9: "\\t", 10: "\\n", 13: "\\r", 34: '\\"', 39: "\\'", 92: "\\\\"}


def shown(line):
    """The first bytes of a line, those that are no printable ASCII escaped."""
    more = "…" if len(line) > 40 else ""
    return "".join(ESCAPES.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in line[:40]) + more


Processor, Reducer = export(Sum)
