"""Steps of a read, which RowCache does and AsyncRowCache awaits; no I/O."""

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from rowcache_tasks.reader.options import ReadRequest

T = TypeVar("T")


class Call(NamedTuple):
    """Send requests to Redis, one after the other; the reply is the list of theirs. Raises CacheError.

    A request has `run(client)`, and `run_awaited(client)` for a client of asyncio.
    """

    requests: Sequence[Any]


class Fetch(NamedTuple):
    """Read values through the near cache; None: read them with the client."""

    keys: Sequence[bytes]


class Fill(NamedTuple):
    """Read rows from the cache or else from the database, once for all callers: row id -> Found."""

    row_ids: Sequence[str]
    request: ReadRequest


class Load(NamedTuple):
    """Read rows of the database: row id -> JSON or note. Without row ids: only open it. Raises RowCacheError."""

    row_ids: Sequence[str] = ()


class Wait(NamedTuple):
    """Wait for so many seconds, or until the event is set."""

    seconds: float
    event: Any = None


Step = Call | Fetch | Fill | Load | Wait
Steps = Generator[Step, Any, T]


class Mget(NamedTuple):
    """Request for values. A key of another type counts as one that does not exist."""

    keys: Sequence[bytes]

    def run(self, client: Any) -> Any:
        """Return the values."""
        return client.mget(self.keys)

    async def run_awaited(self, client: Any) -> Any:
        """Return the values of a client of asyncio."""
        return await self.run(client)


class Pipeline(NamedTuple):
    """Request of several commands in one round trip."""

    commands: Sequence[tuple[Any, ...]]

    def run(self, client: Any) -> Any:
        """Return the replies."""
        pipeline = client.pipeline(transaction=False)
        for command in self.commands:
            pipeline.execute_command(*command)
        return pipeline.execute()

    async def run_awaited(self, client: Any) -> Any:
        """Return the replies of a client of asyncio."""
        return await self.run(client)
