"""Hostile values that the fuzz tests draw from."""

import json
import os
from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_MESSAGE = 1000
"""Longest error message that quotes a value, in characters."""

EXAMPLES = int(os.environ.get("ROWCACHE_EXAMPLES", "0"))
"""Examples of each fuzz test, new ones at each run; 0 means 25 that are always the same."""

reproducible = settings(
    max_examples=EXAMPLES or 25,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Rude:
    """Raises from repr() and str()."""

    def __repr__(self):
        raise RuntimeError("no\nrepr")

    __str__ = __repr__


class Wordy:
    """repr() returns many lines with control characters."""

    def __repr__(self):
        return "one\ntwo\x1b[2J\r\n" * 1000


def deep(levels):
    nested = []
    for _ in range(levels):
        nested = [nested]
    return nested


texts = st.one_of(
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zs"]), min_size=1),
    st.sampled_from(
        [
            *(
                "",
                " ",
                "42",
                " 42",
                "+42",
                "042",
                "-0",
                "1e5",
                "0x2a",
                "4_2",
                "٤٢",
                "\uff14\uff12",
                "9" * 5000,
                "x" * 20_000,
            ),
            *("*", "{}", "{42}", "a\nb", "a\0b", "\x1b[2J", "\udcff", "\ud800", "é", "e\u0301", "\u202e42", "%2C", ","),
            *(
                "1; DROP TABLE inventory --",
                "' OR '1'='1",
                "1) OR (1=1",
                '"; FLUSHALL',
                "$1",
                ":id",
                "%s",
                "\\",
                "NULL",
            ),
            *(
                "nan",
                "inf",
                "-inf",
                "true",
                "null",
                "inv",
                "schedule:",
                "../../etc/passwd",
                "__proto__",
                "\N{ELEPHANT}",
            ),
        ]
    ),
)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.builds(pow, st.just(10), st.sampled_from([400, 5000])),
    st.sampled_from([-(10**400), 5e-324, 1e-300, 1e308, 2**63, True, False]),
)
any_json = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
any_object = st.one_of(
    any_json,
    st.binary(),
    st.decimals(),
    st.sets(st.integers(), max_size=3),
    st.builds(Rude),
    st.builds(Wordy),
    st.lists(st.builds(Rude) | st.builds(Wordy), max_size=2),
    st.builds(deep, st.sampled_from([10, 5000])),
    st.sampled_from([object(), int, Ellipsis, Decimal("NaN"), iter([1]), range(3), json, 1j, bytearray(b"42")]),
)


def assert_one_clear_line(error):
    """Check that a message is one printable line of 10 to MAX_MESSAGE characters."""
    message = str(error)
    assert message.isprintable(), message[:200]
    assert 10 < len(message) <= MAX_MESSAGE, len(message)
