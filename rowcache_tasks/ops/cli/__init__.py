"""Own `celery -A rowcache_tasks rowcache …`, the operator's commands, registered with Celery by an entry point.

Every celery command of every application loads this module: it must import nothing but click. A command's own module
is imported when the command is used.
"""

from importlib import import_module

import click

__all__ = ["rowcache"]

COMMANDS = {
    "status": "status",
    "schedule": "schedule",
    "unschedule": "schedule",
    "refresh": "schedule",
    "schedule-table": "warmup",
    "schedule-query": "warmup",
    "reconcile": "warmup",
    "pause": "table",
    "resume": "table",
    "drop-table": "table",
    "get": "get",
    "errors": "errors",
    "doctor": "doctor",
    "health": "health",
    "metrics": "metrics",
    "plan": "plan",
}
"""Command -> the module here that holds it."""


class LazyGroup(click.Group):
    """Imports commands when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the help."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"{__name__}.{COMMANDS[cmd_name]}"), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command


@click.group(cls=LazyGroup)
def rowcache() -> None:
    """Look at the row cache and change what it does, straight in Redis: no worker and no broker is needed."""
