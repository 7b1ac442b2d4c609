"""The types of the readers' calls as mypy --strict and pyright infer them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.project import ROOT

CALLS = Path(__file__).with_name("inferred_types.py")


def run(module, *arguments):
    command = [sys.executable, "-m", module, *arguments, str(CALLS)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout


def run_mypy():
    """Return line -> revealed type, and the lines of errors."""
    messages = re.findall(r"inferred_types\.py:(\d+): (note|error): (.*)", run("mypy", "--strict"))
    types = [(int(line), re.search('Revealed type is "(.*)"', text)) for line, _, text in messages]
    return {line: found[1] for line, found in types if found}, {int(n) for n, kind, _ in messages if kind == "error"}


def run_pyright():
    found = json.loads(run("basedpyright", "--outputjson", "--pythonpath", sys.executable))["generalDiagnostics"]
    messages = [(one["range"]["start"]["line"] + 1, one["severity"], one["message"]) for one in found]
    types = [(line, re.fullmatch('Type of ".*" is "(.*)"', text, re.DOTALL)) for line, _, text in messages]
    return {line: found[1] for line, found in types if found}, {n for n, kind, _ in messages if kind == "error"}


TOOLS = {"mypy": run_mypy, "pyright": run_pyright}


def simplify(text):
    """Drop what the two tools write differently: modules, the fields of a TypedDict, the names of arguments."""
    text = re.sub(r"TypedDict\(([\w.]+), \{.*?\}\)", r"\1", text)
    return re.sub(r"[\w.]+\.(\w+)", r"\1", text)


def expected(tool):
    """Return line -> type, and the lines that are refused, as the comments have them."""
    types, refused = {}, set()
    for number, line in enumerate(CALLS.read_text().splitlines(), 1):
        _, _, comment = line.partition("  # ")
        if comment == "refused":
            refused.add(number)
        elif "reveal_type(" in line:
            own = re.search(rf"{tool}: (.*?)(; pyright: |$)", comment)
            types[number] = own[1] if own else comment
    return types, refused


@pytest.mark.parametrize("tool", TOOLS)
def test_type_of_each_call_is_inferred(tool):
    types, errors = TOOLS[tool]()
    assert ({line: simplify(text) for line, text in types.items()}, errors) == expected(tool)
