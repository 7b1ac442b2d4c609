"""docs/runbook.md has each finding of health and doctor, each event of the logs, and each alert."""

import ast
import re

import pytest
from support.project import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text("utf-8")
PACKAGE = ROOT / "rowcache_tasks"
SOURCES = [PACKAGE / "ops" / "problem.py", *sorted((PACKAGE / "ops" / "doctor").glob("*.py"))]
LONG = 12
"""Characters by which a part of a line is recognized."""


def findings():
    """The constant parts of the line of each warning and fault, with its place."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"fail", "warn", "level"}:
                parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                texts = [text.strip(" :,") for part in parts if isinstance(part, str) for text in part.split(": ")]
                yield pytest.param([*filter(None, texts)], id=f"{source.name}:{node.lineno}")


@pytest.mark.parametrize("texts", [*findings()])
def test_line_of_a_finding_is_in_the_runbook(texts):
    known = [text for text in texts if len(text) >= LONG] or texts[:1]
    assert [text for text in known if text in PAGE], f"write a section with a line that has one of {known}"


def test_event_of_the_logs_is_in_the_runbook():
    sources = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    events = set(re.findall(r'logger\.(?:warning|error)\(\s*"([a-z]+_[a-z_]+)\b', sources))
    assert len(events) > 5
    assert {event for event in events if f"`{event}`" not in PAGE} == set()


def test_alert_is_in_the_runbook():
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8"))
    assert len(alerts) > 5
    assert [alert for alert in alerts if f"`{alert}`" not in PAGE] == []
