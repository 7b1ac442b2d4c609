"""Names that users type: modules, entry points, the application of `celery -A rowcache_tasks`, the version."""

import subprocess
import sys
from importlib import import_module, metadata

import pytest
from support.project import ROOT

import rowcache_tasks

PUBLIC = {
    "rowcache_tasks": rowcache_tasks.__all__,
    "rowcache_tasks.beat": ["DispatchScheduler"],
    "rowcache_tasks.orm": ["refresh_on_commit"],
    "rowcache_tasks.testing.cache": ["EagerCache"],
    "rowcache_tasks.tasks": [
        *("audit_table", "drop_table", "pause_table", "reconcile_table", "refresh_now", "refresh_row", "resume_table"),
        *("schedule_query", "schedule_row", "schedule_rows", "schedule_table", "unschedule_row", "unschedule_rows"),
    ],
}
ENTRY_POINTS = {
    ("celery.beat_schedulers", "rowcache"): "rowcache_tasks.beat:DispatchScheduler",
    ("celery.commands", "flower"): "rowcache_tasks.ops.cli.flower:flower",
    ("celery.commands", "rowcache"): "rowcache_tasks.ops.cli:rowcache",
    ("pytest11", "rowcache"): "rowcache_tasks.testing",
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names])
def test_public_name_is_importable(module, name):
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize(("group", "name"), ENTRY_POINTS)
def test_entry_point_loads_and_stays(group, name):
    (entry,) = (found for found in metadata.entry_points(group=group, name=name) if found.dist.name == "rowcache-tasks")
    assert entry.value == ENTRY_POINTS[group, name]
    assert entry.load()


def test_celery_finds_the_application_by_the_name_of_the_package():
    code = "from celery.app.utils import find_app; print(find_app('rowcache_tasks').main)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert shown.stdout.strip() == "rowcache_tasks"


def test_version_is_that_of_the_distribution():
    assert rowcache_tasks.__version__ == metadata.version("rowcache-tasks")
