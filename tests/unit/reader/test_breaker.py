from rowcache_tasks.reader.server import Breaker


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def opened():
    clock = Clock()
    breaker = Breaker(threshold=3, pause_s=10, clock=clock)
    for _ in range(3):
        assert breaker.allows()
        breaker.fail()
    return breaker, clock


def test_breaker_opens_after_failures_in_a_row():
    breaker, _ = opened()
    assert not breaker.allows()


def test_it_is_told_once_that_the_breaker_opens_and_closes():
    breaker = Breaker(threshold=3)
    assert [breaker.fail() for _ in range(5)] == [False, False, True, False, False]
    assert [breaker.succeed() for _ in range(3)] == [True, False, False]
    assert not breaker.fail()
    assert not breaker.succeed()


def test_success_in_between_starts_the_count_again():
    breaker = Breaker(threshold=3)
    for _ in range(10):
        breaker.fail()
        breaker.fail()
        breaker.succeed()
    assert breaker.allows()


def test_one_caller_is_let_through_after_the_pause():
    breaker, clock = opened()
    clock.now = 10
    assert [breaker.allows() for _ in range(5)] == [True, False, False, False, False]


def test_failure_of_that_caller_keeps_it_open():
    breaker, clock = opened()
    clock.now = 10
    assert breaker.allows()
    breaker.fail()
    assert not breaker.allows()
    clock.now = 20
    assert breaker.allows()


def test_success_of_that_caller_closes_it():
    breaker, clock = opened()
    clock.now = 10
    assert breaker.allows()
    breaker.succeed()
    assert all(breaker.allows() for _ in range(5))


def test_caller_that_never_tells_does_not_keep_it_open():
    breaker, clock = opened()
    clock.now = 10
    assert breaker.allows()
    assert not breaker.allows()
    clock.now = 20
    assert breaker.allows()


def test_pause_is_between_half_of_it_and_all_of_it():
    pauses = set()
    for _ in range(50):
        breaker, clock = opened()
        while not breaker.allows():
            clock.now += 0.5
        pauses.add(clock.now)
    assert 5 <= min(pauses) < max(pauses) <= 10.5
