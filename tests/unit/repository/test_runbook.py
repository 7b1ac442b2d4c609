"""docs/runbook.md has each finding of health and doctor, each event of the logs, and each alert."""

import ast
import re
from collections import Counter

import pytest
from support.project import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text("utf-8")
PACKAGE = ROOT / "rowcache_tasks"
SOURCES = [PACKAGE / "ops" / "problem.py", *sorted((PACKAGE / "ops" / "doctor").glob("*.py"))]
LONG = 12
"""Characters by which a part of a line is recognized."""


def read_findings():
    """The parts of the line of each warning and fault that are always the same, by its place."""
    found = {}
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"fail", "warn", "level"}:
                parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                texts = [text.strip(" :,") for part in parts if isinstance(part, str) for text in part.split(": ")]
                found[f"{source.name}:{node.lineno}"] = [*filter(None, texts)]
    return found


FINDINGS = read_findings()
SHARED = {text for text, count in Counter(text for texts in FINDINGS.values() for text in texts).items() if count > 1}
"""Remedies of several lines."""


@pytest.mark.parametrize("place", FINDINGS)
def test_line_of_a_finding_is_in_the_runbook(place):
    texts = FINDINGS[place]
    known = [text for text in texts if len(text) >= LONG and text not in SHARED] or texts[:1]
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


def test_reason_of_a_row_is_in_the_page_of_the_commands():
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    reasons = set(re.findall(r'Reason\(\s*"(\w+)"', (PACKAGE / "ops" / "reason.py").read_text("utf-8")))
    assert len(reasons) > 10
    assert {reason for reason in reasons if f"`{reason}`" not in page} == set()
