"""Versions that CI and the lock file install."""

import re
import tomllib

from support.project import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_oldest_versions_of_ci_are_the_lower_bounds_of_the_package():
    ranges = PROJECT["dependencies"] + [
        requirement
        for extra, found in PROJECT["optional-dependencies"].items()
        if extra != "dev"
        for requirement in found
    ]
    bounds = dict(re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", requirement).groups() for requirement in ranges)
    text = (ROOT / ".github/oldest.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==([\d.]+)$", text, flags=re.MULTILINE))
    assert set(re.findall(r"^(\w+)", "\n".join(PROJECT["dependencies"]), flags=re.MULTILINE)) <= pins.keys()
    wrong = {name: pin for name, pin in pins.items() if name in bounds and not pin.startswith(bounds[name])}
    assert wrong == {}


def test_lock_file_names_no_address_but_the_public_index():
    text = (ROOT / "uv.lock").read_text()
    assert set(re.findall(r"\w+://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}
    assert re.findall(r"source = \{ (?!registry|editable)", text) == []
