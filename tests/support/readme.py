"""Blocks of README.md."""

import re

from support.project import ROOT

TEXT = (ROOT / "README.md").read_text("utf-8")


def blocks_of(language, text=TEXT):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands():
    """Each command of the console blocks, with what it prints."""
    text = "".join(blocks_of("console"))
    return [(command, printed) for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)]


def configuration():
    """Settings of celeryconfig.py, but for the addresses of servers."""
    (block,) = (block for block in blocks_of("python") if block.startswith("# celeryconfig.py"))
    return "".join(line for line in block.splitlines(keepends=True) if "_url = " not in line)
