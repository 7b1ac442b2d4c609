"""Rows of bulk statements, and their results."""

from contextlib import suppress

import pytest
from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.orm import aliased
from support.orm_models import Inventory, Seat, User

ALIAS = aliased(Inventory)


@pytest.mark.parametrize("synchronize", ["auto", "evaluate", "fetch", False])
def test_bulk_update_and_delete_touch_what_they_match_and_change_nothing_else(db, touched_rows, synchronize):
    options = {"synchronize_session": synchronize}
    with db() as session:
        item = session.get_one(Inventory, 1)
        changed = session.execute(update(Inventory).where(Inventory.id < 3).values(stock=4), execution_options=options)
        assert changed.rowcount == 2
        gone = session.execute(delete(Inventory).where(Inventory.id == 3), execution_options=options)
        assert gone.rowcount == 1
        assert item.stock == (4 if synchronize else 0)
        session.rollback()
        assert touched_rows.touched() == {}
        session.execute(update(Inventory).where(Inventory.id < 3).values(stock=4), execution_options=options)
        session.execute(delete(Inventory).where(Inventory.id == 3), execution_options=options)
        session.commit()
        assert touched_rows.touched() == {"inv": ["1", "2", "3"]}


@pytest.mark.parametrize(
    "statement",
    [
        update(Inventory).where(Inventory.id < 3).values(stock=4),
        update(Inventory.__table__).where(Inventory.id < 3).values(stock=4),
        delete(Inventory).where(Inventory.id < 3),
        insert(Inventory).values([{"id": 4}, {"id": 5}]),
        insert(Inventory.__table__).values(id=4),
        upsert(Inventory).values(id=1).on_conflict_do_update(index_elements=["id"], set_={"stock": 9}),
    ],
    ids=["update", "core-update", "delete", "insert", "core-insert", "upsert"],
)
def test_result_of_a_bulk_statement_has_no_rows_that_were_not_asked_for(session_maker, listen, touched_rows, statement):
    def run():
        with session_maker() as session:
            result = session.execute(statement)
            with suppress(ResourceClosedError):
                assert result.all() == []
            return result.rowcount

    plain = run()
    hook = listen(session_maker)
    assert run() == plain
    hook.remove()
    assert touched_rows.touched() == {}


@pytest.mark.parametrize(
    "statement",
    [
        update(Inventory).values(stock=Inventory.stock + 1),
        update(Inventory.__table__).values(stock=6),
        delete(Inventory).where(Inventory.id == Seat.n + 100),
        update(Inventory).where(Inventory.id == select(Inventory.id).limit(1).scalar_subquery()).values(stock=1),
        update(Inventory).where(Inventory.id <= bindparam("most")).values(stock=1),
        update(ALIAS).where(ALIAS.id < 3).values(stock=ALIAS.stock + 1),
        update(ALIAS).where(ALIAS.id < 3).values(stock=7).returning(ALIAS.stock),
        upsert(Inventory)
        .from_select(["id", "stock"], select(Inventory.id, Inventory.stock + 1).where(Inventory.id < 3))
        .on_conflict_do_update(index_elements=["id"], set_={"stock": 9}),
    ],
    ids=["all", "core", "using", "subquery", "bound", "alias", "alias-returning", "insert-from-select"],
)
def test_bulk_statement_of_each_form_touches_what_it_changes(db, touched_rows, statement):
    with db.begin() as session:
        before = {row.id: row.stock for row in session.execute(select(Inventory.id, Inventory.stock))}
        session.execute(statement, {"most": 2} if "most" in str(statement) else None)
        after = {row.id: row.stock for row in session.execute(select(Inventory.id, Inventory.stock))}
    changed = sorted(str(row_id) for row_id, stock in before.items() if after.get(row_id) != stock)
    assert touched_rows.touched() == ({"inv": changed} if changed else {})


def test_bulk_statement_with_a_returning_of_its_own_gives_the_application_its_rows(db, touched_rows):
    with db.begin() as session:
        changed = update(Inventory).where(Inventory.id == bindparam("one")).values(stock=8).returning(Inventory.stock)
        assert session.scalars(changed, {"one": 2}).all() == [8]
        gone = delete(Inventory).where(Inventory.id == 3).returning(Inventory)
        assert [item.id for item in session.scalars(gone)] == [3]
    assert touched_rows.touched() == {"inv": ["2", "3"]}


@pytest.mark.usefixtures("users")
def test_bulk_statements_with_a_list_of_parameters_touch_the_keys_among_them(db, touched_rows, caplog):
    with db.begin() as session:
        session.execute(update(Inventory), [{"id": 1, "stock": 3}, {"id": 2, "stock": 4}])
        session.execute(insert(Inventory), [{"id": 4}, {"id": 5}])
    assert touched_rows.touched() == {"inv": ["1", "2", "4", "5"]}
    for name in ("Ann", "Anne"):
        with db.begin() as session:
            session.execute(update(User), [{"user_id": 1, "name": name}])
    with db.begin() as session:
        session.execute(insert(User), [{"nick": "zoe", "user_id": 4}])
        session.execute(insert(User.__table__), [{"login": "amy", "user_id": 5}, {"login": "tom", "user_id": 6}])
    assert touched_rows.touched() == {"users": ["amy", "zoe"]}
    warnings = [record.message for record in caplog.records if "not among its parameters" in record.message]
    assert len(warnings) == 1
    assert "touched(session, 'users', row_ids)" in warnings[0]


@pytest.mark.usefixtures("users")
def test_upsert_touches_the_row_that_it_changes_whichever_key_it_names(db, touched_rows):
    with db.begin() as session:
        change = {"index_elements": ["id"], "set_": {"stock": 9}}
        session.execute(upsert(Inventory).values([{"id": 1}, {"id": 4}]).on_conflict_do_update(**change))
        session.execute(upsert(Inventory).on_conflict_do_update(**change), [{"id": 2}])
        by_id = {"index_elements": ["user_id"], "set_": {"name": "x"}}
        session.execute(upsert(User).values(user_id=1, nick="other").on_conflict_do_update(**by_id))
    assert touched_rows.touched() == {"inv": ["1", "2", "4"], "users": ["ann"]}


def test_statement_within_another_one_runs_as_without_the_hook(db):
    with db.begin() as session:
        changed = update(Inventory).where(Inventory.id == 1).values(stock=8).returning(Inventory)
        assert session.scalars(select(Inventory).from_statement(changed)).one().stock == 8
