"""The only SQL of the package."""

from rowcache_tasks.errors import MissingExtraError

try:
    import sqlalchemy  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtraError.of("reading the database", "worker", error) from None
