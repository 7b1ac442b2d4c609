"""Reference made from the code: settings, tasks, commands, metrics, keys and errors, as Markdown."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from itertools import pairwise
from pathlib import Path

import click
from celery import Task

import rowcache_tasks
from rowcache_tasks import errors, tasks
from rowcache_tasks.config.parse import Parser
from rowcache_tasks.config.settings import SETTINGS, Settings, parse_settings
from rowcache_tasks.config.table import TABLE_OPTIONS, Table
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.keys import DeploymentNames, Keys
from rowcache_tasks.ops.cli import COMMANDS, rowcache
from rowcache_tasks.ops.freshness import QUANTILES, Freshness
from rowcache_tasks.ops.metrics import infos, measured
from rowcache_tasks.ops.overview import Overview
from rowcache_tasks.ops.snapshot import COUNTERS, Snapshot

PACKAGE = Path(rowcache_tasks.__file__).parent
REQUIRED = {"redis_url", "tables", "table"}
NONE = {f"`{value!r}`" for value in (MISSING, None, "", ())}
ALLOWED = re.compile(r"allowed (?:is|are) (?:an? )?(.*)")


def docstrings(kind: type) -> dict[str, str]:
    """Return the docstring below each attribute of a class, on one line."""
    [found] = ast.parse(inspect.getsource(kind)).body
    body = found.body if isinstance(found, ast.ClassDef) else []
    return {
        node.target.id: " ".join(str(below.value.value).split())
        for node, below in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def cell(text: str) -> str:
    """Escape a text for a cell of a table; code in it stays."""
    parts = text.replace("\n", " ").split("`")
    parts[::2] = [part.replace("|", "\\|").replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def table(*rows: tuple[str, ...]) -> str:
    """Return a table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def allowed_by(parse: Parser) -> str:
    """Return the values that a parser allows, in the words of its own error."""
    try:
        parse("", object())
    except ConfigError as error:
        found = ALLOWED.search(str(error))
        return found[1] if found else ""
    return ""


def options(kind: type, parsers: Mapping[str, tuple[str, Parser]]) -> str:
    """Return the table of settings, or of the options of a table."""
    texts = docstrings(kind)
    if missing := {field for field, _ in parsers.values()} - texts.keys():
        raise ConfigError(f"{kind.__name__}: no docstring below {', '.join(missing)}: write one, for the reference")
    defaults = {each.name: each.default for each in fields(kind)}
    rows = [("name", "default", "allowed", "meaning")]
    for name, (field, parse) in parsers.items():
        default = defaults[field]
        shown = "required" if field in REQUIRED else f"`{default!r}`"
        rows.append((f"`{name}`", "" if shown in NONE else shown, cell(allowed_by(parse)), cell(texts[field])))
    return table(*rows)


def settings() -> str:
    """Return the tables of all settings."""
    return f"## Settings\n\n{options(Settings, SETTINGS)}\n\n## Options of a table\n\n{options(Table, TABLE_OPTIONS)}"


def paragraphs(text: str) -> str:
    r"""Return a docstring or a help text as Markdown; what click does not wrap (\b) is a block."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(f"```text\n{part[2:].strip()}\n```" if part.startswith("\b") else cell(part) for part in parts)


def command_section(name: str, command: click.Command) -> Iterator[str]:
    """Yield the section of one command."""
    context = click.Context(command, info_name=name)
    yield f"## {name}"
    yield paragraphs(command.help or "")
    yield f"```text\nrowcache {name} {' '.join(command.collect_usage_pieces(context))}\n```"
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [(f"`{record[0]}`", cell(record[1])) for record in records if record and record[1]]
    if rows:
        yield table(("option", "meaning"), *rows)
    if command.epilog:
        yield paragraphs(command.epilog)


def commands() -> str:
    """Return a section for each command."""
    group = click.Context(rowcache)
    found = [(name, rowcache.get_command(group, name)) for name in COMMANDS]
    return "\n\n".join(part for name, command in found if command for part in command_section(name, command))


def calls() -> str:
    """Return a section for each task: its call, its name in messages, its docstring."""
    parts = []
    for name in tasks.__all__:
        task = getattr(tasks, name)
        if isinstance(task, Task):
            signature = inspect.signature(task.run)
            shown = [str(each) for each in signature.parameters.values() if each.name != "stamp"]
            shown = [re.sub(r"\b(?:\w+\.)+(?=\w)", "", each) for each in shown]
            parts.append(
                f"## {name}\n\n```text\n{name}.delay({', '.join(shown)})\n```\n\n{paragraphs(task.__doc__ or '')}"
            )
            parts.append(f"In messages: `{task.name}`.")
    return "\n\n".join(parts)


def key_rows(kind: type, plain: object, named: object, suffix: str) -> Iterator[tuple[str, ...]]:
    """Yield a row for each key of a class."""
    for name, text in docstrings(kind).items():
        if isinstance(value := getattr(plain, name, None), str):
            end = suffix if name.endswith("prefix") else ""
            yield f"`{value}{end}`", f"`{getattr(named, name)}{end}`", cell(text)


def keys() -> str:
    """Return the tables of all keys in Redis."""
    of_table = key_rows(Keys, Keys.of(""), Keys.of("users"), "<row id>")
    of_all = key_rows(DeploymentNames, DeploymentNames.of(""), DeploymentNames.of("shop"), "")
    return "\n\n".join(
        [
            "## Keys of a table",
            table(("of the table `inv`", "of a table `users`", "type and content"), *of_table),
            "## Keys and queues of a deployment",
            table(("without a name", "`rowcache_deployment` is `shop`", "type and content"), *of_all),
        ]
    )


def raised() -> str:
    """Return the tree of errors, and a section for each class."""
    tree = inspect.cleandoc(errors.__doc__ or "").partition("\n\n")[2].partition("\n\nEach ")[0]
    parts = ["```text\n" + inspect.cleandoc(tree) + "\n```"]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and kind.__module__ == errors.__name__ and issubclass(kind, Exception):
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            parts += [f"## {name}", f"Inherits from {bases}.", paragraphs(kind.__doc__ or "")]
    return "\n\n".join(parts)


def metrics() -> str:
    """Return the table of all metrics, as the exporter makes them of a deployment in which nothing has happened yet."""
    settings = parse_settings({"rowcache_redis_url": "redis://localhost", "rowcache_tables": {"inv": {"table": "inv"}}})
    found = Overview(
        at=0.0,
        tables={"inv": Snapshot("inv", 0.0, 0.0, None, counters=dict.fromkeys(COUNTERS, 0))},
        processes=[],
        settings=settings,
        freshness={"inv": Freshness(dict.fromkeys(QUANTILES, 0.0), 0)},
    )
    rows = [("name", "type", "labels", "meaning")]
    for family in (*infos(settings), *measured(found, [])):
        labels = getattr(family, "_labelnames", ()) or [
            label for sample in family.samples[:1] for label in sample.labels
        ]
        ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
        shown = ", ".join(f"`{label}`" for label in labels)
        rows.append((f"`{family.name}{ending}`", family.type, shown, cell(family.documentation)))
    return table(*rows)


def files() -> str:
    """Return the table of all modules and scripts, each with the first line of its description."""
    rows = [("file", "content")]
    for path in sorted(PACKAGE.rglob("*.*")):
        if path.suffix == ".py":
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        elif path.suffix == ".lua":
            text = path.read_text("utf-8").lstrip("- ")
        else:
            continue
        rows.append((f"`{path.relative_to(PACKAGE)}`", cell(text.partition("\n")[0])))
    return table(*rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "settings": settings,
    "tasks": calls,
    "commands": commands,
    "keys": keys,
    "errors": raised,
    "metrics": metrics,
    "files": files,
}
"""Name in `<!-- made from the code: NAME -->` -> the Markdown that takes its place."""
