"""Command flower: that of Flower with a tab for the row cache, or the line that says how to install it."""

import sys
from functools import wraps
from typing import Any

import click

from rowcache_tasks.errors import MissingExtraError

try:
    from flower.command import flower  # type: ignore[import-untyped]
except ModuleNotFoundError as error:
    REMEDY = str(MissingExtraError.of("flower", "flower", error))

    @click.command(hidden=True, context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("arguments", nargs=-1)
    def flower(**_: object) -> None:
        """Print the line."""
        sys.exit(f"rowcache_tasks: {REMEDY}")
else:
    start_flower = flower.callback

    @wraps(start_flower)
    def start_with_tab(*arguments: Any, **options: Any) -> Any:
        """Add the tab, if the application has the tasks of the package, and start Flower."""
        if "rowcache_tasks.celery.application" in sys.modules:
            from rowcache_tasks.ops.cli.flower.tab import add_tab  # noqa: PLC0415 loaded by every celery command

            add_tab(click.get_current_context().obj.app)
        return start_flower(*arguments, **options)

    flower.callback = start_with_tab
