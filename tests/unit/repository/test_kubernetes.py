"""Manifests of deploy/kubernetes/: valid, confined, and stopped no earlier than a lease; their probes run here."""

import os
import shlex
import subprocess
import time

import kubernetes_validate
import pytest
from ruamel.yaml import YAML
from support.project import ROOT

from rowcache_tasks import __version__
from rowcache_tasks.config.settings import Settings

FOLDER = ROOT / "deploy/kubernetes"
RELEASES = ("1.29", "1.37")
MANIFESTS = [one for path in sorted(FOLDER.glob("*.yaml")) for one in YAML(typ="safe").load_all(path)]
PODS = {one["metadata"]["name"]: one["spec"]["template"] for one in MANIFESTS if one["kind"] == "Deployment"}


@pytest.mark.parametrize("release", RELEASES)
def test_manifests_are_valid(release):
    kinds = []
    for one in MANIFESTS:
        kubernetes_validate.validate(one, release, strict=True)
        kinds.append(one["kind"])
    assert sorted(kinds) == sorted(["ConfigMap", *["Deployment"] * 3, *["PodDisruptionBudget"] * 2, "Service"])


def test_pods_are_confined_and_take_their_urls_from_secrets():
    for name, pod in PODS.items():
        (container,) = pod["spec"]["containers"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert not pod["spec"]["enableServiceLinks"], "FLOWER_PORT of a service would be a setting of Flower"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert container["envFrom"] == [{"configMapRef": {"name": "rowcache"}}, {"secretRef": {"name": name}}]
        assert container["image"] == f"rowcache-tasks:{__version__}"
        assert not any("URL" in one["name"] or "AUTH" in one["name"] for one in container["env"])


def test_selectors_find_the_pods_of_their_name():
    for one in MANIFESTS:
        if selector := one.get("spec", {}).get("selector"):
            assert selector.get("matchLabels", selector) == PODS[one["metadata"]["name"]]["metadata"]["labels"]


def test_worker_has_a_lease_to_end_and_one_dispatcher_always_runs():
    assert PODS["rowcache-worker"]["spec"]["terminationGracePeriodSeconds"] >= 2 * Settings("", {}).lease_s
    found = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in MANIFESTS if "spec" in one}
    assert found["Deployment", "rowcache-dispatcher"]["replicas"] == 2
    assert found["PodDisruptionBudget", "rowcache-dispatcher"]["minAvailable"] == 1


@pytest.mark.parametrize(
    ("age", "is_fresh", "is_left_alone"), [(0, True, True), (45, False, True), (90, False, False), (None, False, True)]
)
def test_probes_judge_the_age_of_the_file(age, is_fresh, is_left_alone, tmp_path):
    file = tmp_path / "alive"
    if age is not None:
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    for name in ("rowcache-dispatcher", "rowcache-worker"):
        (container,) = PODS[name]["spec"]["containers"]
        assert {"name": "ROWCACHE_ALIVE_FILE", "value": "/tmp/alive"} in container["env"]

        def passes(probe, container=container):
            *shell, test = container[probe]["exec"]["command"]
            command = [*shell, test.replace("/tmp/alive", shlex.quote(str(file)))]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0

        assert passes("startupProbe") == passes("readinessProbe") == is_fresh
        assert passes("livenessProbe") == is_left_alone
