"""Many concurrent readers, threads or tasks: in this process, or in another that runs this module."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.fork_server import ForkedProcess
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
        with tempfile.TemporaryDirectory() as folder:
            pipes = [Path(folder, "in"), Path(folder, "out")]
            for pipe in pipes:
                os.mkfifo(pipe)
            self._process = ForkedProcess(
                [sys.executable, "-m", "support.concurrent_readers"],
                env=os.environ | {"PYTHONPATH": str(ROOT / "tests")},
                cwd=ROOT,
                stdin=pipes[0],
                stdout=pipes[1],
                stderr=os.devnull,
            )
            self._input = pipes[0].open("w")
            self._output = pipes[1].open()

    def ask(self, row_ids):
        self.expect("ready")
        print(json.dumps(self._given | {"row_ids": row_ids}), file=self._input, flush=True)

    def expect(self, word):
        assert self._output.readline().strip() == word

    def answers(self):
        answers = json.loads(self._output.readline())
        self._end()
        return answers

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._end()

    def _end(self):
        self._input.close()
        self._process.wait(60)
        self._output.close()


def main():
    """Read as the JSON in the first line of the input says; print "asked", then the answers as JSON."""
    print("ready", flush=True)
    given = json.loads(sys.stdin.readline())
    options = {"url": given["url"], "timeout": 20, "read_through": ReadThrough(**given["read_through"])}
    answers = read_concurrently(given["kind"], options, given["row_ids"], lambda: print("asked", flush=True), fill=True)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
