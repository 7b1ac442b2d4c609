"""Own what the scripts cost the server: processor time of claims and commits by the size of the schedule, long calls.

Counted is all that the server does for a call, reading it and writing the answer too, and not the wall clock: another
program that has the processor meanwhile does not count.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.depot import Depot, value
from benchmarks.sample import Sample
from rowcache_tasks.config.settings import MAX_BATCH_SIZE
from rowcache_tasks.dispatch.dispatcher import Limits
from rowcache_tasks.keys import QUEUED_BATCHES
from rowcache_tasks.reader.fill.scripts import SCRIPT_ROWS, FillScripts, FillState
from rowcache_tasks.reader.options import ReadThrough
from rowcache_tasks.schedule.rows import SCRIPT_BATCH, Backoff, Claim
from rowcache_tasks.schedule.script import load_script
from rowcache_tasks.schedule.scripts import script_names
from rowcache_tasks.worker.seed import SEED_BATCH

BATCH = 500
BATCHES = 3
"""In one round: a value is their mean."""

LEASE_S = 30.0

DELAY_S = 3600.0

TOKEN = b"t1"
"""Of the reader who fills."""

Costs = dict[int, dict[str, Sample]]
"""Rows of the depot -> what -> microseconds of the server's processor time for a row."""


def claim_and_commit(depots: Mapping[int, Depot], rounds: int) -> Costs:
    """Claim and commit batches of each depot in turn; beside both, the time within their Redis commands."""
    found: dict[int, dict[str, list[float]]] = {rows: {} for rows in depots}
    for depot in depots.values():
        one_batch(depot, 1)  # the server learns the scripts
    for number in range(1, rounds + 1):
        for rows, depot in depots.items():
            batches = [one_batch(depot, BATCHES * number + place) for place in range(BATCHES)]
            for what in batches[0]:
                found[rows].setdefault(what, []).append(mean(batch[what] for batch in batches))
    return {rows: {what: Sample(values) for what, values in costs.items()} for rows, costs in found.items()}


def one_batch(depot: Depot, version: int) -> dict[str, float]:
    """Claim and commit one batch of BATCH due rows; every value changes."""
    if depot.client.zcount("schedule:", "-inf", depot.now()) < BATCH:  # a small one runs out of due rows
        depot.make_due()
    costs: dict[str, float] = {}
    claim = measured(depot, "claim", costs, lambda: claim_due(depot))
    values = {row_id: value(int(row_id), version) for row_id in claim.row_ids}
    measured(depot, "commit", costs, lambda: depot.schedule.commit_rows(claim, values))
    return costs


def claim_due(depot: Depot) -> Claim:
    """Claim one batch; no batch waits for a worker."""
    depot.client.delete(QUEUED_BATCHES)
    claim, _ = depot.schedule.claim_rows(BATCH, LEASE_S)
    assert claim is not None, "the depot has batches that wait"
    assert len(claim.row_ids) == BATCH, f"the depot has {len(claim.row_ids)} due rows, {BATCH} are needed"
    return claim


def measured(depot: Depot, what: str, costs: dict[str, float], call: Callable[[], Any]) -> Any:
    """Call and note the server's processor time for a row, and within it that of the commands of the script."""
    depot.client.config_resetstat()
    before = depot.processor_s()
    answer = call()
    costs[what] = 1e6 * (depot.processor_s() - before) / BATCH
    stats: dict[str, Any] = depot.client.info("commandstats")
    for command in ("zrange", "zmscore", "zadd"):
        with suppress(KeyError):
            costs[f"{what} {command}"] = stats[f"cmdstat_{command}"]["usec"] / BATCH
    return answer


@dataclass(frozen=True)
class Call:
    """A call of a script with as many rows as it ever gets; `prepare` gives what `run` takes."""

    script: str
    rows: int
    prepare: Callable[[Depot, list[str]], Any]
    run: Callable[[Depot, Any], object]


def lease(depot: Depot, row_ids: list[str]) -> Claim:
    """Claim rows, due or not, that are scheduled and have no value."""
    depot.schedule.put_rows(dict.fromkeys(row_ids, (DELAY_S, DELAY_S)))
    return depot.schedule.lease_rows(row_ids, LEASE_S)


def put(depot: Depot, row_ids: list[str]) -> list[str]:
    """Schedule rows."""
    depot.schedule.put_rows(dict.fromkeys(row_ids, (DELAY_S, DELAY_S)))
    return row_ids


def delayed(depot: Depot, row_ids: list[str]) -> list[str]:
    """Schedule rows far later than they can be due, as a step back of the clock leaves them."""
    depot.schedule.put_rows(dict.fromkeys(row_ids, (DELAY_S, 100 * DELAY_S)))
    return row_ids


def begin(depot: Depot, row_ids: list[str]) -> FillState:
    """Ask for rows that are neither cached nor scheduled: all of them are to be read."""
    (call,) = FillScripts(depot.schedule.table, ReadThrough()).begin(row_ids, TOKEN, None)
    return FillScripts.read_begin(row_ids, [call.run(depot.client)])


def end(depot: Depot, begun: FillState) -> object:
    """Write their values, and schedule them."""
    values = {row_id: value(int(row_id)) for row_id in begun.ours}
    (call,) = FillScripts(depot.schedule.table, ReadThrough()).end(TOKEN, begun.began_at, values, DELAY_S)
    return call.run(depot.client)


BATCH_SIZE = Limits().batch_size

CALLS = (
    Call(
        "commit_rows, new values",
        MAX_BATCH_SIZE,
        lease,
        lambda d, claim: d.schedule.commit_rows(claim, {row_id: value(int(row_id)) for row_id in claim.row_ids}),
    ),
    Call("miss_rows", BATCH_SIZE, lease, lambda d, claim: d.schedule.miss_rows(claim, claim.row_ids, Backoff())),
    Call(
        "release_rows, with an error",
        BATCH_SIZE,
        lease,
        lambda d, claim: d.schedule.release_rows(claim, dict.fromkeys(claim.row_ids, "an error"), Backoff()),
    ),
    Call("put_rows", MAX_BATCH_SIZE, lambda _, row_ids: row_ids, put),
    Call("put_rows, of schedule_table", SEED_BATCH, lambda _, row_ids: row_ids, put),
    Call("touch_rows", MAX_BATCH_SIZE, put, lambda d, row_ids: d.schedule.touch_rows(row_ids)),
    Call("lease_rows", SCRIPT_BATCH, put, lambda d, row_ids: d.schedule.lease_rows(row_ids, LEASE_S)),
    Call("drop_rows", MAX_BATCH_SIZE, put, lambda d, row_ids: d.schedule.drop_rows(row_ids)),
    Call("begin_fill", SCRIPT_ROWS, lambda _, row_ids: row_ids, begin),
    Call("end_fill, which schedules", SCRIPT_ROWS, begin, end),
    Call(
        "repair_rows",
        MAX_BATCH_SIZE,
        delayed,
        lambda d, row_ids: d.schedule.repair_rows(row_ids, LEASE_S, Backoff()),
    ),
)


def longest_calls(depot: Depot, rounds: int) -> dict[str, tuple[int, Sample]]:
    """Have each script called for new rows, in turn; script -> rows in a call, milliseconds of the server's processor.

    Where many rows are cut into several calls, both are of one of them.
    """
    found: dict[str, list[float]] = {call.script: [] for call in CALLS}
    sizes: dict[str, int] = {}
    for name in script_names():
        depot.client.script_load(load_script(name).text)  # or the first call would count twice
    for number in range(rounds):
        for place, call in enumerate(CALLS):
            first = depot.rows + 1 + MAX_BATCH_SIZE * (number * len(CALLS) + place)
            prepared = call.prepare(depot, [str(n) for n in range(first, first + call.rows)])
            depot.client.config_resetstat()
            before = depot.processor_s()
            call.run(depot, prepared)
            used = depot.processor_s() - before
            calls = depot.client.info("commandstats")["cmdstat_evalsha"]["calls"]
            found[call.script].append(1e3 * used / calls)
            sizes[call.script] = call.rows // calls
    return {call.script: (sizes[call.script], Sample(found[call.script])) for call in CALLS}
