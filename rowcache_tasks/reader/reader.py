"""Options and parts of RowCache and AsyncRowCache, and their copies in other processes."""

import logging
from typing import Any

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import redact
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics
from rowcache_tasks.reader.operations import Operations
from rowcache_tasks.reader.options import ReaderSettings, ReadThrough, find_settings
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.server import Server
from rowcache_tasks.reader.types.decoder import Row, RowDecoder
from rowcache_tasks.schedule.connection import check_timeout
from rowcache_tasks.schedule.servers import Servers

logger = logging.getLogger(__name__)


class Reader(Operations[Row]):
    """The common part of RowCache and AsyncRowCache."""

    _client_type: type

    def __init__(  # noqa: PLR0913 the options of RowCache
        self,
        table: str,
        row_type: "type[Row] | None",
        *,
        client: Any = None,
        url: str | None = None,
        namespace: str | None = None,
        partitions: int = 1,
        growing_from: int = 0,
        timeout: float = 1.0,
        near: int = 0,
        read_through: ReadThrough | None = None,
        app: object = None,
    ) -> None:
        divided = (partitions, growing_from)
        settings = find_settings(table, url, namespace, client, self._client_type, read_through, app, divided)
        self._open(settings, row_type, client, check_timeout(timeout), near)

    def _open(
        self, settings: ReaderSettings, row_type: "type[Row] | None", client: Any, timeout_s: float, near: int
    ) -> None:
        """Make the parts, none of which has a connection yet."""
        self._settings, self._row_type, self._given, self._timeout_s = settings, row_type, client, timeout_s
        self._near: NearCache | None = None
        self._grows = settings.table.growing_from > 0
        if near and self._grows:
            logger.warning("%s: no near cache while the table grows ('growing_from')", settings.table.name)
            near = 0
        if near:
            address = client or shared_client(settings.url, timeout_s)
            if isinstance(address, Servers) and "{" not in settings.table.parts[0].place:
                raise ArgumentError(
                    f"near is given, and table {settings.table.name!r} has neither partitions nor a namespace with "
                    "braces: set one of them, as several Redis servers need it"
                )
            self._near = NearCache(address, max_rows=near, wait_s=timeout_s / 2, parts=settings.table.partitions)
        self._server = Server(settings.table.name)
        self._breaker = self._server.breaker
        self._prefixes = [part.keys.value_prefix for part in settings.table.parts[: settings.table.partitions]]
        self._prefix = self._prefixes[0] if len(self._prefixes) == 1 else ""
        self._decoder = RowDecoder(settings.table.name, row_type)
        self._decode = self._decoder.decode_plain

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the settings, with the login of Redis: a copy in another process has connections of its own."""
        if self._given is not None:
            raise TypeError(f"{self!r} cannot be pickled: it has a client of the application; give url instead")
        near = 0 if self._near is None else self._near.max_rows
        return self._settings, self._row_type, None, self._timeout_s, near

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._open(*state)

    def __repr__(self) -> str:
        server = (
            f"url={redact(self._settings.url)!r}" if self._given is None else f"client={type(self._given).__name__}"
        )
        kind = "" if self._row_type is None else f", type={getattr(self._row_type, '__name__', self._row_type)}"
        return f"{type(self).__name__}({self.table.name!r}, {server}, namespace={self.table.namespace!r}{kind})"

    @property
    def table(self) -> Table:
        """The settings of the table that is read."""
        return self._settings.table

    def near_statistics(self) -> NearStatistics | None:
        """Return the counts of the near cache of this process; None when there is none."""
        return None if self._near is None else self._near.statistics()
