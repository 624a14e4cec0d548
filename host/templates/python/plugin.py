"""Keeps the lines of a log that matter.

A line is `TIME LEVEL MESSAGE`, such as `2026-01-31T23:59:59Z WARN disk 91 % full`. The setting `level` (default
`WARN`) says from which level on lines are kept; all are counted, in the metric `lines`. Blank lines are skipped.
"""

from linemill import Corrupt, Fatal, Plugin, export, setting

# The least important first.
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]


class LevelFilter(Plugin):
    def pre(self, request):
        """Runs once for each request, before its lines are read; what it returns reaches every instance."""
        level = setting("level", "WARN")
        if level not in LEVELS:
            raise Fatal(f"setting `level`: `{level}` is none of {', '.join(LEVELS)}")
        return LEVELS.index(level)

    def open(self, context):
        """Runs once in each instance."""
        self.least = context

    def line(self, line, batch):
        """Runs for each line. What a line that raises has emitted and counted is taken back."""
        if line.is_blank:
            return
        parts = line.text.split(" ", 2)
        if len(parts) < 2:
            raise Corrupt("there is no level")
        level = parts[1]
        if level not in LEVELS:
            raise Corrupt(f"`{level}` is no level")
        batch.count("lines", level)
        if LEVELS.index(level) >= self.least:
            batch.emit_line(line.text)


Processor, Reducer = export(LevelFilter)
