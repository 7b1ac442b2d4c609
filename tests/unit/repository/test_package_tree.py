"""Size of the package and of its modules."""

from support.project import ROOT

PACKAGE = ROOT / "rowcache_tasks"
MAX_LINES = 250


def test_root_has_at_most_17_entries():
    entries = [path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 17, sorted(entries)


def test_module_has_at_most_250_lines():
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert {name: found for name, found in lengths.items() if found > MAX_LINES} == {}
