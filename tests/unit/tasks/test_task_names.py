"""The names of tasks in messages do not change with the modules that hold them: senders and workers may differ."""

import subprocess
import sys

from support.project import ROOT

NAMES = (
    *("audit_table", "drop_table", "pause_table", "reconcile_table", "refresh_now", "refresh_row", "resume_table"),
    *("schedule_query", "schedule_row", "schedule_rows", "schedule_table", "unschedule_row", "unschedule_rows"),
)


def test_tasks_are_named_after_the_package_and_not_after_their_module():
    code = (
        "from rowcache_tasks.celery import app; app.loader.import_default_modules(); "
        "print(*sorted(name for name in app.tasks if not name.startswith('celery.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.split() == [f"rowcache_tasks.tasks.{name}" for name in NAMES]
