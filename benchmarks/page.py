"""Own the places of a page that results are put into: what is between <!-- begin: name --> and <!-- end: name -->.

The rest of a page is written by people and is never touched.
"""

import re
from collections.abc import Mapping

MARKER = re.compile(r"^<!-- (begin|end): (\S+) -->$", re.MULTILINE)


class PageError(Exception):
    """A page has wrong markers; the message is one line and says where and what to do."""


def places(title: str, text: str) -> list[str]:
    """Name what the page has places for, in its order. Raises PageError for a marker without its other half."""
    found: list[str] = []
    opened = ""
    for marker in MARKER.finditer(text):
        kind, name = marker.groups()
        line = text.count("\n", 0, marker.start()) + 1
        if kind == "begin" and (opened or name in found):
            fault = f"{opened} has no end yet" if opened else f"there is another place of {name}"
            raise PageError(f"{title}, line {line}: {marker[0]}, but {fault}")
        if kind == "end" and name != opened:
            raise PageError(f"{title}, line {line}: {marker[0]} without <!-- begin: {name} --> before it")
        if kind == "begin":
            found.append(name)
        opened = name if kind == "begin" else ""
    if opened:
        raise PageError(f"{title}: there is no <!-- end: {opened} -->")
    return found


def fill(title: str, text: str, parts: Mapping[str, str]) -> str:
    """Put the parts into their places of the page; a place without a part stays as it is."""
    for name in places(title, text):
        if name in parts:
            begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
            before, rest = text.split(f"{begin}\n", 1)
            after = rest[rest.index(end) :]
            text = f"{before}{begin}\n\n{parts[name].strip()}\n\n{after}"
    return text
