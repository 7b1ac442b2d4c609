"""Files of a project of one's own: settings, Compose, .env."""

import json
import secrets
from importlib.resources import files
from pathlib import Path

from sqlalchemy import URL, make_url

from rowcache_tasks import __version__
from rowcache_tasks.config.parse import parse_url
from rowcache_tasks.config.redis_url import parse_redis_url
from rowcache_tasks.config.table import parse_table
from rowcache_tasks.database.dialects import dialect_of
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.outage import source_errors
from rowcache_tasks.database.table import load_table
from rowcache_tasks.errors import ConfigError
from rowcache_tasks.errors.text import one_line, redact

MAX_TABLES = 20  # tables that become settings; the others become comments, since a dispatcher looks at each table
TIMEOUT_S = 10.0
LOCAL = {"localhost", "127.0.0.1", "::1"}
DOCS = f"https://github.com/rowcache-tasks/rowcache-tasks/blob/v{__version__}/docs"

EXAMPLE = '    # "inv": {"table": "inventory"},  # your tables'
EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}


def make_files(redis_url: str, database_url: str | None) -> tuple[dict[str, str], list[str]]:
    """Return the text of each file, and the tables found with their keys. Raises ConfigError, SourceError."""
    parse_redis_url("--redis", redis_url)
    here, extra = files("rowcache_tasks.ops"), "worker"
    names = ("celeryconfig.in", "compose.yaml", "env.in")
    configuration, compose, environment = (here.joinpath(name).read_text("utf-8") for name in names)
    url = container = parse_url("--database", database_url) if database_url else ""
    lines, found = read_tables(url) if url else ([EXAMPLE], [])
    if url:
        place = make_url(url)
        extra = EXTRAS.get(place.get_backend_name(), extra)
        if place.host in LOCAL:
            container = place.set(host="host.docker.internal").render_as_string(hide_password=False)
        if is_file(place):
            place = place.set(database=str(Path(place.database or "").absolute()))
            url = container = str(place)
            parent = str(Path(str(place.database)).parent).replace("$", "$$")
            compose = compose.replace(
                "    extra_hosts", f"    volumes: [{json.dumps(f'{parent}:{parent}')}]\n    extra_hosts"
            )
    if "'" in redis_url + url:
        raise ConfigError("--redis or --database holds a quotation mark, as .env cannot: write %27 in a password")
    facts = {"redis": redis_url, "database": url, "container": container, "extra": extra, "version": __version__}
    passwords = {"valkey": secrets.token_hex(24), "flower": secrets.token_hex(24)}
    return {
        "celeryconfig.py": configuration.replace("DOCS", DOCS).replace("TABLES", "\n".join(lines)),
        "compose.yaml": compose,
        ".env": environment.format(**facts, **passwords),
    }, found


def is_file(url: URL) -> bool:
    """Return whether a URL is that of a SQLite file."""
    path = url.database or ":memory:"
    return url.get_backend_name() == "sqlite" and path != ":memory:" and not path.startswith("file:")


def read_tables(database_url: str) -> tuple[list[str], list[str]]:
    """Return the lines of rowcache_tables, and the tables that are in them, each with its key."""
    engine = create_source_engine(database_url, statement_timeout_s=TIMEOUT_S)
    dialect = dialect_of(engine.dialect.name)
    lines: list[str] = []
    comments: list[str] = []
    found: list[str] = []
    failure = f"--database {redact(database_url)} cannot be read"
    try:
        with source_errors(engine, failure), dialect.transaction(engine) as connection:
            for name in sorted(set(dialect.relation_names(connection, None))):
                entry = f"{json.dumps(name)}: {{{json.dumps('table')}: {json.dumps(name)}}}"
                try:
                    table = load_table(parse_table(name, name, {"table": name}), dialect, connection)
                except ConfigError as error:
                    comments.append(f"    # {entry},  # {one_line(str(error).partition(': ')[2], 100)}")
                    continue
                key = one_line(", ".join(column.name for column in table.all_keys.selected_columns), 80)
                if len(lines) < MAX_TABLES:
                    lines.append(f"    {entry},  # key: {key}")
                    found.append(f"{one_line(name)} (key {key})")
                else:
                    comments.append(f"    # {entry},  # key: {key}")
    finally:
        engine.dispose()
    return lines + comments, found
