"""Many concurrent readers, threads or tasks: in this process, or in another that runs this module."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from support.project import ROOT

from rowcache_tasks import AsyncRowCache, ReadThrough, RowCache, RowCacheError


def read_concurrently(kind, options, row_ids, on_asked=lambda: None, **get_options):
    """Call get() for all row ids at the same moment, one thread or task each; return rows, and errors as texts.

    `kind` is "threads" or "asyncio". on_asked() is called once, when every caller has started.
    """
    if kind == "asyncio":
        return asyncio.run(ask_as_tasks(options, row_ids, on_asked, get_options))
    cache = RowCache("inv", **options)
    barrier = threading.Barrier(len(row_ids), action=on_asked)

    def ask(row_id):
        barrier.wait()
        try:
            return cache.get(row_id, **get_options)
        except RowCacheError as error:
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(len(row_ids)) as pool:
        return list(pool.map(ask, row_ids))


async def ask_as_tasks(options, row_ids, on_asked, get_options):
    cache = AsyncRowCache("inv", **options)

    async def ask(row_id):
        try:
            return await cache.get(row_id, **get_options)
        except RowCacheError as error:
            return f"{type(error).__name__}: {error}"

    tasks = [asyncio.create_task(ask(row_id)) for row_id in row_ids]
    await asyncio.sleep(0)  # each has run until it waits for something
    on_asked()
    answers = await asyncio.gather(*tasks)
    await cache.close()
    return answers


class ReaderProcess:
    """Concurrent readers in another process, which has imported everything before it is asked."""

    def __init__(self, kind, url, **read_through):
        self._given = {"kind": kind, "url": url, "read_through": read_through}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.concurrent_readers"],
            env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, row_ids):
        self.expect("ready")
        print(json.dumps(self._given | {"row_ids": row_ids}), file=self._process.stdin, flush=True)

    def expect(self, word):
        assert self._process.stdout.readline().strip() == word

    def answers(self):
        answers = json.loads(self._process.stdout.readline())
        self._process.communicate(timeout=60)
        return answers

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=60)


def main():
    """Read as the JSON in the first line of the input says; print "asked", then the answers as JSON."""
    print("ready", flush=True)
    given = json.loads(sys.stdin.readline())
    options = {"url": given["url"], "timeout": 20, "read_through": ReadThrough(**given["read_through"])}
    answers = read_concurrently(given["kind"], options, given["row_ids"], lambda: print("asked", flush=True), fill=True)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
