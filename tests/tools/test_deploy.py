"""What deploy/ says holds against the code: files, ports, settings, names of figures; hadolint and schemas agree."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any

import promql_parser
import pytest
import yaml

from streaming.config import PortraitConfig, ServerConfig, StreamConfig
from streaming.guard import check_bind
from streaming.hub import Hub
from streaming.metrics import REASONS, Metrics
from streaming.portraits import Portraits
from tests.streaming.double import DoubleEngine
from tests.streaming.harness import Settings, serving_thread
from tools import dockerfiles
from visavis.config import Config, load

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
ENVIRONMENT = dict(
    line.split("=", 1)
    for line in (DEPLOY / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
)


# Images.


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, "--no-color", DEPLOY / name], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_is_tracked_and_not_ignored(name: str) -> None:
    stages = dockerfiles.read(DEPLOY / name)
    assert not dockerfiles.missing(stages, dockerfiles.context(ROOT))
    copied = {source for step in stages[0].steps if step.word == "COPY" for source in step.words[:-1]}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {re.split(r"[.*]", package)[0] for package in packages} <= copied  # or the wheel lacks one


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_nobody_says_how_it_is_and_carries_no_installer(name: str) -> None:
    stages = dockerfiles.read(DEPLOY / name)
    last = stages[-1]
    user, scripts = last.last("USER"), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert user is not None and int(user.rest.split(":")[0]) > 0
    assert last.last("HEALTHCHECK") and last.last("STOPSIGNAL") and last.last("ENTRYPOINT").words[0] in scripts  # type: ignore[union-attr]
    assert not any("pip" in step.rest or "apt" in step.rest for step in last.steps if step.word == "RUN")
    assert "uninstall --yes pip" in " ".join(step.rest for step in stages[0].steps)
    known = last.environment({"PATH": "/bin"})
    volumes = dockerfiles.said(last.last("VOLUME"))
    assert f"{known['XDG_CACHE_HOME']}/visavis" in volumes and f"{known['XDG_DATA_HOME']}/visavis" in volumes


@pytest.mark.parametrize("name", DOCKERFILES)
def test_extras_of_an_image_exist(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = dockerfiles.arguments_of(DEPLOY / name)["EXTRAS"].split(",")
    assert wanted and set(wanted) <= set(extras)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_exposes_the_ports_that_its_settings_name(name: str) -> None:
    server = load(DEPLOY / "visavis.toml").server
    exposed = dockerfiles.said(dockerfiles.read(DEPLOY / name)[-1].last("EXPOSE"))
    assert exposed == [f"{server.port}/tcp", f"{server.media_ports[0]}-{server.media_ports[1]}/udp"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_health_check_passes_on_a_server_that_lives_and_fails_on_none(name: str, tmp_path: Path) -> None:
    check = dockerfiles.read(DEPLOY / name)[-1].last("HEALTHCHECK")
    assert check is not None
    command = dockerfiles.Step("CMD", check.rest.removeprefix("CMD").strip()).command
    assert command[0] == "python" and ":8765/" in command[2]
    with serving_thread(DoubleEngine(tmp_path), Settings(server=ServerConfig(port=0))) as address:
        here = command[2].replace(":8765/", f":{address.split(':')[2].split('/')[0]}/")
        assert subprocess.run([sys.executable, *command[1:2], here]).returncode == 0
    assert subprocess.run([sys.executable, *command[1:2], here], stderr=subprocess.DEVNULL).returncode != 0


def test_a_path_is_ignored_by_the_last_rule_that_fits_it_or_a_folder_above() -> None:
    rules = ["*", "!engine", "**/__pycache__", "!docs/one.md", "engine/secret/*"]
    for name, out in (
        ("README.md", True), ("engine/a.py", False), ("engine/b/__pycache__/c.pyc", True), ("docs/one.md", False),
        ("docs/two.md", True), ("engine/secret/a", True),
    ):  # fmt: skip
        assert dockerfiles.ignored(name, rules) == out, name


def test_nothing_private_is_given_to_a_build() -> None:
    names = dockerfiles.context(ROOT)
    assert "visavis/cli.py" in names and not any(name.startswith((".", "deploy/secrets", "data/")) for name in names)


# Compose.


def test_compose_files_fit_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, *DEPLOY.glob("compose*.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_variable_secret_volume_network_and_file_that_compose_names_is_there() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert asked <= set(ENVIRONMENT) and set(ENVIRONMENT) <= asked
    for name, service in COMPOSE["services"].items():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"]), name
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"]), name
        assert {given["source"] for given in service.get("configs", ())} <= set(COMPOSE["configs"]), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
    made = (DEPLOY / "secrets.sh").read_text()
    for secret in COMPOSE["secrets"].values():
        assert Path(secret["file"]).name in made
    build = COMPOSE["services"]["visavis"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


@pytest.fixture
def composed(tmp_path: Path) -> Config:
    """The configuration that compose writes, its secrets in files that this test may read."""
    text = COMPOSE["configs"]["visavis"]["content"].replace(":-4}", "}")
    filled = Template(text).substitute(ENVIRONMENT)
    for secret in re.findall(r"/run/secrets/(\w+)", filled):
        assert secret in COMPOSE["secrets"] and secret in COMPOSE["services"]["visavis"]["secrets"]
        path = tmp_path / secret
        path.write_text("0123456789abcdef0123456789abcdef\n")
        path.chmod(0o600)
        filled = filled.replace(f"/run/secrets/{secret}", str(path))
    path = tmp_path / "visavis.toml"
    path.write_text(filled)
    return load(path)


def test_the_configuration_that_compose_writes_is_one_that_serves(composed: Config) -> None:
    check_bind(composed.server)
    service, server = COMPOSE["services"]["visavis"], composed.server
    first, last = server.media_ports
    assert f"{first}-{last}:{first}-{last}/udp" in service["ports"]
    assert COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"] in server.trusted_proxies
    assert server.public_ip == ENVIRONMENT["PUBLIC_IP"] and server.turn_secret_file
    assert float(service["stop_grace_period"].removesuffix("s")) > server.drain_s
    (target,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    host, port = target["static_configs"][0]["targets"][0].split(":")
    assert host in server.names and int(port) == server.port
    (token,) = server.tokens
    assert token.scopes == ("metrics",)
    assert Path(target["authorization"]["credentials_file"]).name == Path(token.file).name
    assert f"reverse_proxy {host}:{port}" in (DEPLOY / "Caddyfile").read_text()


def test_the_settings_in_an_image_are_refused_only_for_their_missing_secret(tmp_path: Path) -> None:
    server = load(DEPLOY / "visavis.toml").server
    assert server.token_file == "/run/secrets/visavis_token"
    (tmp_path / "token").write_text("0123456789abcdef0123\n")
    (tmp_path / "token").chmod(0o600)
    check_bind(replace(server, token_file=str(tmp_path / "token")))


def test_the_relay_serves_the_ports_and_the_network_that_compose_names() -> None:
    lines = (DEPLOY / "turnserver.conf").read_text().splitlines()
    assert "use-auth-secret" in lines and "listening-port=3478" in lines
    subnet = COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"].rsplit(".", 1)[0]
    assert f"allowed-peer-ip={subnet}.0-{subnet}.255" in lines


def test_the_relay_gets_its_secret_in_a_file_that_only_it_reads(tmp_path: Path) -> None:
    service = COMPOSE["services"]["turn"]
    (script,) = service["command"]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/turnserver").write_text('#!/bin/sh\necho "$@"; cat "$2"; stat -c %a "$2"\n')
    (tmp_path / "bin/turnserver").chmod(0o755)
    (tmp_path / "turn_secret").write_text("a secret of the relay\n")
    script = script.replace("$$", "$").replace("/tmp/", f"{tmp_path}/").replace("/run/secrets", str(tmp_path))
    script = script.replace("/etc/turnserver.conf", str(DEPLOY / "turnserver.conf"))
    known = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "TURN_REALM": "a.example", "PUBLIC_IP": "203.0.113.7"}
    done = subprocess.run([*service["entrypoint"], script], env=known, capture_output=True, text=True, check=True)
    arguments, *lines, mode = done.stdout.splitlines()
    assert "--realm=a.example --external-ip=203.0.113.7" in arguments and "secret" not in arguments.split(" ", 2)[2]
    assert "static-auth-secret=a secret of the relay" in lines and "use-auth-secret" in lines and mode == "600"


def test_secrets_are_made_once_and_only_their_owner_can_reach_them(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here")
    shutil.copy(DEPLOY / "secrets.sh", tmp_path)
    for _ in range(2):
        said = subprocess.run(["sh", tmp_path / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    made = sorted(path.name for path in (tmp_path / "secrets").iterdir())
    assert made == sorted(Path(secret["file"]).name for secret in COMPOSE["secrets"].values())
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert (tmp_path / "secrets/visavis_token").read_text().strip() in said


# systemd.


def test_the_unit_gives_the_server_the_token_that_its_settings_ask_for() -> None:
    unit = (DEPLOY / "visavis.service").read_text()
    server = load(DEPLOY / "visavis.systemd.toml").server
    (name,) = re.findall(r"^LoadCredential=(\w+):", unit, re.MULTILINE)
    assert server.token_file == f"/run/credentials/visavis.service/{name}" and server.behind_proxy
    assert int(re.findall(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)[0]) > server.drain_s


def test_the_unit_is_one_that_systemd_reads_and_finds_narrow() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit = DEPLOY / "visavis.service"
    told = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True).stderr
    ours = [line for line in told.splitlines() if "visavis.service" in line and "is not executable" not in line]
    assert not ours
    narrow = ["systemd-analyze", "security", "--offline=true", "--threshold=30", unit]
    assert subprocess.run(narrow, capture_output=True).returncode == 0  # exposure 3.0 of 10 at most


# Figures.


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    engine: Any = DoubleEngine(tmp_path_factory.mktemp("figures"))
    return Metrics(Hub(engine, ServerConfig(), StreamConfig()), Portraits(PortraitConfig(), engine))


@pytest.fixture(scope="module")
def exported(metrics: Metrics) -> dict[str, set[str]]:
    """Every sample name that /metrics can tell, with its labels."""
    known: dict[str, set[str]] = {"up": {"job", "instance"}}
    for collector, names in metrics.registry._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ()))
        for name in names:
            known[name] = labels | {"job", "instance"} | ({"le"} if name.endswith("_bucket") else set())
    for family in metrics.registry.collect():  # of the process: these have no names until they are asked
        for sample in family.samples:
            known.setdefault(sample.name, {"job", "instance", *sample.labels})
    return known


def selectors(node: Any) -> Iterator[Any]:
    """Every vector selector in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    elif isinstance(node, promql_parser.MatrixSelector):
        yield node.vector_selector
    else:
        for name in ("lhs", "rhs", "expr", "args", "param"):
            part = getattr(node, name, None)
            for child in part if isinstance(part, list) else [part]:
                if child is not None and not isinstance(child, str | float):
                    yield from selectors(child)


def check(expression: str, exported: dict[str, set[str]]) -> None:
    found = list(selectors(promql_parser.parse(expression)))
    assert found, expression
    for selector in found:
        assert selector.name in exported, f"{selector.name} is not exported: {expression}"
        for matcher in selector.matchers.matchers:
            assert matcher.name in exported[selector.name], f"{selector.name} has no {matcher.name}: {expression}"
            if matcher.name == "reason":
                assert set(matcher.value.split("|")) <= {*REASONS.values(), "other"}, expression


def test_alerts_ask_for_figures_that_there_are(exported: dict[str, set[str]]) -> None:
    (group,) = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())["groups"]
    assert len(group["rules"]) > 5
    for rule in group["rules"]:
        check(rule["expr"], exported)
        assert rule["labels"]["severity"] in ("page", "ticket") and set(rule["annotations"]) == {"summary", "look"}


def test_the_dashboard_asks_for_figures_that_there_are(exported: dict[str, set[str]]) -> None:
    board = json.loads((DEPLOY / "grafana/visavis.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(asked) > 25
    for expression in asked:
        check(expression.replace("$__rate_interval", "5m").replace("$instance", ".+"), exported)
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_operate_says_of_every_figure_what_the_code_says(metrics: Metrics) -> None:
    page = (ROOT / "docs/operate.md").read_text()
    told = [line for line in page.splitlines() if line.startswith("| `visavis_")]
    assert told == rows(metrics)


def rows(metrics: Metrics) -> list[str]:
    """The table of docs/operate.md, as it must be."""
    lines = []
    for collector in metrics.registry._collector_to_names:
        for family in collector.collect():
            if family.name.startswith("visavis_"):
                labels = ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ()))
                name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
                lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return sorted(lines)


if __name__ == "__main__":  # prints the table
    made: Any = DoubleEngine(Path("/tmp/visavis-figures"))
    print(*rows(Metrics(Hub(made, ServerConfig(), StreamConfig()), Portraits(PortraitConfig(), made))), sep="\n")
