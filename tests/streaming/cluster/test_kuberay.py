"""deploy/kuberay.yaml against the code and against KubeRay's API, whose fields are written down here."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streaming.cluster import names
from streaming.cluster.blueprint import PUBLIC_IP
from streaming.guard import is_private
from tools import dockerfiles
from visavis.config import load

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[3]
PARTS: dict[str, Any] = {
    part["kind"]: part for part in yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
}
# ray.io/v1 as of KubeRay 1.3 (ray-operator/apis/ray/v1/raycluster_types.go).
CLUSTER = {
    "rayVersion", "headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling", "autoscalerOptions",
    "headServiceAnnotations", "suspend",
}  # fmt: skip
HEAD = {"serviceType", "headService", "enableIngress", "rayStartParams", "template"}
GROUP = {
    "groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template", "scaleStrategy",
}  # fmt: skip


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return dict(PARTS["RayCluster"]["spec"])


def test_it_has_the_fields_that_the_api_has(spec: dict[str, Any]) -> None:
    assert PARTS["RayCluster"]["apiVersion"] == "ray.io/v1" and set(spec) <= CLUSTER
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    assert set(groups[0]) <= HEAD and all(set(group) <= GROUP for group in groups[1:])
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())  # a map of strings
        pod = group["template"]["spec"]
        mounts = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounts == {volume["name"] for volume in pod["volumes"]}
        port = pod["containers"][0]["readinessProbe"]["tcpSocket"]["port"]
        started = {6379, int(group["rayStartParams"].get("node-manager-port", 0))}
        assert port in started and pod["securityContext"]["runAsUser"] > 0


def test_its_settings_can_be_loaded_and_fit_the_rest(spec: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(PARTS["ConfigMap"]["data"]["config.toml"])
    settings, painters = load(path), spec["workerGroupSpecs"][0]
    assert settings.cluster.address == "auto" and not is_private(settings.server)
    assert (settings.cluster.min_workers, settings.cluster.max_workers) == (
        painters["minReplicas"], painters["maxReplicas"],
    )  # fmt: skip
    container = painters["template"]["spec"]["containers"][0]
    assert int(container["resources"]["limits"]["nvidia.com/gpu"]) == settings.cluster.gpus
    assert int(container["resources"]["requests"]["cpu"]) >= settings.cluster.cpus
    assert settings.server.media_ports and painters["template"]["spec"]["hostNetwork"]
    assert PUBLIC_IP in {variable["name"] for variable in container["env"]}
    head = spec["headGroupSpec"]
    assert names.EDGES in json.loads(json.loads(head["rayStartParams"]["resources"]))
    service = PARTS["Service"]["spec"]
    assert service["ports"][0]["targetPort"] == settings.server.port
    assert service["selector"]["ray.io/cluster"] == PARTS["RayCluster"]["metadata"]["name"]


def test_its_image_can_be_built_with_what_it_names(spec: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "kuberay.yaml").read_text()
    extras = text.split("EXTRAS=")[1].split()[0].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "cluster" in extras and set(extras) <= set(known)
    user = dockerfiles.read(ROOT / "deploy" / "Dockerfile.gpu")[-1].last("USER")
    assert user is not None and user.rest.split(":")[0] == "10001"


def test_secrets_are_those_that_the_script_makes() -> None:
    made, text = (ROOT / "deploy" / "secrets.sh").read_text(), PARTS["ConfigMap"]["data"]["config.toml"]
    for line in text.splitlines():
        if "/run/secrets/" in line:
            assert line.split("/run/secrets/")[1].split('"')[0] in made
