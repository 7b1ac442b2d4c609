"""Processor time of the server for calls of the scripts.

Counted is all that the server does for a call, reading it and writing the answer too. The processor time of other
programs does not count.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.filled_valkey import DELAY_S, FilledValkey, value
from benchmarks.sample import Sample
from rowcache_tasks.schedule.claim import Claim

BATCH = 500
LEASE_S = 30.0

Costs = dict[int, dict[str, Sample]]
"""Scheduled rows -> "claim" or "commit" -> microseconds of processor time a row."""

Act = Callable[[FilledValkey, Any], Any]


def claim_and_commit(filled: Mapping[int, FilledValkey], rounds: int) -> Costs:
    """Claim and commit batches of each Valkey in turn."""
    found: dict[int, dict[str, list[float]]] = {rows: {"claim": [], "commit": []} for rows in filled}
    for number in range(rounds + 1):
        for rows, each in filled.items():
            for script, us in one_batch(each, number + 1).items():
                if number:  # the first round loads the scripts
                    found[rows][script].append(us)
    return {rows: {script: Sample(values) for script, values in costs.items()} for rows, costs in found.items()}


def one_batch(filled: FilledValkey, version: int) -> dict[str, float]:
    """Claim and commit one batch of due rows with new values; return microseconds a row."""
    if filled.client.zcount("schedule:", "-inf", filled.now()) < BATCH:  # a small one runs out of due rows
        filled.make_due(BATCH)
    claim, claim_s = timed(filled, partial(claim_due, filled))
    values = {row_id: value(int(row_id), version) for row_id in claim.row_ids}
    _, commit_s = timed(filled, partial(filled.schedule.commit_rows, claim, values))
    return {"claim": 1e6 * claim_s / BATCH, "commit": 1e6 * commit_s / BATCH}


def claim_due(filled: FilledValkey) -> Claim:
    """Claim one batch, with no batch in the queue."""
    filled.client.delete("queue:")
    claim, _ = filled.schedule.claim_rows(BATCH, LEASE_S)
    assert claim is not None, "batches are in the queue"
    assert len(claim.row_ids) == BATCH, f"{len(claim.row_ids)} rows are due, not {BATCH}"
    return claim


def timed(filled: FilledValkey, call: Callable[[], Any]) -> tuple[Any, float]:
    """Call; return the result and the processor seconds of the server."""
    before = filled.processor_s()
    answer = call()
    return answer, filled.processor_s() - before


def nothing(_filled: FilledValkey, row_ids: list[str]) -> list[str]:
    """Prepare nothing."""
    return row_ids


def put(filled: FilledValkey, row_ids: list[str]) -> list[str]:
    """Schedule rows."""
    filled.schedule.put_rows(dict.fromkeys(row_ids, (DELAY_S, DELAY_S)))
    return row_ids


def lease(filled: FilledValkey, row_ids: list[str]) -> Claim:
    """Schedule and lease rows."""
    return filled.schedule.lease_rows(put(filled, row_ids), LEASE_S)


def commit(size: int) -> Act:
    """Commit values of a size."""
    return lambda f, claim: f.schedule.commit_rows(claim, {n: value(int(n), size=size) for n in claim.row_ids})


OPERATIONS: dict[str, tuple[Act, Act]] = {
    "commit, new values of 320 bytes": (lease, commit(320)),
    "commit, new values of 20 KB": (lease, commit(20_000)),
    "schedule": (nothing, put),
    "refresh now": (put, lambda f, row_ids: f.schedule.touch_rows(row_ids)),
    "unschedule": (put, lambda f, row_ids: f.schedule.drop_rows(row_ids)),
}
"""Operation on a batch of rows -> what prepares its argument, and the operation."""


def call_costs(filled: FilledValkey, rounds: int) -> dict[str, tuple[int, Sample]]:
    """Run each operation on new rows, in turn; return the number of calls, and the milliseconds of one."""
    ms: dict[str, list[float]] = {name: [] for name in OPERATIONS}
    calls: dict[str, int] = {}
    first = filled.rows + 1
    for number in range(rounds + 1):
        for name, (prepare, operate) in OPERATIONS.items():
            prepared = prepare(filled, [str(n) for n in range(first, first + BATCH)])
            first += BATCH
            filled.client.config_resetstat()
            _, seconds = timed(filled, partial(operate, filled, prepared))
            stats: dict[str, Any] = filled.client.info("commandstats")
            calls[name] = sum(stats.get(f"cmdstat_{each}", {}).get("calls", 0) for each in ("evalsha", "eval"))
            if number:  # the first round loads the scripts
                ms[name].append(1e3 * seconds / calls[name])
    return {name: (calls[name], Sample(values)) for name, values in ms.items()}
