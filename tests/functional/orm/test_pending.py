"""Rows of flushes, transactions and savepoints: refreshed after the outermost commit, and only then."""

import gc
import weakref
from contextlib import suppress

import pytest
from sqlalchemy import event, func, literal, null, select, text, update
from sqlalchemy.exc import IntegrityError
from support.orm_models import (
    Inventory,
    Line,
    User,
    sell,
)


def test_new_changed_and_deleted_rows_are_touched_after_the_commit(db, touched_rows):
    with db() as session:
        session.add(Inventory(id=4))
        sell(session, 1)
        session.delete(session.get_one(Inventory, 2))
        session.flush()
        assert touched_rows.touched() == {}
        session.commit()
        assert touched_rows.touched() == {"inv": ["1", "2", "4"]}


def test_row_is_touched_when_the_change_is_already_visible_to_others(db, touched_rows, orm_engine):
    seen = []

    def look(_session, transaction):
        if transaction.parent is None:
            with orm_engine.connect() as other:
                seen.append((touched_rows.touched(), other.scalar(select(Inventory.stock).where(Inventory.id == 1))))

    with db() as session:
        event.listen(session, "after_transaction_end", look)
        sell(session)
        session.commit()
    assert seen[0] == ({"inv": ["1"]}, 5)


def test_object_that_is_flushed_without_a_change_is_not_touched(db, touched_rows):
    with db.begin() as session:
        item = session.get_one(Inventory, 1)
        item.stock = item.stock + 0
        other = session.get_one(Inventory, 2)
        other.lines.append(Line(id=1))
    assert touched_rows.touched() == {}


def test_change_by_a_listener_that_is_called_after_the_hook_is_touched(db, touched_rows):
    def change(_mapper, _connection, item):
        item.stock = 7

    event.listen(Inventory, "before_update", change)
    try:
        with db.begin() as session:
            item = session.get_one(Inventory, 1)
            item.stock = item.stock + 0
    finally:
        event.remove(Inventory, "before_update", change)
    assert touched_rows.touched() == {"inv": ["1"]}


def test_rows_of_a_savepoint_within_a_flush_are_touched(db, touched_rows):
    def change_another(session, _context):
        with session.begin_nested():
            session.execute(update(Inventory).where(Inventory.id == 2).values(stock=7))

    with db() as session:
        event.listen(session, "after_flush", change_another)
        sell(session)
        session.commit()
    assert touched_rows.touched() == {"inv": ["1", "2"]}


def test_rollback_touches_nothing(db, touched_rows):
    with db() as session:
        sell(session)
        session.flush()
        session.rollback()
        session.commit()
        sell(session, 2)
        session.flush()
    with db() as session:
        sell(session, 3)
        session.flush()
        session.add(Inventory(id=1))
        with pytest.raises(IntegrityError):
            session.commit()
    assert touched_rows.touched() == {}


def test_session_that_is_closed_or_reset_without_a_commit_touches_nothing(db, touched_rows):
    session = db()
    for end in (session.close, session.reset, session.invalidate):
        sell(session)
        session.flush()
        end()
        session.commit()
    session.close()
    assert touched_rows.touched() == {}


def test_session_is_used_again_after_a_commit_a_rollback_and_a_failure(db, touched_rows):
    with db() as session:
        sell(session, 1)
        session.commit()
        assert touched_rows.touched() == {"inv": ["1"]}
        sell(session, 2)
        session.flush()
        session.rollback()
        sell(session, 3)
        session.commit()
        assert touched_rows.touched() == {"inv": ["3"]}
        session.commit()
        assert touched_rows.touched() == {}


def test_nothing_is_kept_of_transactions_that_have_ended(db):
    with db() as session:
        ends = []
        for end in (session.rollback, session.commit, session.close):
            sell(session)
            with session.begin_nested() as savepoint:
                sell(session, 2)
                session.flush()
                savepoint.rollback()
            ends += [weakref.ref(session.get_transaction()), weakref.ref(savepoint)]
            del savepoint
            end()
        gc.collect()
        assert [end() for end in ends] == [None] * 6


def test_rolled_back_savepoint_touches_nothing_and_a_released_one_waits_for_the_commit(db, touched_rows):
    with db() as session:
        sell(session, 1)
        with session.begin_nested():
            sell(session, 2)
            with session.begin_nested() as innermost:
                sell(session, 3)
                session.flush()
                innermost.rollback()
        assert touched_rows.touched() == {}
        session.commit()
        assert touched_rows.touched() == {"inv": ["1", "2"]}


def test_savepoint_in_a_transaction_that_is_rolled_back_touches_nothing(db, touched_rows):
    with db() as session:
        with session.begin_nested():
            sell(session, 1)
        session.rollback()
        outer = session.begin_nested()
        session.begin_nested()
        sell(session, 2)
        session.flush()
        outer.rollback()
        session.commit()
    assert touched_rows.touched() == {}


def test_flush_that_fails_in_a_savepoint_takes_only_its_rows_with_it(db, touched_rows):
    with db.begin() as session:
        sell(session, 1)
        with suppress(IntegrityError), session.begin_nested():
            sell(session, 2)
            session.add(Inventory(id=3))
        sell(session, 3)
    assert touched_rows.touched() == {"inv": ["1", "3"]}


def test_commit_of_the_outer_transaction_commits_open_savepoints(db, touched_rows):
    with db() as session:
        outer = session.begin()
        session.begin_nested()
        sell(session, 1)
        outer.commit()
    assert touched_rows.touched() == {"inv": ["1"]}


def test_keys_are_taken_before_attributes_expire(db, touched_rows):
    with db() as session:
        item = session.get_one(Inventory, 1)
        session.commit()
        item.stock = 7
        session.commit()
        assert "id" not in item.__dict__
    assert touched_rows.touched() == {"inv": ["1"]}


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("load", [True, False], ids=["loaded", "expired"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("stock", Inventory.stock - 1),
        ("stock", literal(1) + 1),
        ("stock", text("4")),
        ("stock", select(func.count()).select_from(User).scalar_subquery()),
        ("name", func.upper("x")),
        ("name", null()),
        ("nick", func.lower("ZOE")),
    ],
    ids=["column", "literal", "text", "subquery", "function", "null", "key"],
)
def test_value_that_the_database_computes_is_a_change(db, touched_rows, name, value, load):
    with db.begin() as session:
        session.get_one(User, 1).name = "before"
    touched_rows.touched()
    with db.begin() as session:
        changed = session.get_one(Inventory if name == "stock" else User, 1)
        if not load:
            session.expire(changed)
        setattr(changed, name, value)
        session.flush()
    expected = {"stock": {"inv": ["1"]}, "name": {"users": ["ann"]}, "nick": {"users": ["ann", "zoe"]}}
    assert touched_rows.touched() == expected[name]
