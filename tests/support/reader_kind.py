"""Both readers behind one blocking interface, so that one test covers RowCache and AsyncRowCache."""

import asyncio

from rowcache_tasks import AsyncRowCache, RowCache


class ThreadReader(RowCache):
    """RowCache with the same end() as BlockingAsyncReader."""

    def end(self, client=None):
        self.close()
        if client is not None:
            client.close()


class BlockingAsyncReader:
    """AsyncRowCache whose calls block: each runs to its end in an event loop of this object."""

    def __init__(self, *arguments, **options):
        self.cache = AsyncRowCache(*arguments, **options)
        self._runner = asyncio.Runner()

    def get(self, *arguments, **options):
        return self._runner.run(self.cache.get(*arguments, **options))

    def get_many(self, *arguments, **options):
        return self._runner.run(self.cache.get_many(*arguments, **options))

    def get_with_age(self, *arguments, **options):
        return self._runner.run(self.cache.get_with_age(*arguments, **options))

    def age(self, row_id):
        return self._runner.run(self.cache.age(row_id))

    def exists(self, row_id):
        return self._runner.run(self.cache.exists(row_id))

    def near_statistics(self):
        return self.cache.near_statistics()

    def close(self):
        self._runner.run(self.cache.close())

    def end(self, client=None):
        """Close the reader, the application's client if there is one, and the event loop."""
        self.close()
        if client is not None:
            self._runner.run(client.aclose())
        self._runner.close()


READER_KINDS = {"threads": ThreadReader, "asyncio": BlockingAsyncReader}
