"""How much of the package a read passes that finds its row."""

import sys
from pathlib import Path

import pytest
from support.project import ROOT
from support.reader_kind import READER_KINDS
from support.waiting import wait_until

PACKAGE = ROOT / "rowcache_tasks"


def files_passed(call):
    """Return the files of the package with a function that a call enters."""
    entered = set()

    def note(frame, event, _):
        if event == "call":
            entered.add(Path(frame.f_code.co_filename))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return {str(path.relative_to(PACKAGE)) for path in entered if path.is_relative_to(PACKAGE)}


@pytest.mark.parametrize("options", [{}, {"fill": True}])
def test_hit_passes_at_most_four_files(open_reader, client, options):
    client.set("inv:42", '{"id":42}')
    cache = open_reader()
    assert cache.get("42", **options) == {"id": 42}
    files = files_passed(lambda: cache.get("42", **options))
    assert files & {"reader/cache.py", "reader/aio.py"}
    assert len(files) <= 4, files


def test_hit_of_the_near_cache_passes_at_most_four_files(reader_kind, valkey, client):
    client.set("inv:42", '{"id":42}')
    cache = READER_KINDS[reader_kind]("inv", url=valkey.url_for(9), near=10)
    wait_until(lambda: cache.get("42") and cache.near_statistics().hits, "the row is kept")
    files = files_passed(lambda: cache.get("42"))
    assert "reader/near/session.py" in files
    assert len(files) <= 4, files
    cache.end()
