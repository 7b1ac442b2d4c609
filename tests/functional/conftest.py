"""Fixtures of functional tests: scratch databases, readers of both kinds, an application with commit hooks."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session, sessionmaker
from support.orm_models import CLASSES, TABLES, Base, Inventory
from support.read_through_table import ReadThroughTable
from support.reader_kind import READER_KINDS
from support.scratch_database import ScratchDatabase
from support.standby import Standby
from support.touched_rows import TouchedRows

from rowcache_tasks import install
from rowcache_tasks.celery.application import applications
from rowcache_tasks.orm import refresh_on_commit


@pytest.fixture
def pg(postgres_url):
    """Empty PostgreSQL database."""
    database = ScratchDatabase(postgres_url)
    database.run("DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS app CASCADE", "CREATE SCHEMA public")
    yield database
    database.close()


@pytest.fixture
def install_in():
    """`install(app)`, undone at the end of the test."""
    yield install
    del applications[1:]


@pytest.fixture(scope="session")
def standby(postgres, tmp_path_factory):
    """Standby of `postgres`, which applies each commit three seconds later; with a table `replicated`."""
    engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE replicated (id integer PRIMARY KEY, v integer)")
        connection.exec_driver_sql("INSERT INTO replicated SELECT n, 0 FROM generate_series(0, 59) n")
    engine.dispose()
    folder = tmp_path_factory.mktemp("standby")
    folder.parent.chmod(0o755)
    folder.chmod(0o755)
    with Standby(folder / "server", postgres, delay_s=3) as server:
        yield server


@pytest.fixture
def sqlite(tmp_path):
    """Empty SQLite database, whose path has characters that a URL must quote."""
    path = tmp_path / "a #1 ?.db"
    url = f"sqlite:///{str(path).replace('?', '%3F')}"
    Path(make_url(url).database).touch()  # SQLAlchemy 2.0 leaves %3F as it is
    database = ScratchDatabase(url)
    yield database
    database.close()


@pytest.fixture(params=["pg", "sqlite"])
def db(request):
    """`pg` and `sqlite` in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def session(db):
    """SQLAlchemy session of an application, on the same database as `db`."""
    engine = create_engine(db.url)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def inv_table(postgres, postgres_url):
    """ReadThroughTable `inv` with the rows 1 to 3 and 101 to 140."""
    inv_table = ReadThroughTable(postgres, postgres_url)
    inv_table.run("INSERT INTO inv SELECT n, 'n', 0 FROM generate_series(101, 140) n")
    yield inv_table
    inv_table.close()


@pytest.fixture(params=READER_KINDS)
def reader_kind(request):
    """ "threads" and "asyncio" in turn."""
    return request.param


@pytest.fixture
def open_reader(reader_kind, valkey, client):
    """Function that opens a reader of `reader_kind`; closed at the end of the test."""
    opened = []

    def make(**options):
        options = {"url": valkey.url_for(9), "timeout": 20} | options
        opened.append(READER_KINDS[reader_kind]("inv", **options))
        return opened[-1]

    yield make
    for cache in opened:
        cache.end()


@pytest.fixture(scope="module")
def orm_engine(postgres_url):
    """Engine of an application, with the tables of support.orm_models."""
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session_maker(orm_engine):
    """Sessionmaker on tables that are empty but for the items 1 to 3."""
    session_maker = sessionmaker(orm_engine)
    with session_maker.begin() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
        session.add_all([Inventory(id=n) for n in (1, 2, 3)])
    return session_maker


@pytest.fixture
def touched_rows(client):
    """TouchedRows with the items 1 to 9 scheduled for later."""
    rows = TouchedRows(client)
    rows.schedule("inv", *map(str, range(1, 10)))
    return rows


@pytest.fixture
def listen(valkey):
    """Function that installs a commit hook; removed at the end of the test."""
    hooks = []

    def listen(target, classes=CLASSES, **options):
        given = {"url": valkey.url_for(9), "tables": TABLES, "timeout": 60} | options
        hooks.append(refresh_on_commit(target, classes, **given))
        return hooks[-1]

    yield listen
    for hook in hooks:
        hook.remove()
