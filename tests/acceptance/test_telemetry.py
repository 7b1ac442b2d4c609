"""Spans of real processes, each of which appends them to one file.

Only these processes have the SDK of OpenTelemetry: redis-py imports it where it is installed, which takes 0.2 s.
"""

import json
import sys
from pathlib import Path

import pytest
from support.waiting import wait_until

SDK = Path(sys.prefix) / "otel"

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not SDK.exists(), reason=f"needs opentelemetry-sdk in {SDK} (make install)"),
]

CONFIGURATION = """
import os
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from rowcache_tasks.celery.telemetry import RowCacheInstrumentor

spans = open(os.environ["SPANS"], "a", buffering=1)
provider = TracerProvider()
provider.add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(indent=None) + "\\n"))
)
trace.set_tracer_provider(provider)
RowCacheInstrumentor().instrument()

rowcache_redis_url = os.environ["ROWCACHE_REDIS_URL"]
rowcache_database_url = os.environ["ROWCACHE_DATABASE_URL"]
broker_url = os.environ["CELERY_BROKER_URL"]
rowcache_tables = {"inv": {"table": "inventory"}}
"""
APPLICATION = """
import celeryconfig
from opentelemetry import trace
from rowcache_tasks.tasks import schedule_row

with trace.get_tracer("shop").start_as_current_span("order"):
    schedule_row.delay("inv", 42, 60)
"""


def test_one_trace_from_a_schedule_change_to_the_commit(deployment, tmp_path):
    file = tmp_path / "spans"
    file.touch()
    deployment.configure(CONFIGURATION)
    deployment.env |= {"SPANS": str(file), "PYTHONPATH": f"{deployment.env['PYTHONPATH']}:{deployment.cwd}:{SDK}"}
    deployment.start_worker()
    deployment.start_beat()
    deployment.run(APPLICATION)

    def read():
        return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]

    wait_until(lambda: {"rowcache.commit", "rowcache.due"} <= {span["name"] for span in read()}, "the row is committed")
    wait_until(lambda: deployment.client.get("inv:42"), "the value is there")
    wait_until(lambda: sum("run/" in span["name"] for span in read()) == 2, "both tasks have ended")
    spans = read()
    by_id = {span["context"]["span_id"]: span for span in spans}
    assert len({span["context"]["trace_id"] for span in spans}) == 1, "one trace"

    def way_to(name):
        """Return the names from a span up to the root."""
        (span,) = (span for span in spans if span["name"] == name)
        while span:
            yield span["name"]
            span = by_id.get(span["parent_id"])

    change = ["run/rowcache_tasks.tasks.schedule_row", "apply_async/rowcache_tasks.tasks.schedule_row", "order"]
    sent = ["apply_async/rowcache_tasks.tasks.refresh_row", "rowcache.due", *change]
    batch = ["rowcache.batch", "run/rowcache_tasks.tasks.refresh_row", *sent]
    assert [*way_to("rowcache.commit")] == ["rowcache.commit", *batch]
    assert [*way_to("rowcache.select")] == ["rowcache.select", *batch]
    assert [*way_to("rowcache.claim")] == ["rowcache.claim", "rowcache.due", *change]
    (due,) = (span for span in spans if span["name"] == "rowcache.due")
    assert due["attributes"].items() >= {"rowcache.table": "inv", "rowcache.rows": 1}.items()
