"""Validation of single values: text, URLs, names and numbers."""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeGuard

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import BROKER_PREFIXES, MAX_PARTITIONS, NAME, NAMESPACE, RESERVED_NAMESPACES

MAX_NAME = 100  # characters of a table's or a query's name: it is in every message, and a label of the metrics


def refusal(setting: str, value: object, allowed: str) -> ConfigError:
    """Make the error of one line: the setting, the value found, the values allowed."""
    return ConfigError(f"{setting} is {shorten(value)}: allowed is {allowed}")


def parse_text(setting: str, value: object) -> str:
    """Accept a text that a database can store, with a character that is not blank."""
    if not _is_storable(value) or not value.strip():
        raise refusal(setting, value, "a non-empty string")
    return value


def parse_url(setting: str, value: object) -> str:
    """Accept a printable text. Another value may hold a password in any form, and is not shown."""
    if isinstance(value, str) and value.isprintable():
        return parse_text(setting, value)
    found = shorten(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
    raise ConfigError(f"{setting} is {found}: allowed is a non-empty string of printable characters")


def parse_name(setting: str, noun: str, value: object) -> str:
    """Accept the name of a table or a query."""
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > MAX_NAME:
        raise ConfigError(
            f"{setting}: a {noun}'s name must be a non-empty string of up to {MAX_NAME} printable characters"
        )
    return value


def parse_names(setting: str, value: object) -> tuple[str, ...]:
    """Accept one column name, a list of different ones, or None."""
    if value is None:
        return ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(map(_is_storable, names)):
        raise refusal(setting, value, "a column name or a list of column names")
    if len(set(names)) != len(names):
        raise ConfigError(f"{setting} is {shorten(value)}: a column is named twice")
    return tuple(names)


def parse_namespace(setting: str, value: object) -> str:
    """Accept a namespace whose keys no other part of the package, and no broker, uses."""
    if not isinstance(value, str) or not NAMESPACE.fullmatch(value):
        allowed = "letters, digits, '_', '.' and '-', or nothing; for a Redis Cluster, the end in braces"
        raise ConfigError(f"{setting} is {shorten(value)}: allowed are {allowed}")
    if value in RESERVED_NAMESPACES or value.startswith(BROKER_PREFIXES):
        raise ConfigError(f"{setting} is {value!r}: this name is a Redis key of another kind; choose another")
    return value


def parse_deployment(setting: str, value: object) -> str:
    """Accept the name of a deployment, which is a part of keys and of queues; "" is none."""
    if not isinstance(value, str) or not NAME.fullmatch(value) or len(value) > MAX_NAME:
        allowed = f"up to {MAX_NAME} letters, digits, '_', '.' and '-', or nothing"
        raise ConfigError(f"{setting} is {shorten(value)}: allowed are {allowed}")
    return value


def choice(*allowed: str) -> Callable[[str, object], str]:
    """Make the parser of one of some texts."""

    def parse(setting: str, value: object) -> str:
        if value not in allowed:
            raise refusal(setting, value, " or ".join(map(repr, allowed)))
        return str(value)

    return parse


def parse_flag(setting: str, value: object) -> bool:
    """Accept True or False."""
    if not isinstance(value, bool):
        raise refusal(setting, value, "True or False")
    return value


def number(noun: str, low: float, high: float) -> Callable[[str, object], float]:
    """Make the parser of a number of something."""

    def parse(setting: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise refusal(setting, value, f"a number of {noun} from {low:g} to {high:g}")
        return float(value)

    return parse


seconds = partial(number, "seconds")  # make the parser of a duration


def parse_partitions(setting: str, value: object) -> int:
    """Accept a power of two."""
    count = whole(1, MAX_PARTITIONS)(setting, value)
    if count & (count - 1):
        raise refusal(setting, value, f"a power of two from 1 to {MAX_PARTITIONS}")
    return count


def check_growth(setting: str, partitions: int, growing_from: int, *, is_replica: bool = False) -> None:
    """Refuse to move rows to as many parts or fewer, or with the positions in a log that they need."""
    if growing_from >= partitions:
        raise ConfigError(
            f"{setting}['growing_from'] is {growing_from}, and 'partitions' {partitions}: a table can only grow; "
            "set the new number as 'partitions', the old one as 'growing_from'"
        )
    if growing_from and is_replica:
        raise ConfigError(
            f"{setting} has 'growing_from' and 'replica': while a table grows, read the primary, without 'replica'"
        )


def parse_share(setting: str, value: object) -> float:
    """Accept a share above 0 and below 1: no share of 1 can be promised."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise refusal(setting, value, "a number above 0 and below 1, such as 0.999")
    return float(value)


def whole(low: int, high: int) -> Callable[[str, object], int]:
    """Make the parser of a whole number."""

    def parse(setting: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise refusal(setting, value, f"a whole number from {low} to {high}")
        return value

    return parse


def _is_storable(value: object) -> TypeGuard[str]:
    """Whether a value is a non-empty text without characters that databases refuse."""
    return isinstance(value, str) and value != "" and not re.search("[\0\ud800-\udfff]", value)
