"""Operator's commands: `celery -A rowcache_tasks rowcache …`.

Every celery command of every application imports this module, so it imports only click, and click_didyoumean, which
Celery imports too. The module of a command is imported when the command is used.
"""

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click_didyoumean import DYMGroup  # type: ignore[import-untyped]

from rowcache_tasks import __version__

__all__ = ["rowcache"]

CHANGES = ("schedule", "unschedule", "refresh", "schedule-table", "schedule-query", "reconcile", "pause", "resume")
COMMANDS = {
    "status": "status",
    **dict.fromkeys((*CHANGES, "drop-table"), "schedule"),
    **dict.fromkeys(("get", "errors", "rows"), "row"),
    "audit": "audit",
    "explain": "explain",
    **dict.fromkeys(("doctor", "health", "metrics"), "health"),
    **dict.fromkeys(("dispatch", "follow"), "process"),
    "grow": "schedule",
    "plan": "plan",
    "init": "init",
}
"""Command -> its module in this package."""


class LazyGroup(DYMGroup):  # type: ignore[misc]  # no types
    """Group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(COMMANDS)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. A stdout on a full disk is one line of error; one that is closed is not needed."""
        sys.stdout, sys.stderr = (stream or Path(os.devnull).open("w") for stream in (sys.stdout, sys.stderr))  # noqa: SIM115
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EBADF, errno.EIO}:
                raise
            with suppress(OSError, ValueError):  # what is still in its buffer would fail once more at the end
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.ClickException(f"the output cannot be written: {error.strerror}") from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"{__name__}.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command


REPOSITORY = "https://github.com/rowcache-tasks/rowcache-tasks"
EXAMPLES = f"""\b
Examples:
  celery -A rowcache_tasks rowcache status --watch
  celery -A rowcache_tasks rowcache schedule inv 10 42 43
  celery -A rowcache_tasks rowcache explain inv 42
  celery -A rowcache_tasks rowcache doctor

\b
Docs: {REPOSITORY}/tree/v{__version__}/docs
Questions and faults: {REPOSITORY}/issues"""


HELP = {"help_option_names": ["-h", "--help"]}
"""Settings of the group and of each command: click keeps those with which a command is parsed first."""


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings=HELP)
@click.version_option(__version__, prog_name="rowcache_tasks")
def rowcache(**_: object) -> None:  # Celery 5.6 passes the preload options of an application
    """Inspect and change the row cache in Redis, without a worker."""
