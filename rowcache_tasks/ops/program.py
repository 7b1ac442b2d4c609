"""Program rowcache: short for `celery -A rowcache_tasks rowcache`."""

import os
import sys

from rowcache_tasks.errors import MissingExtraError


def main() -> None:
    """Run a command of the application that CELERY_APP names, or of that of the package."""
    try:
        if "_ROWCACHE_COMPLETE" in os.environ:
            from rowcache_tasks.ops.cli import rowcache  # noqa: PLC0415 an extra

            rowcache.main(prog_name="rowcache")  # prints the completions for a shell
        from celery.__main__ import main as run_celery  # noqa: PLC0415 an extra
    except ModuleNotFoundError as error:
        sys.exit(f"rowcache_tasks: {MissingExtraError.of('rowcache', 'worker', error)}")
    sys.argv[:1] = ["celery", "-A", os.environ.get("CELERY_APP") or "rowcache_tasks", "rowcache"]
    run_celery()
