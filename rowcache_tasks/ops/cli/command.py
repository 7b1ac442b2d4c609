"""Parts of commands: examples in the help, TABLE, --json, output for people, progress."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import repeat
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from rowcache_tasks.celery.application import COMMAND, applications, settings_of
from rowcache_tasks.config.settings import load_settings
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import show_count
from rowcache_tasks.ops.cli import HELP
from rowcache_tasks.ops.cli.access import FailedError, open_access


class RowIdCommand(click.Command):
    """Command whose arguments may begin with a minus sign, unless they look like a mistyped option of its own."""

    ignore_unknown_options = True  # an unknown one is an argument

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an argument that is nearly an option; after -- everything is an argument."""
        options = [name for option in self.get_params(ctx) for name in option.opts if name.startswith("--")]
        for argument in args[: args.index("--")] if "--" in args else args:
            name = argument.partition("=")[0]
            near = get_close_matches(name, options) if name.startswith("--") and name not in options else []
            if near:
                raise click.NoSuchOption(name, possibilities=near, ctx=ctx)
        return super().parse_args(ctx, args)


class TableName(click.ParamType):  # type: ignore[type-arg]  # not generic in older versions
    """Name of a table of the settings, which a shell can complete."""

    name = "table"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the tables that begin so; none where the settings cannot be read."""
        app = ctx.find_root().params.get("app")
        try:
            tables = (settings_of(app) if app in applications else load_settings()).tables
        except ConfigError:
            return []
        return [CompletionItem(name) for name in tables if name.startswith(incomplete)]


TABLE = click.Argument(["table"], type=TableName())
JSON = click.Option(["--json", "as_json"], is_flag=True, help="One JSON object.")
table_argument = click.argument("table", type=TABLE.type)
json_option = click.option(*JSON.opts, JSON.name, is_flag=True, help=JSON.help)


MOST = 10**9  # largest number of an option


class Seconds(click.FloatRange):
    """A finite number of seconds in a range: NaN compares as neither too small nor too large."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Refuse NaN and infinity."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


def number_option(name: str, least: int, default: float, text: str, unit: str = "N") -> Callable[[Any], Any]:
    """Return an option for a number: a whole one N, or one with a unit."""
    kind = click.IntRange if unit == "N" else Seconds
    return click.option(name, type=kind(least, MOST), default=default, show_default=True, metavar=unit, help=text)


def command(*examples: str, cls: type[click.Command] = click.Command) -> Callable[[Any], Any]:
    """Return the decorator of a command. `examples`: command lines without their beginning, for the help."""
    lines = [f"  {COMMAND} {example}" for example in examples]
    # \b: the lines are not wrapped.
    epilog = "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *lines])
    return click.command(cls=cls, epilog=epilog, context_settings=HELP)


def say(text: str, *, err: bool = False) -> None:
    """Print a line; on a terminal, wrapped at its width."""
    click.echo(wrapped(text) if (sys.stderr if err else sys.stdout).isatty() else text, err=err)


def wrapped(text: str) -> str:
    """Wrap a line at the width of the terminal."""
    indent = " " * (len(text) - len(text.lstrip()))
    return click.wrap_text(text.lstrip(), shutil.get_terminal_size().columns, indent, f"{indent}      ")


def page(lines: Iterable[str]) -> None:
    """Print lines; on a terminal through $PAGER, default less, which ends by itself when they fit on the screen."""
    if not sys.stdout.isatty():
        for line in lines:
            click.echo(line)
        return
    os.environ.setdefault("LESS", "FRX")  # as git does
    click.echo_via_pager(f"\n{wrapped(line)}" if number else wrapped(line) for number, line in enumerate(lines))


class Result(NamedTuple):
    """Result of a command."""

    lines: Iterable[str]  # for people
    figures: dict[str, Any]  # for --json
    is_good: bool = True  # exit status 0, else 1


class TableCommand(click.Command):
    """Command on TABLE with --json: its function gets settings and clients as `access`, and returns a Result."""

    def __init__(self, name: str | None, *, params: list[click.Parameter], **options: Any) -> None:
        super().__init__(name, params=[TABLE, *params, JSON], **options)

    def invoke(self, ctx: click.Context) -> None:
        """Run the function, and print its result."""
        as_json, table = ctx.params.pop("as_json"), ctx.params["table"]
        with open_access() as access:
            ctx.params["access"] = access
            result: Result = super().invoke(ctx)
        if as_json:
            click.echo(json.dumps({"table": table} | result.figures))
        for line in () if as_json else result.lines:
            say(line)
        if not result.is_good:
            ctx.exit(1)


class RowIdTableCommand(RowIdCommand, TableCommand):
    """TableCommand of which an argument may begin with a minus sign."""


LINE_S = 5.0  # time between two lines without a bar


@contextmanager
def show_progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the rows done so far. `total`: None: unknown. Ctrl-C raises FailedError."""
    count, shown_at, bar = 0, time.monotonic(), None

    def report(done: int) -> None:
        nonlocal count, shown_at
        if bar is not None:
            bar.update(done - count)
        elif time.monotonic() - shown_at >= LINE_S:
            shown_at = time.monotonic()
            click.echo(f"{title}: {done:,}{'' if total is None else f' of about {total:,}'} rows", err=True)
        count = done

    try:
        if sys.stderr.isatty() and total != 0:
            endless = repeat(None) if total is None else None  # the bar then moves to and fro
            with click.progressbar(endless, total, title, show_pos=True, file=sys.stderr, update_min_steps=1000) as bar:
                yield report
        else:
            yield report
    except KeyboardInterrupt:
        raise FailedError(
            f"{title}: interrupted after {show_count(count, 'row')}, which stay done: the same command does the rest"
        ) from None
