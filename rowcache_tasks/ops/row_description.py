"""Description of the state of a row for people."""

from rowcache_tasks.celery.application import celery_command
from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors.text import show_count, show_duration
from rowcache_tasks.schedule.row_state import RowState

COMMAND = f"{celery_command()} rowcache"


def describe_row(state: RowState, table: Table) -> str:
    """Return age, next refresh and last failure as a phrase for people."""
    words = [] if state.age is None else [f"{show_duration(state.age)} old"]
    words.append(describe_schedule(state, table.name))
    if state.failure is not None:
        ago = show_duration(max(0.0, state.at - state.failure.at))
        times = show_count(state.failure.failures, "time")
        words.append(f"failed {times} in a row, last {ago} ago: {state.failure.error}")
    return "; ".join(words)


def describe_schedule(state: RowState, table: str) -> str:
    """Return the next refresh of a row as a phrase for people, with a remedy where there is none."""
    if state.delay is None and state.due_in is None:
        return f"not scheduled ({COMMAND} schedule {table} DELAY ROW_ID)"
    if not state.is_wanted:
        return "to be dropped"
    if state.due_in is None:
        return f"lost from the schedule ({COMMAND} refresh {table} ROW_ID)"
    every = f"refreshed every {state.delay:g} s"
    if state.due_in <= 0:
        return f"{every}, due for {show_duration(-state.due_in)}"
    return f"{every}, due or its lease ends in {show_duration(state.due_in)}"
