"""Validation of single values: text, URLs, names and numbers; parsers of the fields of a class."""

import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeGuard, get_origin, get_type_hints

from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import shorten
from rowcache_tasks.keys import BROKER_PREFIXES, MAX_PARTITIONS, NAME, NAMESPACE, RESERVED_NAMESPACES

Parser = Callable[[str, Any], Any]  # of a value; the first argument is the name of its setting, for the ConfigError
MAX_NAME = 100  # characters of a table's or a query's name: it is in every message, and a label of the metrics


def parsers_of(kind: type, prefix: str = "") -> dict[str, tuple[str, Parser]]:
    """Return name -> field and parser, of the fields annotated with one. The name has no _s at its end."""
    hints = get_type_hints(kind, include_extras=True)
    found = {field: hint.__metadata__[0] for field, hint in hints.items() if get_origin(hint) is Annotated}
    return {prefix + field.removesuffix("_s"): (field, parse) for field, parse in found.items()}


def refusal(setting: str, value: object, allowed: str, verb: str = "is") -> ConfigError:
    """Make the error of one line: the setting, the value found, the values allowed."""
    return ConfigError(f"{setting} is {shorten(value)}: allowed {verb} {allowed}")


def accepting(allowed: str, fits: Callable[[Any], bool], convert: Callable[[Any], Any] | None = None) -> Parser:
    """Make the parser of values that fit; others are refused, with the words for those that are allowed."""

    def parse(setting: str, value: Any) -> Any:
        if not fits(value):
            raise refusal(setting, value, allowed)
        return convert(value) if convert else value

    return parse


def number(noun: str, low: float, high: float) -> Parser:
    """Make the parser of a number of something."""
    allowed = f"a number of {noun} from {low:g} to {high:g}"
    return accepting(allowed, lambda value: _is_number(value) and low <= value <= high, float)


def whole(low: int, high: int) -> Parser:
    """Make the parser of a whole number."""
    allowed = f"a whole number from {low} to {high}"
    return accepting(allowed, lambda value: _is_number(value) and isinstance(value, int) and low <= value <= high)


def choice(*allowed: str) -> Parser:
    """Make the parser of one of some texts."""
    return accepting(" or ".join(map(repr, allowed)), allowed.__contains__)


def optional(parse: Parser) -> Parser:
    """Make the parser that also accepts None."""
    return lambda setting, value: None if value is None else parse(setting, value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_storable(value: object) -> TypeGuard[str]:
    """Whether a value is a non-empty text without characters that databases refuse."""
    return isinstance(value, str) and value != "" and not re.search("[\0\ud800-\udfff]", value)


seconds = partial(number, "seconds")  # make the parser of a duration
parse_text = accepting("a non-empty string", lambda value: _is_storable(value) and bool(value.strip()))
parse_flag = accepting("True or False", lambda value: isinstance(value, bool))
parse_share = accepting(
    "a number above 0 and below 1, such as 0.999",  # no share of 1 can be promised
    lambda value: _is_number(value) and 0 < value < 1,
    float,
)


def parse_url(setting: str, value: object) -> str:
    """Accept a printable text. Another value may hold a password in any form, and is not shown."""
    if isinstance(value, str) and value.isprintable():
        return str(parse_text(setting, value))
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
        raise refusal(setting, value, allowed, "are")
    if value in RESERVED_NAMESPACES or value.startswith(BROKER_PREFIXES):
        raise ConfigError(f"{setting} is {value!r}: this name is a Redis key of another kind; choose another")
    return value


def parse_deployment(setting: str, value: object) -> str:
    """Accept the name of a deployment, which is a part of keys and of queues; "" is none."""
    if not isinstance(value, str) or not NAME.fullmatch(value) or len(value) > MAX_NAME:
        raise refusal(setting, value, f"up to {MAX_NAME} letters, digits, '_', '.' and '-', or nothing", "are")
    return value


def parse_partitions(setting: str, value: object) -> int:
    """Accept a power of two."""
    count: int = whole(1, MAX_PARTITIONS)(setting, value)
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
