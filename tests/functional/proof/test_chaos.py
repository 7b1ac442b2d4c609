"""What watches a run of chaos sees what it is there for."""

import pytest
from proof.chaos.acknowledged import CHANGING, DROPPED, SCHEDULED, AcknowledgedStates
from proof.chaos.cache_observer import CacheObserver
from proof.chaos.recovery import Recovery
from proof.chaos.report import FaultLine, Report


@pytest.fixture
def ledger():
    ledger = AcknowledgedStates(["1", "2"])
    ledger.note(["1", "2"], SCHEDULED)
    return ledger


@pytest.fixture
def observer(client, ledger):
    return CacheObserver(client, ledger, ["1", "2"])


def cache(client, row_id, version):
    client.set(f"inv:{row_id}", f'{{"id":{row_id},"version":{version}}}')


def test_value_that_goes_back_is_seen(client, observer):
    for version in (3, 4, 3):
        cache(client, 1, version)
        observer.step()
    assert observer.back == ["row 1 went back from version 4 to 3"]


def test_value_that_goes_back_over_a_drop_is_seen(client, observer):
    cache(client, 1, 4)
    observer.step()
    client.delete("inv:1")
    observer.step()
    cache(client, 1, 3)
    observer.step()
    assert observer.back == ["row 1 went back from version 4 to 3"]


def test_value_of_another_row_is_seen(client, observer):
    client.set("inv:1", '{"id":2,"version":1}')
    observer.step()
    assert observer.back == ["row 1 has the value of row 2"]


def test_dropped_row_that_comes_back_is_seen_once(client, ledger, observer):
    cache(client, 1, 1)
    ledger.note(["1"], CHANGING)
    observer.step()
    assert observer.undead == [], "the drop was not acknowledged yet"
    ledger.note(["1"], DROPPED)
    observer.step()
    observer.step()
    assert observer.undead == ["row 1 was dropped and has a value"]


def test_row_that_is_put_again_while_it_is_read_has_not_come_back(client, ledger, observer):
    cache(client, 1, 1)
    ledger.note(["1"], DROPPED)
    generation = ledger.rows(DROPPED)["1"]
    ledger.note(["1"], CHANGING)
    observer._check_dropped("1", generation)
    assert observer.undead == []


def test_row_that_is_not_in_the_schedule_is_lost(client, ledger):
    client.zadd("schedule:", {"1": 0})
    client.zadd("delay:", {"1": 5, "2": 5})
    assert Recovery(client, ledger, None, None).find_lost() == ["row 2 is not in the schedule"]


@pytest.mark.parametrize("bad", [{"lost": 1}, {"back": 1}, {"undead": 1}, {"fresh_s": 16}, {"working_s": 16}])
def test_one_bad_figure_makes_a_bad_report(bad):
    report = Report(bound_s=15)
    report.add(1.0, "", FaultLine("fault", times=1, fresh_s=14, working_s=14))
    assert report.is_good
    report.add(2.0, "", FaultLine("fault", times=1, **bad))
    assert not report.is_good
