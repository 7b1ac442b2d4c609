"""Texts for people: values quoted in one bounded line without passwords, counts, durations.

Nothing here raises, whatever the value is.
"""

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "one_line",
    "redact",
    "shorten",
    "show_count",
    "show_duration",
    "show_line",
    "show_row_ids",
    "show_text",
    "suggest",
]

MAX_LENGTH = 80
MAX_NAME = 200
"""Names longer than this are compared with nothing."""
MAX_REASON = 200
"""Characters of an error's text."""
LOGIN = re.compile(r"://.*@", re.DOTALL)
MAX_TEXT = 200
"""Characters of a text from outside."""
LINE_BREAK = re.compile(r"\s*[\r\n]+\s*")
PASSWORD = re.compile(r"(?<=password=)[^&]*", re.IGNORECASE)


def redact(url: str) -> str:
    """Hide the user and password of a URL; whatever stands before the last @ may be a password."""
    return PASSWORD.sub("***", re.sub(r"^([\w+]+://)?.*@", r"\1***@", url, flags=re.DOTALL))


def shorten(value: object) -> str:
    """Show a wrong value; a URL within it without its login."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 a number of too many digits, a structure too deep, somebody's own __repr__
        return f"a {type(value).__name__} that cannot be shown"
    line = PASSWORD.sub("***", LOGIN.sub("://***@", text))[: MAX_LENGTH + 1]
    if not line.isprintable():
        line = " ".join("".join(c if c.isprintable() else " " for c in line).split())
    return line if len(line) <= MAX_LENGTH else line[: MAX_LENGTH - 3] + "..."


def one_line(text: str) -> str:
    """Cut an error's text to one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


def suggest(name: object, allowed: Iterable[str]) -> str:
    """End a message about an unknown name with the nearest known one, or with all of them."""
    names = list(allowed)
    is_name = isinstance(name, str) and len(name) <= MAX_NAME
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.75) if is_name else []
    return f": did you mean {near[0]}?" if near else f": allowed are {', '.join(names)}"


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
