"""Many callers at the same moment, threads or tasks: in this process, or in one that runs this as its program."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from support.deployment import ROOT

from rowcache_tasks import AsyncRowCache, ReadThrough, RowCache, RowCacheError


def ask_together(kind, options, row_ids, on_asked=lambda: None, **wanted):
    """Let one caller for each row id, of the kind "threads" or "asyncio", get the row; give rows, and errors as texts.

    on_asked is called once when all callers have been called.
    """
    if kind == "asyncio":
        return asyncio.run(ask_as_tasks(options, row_ids, on_asked, wanted))
    cache = RowCache("inv", **options)
    barrier = threading.Barrier(len(row_ids), action=on_asked)

    def ask(row_id):
        barrier.wait()
        try:
            return cache.get(row_id, **wanted)
        except RowCacheError as error:
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(len(row_ids)) as pool:
        return list(pool.map(ask, row_ids))


async def ask_as_tasks(options, row_ids, on_asked, wanted):
    cache = AsyncRowCache("inv", **options)

    async def ask(row_id):
        try:
            return await cache.get(row_id, **wanted)
        except RowCacheError as error:
            return f"{type(error).__name__}: {error}"

    tasks = [asyncio.create_task(ask(row_id)) for row_id in row_ids]
    await asyncio.sleep(0)  # each has run until it waits for something
    on_asked()
    answers = await asyncio.gather(*tasks)
    await cache.close()
    return answers


class Crowd:
    """Callers in a process of their own, which has imported everything."""

    def __init__(self, kind, url, **read_through):
        self._given = {"kind": kind, "url": url, "read_through": read_through}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.crowd"],
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
    """Ask as the JSON in the first line of the input says; print "asked", and then the answers as JSON."""
    print("ready", flush=True)
    given = json.loads(sys.stdin.readline())
    options = {"url": given["url"], "timeout": 20, "read_through": ReadThrough(**given["read_through"])}
    answers = ask_together(given["kind"], options, given["row_ids"], lambda: print("asked", flush=True), fill=True)
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
