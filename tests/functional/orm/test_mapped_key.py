"""Row ids of mapped objects: equal to those of a scan of the table."""

import uuid
from datetime import date, time
from decimal import Decimal
from ipaddress import IPv4Interface

import pytest
from sqlalchemy import create_engine, event, select, text, update
from sqlalchemy.orm import defer
from support.orm_models import TABLES, Address, Boss, Inventory, Line, Mood, Parcel, Seat, Staff, Temp, Thing, User
from support.reading import AT, MOMENT, row_ids_of, row_ids_of_a_reading

from rowcache_tasks.config.settings import Table
from rowcache_tasks.database.engine import create_source_engine
from rowcache_tasks.database.source import Source


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


def test_deferred_columns_that_are_no_key_are_not_loaded(db, orm_engine, touched_rows):
    sent = []
    event.listen(orm_engine, "before_cursor_execute", listener := lambda *args: sent.append(args[2]))
    with db.begin() as session:
        session.scalars(select(Inventory).where(Inventory.id == 1).options(defer(Inventory.stock))).one().stock = 3
    event.remove(orm_engine, "before_cursor_execute", listener)
    assert [sql.split()[0] for sql in sent] == ["SELECT", "UPDATE"]
    assert touched_rows.touched() == {"inv": ["1"]}


@pytest.mark.parametrize(("server", "zone", "tag"), [("pg", "Z", "YQ=="), ("sqlite", "", "YQ==")])
def test_key_of_a_type_that_drivers_wrap_is_that_of_a_scan(request, server, zone, tag):
    url = request.getfixturevalue(server).url
    engine = create_engine(url)
    hooked, scanned = row_ids_of_a_reading(engine, url, moment=MOMENT)
    engine.dispose()
    assert scanned == [[hooked]]
    assert hooked == f"true,2026-01-02T03:04:05.5,2026-01-02T03:04:05.5{zone},AP8=,{tag}"


def test_key_that_has_several_texts_in_postgresql_is_that_of_a_scan(pg):
    engine = create_engine(pg.url, connect_args={"options": "-c timezone=UTC"})
    item = Address(
        opens=time(10, 0, 0, 500000),
        moment=AT,
        ip=IPv4Interface("10.0.0.1/32"),
        net="0:0::102:304",
        mac="08002B-010203",
        mac8="08:00:2B:01:02:03",
    )
    hooked, scanned = row_ids_of(engine, pg.url, item)
    engine.dispose()
    assert scanned == [[hooked]]
    times = "10:00:00.5,2026-01-02T03:04:05.5Z"
    assert hooked == f"{times},10.0.0.1,::1.2.3.4/128,08:00:2b:01:02:03,08:00:2b:ff:fe:01:02:03"
