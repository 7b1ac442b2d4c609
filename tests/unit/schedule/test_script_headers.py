"""Each Lua file starts with a header that agrees with its body and with its Python wrapper."""

import re

import pytest

from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.scripts import read_source, script_names

SCRIPT_NAMES = script_names()

KEY_TYPES = {"ZSET", "HASH", "LIST", "STRING"}


def header_of(text):
    lines = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return lines


def parse_list(lines, label):
    """Read `label a TYPE, b TYPE` with its continuation lines into [(name, rest), …]."""
    start = next(n for n, line in enumerate(lines) if line.startswith(label))
    text = lines[start].removeprefix(label)
    for line in lines[start + 1 :]:
        if re.match(r"(KEYS|ARGV|RETURNS)\b", line):
            break
        text += " " + line
    parts = re.sub(r"\([^)]*\)", "", text).split(",")
    return [tuple(part.split(maxsplit=1)) for part in parts if len(part.split()) >= 2]


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_header_says_purpose_keys_arguments_and_reply(name):
    lines = header_of(read_source(name))
    assert lines[0].endswith((".", ":")) or lines[0]
    labels = [line.split()[0] for line in lines if re.match(r"(KEYS|ARGV|RETURNS)\b", line)]
    assert labels == ["KEYS", "ARGV", "RETURNS"]


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_body_binds_the_keys_of_the_header_in_their_order(name):
    text = read_source(name)
    keys = parse_list(header_of(text), "KEYS")
    assert {kind for _, kind in keys} <= KEY_TYPES
    (bound,) = re.findall(r"^local ([\w, ]+) = unpack\(KEYS\)$", text, re.M)
    assert bound.split(", ") == [key for key, _ in keys]
    assert "KEYS[" not in text


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_body_binds_the_arguments_of_the_header_in_their_order(name):
    text = read_source(name)
    arguments = parse_list(header_of(text), "ARGV")
    fixed = [argument for argument, rest in arguments if not rest.endswith("...")]
    bound = re.findall(r"^local ([\w, ]+) = unpack\(ARGV\)$", text, re.M)
    assert (bound[0].split(", ") if bound else []) == fixed
    repeated = [argument for argument, rest in arguments if rest.endswith("...")]
    assert arguments[len(fixed) :] == [pair for pair in arguments if pair[0] in repeated], "repeated ones come last"
    if repeated and bound:
        assert f"unpack(ARGV, {len(fixed) + 1}" in text


@pytest.mark.parametrize("name", [name for name in SCRIPT_NAMES if name.endswith("_rows")])
def test_wrapper_has_the_name_of_its_file(name):
    assert callable(getattr(Schedule, name))


@pytest.mark.parametrize("name", SCRIPT_NAMES)
def test_script_is_short_and_finds_no_key_by_itself(name):
    text = read_source(name)
    assert len(text.splitlines()) <= 50
    assert not re.search(r"'(KEYS|SCAN|EVAL|FLUSH\w+)'", text)
