import subprocess
import sys

import rowcache_tasks

HEAVY = ("sqlalchemy", "celery", "kombu", "flower", "tornado")


def test_reading_imports_neither_sqlalchemy_nor_celery():
    code = f"import sys; from rowcache_tasks import RowCache; print([m for m in {HEAVY} if m in sys.modules])"
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
