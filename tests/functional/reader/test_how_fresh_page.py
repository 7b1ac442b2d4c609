"""The questions of docs/how-fresh.md, asked of a cache."""

from support.documented import read_blocks
from support.project import ROOT
from support.settings_module import write_settings

from rowcache_tasks import CachedRow


def test_page_asks_for_ages_as_it_says(client, valkey, monkeypatch, tmp_path):
    write_settings(monkeypatch, tmp_path, valkey.url_for(9))
    client.set("inv:42", '{"id": 42}')
    client.zadd("refreshed:", {"42": client.time()[0] - 60})
    (text,) = [block.text for block in read_blocks(ROOT / "docs" / "how-fresh.md") if "get_with_age" in block.text]
    names = {}
    exec(text.replace(", fill=True", ""), names)
    with names["inv"] as inv:
        assert 59 < inv.age(42) < 120
        assert inv.get(42, max_age=5) is None
    assert isinstance(names["found"], CachedRow)
    assert (names["found"].row, names["found"].is_stale) == ({"id": 42}, True)
