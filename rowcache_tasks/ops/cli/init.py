"""Command init: writes the files of a project of one's own."""

import json
import os
from pathlib import Path

import click

from rowcache_tasks.celery.application import CELERY, PACKAGE
from rowcache_tasks.errors import RowCacheError
from rowcache_tasks.ops.cli.access import FailedError, MistypedError
from rowcache_tasks.ops.cli.command import command, json_option

FILES = ("celeryconfig.py", ".env", "compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
"""Files that are written, and other names that Compose looks for."""
DEFAULT = "redis://localhost:6379/0"


@command("init --database mysql://reader@db/shop", "init shop")
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path))
@click.option("--database", help="SQLAlchemy URL; its tables are looked up.  [default: $ROWCACHE_DATABASE_URL]")
@click.option("--redis", help=f"URL of the cache.  [default: $ROWCACHE_REDIS_URL, or {DEFAULT}]")
@json_option
def init(folder: Path, database: str | None, redis: str | None, as_json: bool) -> None:
    """Write the files of a project of your own into DIR. They are celeryconfig.py, compose.yaml and .env.

    Asks nothing and overwrites nothing: exit status 2 when one of the files is there. Needs no configuration.
    """
    app = getattr(click.get_current_context().find_root().obj, "app", None)
    if getattr(app, "main", PACKAGE) != PACKAGE:
        raise FailedError(f"the settings of {CELERY} are in its own configuration: set rowcache_* there")
    if there := [name for name in FILES if os.path.lexists(folder / name)]:
        found = f"{', '.join(there)} in {folder} {'is' if len(there) == 1 else 'are'} there already"
        raise MistypedError(f"{found}: nothing is written, name another DIR")
    try:
        from rowcache_tasks.ops.project import make_files  # noqa: PLC0415 an extra

        texts, tables = make_files(
            redis or os.environ.get("ROWCACHE_REDIS_URL") or DEFAULT,
            database or os.environ.get("ROWCACHE_DATABASE_URL") or None,
        )
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write(folder / name, text, 0o600 if name == ".env" else 0o666)
    except RowCacheError as error:
        raise FailedError(str(error)) from error
    except OSError as error:
        raise FailedError(f"{error.filename} cannot be written: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"files": [str(folder / name) for name in texts], "tables": list(tables)}))
        return
    click.echo(f"celeryconfig.py: {', '.join(tables) or 'no table with a primary key: name your tables there'}")
    click.echo("compose.yaml: Valkey, two dispatchers, a worker, Flower")
    click.echo(".env: addresses and passwords; keep it out of version control")


def write(path: Path, text: str, mode: int) -> None:
    """Write a new file; raises FileExistsError when another program has made it meanwhile."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
