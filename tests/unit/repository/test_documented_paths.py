"""Each path, file, module and link that the documents, docstrings and comments name exists."""

import re
from functools import cache
from pathlib import Path

import pytest

import rowcache_tasks

ROOT = Path(__file__).parents[3]
PACKAGE = ROOT / "rowcache_tasks"
BASES = (ROOT, PACKAGE, ROOT / "tests")
"""Paths in the documents are relative to one of these, or to the page."""
FOLDERS = ("rowcache_tasks", "tests", "benchmarks", "examples", "docs", "deploy", "tools", ".github")
PROSE = {
    ".lua": r"--.*",
    ".mjs": r"//.*",
    ".py": r'""".*?"""|(?:^|  )# .*?$',
    ".sh": r"# .*",
    ".sql": r"--.*",
    ".toml": r"# .*",
    ".yml": r"# .*",
}
"""What to read of a program: its docstrings and comments."""

FILES = [path for path in ROOT.iterdir() if path.is_file()]
FILES += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "node_modules" not in path.parts]
ENDS_OF_FOLDERS = {"/".join(path.parts[-n:]) for path in FILES if path.is_dir() for n in range(1, 6)}
PAGES = sorted(path for path in FILES if path.suffix == ".md")
TEXTS = sorted(path for path in FILES if path.suffix in {".md", *PROSE})

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(#[^)\s]*)?\)")
HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```\s*?$", re.MULTILINE | re.DOTALL)
PATH = re.compile(rf"(?<![\w/.-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w/.-]*\w")
PATH_OF_A_PAGE = re.compile(r"`((?:\w+/)+(?:\w+\.(?:py|lua|md))?)`")
FILE = re.compile(r"(?<![\w/.*-])\w+\.(?:py|lua)\b(?!:)")
MODULE = re.compile(r"\browcache_tasks((?:\.[a-z]\w*)+)")


@cache
def prose_of(path):
    """The text of a document; the docstrings and comments of a program."""
    text = path.read_text("utf-8")
    pattern = PROSE.get(path.suffix)
    return "\n".join(re.findall(pattern, text, re.MULTILINE | re.DOTALL * (path.suffix == ".py"))) if pattern else text


@cache
def anchors_of(page):
    """The anchors that GitHub makes of the headings of a page."""
    headings = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    texts = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def leads_nowhere(page, target, anchor):
    found = page.parent / target if target else page
    return not found.exists() or (anchor and found.suffix == ".md" and anchor[1:] not in anchors_of(found))


def is_path(named, text):
    return named.rstrip("/") in ENDS_OF_FOLDERS or any((base / named).exists() for base in (*BASES, text.parent))


def is_module(dotted):
    """Whether this is a module, or an attribute of one, below rowcache_tasks, or a public name."""
    place, parts = PACKAGE, dotted[1:].split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if parts and (place / f"{parts[0]}.py").exists():
        return len(parts) <= 2
    return not parts or (len(parts) == 1 and (place != PACKAGE or parts[0] in rowcache_tasks.__all__))


def wrong(find, is_right):
    """Everything that `find` finds in a text and that is not right: {text: names}."""
    found = {text: sorted({name for name in find(text) if not is_right(name, text)}) for text in TEXTS}
    return {str(text.relative_to(ROOT)): names for text, names in found.items() if names}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page):
    links = LINK.findall(FENCE.sub("", page.read_text("utf-8")))
    assert [target + anchor for target, anchor in links if leads_nowhere(page, target, anchor)] == []


def test_named_paths_exist():
    def find(text):
        found = PATH.findall(prose_of(text))
        return found + PATH_OF_A_PAGE.findall(prose_of(text)) if text.suffix == ".md" else found

    assert wrong(find, is_path) == {}


def test_named_files_exist():
    names = {path.name for path in FILES}
    assert wrong(lambda text: FILE.findall(FENCE.sub("", prose_of(text))), lambda name, _: name in names) == {}


def test_named_modules_exist():
    assert wrong(lambda text: MODULE.findall(prose_of(text)), lambda dotted, _: is_module(dotted)) == {}


def test_every_place_of_the_package_is_in_the_tree_of_the_architecture():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    tree = page.partition("## The tree")[2].partition("\n## ")[0]
    places = {path.name + "/" * path.is_dir() for path in PACKAGE.iterdir()} - {"__pycache__/", "py.typed"}
    assert {place for place in places if f"`{place}`" not in tree} == set()
