"""Program: reads a cached row, then fills one, and prints at each Redis command whether SQLAlchemy is imported."""

import asyncio
import sys

import redis
import redis.asyncio

from rowcache_tasks import AsyncRowCache, ReadThrough, RowCache


def show(command):
    loader = sys.modules.get("rowcache_tasks.reader.fill.loader")
    engines = len(loader.pools) if loader else 0
    print(f"{command}, SQLAlchemy {'sqlalchemy' in sys.modules}, engines {engines}")


class Client(redis.Redis):
    def execute_command(self, *arguments, **options):
        show(arguments[0])
        return super().execute_command(*arguments, **options)


class AsyncClient(redis.asyncio.Redis):
    async def execute_command(self, *arguments, **options):
        show(arguments[0])
        return await super().execute_command(*arguments, **options)


def fill(url, read_through):
    cache = RowCache("inv", client=Client.from_url(url), namespace="", read_through=read_through)
    cache.get("2", fill=True)
    return cache.get("1", fill=True)


async def fill_as_task(url, read_through):
    async with AsyncClient.from_url(url) as client:
        cache = AsyncRowCache("inv", client=client, namespace="", read_through=read_through)
        await cache.get("2", fill=True)
        return await cache.get("1", fill=True)


def main():
    kind, url, database_url = sys.argv[1:]
    read_through = ReadThrough(database_url=database_url, timeout=20)
    print(asyncio.run(fill_as_task(url, read_through)) if kind == "asyncio" else fill(url, read_through))


if __name__ == "__main__":
    main()
