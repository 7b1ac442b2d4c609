"""The rows of a tracked connection, with the messages of the server given in an order that is chosen."""

import pytest
import redis

from rowcache_tasks.keys import slot_of
from rowcache_tasks.reader.near.session import ABSENT, Counters, TrackingSession


@pytest.fixture
def counters():
    return Counters()


@pytest.fixture
def session(counters):
    return TrackingSession(3, 30, counters)


def start(session, *keys):
    """Fetch keys; gives the future of their values, when the fetch has been sent."""
    future = session.fetch(keys)
    session.send(with_hello=False)
    return future


def fetch(session, **rows):
    future = start(session, *(key.encode() for key in rows))
    session.take([*rows.values()])
    return future.result(0)


def kept(session, *keys):
    return [key for key in keys if session.get(key) is not None]


def test_answer_is_kept_until_its_row_is_invalidated(session, counters):
    assert fetch(session, a=b"1", b=None) == [b"1", ABSENT]
    assert session.get(b"a") == b"1"
    assert session.get(b"b") == ABSENT
    session.invalidate([b"invalidate", [b"a", b"other"]])
    assert session.get(b"a") is None
    assert session.get(b"b") == ABSENT
    assert (counters.hits, counters.misses, counters.invalidations) == (3, 2, 1)


def test_many_rows_are_given_and_counted_as_each_of_them_is(session, counters):
    fetch(session, a=b"1", b=None, c=b"3")
    assert session.get_many([b"a", b"other", b"b", b"a"]) == [b"1", None, ABSENT, b"1"]
    assert counters.hits == 3
    fetch(session, d=b"4")
    assert session.get_many([b"a", b"b", b"c", b"d"]) == [b"1", ABSENT, None, b"4"]


def test_answer_that_comes_after_an_invalidation_is_newer_and_kept(session):
    fetch(session, a=b"old")
    future = start(session, b"a")
    session.invalidate([b"invalidate", [b"a"]])
    session.take([b"new"])
    assert future.result(0) == [b"new"]
    assert session.get(b"a") == b"new"


def test_invalidation_without_keys_takes_all_rows_away(session, counters):
    fetch(session, a=b"1", b=b"2")
    session.invalidate([b"invalidate", None])
    assert kept(session, b"a", b"b") == []
    assert counters.invalidations == 2


def test_row_looked_at_last_stays_when_there_are_too_many(session):
    fetch(session, a=b"1", b=b"2", c=b"3")
    assert session.get(b"a") == b"1"
    fetch(session, d=b"4")
    assert kept(session, b"a", b"b", b"c", b"d") == [b"a", b"c", b"d"]


def test_forgotten_row_is_asked_for_again_and_an_answer_from_before_is_not_kept(session):
    fetch(session, a=b"old", b=b"1")
    future = start(session, b"a")
    session.forget([b"a", b"other"])
    session.take([b"old"])
    assert future.result(0) == [b"old"]
    assert kept(session, b"a", b"b") == [b"b"]
    fetch(session, a=b"new")
    assert session.get(b"a") == b"new"


def test_nothing_is_served_when_the_server_was_silent_for_too_long(session):
    fetch(session, a=b"1")
    session.proven_at -= 31
    assert session.get(b"a") is None
    assert session.get_many([b"a", b"b"]) == [None, None]
    assert session.fetch([b"a"]) is None
    assert session.is_over


def test_server_is_proven_by_when_it_was_asked_not_by_when_it_answered(session):
    fetch(session, a=b"1")
    (hello,) = session.send(with_hello=True)
    session.proven_at = hello.sent_at = hello.sent_at - 31
    session.take({b"role": b"master"})
    assert session.get(b"a") is None


def test_changed_role_of_the_server_ends_the_session_and_one_that_is_not_told_does_not(session):
    for role in ("master", "", "master"):
        session.send(with_hello=True)
        session.take({b"role": role.encode()} if role else {})
    session.send(with_hello=True)
    with pytest.raises(redis.ConnectionError, match="the server was a master and is a replica now"):
        session.take({b"role": b"replica"})


def test_end_forgets_all_rows_and_answers_all_who_wait(session):
    fetch(session, a=b"1")
    sent, queued = start(session, b"b"), session.fetch([b"c"])
    session.end()
    session.end()
    assert sent.result(0) is None
    assert queued.result(0) is None
    session.take([b"late"])
    assert kept(session, b"a", b"b", b"c") == []
    assert session.fetch([b"d"]) is None


def test_one_who_no_longer_waits_harms_nobody(session):
    gone, waiting = start(session, b"a"), start(session, b"b")
    assert gone.cancel()
    session.take([b"1"])
    session.take([b"2"])
    assert waiting.result(0) == [b"2"]


def test_error_answers_one_question_with_none(session):
    failed, good = start(session, b"a"), start(session, b"b")
    session.take(redis.ResponseError("NOPERM"))
    session.take([b"2"])
    assert failed.result(0) is None
    assert good.result(0) == [b"2"]
    assert kept(session, b"a", b"b") == [b"b"]


def test_refused_probe_forgets_the_rows_of_its_slot_alone(counters):
    session = TrackingSession(10, 30, counters, parts=8)
    a, b = b"inv{a}:1", b"inv{b}:1"
    slots = {key: slot_of(key) for key in (a, b)}
    for key in (a, b):
        session.fetch([key], slots[key])
        session.send(with_hello=False)
        session.take([b"1"])
    late = session.fetch([a], slots[a])
    sent = session.send(with_hello=True)
    assert [fetch.keys for fetch in sent] == [[a], [b"inv{a}:"], [b"inv{b}:"], ()]
    proven_at = session.proven_at
    for reply in ([b"2"], redis.exceptions.MovedError("1 127.0.0.1:7001"), [None]):
        session.take(reply)
    assert session.proven_at == proven_at, "a reply before that to HELLO proves nothing"
    session.take({b"role": b"master"})
    assert session.proven_at == sent[-1].sent_at
    assert late.result(0) == [b"2"]
    assert (session.get(a, slots[a]), session.get(b, slots[b])) == (None, b"1")
    assert [fetch.keys for fetch in session.send(with_hello=True)] == [[b"inv{b}:"], ()]


@pytest.mark.parametrize("reply", [None, b"PONG", [b"1"], 7])
def test_reply_that_answers_nothing_is_an_error(session, reply):
    start(session, b"a", b"b")
    with pytest.raises(redis.InvalidResponse, match="that is no answer"):
        session.take(reply)
    with pytest.raises(redis.InvalidResponse, match="that is no answer"):
        TrackingSession(1, 30, Counters()).take(reply)
