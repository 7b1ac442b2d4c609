"""AsyncRowCache, called as RowCache is: so that one suite of tests is for both."""

import asyncio

from rowcache_tasks import AsyncRowCache, RowCache


class Awaited:
    """The methods of an AsyncRowCache, each run to its end in one event loop of its own."""

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
        """Close everything, a client of the application as well, and the loop."""
        self.close()
        if client is not None:
            self._runner.run(client.aclose())
        self._runner.close()


class Plain(RowCache):
    """A RowCache with the same end."""

    def end(self, client=None):
        self.close()
        if client is not None:
            client.close()


KINDS = {"threads": Plain, "asyncio": Awaited}
