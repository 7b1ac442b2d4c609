import threading

from rowcache_tasks.schedule.arguments import Stamps


def test_stamp_is_the_time_of_the_server():
    assert Stamps().stamp((1763837614, 123)) == "1763837614.000123"


def test_clock_that_stands_still_or_goes_back_a_little_gives_later_stamps():
    stamps = Stamps()
    times = [(100, 5), (100, 5), (100, 4), (99, 900_000), (100, 9)]
    assert [stamps.stamp(time) for time in times] == [f"100.{n:06d}" for n in (5, 6, 7, 8, 9)]


def test_clock_that_was_set_back_is_followed():
    stamps = Stamps()
    stamps.stamp((7200, 0))
    assert stamps.stamp((3600, 0)) == "3600.000000"
    assert stamps.stamp((3600, 0)) == "3600.000001"


def test_threads_never_get_the_same_stamp():
    stamps, found = Stamps(), []

    def take():
        found.extend([stamps.stamp((100, 0)) for _ in range(1000)])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 8000
