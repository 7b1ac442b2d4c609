"""Each Lua file starts with a header that agrees with its body and with its Python wrapper."""

import re
from importlib.resources import files

import pytest
from proof.interleaving.divided_program import SMALL_DIVIDED
from proof.interleaving.mutant import FOUND_BY, FOUND_ELSEWHERE, mutate
from proof.interleaving.program import SMALL

from rowcache_tasks.keys import DeploymentNames, Keys
from rowcache_tasks.schedule.rows import Schedule
from rowcache_tasks.schedule.script import load_script
from rowcache_tasks.schedule.scripts import read_source, script_names

SCRIPTS = script_names()
FOLDER = files("rowcache_tasks.schedule.scripts")
FRAGMENTS = sorted(path.name[:-4] for path in FOLDER.joinpath("include").iterdir())
FILES = [*SCRIPTS, *(f"include/{name}" for name in FRAGMENTS)]
KEY_TYPES = {"ZSET", "HASH", "LIST", "SET", "STRING"}


def text_of(name):
    """Return a file as it is, without its fragments."""
    return FOLDER.joinpath(f"{name}.lua").read_text("utf-8")


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


@pytest.mark.parametrize("name", SCRIPTS)
def test_header_says_purpose_keys_arguments_and_reply(name):
    lines = header_of(text_of(name))
    assert lines[0]
    labels = [line.split()[0] for line in lines if re.match(r"(KEYS|ARGV|RETURNS)\b", line)]
    assert labels == ["KEYS", "ARGV", "RETURNS"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_body_binds_the_keys_of_the_header_in_their_order(name):
    text = text_of(name)
    keys = parse_list(header_of(text), "KEYS")
    assert {kind for _, kind in keys} <= KEY_TYPES
    assert load_script(name).keys == tuple(key for key, _ in keys)
    assert all(hasattr(Keys.of(""), key) or hasattr(DeploymentNames.of(""), key) for key, _ in keys)
    assert "KEYS[" not in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_body_binds_the_arguments_of_the_header_in_their_order(name):
    text = text_of(name)
    arguments = parse_list(header_of(text), "ARGV")
    fixed = [argument for argument, rest in arguments if not rest.endswith("...")]
    bound = []
    for names, start in re.findall(r"^local ([\w, ]+) = unpack\(ARGV(?:, (\d+))?\)$", text, re.M):
        assert int(start or 1) == len(bound) + 1
        bound += names.split(", ")
    assert bound == fixed
    repeated = [argument for argument, rest in arguments if rest.endswith("...")]
    assert [argument for argument, _ in arguments] == fixed + repeated, "repeated ones come last"
    lists = re.findall(r"^local (\w+) = \{unpack\(ARGV, (\d+)", text, re.M)
    assert len(lists) == len(repeated)
    assert all(int(start) == len(fixed) + 1 for _, start in lists)
    assert "ARGV[" not in text


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name.endswith("_rows")])
def test_wrapper_has_the_name_of_its_file(name):
    assert hasattr(Schedule, name) or hasattr(Schedule, name.replace("_rows", "_calls"))


@pytest.mark.parametrize("name", FILES)
def test_file_is_short_and_narrow_with_one_statement_in_a_line(name):
    lines = text_of(name).splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if ";" in re.sub(r"--.*|'[^']*'", "", line)]


@pytest.mark.parametrize("name", FILES)
def test_script_finds_no_key_by_itself_and_names_its_commands(name):
    text = text_of(name)
    assert not re.search(r"'(KEYS|SCAN|EVAL|FLUSH\w+)'", text)
    assert not re.search(r"redis\.p?call\((?!\n? *'[A-Z]+')", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_for_the_server_has_fragments_and_no_comments(name):
    text = load_script(name).text
    assert "--" not in text
    assert "redis.call('TIME')" in text
    assert "'--" not in read_source(name), "a text that looks like a comment would be cut"


def test_every_fragment_is_in_some_script():
    assert {name for script in SCRIPTS for name in re.findall(r"@include (\w+)", text_of(script))} == set(FRAGMENTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_mark_of_a_script_has_a_program_that_finds_it(name):
    found, elsewhere = FOUND_BY.get(name, {}), FOUND_ELSEWHERE.get(name, set())
    assert set(mutate(text_of(name))) <= set(found) | elsewhere
    assert set(found) | elsewhere <= set(mutate(read_source(name))), "every program is there for a mark"
    assert set(found.values()) <= {*SMALL, *SMALL_DIVIDED}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_every_mark_of_a_fragment_has_a_program_that_finds_it_in_some_script(name):
    scripts = [script for script in SCRIPTS if f"@include {name}\n" in text_of(script)]
    found = {mark for table in (FOUND_BY, FOUND_ELSEWHERE) for script in scripts for mark in table.get(script, ())}
    assert set(mutate(text_of(f"include/{name}"))) <= found


@pytest.mark.parametrize("name", FOUND_BY)
def test_every_mutant_differs_from_its_script(name):
    sources = mutate(read_source(name))
    assert len({*sources.values(), read_source(name)}) == len(sources) + 1
