"""The commit hook: sessions, arguments, rows named by hand, and its calls of Redis."""

import json

import pytest
from sqlalchemy import create_engine, text, update
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from support.orm_models import TABLES, Base, Inventory, Seat, Staff, Untold, User, sell

from rowcache_tasks import ArgumentError
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source
from rowcache_tasks.orm import touched
from rowcache_tasks.schedule.position import HEADER_BYTES, number_of
from rowcache_tasks.schedule.rows import Backoff, Schedule
from rowcache_tasks.worker.refresh import refresh_claim


def test_rows_changed_in_a_way_that_cannot_be_seen_are_named_by_hand(db, touched_rows):
    with db() as session:
        session.execute(text("UPDATE inventory SET stock = 1"))
        touched(session, "inv", ["1", 2])
        with session.begin_nested() as savepoint:
            touched(session, "inv", ["3"])
            savepoint.rollback()
        session.commit()
        assert touched_rows.touched() == {"inv": ["1", "2"]}
        with pytest.raises(ArgumentError, match="call it between the change and the commit"):
            touched(session, "inv", ["1"])
        session.begin()
        with pytest.raises(ArgumentError, match="table 'nope' is not in rowcache_tables"):
            touched(session, "nope", ["1"])
    with Session() as other, other.begin(), pytest.raises(ArgumentError, match="found no transaction of a session"):
        touched(other, "inv", ["1"])


def test_rows_named_by_hand_go_to_each_hook_that_knows_their_table(session_maker, listen, touched_rows):
    touched_rows.schedule("staff", "1")
    listen(session_maker, {Inventory: "inv"}, tables={"inv": TABLES["inv"]})
    listen(session_maker, {Staff: "staff"}, tables={"staff": TABLES["staff"]})
    with session_maker() as session:
        session.execute(text("UPDATE staff SET name = 'x'"))
        touched(session, "staff", {"1"})
        touched(session, "inv", (n for n in (1, 2)))
        for wrong in ({"table": "users"}, {"table": []}, {"row_ids": [None]}, {"row_ids": [""]}, {"row_ids": "3"}):
            with pytest.raises(ArgumentError, match=r"table .* is not in rowcache_tables|row id is (None|'')|one key"):
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
    values = {row_id: read.encoder.encode(row) for row_id, row in read.rows.items()}
    schedule.commit_rows(claim, values)
    again, _ = schedule.claim_rows(10, 3600)
    assert again.row_ids == ["1"]
    refresh_claim(schedule, source, again, Backoff())
    engine.dispose()
    assert json.loads(client.get("inv:1"))["stock"] == 5


def test_position_after_the_commit_is_named_for_a_table_with_replicas(session_maker, listen, touched_rows, client):
    def position():
        with session_maker.kw["bind"].connect() as connection:
            return number_of(connection.scalar(text("SELECT pg_current_wal_insert_lsn()::text")))

    listen(session_maker, {Inventory: "inv"}, tables={"inv": TABLES["inv"] | {"replica": True}})
    before = position()
    with session_maker.begin() as session:
        sell(session)
    assert before < client.zscore("position:", "1") + HEADER_BYTES <= position()
    assert touched_rows.touched() == {"inv": ["1"]}
