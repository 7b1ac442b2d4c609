"""The reference of the documentation is made of the code: each thing is in it, with its meaning."""

import re

import pytest

import rowcache_tasks
from rowcache_tasks import tasks
from rowcache_tasks.config.settings import SETTINGS
from rowcache_tasks.config.table import TABLE_OPTIONS
from rowcache_tasks.keys import Keys
from rowcache_tasks.ops.cli import COMMANDS
from rowcache_tasks.ops.snapshot import COUNTERS
from tools.reference import PARTS

THINGS = {
    "settings": [*SETTINGS, *TABLE_OPTIONS],
    "tasks": [name for name in tasks.__all__ if name.endswith(("_row", "_rows", "_table", "_query", "_now"))],
    "commands": COMMANDS,
    "keys": [Keys.of("").schedule, Keys.of("users").value_prefix],
    "errors": [name for name in rowcache_tasks.__all__ if name.endswith("Error")],
    "metrics": ["rowcache_up", *(f"rowcache_{name}_total" for name in COUNTERS)],
    "files": ["keys.py", "schedule/scripts/claim_rows.lua"],
}


@pytest.mark.parametrize("name", PARTS)
def test_part_of_the_reference_has_each_thing_with_its_meaning(name):
    text = PARTS[name]()
    assert [thing for thing in THINGS[name] if thing not in text] == []
    assert re.findall(r"^.*\|\s*\|$", text, re.MULTILINE) == []
