"""The benchmark of lateness on real servers and few rows: its programs, and what it sees of them."""

import threading
import time

import pytest

from benchmarks.cases.lateness import measure
from benchmarks.punctual import BEAT, BOOK, OURS
from benchmarks.stage import Stage
from benchmarks.timetable import Row
from benchmarks.watch import Watch

RATE = 20


@pytest.fixture(scope="module")
def stage():
    with Stage(2_000) as stage:
        yield stage


@pytest.mark.parametrize("candidate", [OURS, BOOK, BEAT], ids=lambda candidate: candidate.key)
def test_refreshes_of_every_candidate_are_seen(stage, candidate):
    stage.clear()
    with candidate.running(stage):
        late = measure(stage, candidate, RATE, 1.0).lateness

    assert late.asked == pytest.approx(RATE, rel=0.25)
    assert late.done or late.waiting
    assert all(late_s >= 0 for _, late_s in late.done)


def test_watch_gives_the_lateness_to_the_microsecond(stage):
    stage.clear()
    start = stage.now() + 0.2
    rows = [Row(str(n), 60.0, start + n * 0.001) for n in range(1, 101)]
    stage.client.zadd("refreshed:", {row.row_id: start - 1 for row in rows})
    stage.client.zadd("schedule:", {row.row_id: row.due for row in rows})
    done, open_rows = rows[:90], rows[90:]

    def refresh():
        time.sleep(max(0.0, start + 0.2 - time.time()))
        for row in done:
            with stage.client.pipeline() as pipeline:
                pipeline.zadd("schedule:", {row.row_id: row.due + 0.002 + row.delay_s})
                pipeline.zadd("refreshed:", {row.row_id: row.due + 0.003})
                pipeline.execute()

    program = threading.Thread(target=refresh)
    program.start()
    late = Watch(stage.client, rows, start, start + 0.5, None).run(start + 1.0)
    program.join()

    assert len(late.done) + len(late.waiting) == len(rows)
    assert [late_s for _, late_s in late.done] == pytest.approx([0.003] * len(late.done), abs=1e-6)
    assert len(late.waiting) >= len(open_rows)
    assert late.unclear == 0
