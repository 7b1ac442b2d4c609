"""Blocks of code of the documents, each with the mark in front of it.

`<!-- run: tests/… -->` names the test that runs a block, `<!-- not run: … -->` has the reason why none does.
"""

import re
from typing import NamedTuple

from support.project import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>(?:not )?run): (?P<reason>[^\n]+) -->\n+)?"
    r"(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


class Block(NamedTuple):
    """One block. `page`: relative to the repository; `line`: of its first line; `mark`: run, not run, or none."""

    page: str
    line: int
    language: str
    text: str
    mark: str
    reason: str

    @property
    def name(self):
        return f"{self.page}:{self.line}"


def read_blocks(page):
    """All blocks of a page."""
    text = (ROOT / page).read_text("utf-8")
    return [
        Block(
            str((ROOT / page).relative_to(ROOT)),
            text.count("\n", 0, found.start("text")) + 1,
            found["language"],
            re.sub(f"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            found["mark"] or "",
            found["reason"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


def blocks_of(languages, page="README.md"):
    """The texts of the blocks in these languages, separated by blanks."""
    return [block.text for block in read_blocks(page) if block.language in languages.split()]


def commands(page="README.md"):
    """Each command of the console blocks of a page, with what it prints."""
    return COMMAND.findall("".join(blocks_of("console", page)))


def configuration():
    """Settings of celeryconfig.py in README.md, but for the addresses of servers."""
    (block,) = (block for block in blocks_of("python") if block.startswith("# celeryconfig.py"))
    return "".join(line for line in block.splitlines(keepends=True) if "_url = " not in line)
