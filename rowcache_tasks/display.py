"""Own how durations and foreign texts look in one line of a terminal. Must not know what they mean."""

import re
from collections.abc import Iterable

__all__ = ["show_count", "show_duration", "show_line", "show_row_ids", "show_text"]

MAX_TEXT = 200
LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")


def show_count(count: int, noun: str, plural: str = "") -> str:
    """Write a number of things: 1 row, 2,000 rows. The plural takes an s unless it is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def show_duration(seconds: float) -> str:
    """Write a duration with the unit that fits it and no more digits than help: 12 ms, 3.4 s, 5 min, 7.1 h, 3.0 d."""
    for below, unit_s, form in ((1, 0.001, "{:.0f} ms"), (100, 1, "{:.1f} s"), (6000, 60, "{:.0f} min")):
        if seconds < below:
            return form.format(seconds / unit_s)
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"


def show_text(text: str) -> str:
    """Show a text from outside as it is; in quotes and escaped when it could be misread or command the terminal.

    A long one is cut.
    """
    if len(text) > MAX_TEXT:
        return f"{text[:MAX_TEXT]!r}… ({len(text):,} characters)"
    return text if text and text.isprintable() and text == text.strip() else repr(text)


def show_line(text: str) -> str:
    """Bring a message with texts from outside into one line without control characters."""
    line = LINE_BREAK.sub(" ", text.strip())
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def show_row_ids(row_ids: Iterable[str], count: int) -> str:
    """Name a few of `count` rows, for a message."""
    shown = [show_text(row_id) for row_id in row_ids]
    return ", ".join(shown) + (", …" if count > len(shown) else "")
