"""Own what a contender of the refresh is: processes that see to it that due rows are in the cache.

A round: the processes are started and warmed up; the rows become due at one moment; it ends when the cache holds them
all. See alternatives.py for those that are not ours.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import psutil
import psycopg

from benchmarks.processor import Processor
from benchmarks.stage import Stage, wait_until

DELAY_S = 3600.0
"""Longer than a round: each row is refreshed once."""

LEAD_S = 0.6
"""How long before they are due the rows get their time, beside the time for which writing them has taken."""

PATIENCE = (1, 4, 16)
"""As many times as long, one after another, when a machine is too slow for that."""

PARTS = 8
"""As many bare loops are told of a round, at the most."""

Running = Callable[[Stage], AbstractContextManager[dict[str, list[int]]]]
"""Starts the processes of a contender and waits until they are ready; gives its groups of processes, for Processor."""


@dataclass(frozen=True)
class Contender:
    """One way to refresh rows."""

    name: str
    running: Running
    rows: int
    """How many rows are refreshed in a round: some seconds of work."""
    is_ours: bool = False
    about: str = ""


@dataclass(frozen=True)
class Round:
    """What one round gave."""

    rate: float
    """Rows a second, from their due time until the last of them was in the cache."""
    cost_us: dict[str, float] = field(default_factory=dict)
    """Group of processes -> microseconds of processor time a row."""


def run_round(
    stage: Stage,
    contender: Contender,
    timeout_s: float = 120.0,
    check: Callable[[], None] | None = None,
    lead_s: float = LEAD_S,
) -> Round:
    """Start a contender, let its rows be due, wait for the last of them, stop it; before that, `check`.

    Again, with more time, when the rows were due before all was ready for them.
    """
    for patience in PATIENCE:
        found = try_round(stage, contender, timeout_s, check, patience * lead_s)
        if found:
            return found
    raise AssertionError(f"{contender.name}: the rows got their time too late: raise LEAD_S")


def try_round(
    stage: Stage, contender: Contender, timeout_s: float, check: Callable[[], None] | None, lead_s: float
) -> Round | None:
    """Do what run_round does, once; None: the rows were due too early."""
    stage.clear()
    with contender.running(stage) as pids:
        before = stage.now()
        stage.schedule(1, contender.rows, DELAY_S, before + DELAY_S)
        now = stage.now()
        due = now + lead_s + (now - before)
        stage.reschedule(DELAY_S, due)
        order(stage, contender.rows, due)
        processor = Processor(stage.server_pids | pids)
        if stage.now() > due:
            return None
        wait_for_values(stage, contender.name, pids, contender.rows, due, timeout_s)
        seconds = stage.now() - due
        used = processor.used()
        if check:
            check()
    return Round(contender.rows / seconds, {name: 1e6 * s / contender.rows for name, s in used.items()})


def wait_for_values(
    stage: Stage, name: str, pids: Mapping[str, list[int]], count: int, due: float, timeout_s: float
) -> None:
    """Wait until the cache holds so many values.

    A look costs the contender time of the server and of the processor. So there are few as long as much is missing,
    and the last ones come every 2 ms.
    """
    deadline = due + timeout_s
    while (found := stage.cached()) < count:
        now = stage.now()
        ended = [group for group, roots in pids.items() if any(map(has_ended, roots))]
        assert not ended, f"{name}: {', '.join(ended)} ended during the round:\n{logs(stage, ended)}"
        assert now < deadline, f"{name} has cached {found} of {count} rows in {timeout_s} s:\n{logs(stage, pids)}"
        left_s = (now - due) * (count - found) / found if found and now > due else max(0.02, due - now)
        time.sleep(min(0.1, max(0.002, left_s / 2)))


def has_ended(pid: int) -> bool:
    """Whether a process that we started has ended."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def logs(stage: Stage, names: Mapping[str, object] | list[str]) -> str:
    """Give the ends of the logs of some programs."""
    return "\n".join(f"--- {name}\n{stage.log(name)[-2000:]}" for name in names)


def order(stage: Stage, rows: int, due: float) -> None:
    """Tell the bare loops, which know no schedule, what to do when."""
    text = json.dumps({"at": due, "first": 1, "last": rows})
    for part in range(PARTS):
        stage.broker.rpush(f"go:{part}", text)


def warm_up(stage: Stage, name: str, pids: Mapping[str, list[int]], rows: int, sessions: int) -> None:
    """Let rows go through a contender until it holds so many sessions at the database; then forget the rows."""
    with psycopg.connect(stage.conninfo, autocommit=True) as connection:
        for _ in range(50):
            due = stage.now()
            stage.schedule(1, rows, DELAY_S, due)
            order(stage, rows, due)
            wait_for_values(stage, name, pids, rows, due, 60.0)
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
            forget(stage, rows)
            if found and found[0] >= sessions:
                return
    raise AssertionError(f"{name} has {found} sessions at the database after 50 rounds of warming up, not {sessions}")


def forget(stage: Stage, rows: int) -> None:
    """Have the rows 1 to `rows` neither scheduled nor cached."""
    row_ids = [str(n) for n in range(1, rows + 1)]
    with stage.client.pipeline() as pipeline:
        for key in ("schedule:", "delay:", "refreshed:", "changed:"):
            pipeline.zrem(key, *row_ids)
        pipeline.delete(*(f"inv:{row_id}" for row_id in row_ids))
        pipeline.execute()


@contextmanager
def programs(
    stage: Stage, commands: Mapping[str, list[str]], has_line: bool = True, **env: str
) -> Iterator[dict[str, list[int]]]:
    """Start programs and wait until each has written a line "ready" if they do; gives their processes by name."""
    children = {}
    try:
        for name, argv in commands.items():
            (stage.folder / f"{name}.log").unlink(missing_ok=True)
            children[name] = stage.start(name, argv, **env)
        for name, child in children.items() if has_line else ():

            def is_ready(name: str = name, child: object = child) -> bool:
                assert child.poll() is None, f"{name} has ended:\n{stage.log(name)}"  # type: ignore[attr-defined]
                return "ready" in stage.log(name)

            wait_until(is_ready, f"{name} is ready")
        yield {name: [child.pid] for name, child in children.items()}
    finally:
        for child in children.values():
            child.kill()


def bare_loop(parts: int) -> Running:
    """Read, encode and write 500 rows at a time, in so many processes, each its share: no schedule, no guarantee."""

    @contextmanager
    def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
        module = "benchmarks.programs.bare_loop"
        commands = {f"bare-{part}": [sys.executable, "-m", module, str(part), str(parts)] for part in range(parts)}
        with programs(stage, commands) as pids:
            warm_up(stage, "bare loop", pids, 1000 * parts, parts)
            yield pids

    return running


def ours(processes: int = 2, pool: str = "prefork", **env: str) -> Running:
    """Run one dispatcher and one worker of so many processes, or threads, with the settings of `env`."""

    @contextmanager
    def running(stage: Stage) -> Iterator[dict[str, list[int]]]:
        deployment = stage.deployment(**env)
        for log in ("beat", "worker"):
            (stage.folder / f"{log}.log").unlink(missing_ok=True)
        try:
            beat = deployment.start_beat()
            # As in docker-compose.yml, a worker writes no line for each task.
            options = [f"--concurrency={processes}", f"--pool={pool}", "--loglevel=warning"]
            worker = deployment.start_worker("worker", *options)
            pids = {"dispatcher": [beat.pid], "worker": [worker.pid]}
            # Enough rows for a batch for each process at the same time.
            batch = int(env.get("ROWCACHE_BATCH_SIZE", 500))
            # Threads share sessions, and open another one only when they want it at the same moment.
            sessions = processes if pool == "prefork" else 1
            warm_up(stage, "ours", pids, min(stage.rows, 4 * processes * max(10, batch)), sessions)
            yield pids
        finally:
            deployment.stop()

    return running
