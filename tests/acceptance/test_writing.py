"""What an application commits is what readers see: real dispatcher and worker, and the rights of its role."""

import statistics
import time

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from support.deployment import with_login
from support.waiting import wait_until

from rowcache_tasks import RowCache
from rowcache_tasks.orm import refresh_on_commit

pytestmark = pytest.mark.acceptance

ROWS = {str(n): (3600, 0) for n in range(1, 11)}
COMMITS = 30


class Base(DeclarativeBase):
    pass


class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]


@pytest.fixture
def inv(deployment):
    """A reader of rows that are refreshed once an hour, and now by who asks for it."""
    deployment.start_beat()
    deployment.start_worker()
    deployment.schedule.put_rows(ROWS)
    inv = RowCache("inv", url=deployment.valkey.url)
    wait_until(lambda: None not in inv.get_many(ROWS).values(), "the rows are cached")
    return inv


def test_commit_of_an_application_is_seen_by_readers_long_before_the_next_refresh(deployment, inv):
    engine = create_engine(deployment.database_url)
    session_of = sessionmaker(engine)
    url = with_login(deployment.valkey.url, "filler", deployment.passwords["filler"])
    tables = {"inv": {"table": "inventory"}}
    hook = refresh_on_commit(session_of, {Inventory: "inv"}, url=url, tables=tables, timeout=60)
    seen_ms, commit_ms = [], []
    for stock in range(1, COMMITS + 1):
        with session_of() as session:
            session.get_one(Inventory, stock % 10 + 1).stock = stock
            session.flush()
            began = time.perf_counter()
            session.commit()
            committed = time.perf_counter()
        row_id = str(stock % 10 + 1)
        wait_until(lambda row_id=row_id, stock=stock: inv.get(row_id)["stock"] == stock, "it is seen", pause_s=0.0002)
        seen_ms.append((time.perf_counter() - committed) * 1000)
        commit_ms.append((committed - began) * 1000)
    hook.remove()
    engine.dispose()
    p50, p90, most = statistics.median(seen_ms), sorted(seen_ms)[int(COMMITS * 0.9)], max(seen_ms)
    print(f"commit {statistics.median(commit_ms):.1f} ms, seen after {p50:.1f} ms, p90 {p90:.1f}, at most {most:.1f}")


APPLICATION = """
import os
from sqlalchemy import create_engine, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from rowcache_tasks.orm import refresh_on_commit

class Base(DeclarativeBase): ...

class Inventory(Base):
    __tablename__ = "inventory"
    id: Mapped[int] = mapped_column(primary_key=True)
    stock: Mapped[int]

class Label(Base):
    __tablename__ = "label"
    text: Mapped[str] = mapped_column(primary_key=True)

Session = sessionmaker(create_engine(os.environ["SHOP_DATABASE_URL"]))
refresh_on_commit(Session, {Label: "inv", Inventory: "inv"}, via="task")
with Session.begin() as session:
    session.add(Label(text="x" * 2000))  # longer than a row id in a message may be
    session.flush()
    session.get_one(Inventory, 1).stock = 7
    session.execute(update(Inventory).where(Inventory.id.in_([2, 3])).values(stock=8))
"""


def test_application_without_rights_on_the_schedule_asks_by_tasks(deployment, inv):
    deployment.sql("CREATE TABLE label (text text PRIMARY KEY)")
    done = deployment.run(APPLICATION, SHOP_DATABASE_URL=deployment.database_url, check=False)
    (line,) = done.stderr.splitlines()
    assert line.startswith("1 rows of inv are not refreshed at once: row id is 'xxx")

    def stocks():
        return [row["stock"] for row in inv.get_many(["1", "2", "3"]).values()]

    wait_until(lambda: stocks() == [7, 8, 8], "the changes are cached")
