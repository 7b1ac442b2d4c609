"""The dashboard and the alert rules: their metrics are those of the exporter, and each rule fires when it should."""

import json
import re
import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from ruamel.yaml import YAML
from support.project import ROOT

from rowcache_tasks.celery import app
from rowcache_tasks.celery.broker_state import BrokerState
from rowcache_tasks.config.settings import SETTINGS, Settings, Table
from rowcache_tasks.ops.metrics import RowCacheCollector

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "rowcache.json").read_text())
PANELS = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
}
RULES = {rule["alert"]: rule["expr"] for rule in YAML(typ="safe").load(ALERTS)["groups"][0]["rules"]}
SCALING = (ROOT / "docs" / "scaling.md").read_text()

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="needs promtool (apt: prometheus)")

LEASE = {"rowcache_lease_seconds": "30x1500"}
HEALTHY = LEASE | {
    "rowcache_up": "1x1500",
    'rowcache_waiting_seconds{table="inv"}': "0x1500",
    'rowcache_last_commit_timestamp_seconds{table="inv"}': "0+60x1500",
    "rowcache_faults": "0x1500",
    "rowcache_redis_faults": "0x1500",
    'rowcache_promise_state{table="inv"}': "0x1500",
    'rowcache_lateness_seconds_bucket{table="inv",le="4.096"}': "0+100x1500",
    'rowcache_lateness_seconds_bucket{table="inv",le="+Inf"}': "0+100x1500",
    'rowcache_failing_ratio{table="inv"}': "0x1500",
    'rowcache_queue_length{queue="rowcache.refresh"}': "3x1500",
    'rowcache_queue_limit{queue="rowcache.refresh"}': "50x1500",
    'rowcache_queue_oldest_seconds{queue="rowcache.schedule"}': "1x1500",
    'rowcache_queue_oldest_seconds{queue="rowcache.refresh"}': "100x1500",
    'rowcache_paused{table="inv"}': "0x1500",
    'rowcache_scheduled_rows{table="inv"}': "1000x1500",
    'rowcache_audit_wrong_total{table="inv"}': "5x1500",
    # The table of the same name in another deployment, which is healthy.
    'rowcache_lease_seconds{instance="other"}': "30x1500",
    'rowcache_last_commit_timestamp_seconds{instance="other",table="inv"}': "0+60x1500",
}
FAULTS = {
    "RowcacheAway": {"rowcache_up": "0x1500"},
    "RowcacheStalled": {
        'rowcache_waiting_seconds{table="inv"}': "0+60x1500",
        'rowcache_last_commit_timestamp_seconds{table="inv"}': "0x1500",
    },
    "RowcacheFault": {"rowcache_faults": "1x1500"},
    "RowcacheRedisFault": {"rowcache_redis_faults": "1x1500"},
    "RowcachePromiseBroken": {'rowcache_promise_state{table="inv"}': "2x1500"},
    "RowcachePromiseAtRisk": {'rowcache_promise_state{table="inv"}': "1x1500"},
    "RowcacheLate": {'rowcache_lateness_seconds_bucket{table="inv",le="4.096"}': "0+98x1500"}
    | {f'rowcache_lateness_seconds_bucket{{table="inv",le="{le}"}}': "0+100x1500" for le in ("8.192", "+Inf")},
    "RowcacheFailing": {'rowcache_failing_ratio{table="inv"}': "0.02x1500"},
    "RowcacheQueueFull": {'rowcache_queue_length{queue="rowcache.refresh"}': "50x1500"},
    "RowcacheChangesWait": {'rowcache_queue_oldest_seconds{queue="rowcache.schedule"}': "61x1500"},
    "RowcachePausedForLong": {'rowcache_paused{table="inv"}': "1x1500"},
    "RowcacheScheduleLost": {'rowcache_scheduled_rows{table="inv"}': "1000x70 400x1430"},
    "RowcacheWrongValues": {'rowcache_audit_wrong_total{table="inv"}': "5+1x1500"},
}
"""Alert -> values each minute that differ from those of a healthy deployment."""


def names_in(text):
    return set(re.findall(r"\browcache_[a-z_]+", text)) - set(SETTINGS)


@pytest.fixture
def exported(client):
    """Names of all series that the exporter can print."""
    settings = Settings(redis_url="redis://unused", tables={"inv": Table("inv", "inventory")})
    registry = CollectorRegistry()
    registry.register(RowCacheCollector(client, settings, BrokerState(app)))
    kinds = re.findall(r"^# TYPE (\w+) (\w+)$", generate_latest(registry).decode(), re.MULTILINE)
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in kinds for suffix in suffixes.get(kind, ("",))}


def test_dashboard_alerts_and_examples_name_metrics_that_the_exporter_prints(exported):
    expressions = PANELS | RULES | {"docs/scaling.md": SCALING}
    unknown = {place: names_in(text) - exported for place, text in expressions.items()}
    assert {place: names for place, names in unknown.items() if names} == {}


def test_page_of_operations_has_every_metric(exported):
    page = (ROOT / "docs" / "operations.md").read_text()
    assert exported - names_in(page) - {"rowcache_lateness_seconds_sum", "rowcache_lateness_seconds_count"} == set()
    assert names_in(page) - exported - {"rowcache_deploy", "rowcache_tasks"} == set()


def test_examples_of_scaling_are_documents_that_scale_one_deployment_by_one_metric():
    yaml = YAML(typ="safe")
    keda, rule, autoscaler = [yaml.load(block) for block in re.findall(r"```yaml\n(.*?)```", SCALING, re.DOTALL)]
    (trigger,) = keda["spec"]["triggers"]
    (metric,) = autoscaler["spec"]["metrics"]
    (external,) = rule["externalRules"]
    assert trigger["metadata"]["query"] == external["metricsQuery"] == "max(rowcache_overdue_seconds)"
    assert external["name"]["as"] == metric["external"]["metric"]["name"]
    assert keda["spec"]["scaleTargetRef"]["name"] == autoscaler["spec"]["scaleTargetRef"]["name"]
    assert keda["spec"]["minReplicaCount"] == autoscaler["spec"]["minReplicas"] == 1


def test_panels_do_not_overlap_and_ids_are_unique():
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def promtool(folder, command, document):
    YAML().dump(document, folder / "file.yml")
    done = subprocess.run(["promtool", *command, "file.yml"], check=False, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@needs_promtool
def test_every_panel_is_a_valid_expression(tmp_path):
    filled = {
        title: expr.replace("$__rate_interval", "1m").replace("$table", "inv|users") for title, expr in PANELS.items()
    }
    rules = [{"record": f"panel_{number}", "expr": expr} for number, expr in enumerate(filled.values())]
    code, printed = promtool(tmp_path, ["check", "rules"], {"groups": [{"name": "panels", "rules": rules}]})
    assert code == 0, printed


@needs_promtool
def test_each_alert_fires_for_its_fault_alone_and_none_for_a_healthy_deployment(tmp_path):
    assert set(FAULTS) == set(RULES)
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": values} for name, values in (HEALTHY | FAULTS.get(alert, {})).items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "1450m" if alert == "RowcachePausedForLong" else "80m",
                    "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else [],
                }
            ],
        }
        for alert in ("", *FAULTS)
    ]
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    code, printed = promtool(tmp_path, ["test", "rules"], document)
    assert code == 0, printed
