"""The manifest for Kubernetes fits the schemas of its API, and says what the design needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from push_readmodel.drain_settings import DrainSettings

FILE = Path(__file__).parents[2] / "examples" / "kubernetes" / "push_readmodel.yaml"
MANIFESTS = {each["kind"]: each for each in YAML(typ="safe").load_all(FILE.read_text())}
VERSION = kubernetes_validate.latest_version()
HEALTH = ["duetime", "health", "push_readmodel"]


@pytest.mark.parametrize("kind", MANIFESTS)
def test_the_manifest_fits_the_schema_of_its_kind(kind: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], VERSION, strict=True)


def test_a_wrong_manifest_is_noticed() -> None:
    wrong = {**MANIFESTS["Deployment"], "spec": {**MANIFESTS["Deployment"]["spec"], "replica": 2}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_all_parts_select_the_workers_of_the_deployment() -> None:
    deployment = MANIFESTS["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]

    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


def test_probes_call_duetime_health_and_settings_are_read_as_the_worker_reads_them() -> None:
    container: dict[str, Any] = MANIFESTS["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each.get("value", "") for each in container["env"]}

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"][:3] == HEALTH
    assert DrainSettings.from_environment(environment).vanished_after_s == 10
    assert container["command"] == ["duetime", "serve", "push_readmodel"]
