"""Operator's commands: `celery -A rowcache_tasks rowcache …`.

Every celery command of every application imports this module, so it imports only click. The module of a command is
imported when the command is used.
"""

from importlib import import_module

import click

__all__ = ["rowcache"]

COMMANDS = {
    "status": "status",
    "schedule": "schedule",
    "unschedule": "schedule",
    "refresh": "schedule",
    "schedule-table": "schedule",
    "schedule-query": "schedule",
    "reconcile": "schedule",
    "pause": "schedule",
    "resume": "schedule",
    "drop-table": "schedule",
    "get": "row",
    "errors": "row",
    "doctor": "health",
    "health": "health",
    "metrics": "health",
    "plan": "plan",
}
"""Command -> its module in this package."""


class LazyGroup(click.Group):
    """Group that imports a command when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
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
    """Inspect and change the row cache directly in Redis, without a worker."""
