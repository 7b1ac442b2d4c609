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
    """Read values that the near cache does not have; None: read them with the client."""

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


class Pipeline(NamedTuple):
    """Request of commands in one round trip."""

    commands: Sequence[tuple[Any, ...]]

    def run(self, client: Any) -> Any:
        """Return the replies."""
        if len(self.commands) == 1:
            return [self._send_one(client)]
        return self._fill(client).execute()

    async def run_awaited(self, client: Any) -> Any:
        """Return the replies of a client of asyncio."""
        if len(self.commands) == 1:
            return [await self._send_one(client)]
        return await self._fill(client).execute()

    def _send_one(self, client: Any) -> Any:
        """Send the only command: without a pipeline, a third faster. Its arguments are keys."""
        (command,) = self.commands
        return client.execute_command(*command, keys=command[1:])

    def _fill(self, client: Any) -> Any:
        pipeline = client.pipeline(transaction=False)
        pipeline.command_stack = [(command, {}) for command in self.commands]  # without a call for each
        return pipeline
