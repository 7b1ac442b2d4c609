"""Each block of code in the documents is checked here, run by a test that is named, or marked as not run."""

import ast
import builtins
import configparser
import importlib
import inspect
import json
import re
import shlex
import tomllib
from importlib.util import find_spec

import click
import pytest
from celery import Task
from celery.bin.celery import celery
from ruamel.yaml import YAML
from support.documented import PAGES, read_blocks
from support.project import ROOT

import rowcache_tasks
from rowcache_tasks.config.settings import SETTINGS, parse_settings
from rowcache_tasks.config.table import TABLE_OPTIONS
from rowcache_tasks.ops.cli import COMMANDS, rowcache
from rowcache_tasks.reader.options import AsyncOptions, SyncOptions

BLOCKS = [block for page in PAGES for block in read_blocks(page)]
CHECKED = [block for block in BLOCKS if not block.mark]
FICTION = {"celeryconfig", "inventory", "shop"}
"""Modules of the readers' own projects."""
READERS = {"RowCache": rowcache_tasks.RowCache, "AsyncRowCache": rowcache_tasks.AsyncRowCache}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
TYPED = re.compile(r"(?:celery(?: -q)? -A \w+ |manage\.py |run --rm cli |^)rowcache ([^-].*)")
PROCESS = re.compile(r"celery(?: -q)? -A \w+ (worker|beat|flower|report|inspect|control)\b(.*)")
HARMLESS = re.compile(r"(?:cat|head|psql \w+|cd \S+|mkdir \S+|python -m venv \S+|\. \S+/activate|pytest.*)$")


def options_of(command):
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def check_rowcache(words):
    """Parse a command line as the program does, without running it."""
    name, *arguments = words
    command = rowcache.get_command(click.Context(rowcache), name)
    assert command, f"no such command: rowcache {name}"
    command.make_context(name, arguments)


def check_process(name, words):
    """Check the options of a process of Celery."""
    if name in celery.commands:
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        known = options_of(celery.commands[name]) | {"--pidfile", "-B"}
        assert {option for option in given if option not in known and option[:2] not in known} == set()


def check_line(line):
    """Check one line of a shell."""
    for part in re.split(r"\s[|;]\s|\s&&\s", line):
        text = re.sub(r"\s+(?:&|# .*|& *# .*)$", "", part.strip())
        if found := TYPED.search(text):
            check_rowcache(shlex.split(found[1]))
        elif found := PROCESS.match(text):
            check_process(found[1], shlex.split(found[2]))
        elif text.startswith("pip install"):
            named = re.findall(r"rowcache-tasks\[([\w,]+)\]", text)
            assert {extra for extras in named for extra in extras.split(",")} <= EXTRAS.keys()
        elif text.startswith("make "):
            assert [word for word in text.split()[1:] if "=" not in word and word not in TARGETS] == []
        else:
            assert HARMLESS.match(text), f"no test parses {text!r}: mark the block with <!-- not run: the reason -->"


def check_console(text):
    typed = re.findall(r"^\$ (.*)", text, re.MULTILINE)
    assert typed, "no line begins with $"
    for line in typed:
        check_line(line)


def check_shell(text):
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            check_line(line)


def check_python(text):
    """Compile; what is imported is there."""
    compile(text, "block", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(text)):
        for alias in node.names if isinstance(node, ast.Import) else ():
            assert alias.name.split(".")[0] in FICTION or find_spec(alias.name), f"no module {alias.name}"
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] not in FICTION:
            module = importlib.import_module(node.module)
            absent = [alias.name for alias in node.names if alias.name != "*" and not hasattr(module, alias.name)]
            assert absent == [], f"{node.module} has no {absent}"


def public_names(nodes):
    """Name -> object, of the imports from this package and of the variables that are assigned a reader."""
    found = dict(READERS)
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("rowcache_tasks"):
            module = importlib.import_module(node.module)
            found |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    made = {}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name):
            kind = READERS.get(getattr(node.value.func, "id", ""))
            made |= {node.targets[0].id: kind} if kind else {}
    return found, made


def check_call(call, names, made):
    """Check the arguments of a call of a public name, of a task, or of a method of a reader."""
    function, is_method = call.func, False
    if isinstance(function, ast.Name):
        target = names.get(function.id)
    elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        owner = names.get(function.value.id)
        is_method = function.value.id in made
        if is_method:
            target = getattr(made[function.value.id], function.attr)
        else:
            target = owner.run if isinstance(owner, Task) and function.attr in {"delay", "si"} else None
    else:
        target = None
    if target is None or any(isinstance(argument, ast.Starred) for argument in call.args):
        return
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    inspect.signature(target).bind(*[None] * (len(call.args) + is_method), **keywords)
    if target in READERS.values():
        assert keywords.keys() <= {"type", *SyncOptions.__optional_keys__, *AsyncOptions.__optional_keys__}


CHECKS = {
    "console": check_console,
    "sh": check_shell,
    "python": check_python,
    "yaml": lambda text: list(YAML(typ="safe").load_all(text)),
    "toml": tomllib.loads,
    "json": json.loads,
    "ini": lambda text: configparser.ConfigParser(interpolation=None).read_string(f"[DEFAULT]\n{text}"),
    "text": len,  # output or a picture
}


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.name)
def test_block_is_right(block):
    assert block.language in CHECKS, f"{block.language or 'a block without a language'}: mark it as run, or as not run"
    CHECKS[block.language](block.text)


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.language == "python"}))
def test_names_and_calls_in_the_python_of_a_page_are_right(page):
    trees = [ast.parse(block.text) for block in BLOCKS if block.page == page and block.language == "python"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names, made = public_names(nodes)
    for node in nodes:
        if isinstance(node, ast.Call):
            check_call(node, names, made)
    bound = {node.asname or node.name.split(".")[0] for node in nodes if isinstance(node, ast.alias)}
    bound |= {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)}
    bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert used - bound - vars(builtins).keys() == set()


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if re.search(r"^rowcache_tables = ", block.text, re.MULTILINE)],
    ids=lambda block: block.name,
)
def test_settings_of_a_page_are_valid(block):
    names = {}
    exec(compile(block.text, block.name, "exec"), names)
    parse_settings({"rowcache_redis_url": "redis://localhost"} | names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_fence_is_part_of_a_block(page):
    assert page.read_text("utf-8").count("```") == 2 * len(read_blocks(page))


def test_block_that_is_run_names_a_test_that_reads_its_page():
    for block in BLOCKS:
        if block.mark == "run":
            test = ROOT / block.reason.partition("::")[0]
            name = block.page.rpartition("/")[2]
            assert test.is_file(), block.name
            assert name in test.read_text("utf-8"), f"{block.name}: {block.reason} does not name {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_in_the_text_are_there(page):
    named = re.findall(r"`(?:celery -A \w+ )?rowcache ([a-z][\w-]*)", page.read_text("utf-8"))
    assert [name for name in named if name not in COMMANDS] == []


def test_every_setting_and_option_of_a_table_is_in_the_page_of_settings():
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert [name for name in (*SETTINGS, *TABLE_OPTIONS) if not re.search(rf"[`\"]{name}\b", page)] == []
