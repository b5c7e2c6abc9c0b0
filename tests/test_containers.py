"""`deploy/container` and `deploy/kubernetes`: linters, schemas, and what their scripts and settings do.

``make container-check`` builds and runs the image itself, in a chroot.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from streamlearn.cli.environment import COMMAND_VARIABLES, PREFIX
from streamlearn.daemon.config import load, variables
from streamlearn_client import Client
from streamlearn_client.errors import Forbidden
from tests.e2e.daemon_process import SECONDS, DaemonProcess, endpoints
from tools.containerfile import included
from tools.waiting import wait_for

REPOSITORY = Path(__file__).parents[1]
CONTAINER = REPOSITORY / "deploy/container"
KUBERNETES = REPOSITORY / "deploy/kubernetes"
BIN = Path(sys.executable).parent
PATH = {"PATH": f"{BIN}:{os.environ['PATH']}"}


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | PATH | variables)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((CONTAINER / "compose.yaml").read_text()))


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send to a cluster."""
    return list(yaml.safe_load_all(run("kubectl", "kustomize", KUBERNETES)))


@pytest.fixture(scope="module")
def pod(resources: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = (each["spec"]["template"]["spec"] for each in resources if each["kind"] == "StatefulSet")
    return dict(found)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `make-keys.sh` makes it, twice."""
    directory = tmp_path_factory.mktemp("keys") / "streamlearn"
    run("sh", CONTAINER / "make-keys.sh", directory)
    first = {path.name: path.read_bytes() for path in directory.iterdir()}
    run("sh", CONTAINER / "make-keys.sh", directory)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == first
    return directory


# -------------------------------------------------------------------------------- linters and schemas


def test_a_linter_accepts_the_containerfile():
    run(BIN / "hadolint", "--failure-threshold=style", CONTAINER / "Containerfile")


def test_the_compose_file_fits_the_schema_of_the_specification():
    run(BIN / "check-jsonschema", "--builtin-schema=vendor.compose-spec", CONTAINER / "compose.yaml")


def test_every_resource_fits_the_schema_of_kubernetes(resources):
    kinds = {each["kind"] for each in resources}
    assert kinds >= {"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"}
    for each in resources:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_a_schema_notices_a_wrong_name(resources):
    (wrong,) = (each for each in resources if each["kind"] == "PodDisruptionBudget")
    spec = wrong["spec"] | {"maxUnavailible": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            wrong | {"spec": spec}, kubernetes_validate.latest_version(), strict=True
        )


# -------------------------------------------------------------------------------- the image


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("streamlearn/models/base.py", True),
        ("clients/python/pyproject.toml", True),
        ("constraints.txt", True),
        ("clients/node/package.json", False),
        ("streamlearn/models/__pycache__/base.pyc", False),
        (".git/config", False),
        ("tests/conftest.py", False),
    ],
)
def test_the_context_has_the_sources_only(path, belongs):
    patterns = (CONTAINER / "Containerfile.dockerignore").read_text().split()
    assert included(Path(path), patterns) == belongs


def test_the_image_and_all_files_name_the_version_of_the_package(compose, resources):
    from streamlearn import __version__

    texts = [path.read_text() for path in CONTAINER.glob("C*")] + [str(compose), str(resources)]
    found = {tag for text in texts for tag in re.findall(r"streamlearn:([\d.]+)", text)}
    assert found == {__version__}


# -------------------------------------------------------------------------------- compose


def test_containers_cannot_gain_rights_and_publish_on_this_machine_only(compose):
    services = compose["services"]
    ours = [each for each in services.values() if each["image"].startswith("streamlearn:")]
    assert len(ours) == 3
    for each in ours:
        assert each["read_only"]
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
    ports = [port for each in services.values() for port in each.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_file_that_is_mounted_exists(compose):
    volumes = [volume for each in compose["services"].values() for volume in each.get("volumes", [])]
    files = [volume.partition(":")[0] for volume in volumes if volume.startswith(".")]
    assert len(files) >= 6
    assert not [name for name in files if not (CONTAINER / name).is_file()]


def test_prometheus_accepts_the_configuration(tmp_path, keys):
    text = (CONTAINER / "prometheus.yml").read_text().replace("/keys/streamlearn", str(keys))
    (tmp_path / "prometheus.yml").write_text(text)
    rules = REPOSITORY / "deploy/monitoring/streamlearn-rules.yml"
    (tmp_path / rules.name).write_text(rules.read_text())
    run("promtool", "check", "config", tmp_path / "prometheus.yml")


def test_the_bridge_accepts_its_configuration():
    run(BIN / "streamlearn", "mqtt", "--check", "--config", CONTAINER / "bridge.toml")


def test_every_variable_is_one_that_a_command_reads(compose, pod):
    names = [name for each in compose["services"].values() for name in each.get("environment", {})]
    names += [each["name"] for container in pod["containers"] for each in container.get("env", [])]
    names += re.findall(r"STREAMLEARN_\w+", (CONTAINER / "Containerfile").read_text())
    known = COMMAND_VARIABLES | variables()
    assert len(names) > 10
    assert not [name for name in names if name.startswith(PREFIX) and name not in known]


@pytest.fixture(scope="module")
def daemon(
    compose: dict[str, Any], keys: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A daemon with the settings of the compose file, on free ports. Yields its endpoints."""
    given = compose["services"]["daemon"]["environment"]
    settings = {
        name.removeprefix(PREFIX): value.replace("/keys/streamlearn", str(keys))
        for name, value in given.items()
        if name not in COMMAND_VARIABLES
    }
    ports = {
        name: re.sub(r":77\d\d$", ":*", value) for name, value in settings.items() if "ENDPOINTS" in name
    }
    settings |= ports | {"HTTP__ADDRESS": "0.0.0.0:0"}
    with DaemonProcess(tmp_path_factory.mktemp("daemon"), settings=settings) as process:
        here = {name: at.replace("0.0.0.0", "127.0.0.1") for name, at in endpoints(process.ready()).items()}
        yield here


@pytest.mark.e2e
def test_the_health_check_passes_with_its_key(compose, keys, daemon):
    given = compose["services"]["daemon"]["environment"]
    variables = {
        name: value.replace("/keys/streamlearn", str(keys))
        for name, value in given.items()
        if name in COMMAND_VARIABLES
    }
    assert len(variables) == 2
    out = run(BIN / "streamlearn", "status", "--json", STREAMLEARN_ENDPOINT=daemon["requests"], **variables)
    assert '"models"' in out


@pytest.mark.e2e
def test_programs_have_the_rights_that_the_script_gives_them(keys, daemon):
    server = keys / "server.pub"
    with Client(daemon["requests"], server_key=server, key_file=keys / "sensor.key") as sensor:
        sensor.create("pump", kind="som", dim=2, grid=[3, 3])
    with Client(daemon["requests"], server_key=server, key_file=keys / "health.key") as health:
        assert [model["name"] for model in health.models()] == ["pump"]
        with pytest.raises(Forbidden):
            health.delete("pump")


@pytest.mark.e2e
def test_the_gateway_knows_both_tokens(keys, daemon):
    def get(path: str, token: str = "") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.get(f"{daemon['http']}{path}", headers=headers, timeout=SECONDS)

    operator, prometheus = (
        (keys / f"{name}.token").read_text().strip() for name in ("operator", "prometheus")
    )
    wait_for(lambda: get("/readyz").status_code == 200, "the gateway")
    assert get("/v1/models").status_code == 401
    assert get("/v1/models", operator).status_code == 200
    assert "streamlearn_up" in get("/metrics", prometheus).text
    assert (
        httpx.delete(
            f"{daemon['http']}/v1/models/none",
            headers={"Authorization": f"Bearer {prometheus}"},
            timeout=SECONDS,
        ).status_code
        == 403
    )


# -------------------------------------------------------------------------------- Kubernetes


def test_the_daemon_accepts_its_settings(monkeypatch):
    settings = load(KUBERNETES / "streamlearn.toml")
    assert settings.endpoints.requests == "tcp://0.0.0.0:7700"


def test_the_secret_has_every_file_that_the_settings_name(keys, pod):
    named = re.findall(r"/keys/([\w.]+)", (KUBERNETES / "streamlearn.toml").read_text() + str(pod))
    assert len(set(named)) == 7
    assert not [name for name in named if not (keys / name).is_file()]


def test_the_pod_fits_the_restricted_profile(pod):
    """The rules of the pod security standards, profile "restricted"."""
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert {key for volume in pod["volumes"] for key in volume} <= {"name", "emptyDir", "configMap", "secret"}
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_ports_are_named_alike_everywhere(resources, pod):
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    settings = load(KUBERNETES / "streamlearn.toml")
    ends = settings.endpoints
    addresses = {"requests": ends.requests, "firehose": ends.firehose, "events": ends.events}
    assert ports == {
        name: int(at.rpartition(":")[2]) for name, at in {**addresses, "http": settings.http.address}.items()
    }
    (service,) = (each for each in resources if each["kind"] == "Service")
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == ports
    (policy,) = (each for each in resources if each["kind"] == "NetworkPolicy")
    named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert named == ports.keys()
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
