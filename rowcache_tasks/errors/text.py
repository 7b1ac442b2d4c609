"""Texts for people: one bounded, printable line each, without passwords.

No function raises, whatever the value is.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

MAX_VALUE = 80  # characters of a wrong value
MAX_TEXT = 200  # characters of a text from outside, such as the error of a database
MAX_LINE = 1000  # characters of a message
LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")
PASSWORD = re.compile(r"(?<=password=|..passwd=)[^&]*", re.IGNORECASE)


def one_line(text: str, limit: int = MAX_LINE) -> str:
    """Join the lines of a message, escape control characters, and cut it to `limit` characters."""
    line = LINE_BREAK.sub(" ", text[: 4 * limit].strip())
    if not line.isprintable():
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def escape(text: str) -> str:
    """Escape the control characters of a text, but not its line breaks."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def redact(url: str) -> str:
    """Hide the login of a URL: all before the last @, which may be part of a password."""
    return one_line(PASSWORD.sub("***", re.sub(r"^([\w+]+://)?.*@", r"\1***@", url, flags=re.DOTALL)))


def hide_logins(text: str) -> str:
    """Hide the login of each URL in a text, and what follows password=."""
    return PASSWORD.sub("***", re.sub(r"://\S*@", "://***@", text))


def shorten(value: object) -> str:
    """Quote a wrong value in up to MAX_VALUE characters; a URL within it without its login."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 a number of too many digits, a structure too deep, a __repr__ that fails
        return f"a {type(value).__name__} that cannot be shown"
    before, mark, after = text.partition("://")
    if "@" in after:
        text = f"{before}{mark}***@{after.rpartition('@')[2]}"
    return one_line(PASSWORD.sub("***", text), MAX_VALUE)


def show_text(text: str) -> str:
    """Show a text from outside: as it is, or in quotes and escaped when it is empty, blank at an end or not printable.

    A long one is cut.
    """
    if len(text) > MAX_TEXT:
        return f"{text[:MAX_TEXT]!r}… ({len(text):,} characters)"
    return text if text and text.isprintable() and text == text.strip() else repr(text)


def show_row_ids(row_ids: Iterable[str], count: int) -> str:
    """List some of `count` row ids."""
    shown = [show_text(row_id) for row_id in row_ids]
    return ", ".join(shown) + (", …" if count > len(shown) else "")


def suggest(name: object, allowed: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest allowed one, or all of them."""
    names = list(allowed)
    near = nearest(name, names)
    return f": did you mean {near}?" if near else f": allowed are {', '.join(names)}"


def nearest(name: object, allowed: Iterable[str], likeness: float = 0.75) -> str | None:
    """Return the allowed name that is most like this one; None: none is."""
    is_name = isinstance(name, str) and len(name) <= MAX_TEXT
    return next(iter(difflib.get_close_matches(str(name), list(allowed), 1, likeness)), None) if is_name else None


def show_count(count: int, noun: str, plural: str = "") -> str:
    """Show a number of things: 1 row, 2,000 rows. The plural adds an s unless it is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def show_duration(seconds: float) -> str:
    """Show a duration in the unit that fits it: 12 ms, 3.4 s, 5 min, 7.1 h, 3.0 d."""
    for below, unit_s, form in ((1, 0.001, "{:.0f} ms"), (100, 1, "{:.1f} s"), (6000, 60, "{:.0f} min")):
        if seconds < below:
            return form.format(seconds / unit_s)
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"


def align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Join cells to a line: the first to the left, the others to the right; a longer cell moves only its own line."""
    first, *others = cells
    numbers = (f" {cell:>{width - 1}}" for cell, width in zip(others, widths[1:], strict=True))
    return first.ljust(widths[0]) + "".join(numbers)
