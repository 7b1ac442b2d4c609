"""Own how a message quotes what was found: bounded, on one line, without the password of a URL.

Must not know settings or arguments. Raises nothing, whatever the value is.
"""

import difflib
import re
from collections.abc import Iterable

__all__ = ["one_line", "redact", "shorten", "suggest"]

MAX_LENGTH = 80
MAX_NAME = 200
"""Names longer than this are compared with nothing."""
MAX_REASON = 200
"""Characters of an error's text."""
LOGIN = re.compile(r"://.*@", re.DOTALL)
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
