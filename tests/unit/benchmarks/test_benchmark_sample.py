import io
import time

import pytest

from benchmarks.progress import Progress
from benchmarks.sample import Sample, interleave


def test_sample_shows_the_median_and_the_range():
    sample = Sample([1300.0, 1234.4, 1200.0])

    assert sample.shown() == "1,234 (1,200–1,300)"
    assert Sample([0.5, 0.75]).shown(".3f") == "0.625 (0.500–0.750)"


def test_ratio_is_taken_round_by_round_so_that_a_slow_round_cancels_out():
    ours, theirs = Sample([100.0, 10.0, 200.0]), Sample([50.0, 5.0, 100.0])

    assert ours.over(theirs).values == [2.0, 2.0, 2.0]


def test_ratio_of_unequal_rounds_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Sample([1.0, 2.0]).over(Sample([1.0]))


def test_interleave_measures_each_once_a_round_and_begins_with_another_one():
    order = []

    def measure(name):
        return lambda: order.append(name) or len(order)

    samples = interleave({name: measure(name) for name in "abc"}, rounds=4)

    assert "".join(order) == "abcbcacababc"
    assert samples["b"].values == [2, 4, 9, 11]


def test_time_that_does_not_count_is_left_out_of_the_seconds():
    progress = Progress(io.StringIO())
    with progress.uncounted():
        before = progress._uncounted_s

    assert progress._uncounted_s > before
    assert progress.seconds >= 0


def test_progress_without_a_terminal_is_lines(monkeypatch):
    stream = io.StringIO()
    progress = Progress(stream)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)

    progress.say("one")
    progress.step("two")
    progress.step("left out, for it comes at once")

    assert [line.split(" s  ")[1] for line in stream.getvalue().splitlines()] == ["one", "two"]
