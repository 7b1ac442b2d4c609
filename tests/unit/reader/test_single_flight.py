import os
import threading

from rowcache_tasks.reader.fill.protocol import SingleFlight, result_of
from rowcache_tasks.reader.options import AS_CACHED, FILLED

FOUND = (b"{}", 0.0)


def test_first_to_enter_leads_and_the_others_wait():
    flights = SingleFlight(threading.Event)
    led, others = flights.join(["a", "b"], AS_CACHED)
    assert (list(led), list(others)) == (["a", "b"], [])
    led_by_second, waited_for = flights.join(["b", "c"], AS_CACHED)
    assert (list(led_by_second), list(waited_for)) == (["c"], ["b"])
    assert waited_for["b"] is led["b"]


def test_flight_that_ends_wakes_those_who_wait_and_shows_what_was_found():
    flights = SingleFlight(threading.Event)
    led, _ = flights.join(["a"], AS_CACHED)
    _, others = flights.join(["a"], AS_CACHED)
    assert not others["a"].event.is_set()
    flights.finish(led, {"a": FOUND})
    assert others["a"].event.is_set()
    assert others["a"].found == FOUND


def test_row_can_be_led_again_after_its_flight():
    flights = SingleFlight(threading.Event)
    first, _ = flights.join(["a"], AS_CACHED)
    flights.finish(first, {})
    second, others = flights.join(["a"], AS_CACHED)
    assert not others
    assert second["a"] is not first["a"]
    assert second["a"].started_at >= first["a"].started_at


def test_of_many_threads_one_leads():
    flights, led_count, barrier = SingleFlight(threading.Event), [], threading.Barrier(16)

    def enter():
        barrier.wait()
        led_count.append(len(flights.join(["a"], AS_CACHED)[0]))

    threads = [threading.Thread(target=enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led_count) == [0] * 15 + [1]


def test_forked_child_does_not_wait_for_its_parent():
    flights = SingleFlight(threading.Event)
    flights.join(["a"], AS_CACHED)
    child = os.fork()
    if child == 0:
        os._exit(0 if list(flights.join(["a"], AS_CACHED)[0]) == ["a"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not flights.join(["a"], AS_CACHED)[0]


def test_callers_with_other_requests_do_not_wait_for_each_other():
    flights = SingleFlight(threading.Event)
    flights.join(["a"], AS_CACHED)
    assert list(flights.join(["a"], FILLED)[0]) == ["a"]


def test_flight_that_began_before_the_call_is_no_result_for_it():
    """It may have read the row before a change that the caller has made."""
    flights = SingleFlight(threading.Event)
    led, _ = flights.join(["a"], AS_CACHED)
    flights.finish(led, {"a": FOUND})
    began_at = led["a"].started_at
    assert result_of("a", led["a"], began_at) == {"a": FOUND}
    assert result_of("a", led["a"], began_at + 0.001) == {}
