"""Command flower: that of Flower, or the line that says how to install it."""

import sys

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
