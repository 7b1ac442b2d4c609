import subprocess
import sys

import rowcache_tasks

HEAVY = ("sqlalchemy", "celery", "kombu", "flower", "tornado")


def test_reading_imports_neither_sqlalchemy_nor_celery():
    code = f"import sys; from rowcache_tasks import RowCache; print([m for m in {HEAVY} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_plugin_of_pytest_imports_neither_until_its_fixture_is_used():
    code = f"import sys, rowcache_tasks.testing; print([m for m in {(*HEAVY, 'psycopg')} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_processes_import_no_spans_of_opentelemetry_while_they_are_off():
    code = (
        "import sys, rowcache_tasks.tasks, rowcache_tasks.worker.refresh, rowcache_tasks.beat.loop;"
        "print([m for m in ('opentelemetry.trace', 'opentelemetry.instrumentation') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_sending_imports_neither_sqlalchemy_nor_readers_nor_the_checks_of_workers():
    code = (
        "import sys; from rowcache_tasks.tasks import schedule_row; schedule_row.delay; print([m for m in"
        " ('sqlalchemy', 'rowcache_tasks.reader', 'rowcache_tasks.celery.kombu.message') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"


def test_importing_the_tasks_leaves_the_current_celery_application_alone():
    code = (
        "from celery import Celery, current_app; mine = Celery('mine'); import rowcache_tasks.tasks;"
        "print(current_app.main)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "mine"


def test_all_is_what_there_is():
    assert all(hasattr(rowcache_tasks, name) for name in rowcache_tasks.__all__)
    assert rowcache_tasks.__all__ == sorted(rowcache_tasks.__all__)


WITHOUT_GREENLET = """
import sys
sys.modules["greenlet"] = None  # as if it were not installed
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker
from rowcache_tasks.orm import refresh_on_commit

class Base(DeclarativeBase): ...

class Item(Base):
    __tablename__ = "item"
    id: Mapped[int] = mapped_column(primary_key=True)

Session = sessionmaker(create_engine("sqlite://"))
refresh_on_commit(Session, {Item: "item"}, url="unix:///nowhere", tables={"item": {"table": "item"}})
with Session.begin() as session:
    Base.metadata.create_all(session.connection())
    session.add(Item(id=1))
print([module for module in ("celery", "kombu") if module in sys.modules])
"""


def test_hook_of_sqlalchemy_needs_neither_celery_nor_greenlet():
    shown = subprocess.run([sys.executable, "-c", WITHOUT_GREENLET], check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "[]"
    assert "1 rows of item, and those of 0 commits before, are not refreshed at once" in shown.stderr
