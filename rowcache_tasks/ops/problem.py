"""Faults of a running deployment, each in one line with its remedy."""

import math
from collections.abc import Iterator

from rowcache_tasks.celery.application import CELERY, COMMAND
from rowcache_tasks.errors.text import one_line, show_count, show_duration, show_text
from rowcache_tasks.ops.finding import Finding, fail, warn
from rowcache_tasks.ops.overview import Overview
from rowcache_tasks.ops.snapshot import Snapshot
from rowcache_tasks.schedule.process import DISPATCHER, WORKER, Process

OURS = "rowcache"  # how the names of our beat scheduler begin, as a path and as an entry point
OLD_CHANGE_S = 60.0  # a schedule change that has waited for longer is a fault
MOST = 0.5  # a larger share of failing rows is a fault of the table, not of its rows
LONG_LAG_S = 10.0  # a replica that is further behind is a fault of a table with "replica"
REPLICA_REMEDY = "values may go back in time: name the primary, or set 'replica' on the table"


def show_lag(lag_s: float) -> str:
    """Return how far a replica is behind, for people."""
    return "of unknown lag" if lag_s == math.inf else f"{show_duration(lag_s)} behind"


def show_percent(share: float) -> str:
    """Write a share below 1 in two digits: 33 %, 0.1 %, under 0.01 %."""
    return f"{min(99.0, 100 * share):.2g} %" if share >= 1e-4 else "under 0.01 %"


def find_problems(found: Overview, max_overdue_s: float | None = None) -> Iterator[Finding]:
    """Yield the faults, each cause before its effects."""
    yield from memory_problems(found)
    yield from refusal_problems(found)
    yield from broker_problems(found)
    for name, reason in found.away.items():
        yield fail(f"{one_line(reason, 200)}: rows of {name} are not refreshed, all others are: start it")
    yield from foreign_problems(found)
    if found.notes_away:
        yield fail(
            f"processes: {one_line(found.notes_away, 200)}: it has their notes, so it is not known which are alive: "
            "start it"
        )
    elif found.names.processes not in found.foreign:
        yield from dispatcher_problems(found)
        yield from worker_problems(found)
        yield from schedule_queue_problems(found)
    queue, allowed = found.names.refresh_queue, found.settings.max_queue
    batches, share = found.length(queue), found.busy_share
    if batches is not None and batches >= allowed and found.consumers(queue):
        yield warn(
            f"queue {queue}: {batches} batches wait, so dispatchers pause (rowcache_max_queue is "
            f"{allowed}): start more workers"
        )
    if share is not None and share > 1:
        yield warn(
            f"workers: the delays of the rows ask for {100 * share:.0f} % of what "
            f"{show_count(found.pool, 'process', 'processes')} of the workers can do: "
            "start more workers, or raise delays"
        )
    for process in found.processes:
        yield from process_problems(process, found)
    for name in found.frozen:
        yield fail(f"{name} is connected and silent for over a minute: it hangs: restart it")
    for table in found.tables.values():
        yield from table_problems(table, found.max_overdue_s if max_overdue_s is None else max_overdue_s)
        promise = found.promises.get(table.table)
        if promise and promise.state in {"at risk", "broken"}:
            level = fail if promise.state == "broken" else warn
            yield level(f"{show_text(table.table)}: {promise.describe()}: remove the cause, or promise less")


def memory_problems(found: Overview) -> Iterator[Finding]:
    """Yield that Redis is full. Processes cannot note themselves then, and count as silent."""
    if found.over_bytes:
        yield fail(
            f"Redis is full, {found.over_bytes:,} bytes over its maxmemory: it refuses writes, so nothing is refreshed "
            "and no process can note itself: raise maxmemory, or cache fewer rows"
        )


def refusal_problems(found: Overview) -> Iterator[Finding]:
    """Yield what Redis refuses to dispatchers and workers, each text once."""
    by_text: dict[str, list[str]] = {}
    for process in found.processes:
        if process.refused and not process.is_silent:
            by_text.setdefault(process.refused, []).append(process.label)
    for text, labels in by_text.items():
        yield fail(
            f"{', '.join(labels[:5])}: Redis refuses: {one_line(text, 300)}: allow it to this login "
            f"(deploy/users.sh), or look at the keys with {COMMAND} doctor"
        )


def foreign_problems(found: Overview) -> Iterator[Finding]:
    """Yield the keys of the deployment that another program has made."""
    for key in found.foreign:
        effect = "which processes are alive" if key == found.names.processes else "how many batches wait"
        yield fail(
            f"key {key!r} cannot be read, so it is not known {effect}: another program writes there: remove it (RENAME "
            "keeps what is in it), or allow it to this login (deploy/users.sh)"
        )


def broker_problems(found: Overview) -> Iterator[Finding]:
    """Yield the reason why the broker could not be asked."""
    if found.broker_error:
        yield fail(f"broker: {one_line(found.broker_error, 200)}: start it, or correct broker_url")


def dispatcher_problems(found: Overview) -> Iterator[Finding]:
    """Yield the lack of a dispatcher, of all or of one table."""
    alive = found.alive(DISPATCHER)
    needed = [name for name, table in found.tables.items() if table.scheduled]
    if not found.knows_processes:
        return
    if not alive:
        level = fail if needed else warn
        is_other = found.beat_scheduler and not found.beat_scheduler.startswith(OURS)
        cause = f", and beat_scheduler {found.beat_scheduler} dispatches nothing" if is_other else ""
        remedy = f"start {CELERY} " + ("rowcache dispatch, or beat -S rowcache" if is_other else "beat")
        yield level(f"dispatchers: none is alive, so nothing is refreshed{cause}: {remedy}")
        return
    for name in needed:
        if not any(name in process.tables for process in alive):
            yield fail(
                f"dispatchers: none of {len(alive)} has table {show_text(name)} in its settings, so its rows are not "
                "refreshed: restart them with the settings of this machine"
            )


def worker_problems(found: Overview) -> Iterator[Finding]:
    """Yield the lack of a worker, of all or of one table."""
    alive = found.alive(WORKER)
    needed = [name for name, table in found.tables.items() if table.scheduled]
    queue = found.names.refresh_queue
    if not found.knows_processes:
        return
    if not found.consumers(queue):
        reason, remedy = lack_of_workers(found, queue)
        level = fail if needed or found.length(queue) else warn
        yield level(f"workers: {reason}, so nothing is refreshed: {remedy}")
        return
    for name in found.tables:
        without = [process for process in alive if queue in process.queues and name not in process.tables]
        if without:
            yield warn(
                f"workers: {', '.join(process.name for process in without[:5])} "
                f"{'has' if len(without) == 1 else 'have'} no table {show_text(name)} in the settings, and hand its "
                "batches back: restart with the settings of this machine, or name each deployment (rowcache_deployment)"
            )


def schedule_queue_problems(found: Overview) -> Iterator[Finding]:
    """Yield schedule changes that no worker takes."""
    queue = found.names.schedule_queue
    waiting, oldest_s = found.length(queue), found.oldest_s(queue)
    changes = show_count(waiting or 0, "schedule change")
    since = "" if oldest_s is None else f", the oldest for {show_duration(oldest_s)}"
    waits = "waits" if waiting == 1 else "wait"
    if found.knows_processes and not found.consumers(queue):
        reason, remedy = lack_of_workers(found, queue)
        if waiting:
            yield fail(f"workers: {reason}, so {changes} {waits}{since}: {remedy}")
        elif found.alive(WORKER):
            yield warn(f"workers: {reason}, so schedule changes would wait: {remedy}")
    elif waiting and oldest_s is not None and oldest_s > OLD_CHANGE_S:
        yield warn(f"queue {queue}: {changes} {waits}{since}: start more workers")


def process_problems(process: Process, found: Overview) -> Iterator[Finding]:
    """Yield the faults of one process."""
    oldest_s = found.oldest_batch_s
    if process.is_silent:
        yield fail(
            f"{process.label} is silent for {show_duration(process.silent_s)}: it hangs or was killed: restart it"
        )
    elif process.running_s is not None:
        if process.running_s > found.settings.lease_s:
            yield fail(
                f"{process.label} runs one batch for {show_duration(process.running_s)}, longer than a lease: "
                "look at the database, then restart the worker"
            )
    elif (
        process.kind == WORKER
        and found.names.refresh_queue in process.queues
        and found.length(found.names.refresh_queue)
        and oldest_s is not None
        and oldest_s > found.max_overdue_s
        and max(process.batch_at, process.started_at) < found.at - oldest_s
    ):
        yield fail(f"{process.label} is idle while a batch waits for {show_duration(oldest_s)}: restart it")


def table_problems(table: Snapshot, max_overdue_s: float) -> Iterator[Finding]:
    """Yield the faults of one table."""
    name = show_text(table.table)
    if table.failing:
        share = table.failing_share
        level = fail if share > MOST else warn
        rows = "all" if share == 1 else f"{show_percent(share)}:"
        reason = f" ({one_line(table.error, 200)})" if table.error else ""
        yield level(
            f"{name}: {rows} {show_count(table.failing, 'row')} failed when refreshed last{reason}: "
            f"{COMMAND} errors {name}"
        )
    if table.replica_lag_s is not None and not (table.may_be_replica and table.replica_lag_s < LONG_LAG_S):
        remedy = "look at its replication" if table.may_be_replica else REPLICA_REMEDY
        yield warn(f"{name}: rows are read from a replica of the database, {show_lag(table.replica_lag_s)}: {remedy}")
    if table.slow_s:
        yield warn(
            f"{name}: a read took {show_duration(table.slow_s)}, by which ages are higher than stated: look at the "
            "database, or read fewer rows at a time (rowcache_batch_size)"
        )
    if table.paused_s is not None:
        yield warn(f"{table.describe()}: nothing is refreshed until {COMMAND} resume {name}")
    elif table.is_capped and table.waiting_s > max_overdue_s:
        yield warn(f"{table.describe()}: rows are late because of the cap: raise max_rate, or raise delays")
    elif table.is_stalled(max_overdue_s):
        yield fail(
            f"stalled for over {max_overdue_s:g} s: {table.describe()}: are workers and dispatchers running? "
            "Look at their log, and restart those that consume nothing"
        )
    elif table.waiting_s > max_overdue_s:
        yield warn(f"{table.describe()}: rows are late: start more workers, or raise delays")


def lack_of_workers(found: Overview, queue: str) -> tuple[str, str]:
    """Return the reason why nobody consumes a queue, and the remedy."""
    if not (alive := found.alive(WORKER)):
        return "none is alive", f"start {CELERY} worker"
    reason = f"{len(alive)} {'is' if len(alive) == 1 else 'are'} alive, none consumes {queue}"
    return reason, f"start {CELERY} worker with -Q celery,{','.join(found.names.queues)}"


def describe_queue(found: Overview, queue: str) -> str:
    """Return the length, the oldest message and the consumers of a queue in one line."""
    noun, plural = ("batch", "batches") if queue == found.names.refresh_queue else ("change", "changes")
    length, oldest_s, consumers = found.length(queue), found.oldest_s(queue), found.consumers(queue)
    parts = ["length unknown" if length is None else f"{show_count(length, noun, plural)} waiting"]
    if length:
        parts.append("oldest unknown" if oldest_s is None else f"oldest {show_duration(oldest_s)}")
    parts.append("no worker" if not consumers else show_count(consumers, "worker"))
    return f"queue {queue}: {', '.join(parts)}"
