import os
import threading

from rowcache_tasks.reader.fill.single_flight import Flights


def test_first_to_enter_leads_and_the_others_wait():
    flights = Flights(threading.Event)
    led, others = flights.enter(["a", "b"])
    assert (list(led), list(others)) == (["a", "b"], [])
    led_by_second, waited_for = flights.enter(["b", "c"])
    assert (list(led_by_second), list(waited_for)) == (["c"], ["b"])
    assert waited_for["b"] is led["b"]


def test_flight_that_ends_wakes_those_who_wait_and_shows_what_was_found():
    flights = Flights(threading.Event)
    led, _ = flights.enter(["a"])
    _, others = flights.enter(["a"])
    led["a"].found = 42
    assert not others["a"].event.is_set()
    flights.leave(led)
    assert others["a"].event.is_set()
    assert others["a"].found == 42


def test_row_can_be_led_again_after_its_flight():
    flights = Flights(threading.Event)
    first, _ = flights.enter(["a"])
    flights.leave(first)
    second, others = flights.enter(["a"])
    assert not others
    assert second["a"] is not first["a"]
    assert second["a"].started_at >= first["a"].started_at


def test_of_many_threads_one_leads():
    flights, led_count, barrier = Flights(threading.Event), [], threading.Barrier(16)

    def enter():
        barrier.wait()
        led_count.append(len(flights.enter(["a"])[0]))

    threads = [threading.Thread(target=enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(led_count) == [0] * 15 + [1]


def test_forked_child_does_not_wait_for_its_parent():
    flights = Flights(threading.Event)
    flights.enter(["a"])
    child = os.fork()
    if child == 0:
        os._exit(0 if list(flights.enter(["a"])[0]) == ["a"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not flights.enter(["a"])[0]
