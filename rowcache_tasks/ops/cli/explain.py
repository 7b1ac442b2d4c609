"""Command explain: why a row is fresh, late, not cached or gone."""

from typing import Any

import click

from rowcache_tasks.config.settings import Table
from rowcache_tasks.errors import ConfigError, SourceError
from rowcache_tasks.errors.text import one_line
from rowcache_tasks.ops.cli.access import Access, open_access
from rowcache_tasks.ops.cli.command import RowIdCommand, command, json_option, say_lines, table_argument
from rowcache_tasks.ops.explanation import Answer, Explanation
from rowcache_tasks.ops.overview import read_overview
from rowcache_tasks.schedule.arguments import parse_row_id
from rowcache_tasks.schedule.note import ask_outcomes, read_notes
from rowcache_tasks.schedule.row_state import RowState, read_row_states

ASK_S = 2.0  # longest wait for the database: the row may be late because of it
SAME_S = 1e-4  # two times of a claim that differ by less are the same: no two claims are


@command("explain inv 42", cls=RowIdCommand)
@table_argument
@click.argument("row_id")
@json_option
def explain(table: str, row_id: str, as_json: bool) -> None:
    """Name the reason for the state of a row of TABLE. Prints all that is known about it.

    Changes nothing. Each outcome of the row is noted for an hour from then on.
    """
    with open_access() as access:
        chosen = access.settings.table(table)
        found = read_explanation(access, chosen, parse_row_id(row_id))
    say_lines(found, as_json)


def read_explanation(access: Access, table: Table, row_id: str) -> Explanation:
    """Read Redis, the broker and the database; without the database, the rest."""
    part = table.part_of(row_id)
    (row,) = read_row_states(access.client, table, [row_id])
    notes = read_notes(access.client, table, part, row)
    ask_outcomes(access.client, part, row_id)
    is_waiting = False
    if row.due is not None and not (notes.claim and notes.claim.worker):
        claimed_at = notes.claim.at if notes.claim else row.due - access.settings.lease_s
        waiting: Any = access.client.zcount(part.keys.queue, claimed_at - SAME_S, claimed_at + SAME_S)
        is_waiting = waiting > 0
    overview = read_overview(access.client, access.settings, access.broker, with_clients=False)
    access.statement_timeout_s = min(ASK_S, access.statement_timeout_s)
    answer, error = ask_database(access, table, row)
    return Explanation(table, row, overview, answer, error, is_waiting, notes)


def ask_database(access: Access, table: Table, row: RowState) -> tuple[Answer, str]:
    """Compare a row with the database; also return why it is not known."""
    try:
        fetched = access.source(table.name).fetch([row.row_id])
    except (ConfigError, SourceError) as error:
        return "unknown", one_line(str(error))
    if fetched.missing:
        return "missing", ""
    values, errors = fetched.encoder.encode_all(fetched.rows)
    if reasons := [*fetched.errors.values(), *errors.values()]:
        return "unreadable", one_line(reasons[0])
    return "equal" if values[row.row_id] == row.value else "different", ""
