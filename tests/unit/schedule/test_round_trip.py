"""Calls of scripts, some of them in one round trip."""

from rowcache_tasks.schedule.cut import SCRIPT_BATCH
from rowcache_tasks.schedule.script import ScriptCall, load_script
from rowcache_tasks.schedule.servers import cut_by_arguments


def test_round_trip_has_five_calls_of_row_ids_and_a_call_with_more_is_alone():
    script = load_script("touch_rows")
    touches = [ScriptCall(script, [], ["", "", 0, *range(SCRIPT_BATCH)]) for _ in range(12)]
    large = ScriptCall(script, [], range(5000))
    found = [*cut_by_arguments([*touches, large, touches[0]])]
    assert [len(some) for some in found] == [5, 5, 2, 1, 1]
    assert [call for some in found for call in some] == [*touches, large, touches[0]]
    assert [*cut_by_arguments([])] == []
