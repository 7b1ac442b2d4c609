"""Size of the package."""

from support.project import ROOT

PACKAGE = ROOT / "rowcache_tasks"


def test_root_has_at_most_17_entries():
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 17, sorted(entries)
