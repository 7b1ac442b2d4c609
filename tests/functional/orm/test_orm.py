"""The hook that touches the rows of a commit, with real sessions on a real PostgreSQL, and a real Valkey."""

import gc
import json
import uuid
import weakref
from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import bindparam, create_engine, delete, event, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError, ResourceClosedError
from sqlalchemy.orm import Session, defer, scoped_session, sessionmaker
from support.orm_models import TABLES, Base, Boss, Inventory, Line, Mood, Parcel, Seat, Staff, Temp, Thing, Untold, User

from rowcache_tasks import ArgumentError
from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.source import Source, create_source_engine
from rowcache_tasks.orm import touched
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.refresh import refresh_claim


@pytest.fixture
def db(session_maker, listen):
    """The maker, listened to."""
    listen(session_maker)
    return session_maker


def sell(session, row_id=1, stock=5):
    session.get_one(Inventory, row_id).stock = stock


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


def test_objects_deleted_by_cascade_and_as_orphans_are_touched(db, touched_rows):
    touched_rows.schedule("line", "1", "2", "3")
    with db.begin() as session:
        items = session.scalars(select(Inventory).order_by(Inventory.id)).all()
        items[0].lines, items[1].lines = [Line(id=1), Line(id=2)], [Line(id=3)]
    assert touched_rows.touched() == {"line": ["1", "2", "3"]}
    with db.begin() as session:
        item = session.get_one(Inventory, 1)
        item.lines.pop(0)
    with db.begin() as session:
        session.delete(session.get_one(Inventory, 2))
    assert touched_rows.touched() == {"inv": ["2"], "line": ["1", "3"]}


def test_row_whose_key_changes_is_touched_under_both(db, touched_rows):
    with db.begin() as session:
        session.get_one(Inventory, 1).id = 9
    assert touched_rows.touched() == {"inv": ["1", "9"]}


@pytest.fixture
def users(db, touched_rows):
    touched_rows.schedule("users", "amy", "ann", "bob", "eve", "zoe")
    with db.begin() as session:
        session.add_all([User(user_id=1, nick="ann"), User(user_id=2, nick="bob"), User(user_id=3, nick="eve")])
    assert touched_rows.touched() == {"users": ["ann", "bob", "eve"]}


@pytest.mark.usefixtures("users")
def test_table_cached_under_another_key_is_touched_by_that_key_loaded_or_not(db, touched_rows):
    with db.begin() as session:
        session.get_one(User, 1).name = "Ann"
        session.delete(session.get_one(User, 2))
        renamed = session.get_one(User, 3)
        renamed.nick = "zoe"
        renamed.name = "Zoe"
    assert touched_rows.touched() == {"users": ["ann", "bob", "eve", "zoe"]}


def test_row_whose_key_is_an_empty_text_is_left_out_with_a_warning(db, touched_rows, caplog):
    touched_rows.schedule("users", "ann", "")
    with db.begin() as session:
        session.add_all([User(user_id=1, nick="ann"), User(user_id=2, nick="")])
    with db.begin() as session:
        session.execute(update(User).values(name="x"))
    assert touched_rows.touched() == {"users": ["ann"]}
    assert caplog.messages == ["a row of users is not refreshed at once: its key is an empty text, not a row id"] * 2


def test_key_of_several_columns_is_joined_in_the_order_of_the_settings(db, touched_rows):
    touched_rows.schedule("seat", "1,a%2Cb", "2,100%25")
    with db.begin() as session:
        session.add_all([Seat(hall="a,b", n=1), Seat(hall="100%", n=2)])
    assert touched_rows.touched() == {"seat": ["1,a%2Cb", "2,100%25"]}
    with db.begin() as session:
        session.execute(update(Seat).where(Seat.n == 1).values(is_free=False))
        session.delete(session.get_one(Seat, ("100%", 2)))
    assert touched_rows.touched() == {"seat": ["1,a%2Cb", "2,100%25"]}


def test_key_of_each_type_is_written_as_a_scan_of_the_table_writes_it(db, touched_rows, postgres_url):
    thing = {"id": uuid.uuid4(), "price": Decimal("1.5"), "code": "OSL", "day": date(2026, 11, 22), "mood": Mood.SO_SO}
    row_id = f"{thing['id']},1.50,OSL,2026-11-22,SO_SO,tag-x"
    touched_rows.schedule("thing", row_id)
    with db.begin() as session:
        session.add(Thing(**thing, tag="x"))
    assert touched_rows.touched() == {"thing": [row_id]}
    engine = create_source_engine(postgres_url, statement_timeout_s=10)
    options = TABLES["thing"]
    source = Source(engine, Table("thing", "thing", key=tuple(options["key"])))
    assert list(source.stream_row_ids(10)) == [[row_id]]
    engine.dispose()
    with db.begin() as session:
        session.scalars(select(Thing)).one().n = 1
    assert touched_rows.touched() == {"thing": [row_id]}
    with db.begin() as session:
        session.execute(update(Thing).values(n=2))
    assert touched_rows.touched() == {"thing": [row_id]}


@pytest.mark.parametrize("spelling", [str.upper, lambda text: text.replace("-", ""), "{{{}}}".format])
def test_key_of_a_uuid_is_written_as_the_database_shows_it_however_it_is_spelled(
    session_maker, listen, touched_rows, orm_engine, spelling
):
    row_id = str(uuid.uuid4())
    touched_rows.schedule("parcel", row_id)
    listen(session_maker, {Parcel: "parcel"})
    with session_maker.begin() as session:
        session.add(Parcel(id=spelling(row_id)))
    assert touched_rows.touched() == {"parcel": [row_id]}
    with orm_engine.connect() as other:
        assert other.scalar(text("SELECT id::text FROM parcel")) == row_id
    with session_maker.begin() as session:
        session.execute(update(Parcel), [{"id": spelling(row_id), "n": 2}])
    assert touched_rows.touched() == {"parcel": [row_id]}


def test_row_of_a_subclass_is_touched_in_the_tables_of_all_its_classes(db, touched_rows):
    touched_rows.schedule("staff", "1", "2", "3")
    touched_rows.schedule("boss", "1", "2", "3")
    with db.begin() as session:
        session.add_all([Boss(id=1), Temp(id=2), Staff(id=3)])
    assert touched_rows.touched() == {"staff": ["1", "2", "3"], "boss": ["1"]}
    with db.begin() as session:
        session.get_one(Staff, 1).level = 2
    assert touched_rows.touched() == {"staff": ["1"], "boss": ["1"]}
    with db.begin() as session:
        session.execute(update(Boss).where(Boss.level == 2).values(level=3))
    assert touched_rows.touched() == {"boss": ["1"]}
    with db.begin() as session:
        session.execute(update(Staff).where(Staff.id < 3).values(name="x"))
    assert touched_rows.touched() == {"staff": ["1", "2"], "boss": ["1", "2"]}


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
    ],
    ids=["all", "core", "using", "subquery", "bound"],
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


def test_rows_changed_in_a_way_that_cannot_be_seen_are_named_by_hand(db, touched_rows):
    with db() as session:
        session.execute(text("UPDATE inventory SET stock = 1"))
        touched(session, "inv", ["1", 2])
        with session.begin_nested() as savepoint:
            touched(session, "inv", "3")
            savepoint.rollback()
        session.commit()
        assert touched_rows.touched() == {"inv": ["1", "2"]}
        with pytest.raises(ArgumentError, match="call it between the change and the commit"):
            touched(session, "inv", "1")
        session.begin()
        with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables"):
            touched(session, "nope", "1")
    with Session() as other, other.begin(), pytest.raises(ArgumentError, match="found no transaction of a session"):
        touched(other, "inv", "1")


def test_rows_named_by_hand_go_to_each_hook_that_knows_their_table(session_maker, listen, touched_rows):
    touched_rows.schedule("staff", "1")
    listen(session_maker, {Inventory: "inv"}, tables={"inv": TABLES["inv"]})
    listen(session_maker, {Staff: "staff"}, tables={"staff": TABLES["staff"]})
    with session_maker() as session:
        session.execute(text("UPDATE staff SET name = 'x'"))
        touched(session, "staff", {"1"})
        touched(session, "inv", (n for n in (1, 2)))
        for wrong in ({"table": "users"}, {"table": []}, {"row_ids": [None]}):
            with pytest.raises(ArgumentError, match=r"table .* is not in rowcache_tables|row id is None"):
                touched(session, **{"table": "inv", "row_ids": ["3"]} | wrong)
        session.commit()
    assert touched_rows.touched() == {"inv": ["1", "2"], "staff": ["1"]}


def test_sessions_and_classes_that_are_not_registered_are_left_alone(session_maker, listen, touched_rows):
    touched_rows.schedule("seat", "1,a")
    listen(session_maker, {Inventory: "inv"})
    with session_maker.begin() as session:
        session.add(Seat(hall="a", n=1))
    with Session(session_maker.kw["bind"]) as other:
        sell(other)
        other.execute(update(Inventory).values(stock=3))
        other.commit()
        assert other.info == {}, "nothing is collected"
    assert touched_rows.touched() == {}


@pytest.mark.parametrize("kind", ["class", "maker", "scoped", "session"])
def test_each_kind_of_target_is_listened_to_until_the_hook_is_removed(
    orm_engine, session_maker, listen, touched_rows, kind
):
    class Own(Session):
        pass

    makers = {"class": sessionmaker(orm_engine, class_=Own), "maker": session_maker}
    makers["scoped"] = scoped_session(session_maker)
    session = Own(orm_engine) if kind == "session" else makers[kind]()
    targets = {"class": Own, "session": session}
    hook = listen(targets.get(kind) or makers[kind])
    sell(session)
    session.commit()
    assert touched_rows.touched() == {"inv": ["1"]}
    hook.remove()
    hook.remove()
    sell(session, 1, 6)
    session.execute(update(Inventory).where(Inventory.id == 2).values(stock=6))
    session.commit()
    session.close()
    assert touched_rows.touched() == {}


def test_class_may_be_cached_in_several_tables(session_maker, listen, touched_rows):
    touched_rows.schedule("staff", "1")
    listen(session_maker, {Inventory: ["inv", "staff"]})
    with session_maker.begin() as session:
        sell(session)
        session.execute(update(Inventory).where(Inventory.id == 2).values(stock=1))
    assert touched_rows.touched() == {"inv": ["1", "2"], "staff": ["1"]}


@pytest.mark.parametrize(
    ("target", "classes", "options", "message"),
    [
        (sessionmaker(), {}, {}, 'classes is {}: allowed is {Inventory: "inv"}'),
        (sessionmaker(), {dict: "inv"}, {}, "<class 'dict'> is not a mapped class"),
        (sessionmaker(), {Inventory: "nope"}, {}, "table 'nope' is not in rowcache_tables"),
        (sessionmaker(), {Inventory: "users"}, {}, "Inventory has no column 'login', of the key of rowcache_tables"),
        (sessionmaker(), {Untold: "inv"}, {}, r"add \"key\": \['a', 'b'\], in the order"),
        ("Session", {Inventory: "inv"}, {}, "session is 'Session': allowed are a Session or AsyncSession"),
        (sessionmaker(), {Inventory: "inv"}, {"via": "mail"}, "via is 'mail': allowed are"),
        (sessionmaker(), {Inventory: "inv"}, {"url": None}, "tables is .* and url is not given: give the url"),
        (sessionmaker(), {Inventory: "inv"}, {"via": "task"}, 'via is "task" and url is .*; leave url out'),
        (sessionmaker(), {Inventory: "inv"}, {"via": "task", "url": None}, 'via is "task" and tables is'),
        (
            sessionmaker(),
            {Inventory: "inv"},
            {"via": "task", "url": None, "tables": None},
            'via is "task" and timeout is 60: tasks go by the configuration module alone; leave timeout out',
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error_of_one_line(listen, target, classes, options, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        listen(target, classes, **options)
    assert "\n" not in str(caught.value)


def test_two_databases_in_one_session_with_two_phases(session_maker, listen, touched_rows, postgres):
    other = create_engine(postgres.create_database("test_orm_other"))
    Base.metadata.create_all(other)
    touched_rows.schedule("users", "ann")
    both = sessionmaker(binds={Inventory: session_maker.kw["bind"], User: other}, twophase=True)
    listen(both)
    with both() as session:
        for end in (session.rollback, session.commit):
            sell(session)
            session.add(User(user_id=1, nick="ann"))
            session.flush()
            session.execute(update(Inventory).where(Inventory.id == 2).values(stock=2))
            session.prepare()
            assert touched_rows.touched() == {}
            end()
        assert touched_rows.touched() == {"inv": ["1", "2"], "users": ["ann"]}
    other.dispose()


def test_rows_are_touched_each_once_and_all_tables_in_one_round_trip(db, touched_rows, client):
    touched_rows.schedule("seat", *(f"{n},a" for n in range(300)))
    touched_rows.schedule("users", "ann")
    with db.begin() as session:  # the connection is made, and the script is loaded
        sell(session)
    with db() as session:
        session.add_all([Seat(hall="a", n=n) for n in range(300)])
        session.add(User(user_id=1, nick="ann"))
        for stock in range(4, 8):
            sell(session, 2, stock)
            session.flush()
        before = client.info("all")
        session.commit()
        after = client.info("all")
    assert after["total_reads_processed"] - before["total_reads_processed"] == 2, "the touch, and the last INFO"
    calls = [info["cmdstat_evalsha"]["calls"] for info in (before, after)]
    assert calls[1] - calls[0] == 4, "seats are more than one call takes"
    found = touched_rows.touched()
    assert {table: len(row_ids) for table, row_ids in found.items()} == {"inv": 2, "seat": 300, "users": 1}


def test_script_that_the_server_has_forgotten_is_loaded_again(db, touched_rows, client):
    for row_id in (1, 2):
        client.script_flush()
        with db.begin() as session:
            sell(session, row_id)
        assert touched_rows.touched() == {"inv": [str(row_id)]}


def test_value_read_before_the_commit_does_not_stay(db, touched_rows, client, postgres_url):
    """A worker has read the row when it is changed, and writes it when the change is committed."""
    engine = create_source_engine(postgres_url, statement_timeout_s=10)
    schedule, source = Schedule(client, touched_rows.tables["inv"]), Source(engine, touched_rows.tables["inv"])
    schedule.touch_rows(["1"])
    claim, _ = schedule.claim_rows(10, 3600)
    read = source.fetch(claim.row_ids)
    with db.begin() as session:
        sell(session, 1, 5)
    values = {row_id: source.encoder.encode(row) for row_id, row in read.rows.items()}
    schedule.commit_rows(claim, values)
    assert json.loads(client.get("inv:1"))["stock"] == 0
    again, _ = schedule.claim_rows(10, 3600)
    assert again.row_ids == ["1"]
    refresh_claim(schedule, source, again, Backoff())
    engine.dispose()
    assert json.loads(client.get("inv:1"))["stock"] == 5


def test_deferred_columns_that_are_no_key_are_not_loaded(db, orm_engine, touched_rows):
    sent = []
    event.listen(orm_engine, "before_cursor_execute", listener := lambda *args: sent.append(args[2]))
    with db.begin() as session:
        session.scalars(select(Inventory).where(Inventory.id == 1).options(defer(Inventory.stock))).one().stock = 3
    event.remove(orm_engine, "before_cursor_execute", listener)
    assert [sql.split()[0] for sql in sent] == ["SELECT", "UPDATE"]
    assert touched_rows.touched() == {"inv": ["1"]}
