"""Tasks that change the schedule of whole tables. Long ones show their progress as the state PROGRESS."""

from collections import Counter
from dataclasses import asdict

from rowcache_tasks.celery.process import current_runtime
from rowcache_tasks.schedule.arguments import Delay, parse_delay
from rowcache_tasks.tasks.change import change, changing, now_stamp, progress
from rowcache_tasks.worker import audit, whole_table


@change
def schedule_table(table: str, delay: Delay, *, stamp: str = "") -> dict[str, int]:
    """Cache every row of the table, the first refreshes spread over one delay; return {"applied": n, "ignored": n}."""
    stamp = stamp or now_stamp()
    whole = current_runtime().whole_table(table)
    count = whole.source.count_rows()
    total = "many" if count is None else f"{count:,}"
    with changing(table, stamp):
        report = progress("{:,} of " + total + " rows scheduled")
        return whole.seed(count, parse_delay(delay), stamp, report).as_result()


@change
def schedule_query(table: str, query: str, delay: Delay, *, stamp: str = "") -> dict[str, int]:
    """Cache the rows that a query of the settings names; return {"applied": n, "ignored": n}.

    `delay` is for rows to which the query gives none. The first refreshes are spread over the delay of each row.
    """
    stamp = stamp or now_stamp()
    with changing(table, stamp) as schedule:
        whole, chosen = current_runtime().whole_table(table), schedule.table.query(query)
        return whole.seed_query(chosen, parse_delay(delay), stamp, progress("{:,} rows scheduled")).as_result()


@change
def reconcile_table(table: str, delay: Delay, *, stamp: str = "") -> dict[str, int]:
    """Schedule the rows that the database has, drop those that it does not have; return {"added", "dropped", "kept"}.

    Rows that are scheduled already keep their delay and their due time.
    """
    stamp = stamp or now_stamp()
    with changing(table, stamp):
        report = progress("{:,} rows compared, {:,} added, {:,} dropped")
        return asdict(current_runtime().whole_table(table).reconcile(parse_delay(delay), stamp, report))


@change
def audit_table(table: str, sample: int = 1000, *, stamp: str = "") -> dict[str, int]:
    """Compare up to `sample` rows with the database; return the number of each kind. Changes nothing but statistics."""
    del stamp
    runtime = current_runtime()
    judge = audit.Judge(runtime.settings.table(table), runtime.settings.lease_s)
    counts = Counter(found.kind for found in audit.audit_table(runtime.client, runtime.source(table), judge, sample))
    audit.note_audit(runtime.client, judge.table, counts)
    return {str(kind): count for kind, count in counts.items()}


@change
def pause_table(table: str, *, stamp: str = "") -> dict[str, int]:
    """Let no dispatcher claim rows of the table until resume_table; return {"applied": n, "ignored": n}."""
    return set_paused(table, True, stamp)


@change
def resume_table(table: str, *, stamp: str = "") -> dict[str, int]:
    """Let dispatchers claim rows of the table again; return {"applied": n, "ignored": n}."""
    return set_paused(table, False, stamp)


@change
def drop_table(table: str, *, stamp: str = "") -> dict[str, int]:
    """Stop caching the table: unschedule every row and remove every value; return {"dropped": n, "kept": n}.

    Rows that were scheduled after this task was enqueued are kept.
    """
    stamp = stamp or now_stamp()
    with changing(table, stamp) as schedule:
        report = progress("{:,} rows dropped, {:,} kept")
        return asdict(whole_table.drop_table(schedule, current_runtime().table_state(table), stamp, report))


def set_paused(table: str, is_paused: bool, stamp: str) -> dict[str, int]:
    """Pause or resume, unless a later change of the kind was applied already."""
    with changing(table, stamp):
        is_applied = current_runtime().table_state(table).pause_table(is_paused, stamp)
    return {"applied": int(is_applied), "ignored": int(not is_applied)}
