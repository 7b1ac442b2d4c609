"""Each test that docs/guarantees.md names is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "guarantees.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`((?:unit|functional|acceptance)(?:/\w+)+\.py(?:::\w+)?)`", PAGE)))


def test_lines_name_tests():
    tables = PAGE.partition("## How it is shown")[0]
    lines = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith(("| when…", "|---"))]
    assert len(lines) > 30
    assert [line for line in lines if ".py" not in line.rsplit("|", 2)[1]] == []


@pytest.mark.parametrize("named", NAMED)
def test_named_test_is_there(named):
    file, _, name = named.partition("::")
    text = (TESTS / file).read_text("utf-8")
    assert not name or f"\ndef {name}(" in text
