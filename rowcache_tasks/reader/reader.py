"""Options and parts of RowCache and AsyncRowCache, and their copies in other processes."""

import logging
from typing import Any, Generic

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ArgumentError
from rowcache_tasks.errors.text import redact
from rowcache_tasks.reader.near.cache import NearCache, NearStatistics
from rowcache_tasks.reader.options import ReaderSettings, find_settings
from rowcache_tasks.reader.pool import shared_client
from rowcache_tasks.reader.server import Server
from rowcache_tasks.reader.transport import Transport
from rowcache_tasks.reader.types.decoder import Row, RowDecoder
from rowcache_tasks.schedule.servers import Servers

logger = logging.getLogger(__name__)


class Reader(Generic[Row]):
    """The settings and the parts of RowCache and AsyncRowCache, and their copies in other processes."""

    _client_type: type

    def __init__(self, table: str, row_type: "type[Row] | None", client: Any = None, **options: Any) -> None:
        self._open(find_settings(table, client, self._client_type, **options), row_type, client)

    def _open(self, settings: ReaderSettings, row_type: "type[Row] | None", client: Any) -> None:
        """Make the parts, none of which has a connection yet."""
        self._settings, self._row_type, self._given = settings, row_type, client
        table = settings.table
        self._grows = table.growing_from > 0  # whether rows may be at their old places
        self._server = Server(table.name)
        self._breaker = self._server.breaker
        self._prefixes = [part.keys.value_prefix for part in table.parts[: table.partitions]]  # of keys, by partition
        self._prefix = self._prefixes[0] if len(self._prefixes) == 1 else ""  # of a table that is not divided
        self._decoder = RowDecoder(table.name, row_type)
        self._decode = self._decoder.decode_plain
        self._near = self._open_near() if settings.near else None

    def _open_near(self) -> NearCache | None:
        table, near, timeout_s = self.table, self._settings.near, self._settings.timeout_s
        if self._grows:
            logger.warning("%s: no near cache while the table grows ('growing_from')", table.name)
            return None
        address = self._given or shared_client(self._settings.url, timeout_s)
        if isinstance(address, Servers) and "{" not in table.parts[0].place:
            raise ArgumentError(
                f"near is given, and table {table.name!r} has neither partitions nor a namespace with braces: "
                "set one of them, as several Redis servers need it"
            )
        return NearCache(address, max_rows=near, wait_s=timeout_s / 2, parts=table.partitions)

    def _here(self) -> Transport:
        """Return the I/O of this process, or of the running event loop."""
        raise NotImplementedError

    def __getstate__(self) -> tuple[Any, ...]:
        """Return the settings, with the login of Redis: a copy in another process has connections of its own."""
        if self._given is not None:
            raise TypeError(f"{self!r} cannot be pickled: it has a client of the application; give url instead")
        return self._settings, self._row_type, None

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
