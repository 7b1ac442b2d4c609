"""The list of tasks in Flower, and the templates of another Flower."""

from types import SimpleNamespace

import pytest

from rowcache_tasks.celery.flower import mark_failures
from rowcache_tasks.ops.cli.flower.tab import read_templates


@pytest.mark.parametrize(
    ("result", "state"),
    [
        ("{'refreshed': 98, 'failed': 1200, 'late_ms': 12, 'error': 'too long'}", "1,200 FAILED"),
        ("{'unknown': 3, 'expired': 4, 'late_ms': 1}", "7 FAILED"),
        ("{'refreshed': 100, 'missing': 2, 'late_ms': 12}", "SUCCESS"),
        ("{'refreshed': 1, 'error': \"{'failed': 9}\"}", "SUCCESS"),
        ("{'failed': 1, 'error': 'cut of…", "1 FAILED"),
        ("None", "SUCCESS"),
        (None, "SUCCESS"),
    ],
)
def test_state_of_a_batch_counts_its_rows_that_were_not_refreshed(result, state):
    task = SimpleNamespace(name="rowcache_tasks.tasks.refresh_row", state="SUCCESS", result=result)
    assert mark_failures(task).state == state


def test_state_of_another_task_stays():
    task = SimpleNamespace(name="shop.note", state="SUCCESS", result="{'failed': 1}")
    assert mark_failures(task).state == "SUCCESS"


def test_templates_of_another_flower_are_refused_with_the_part_that_is_missing(tmp_path):
    (tmp_path / "base.html").write_text("{% block title %}{% block navbar %}{% block container %}")
    with pytest.raises(LookupError, match=r"base\.html has no \{% block extra_scripts %\}"):
        read_templates(tmp_path)
