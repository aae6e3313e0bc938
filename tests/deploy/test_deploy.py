"""What server/deploy says is right: for the tools that know the formats, and against the server.

No image is built and no cluster is asked: neither is to be had where the tests run.
"""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from house import ROOT
from vectorbucket_server.door_settings import ENVIRONMENT_PREFIX
from vectorbucket_server.engine.milvus.options import MilvusOptions
from vectorbucket_server.settings import Settings, load_settings

DEPLOY = ROOT / "server" / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
UNIT = DEPLOY / "vectorbucket.service"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SCRIPTS = Path(sysconfig.get_path("scripts"))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Return all objects of the manifests, by kind and name."""
    found = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text("utf-8"))]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = objects()["StatefulSet", "vectorbucket"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


def milvus_pod() -> dict[str, Any]:
    deployment = objects()["Deployment", "vectorbucket"]
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def told_settings(tmp_path: Path) -> Settings:
    """Return the settings that the ConfigMap holds."""
    file = tmp_path / "server.toml"
    file.write_text(objects()["ConfigMap", "vectorbucket"]["data"]["server.toml"], "utf-8")
    return load_settings(Settings, {}, file)


# --- The image ------------------------------------------------------------------------------------


def instructions(name: str) -> list[str]:
    """Return what the Dockerfile says in instructions of a name, continued lines joined."""
    text = re.sub(r"\\\n\s*(?:#.*\n\s*)*", " ", DOCKERFILE.read_text("utf-8"))
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def test_linter_finds_nothing_in_the_dockerfile() -> None:
    done = run(SCRIPTS / "hadolint", DOCKERFILE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_linter_would_find_something(tmp_path: Path) -> None:
    worse = tmp_path / "Dockerfile"
    worse.write_text("FROM python\nRUN cd /tmp\n", "utf-8")
    assert run(SCRIPTS / "hadolint", worse).returncode == 1


def test_image_is_of_stages_and_runs_as_nobody() -> None:
    assert len(instructions("FROM")) == 2
    (user,) = instructions("USER")
    assert "0" not in user.split(":")
    assert user == f"{container_user()}:{container_user()}"


def container_user() -> int:
    return int(pod()["securityContext"]["runAsUser"])


def test_image_copies_only_what_exists_and_is_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8")
    kept = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    for line in instructions("COPY"):
        if line.startswith("--from"):
            continue
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in kept, source


def test_image_compiles_for_every_machine_unless_told_otherwise() -> None:
    assert 'HNSWLIB_NATIVE=""' in instructions("ARG")
    (install,) = [line for line in instructions("RUN") if "pip install" in line]
    assert 'if [ -z "${HNSWLIB_NATIVE}" ]; then export HNSWLIB_NO_NATIVE=1; fi' in install


def test_image_has_the_extras_that_are_wanted() -> None:
    assert 'EXTRAS="server,telemetry"' in instructions("ARG")
    (install,) = [line for line in instructions("RUN") if "pip install" in line]
    assert install.endswith('".[${EXTRAS}]"')
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (told,) = re.findall(r"--build-arg EXTRAS=([a-z,]+)", DOCKERFILE.read_text("utf-8"))
    assert {*told.split(",")} == {"server", "telemetry", "milvus"}
    assert {*told.split(",")} <= {*project["optional-dependencies"]}


def test_image_sets_only_settings_that_exist() -> None:
    (environment,) = instructions("ENV")
    named = dict(pair.split("=", 1) for pair in shlex.split(environment))
    own = {name: value for name, value in named.items() if name.startswith(ENVIRONMENT_PREFIX)}
    flags = {name.removeprefix(ENVIRONMENT_PREFIX).lower(): value for name, value in own.items()}
    settings = load_settings(Settings, flags)
    assert settings.is_guarded
    (exposed,) = instructions("EXPOSE")
    for address in (settings.grpc_address, settings.rest_address):
        assert address.rpartition(":")[2] in exposed.split()


def test_image_starts_a_command_that_exists() -> None:
    (entry,) = instructions("ENTRYPOINT")
    (command,) = instructions("CMD")
    assert (entry, command) == ('["vectorbucket-server"]', '["serve"]')
    assert (SCRIPTS / "vectorbucket-server").exists()


# --- The unit -------------------------------------------------------------------------------------


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text("utf-8"))
    return parser


@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is a program of Linux with systemd, and is not installed here",
)
def test_systemd_finds_nothing_in_the_unit(tmp_path: Path) -> None:
    """The program it starts is elsewhere here; everything else is as it stands."""
    text = UNIT.read_text("utf-8")
    (program,) = re.findall(r"^ExecStart=(\S+)", text, re.MULTILINE)
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(program, str(SCRIPTS / Path(program).name)), "utf-8")
    done = run("systemd-analyze", "verify", copy)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    copy.write_text(text.replace("Type=exec", "Tipe=exec").replace(program, "/none"), "utf-8")
    assert run("systemd-analyze", "verify", copy).stderr


def test_unit_starts_the_server_as_it_may_be_started() -> None:
    service = unit()["Service"]
    program, command, flag, _ = shlex.split(service["ExecStart"])
    assert (Path(program).name, command, flag) == ("vectorbucket-server", "serve", "--config")
    name, _, value = service["Environment"].partition("=")
    assert name == f"{ENVIRONMENT_PREFIX}DATA_DIR"
    assert value == f"/var/lib/{service['StateDirectory']}"
    help_text = run(SCRIPTS / "vectorbucket-server", "serve", "--help").stdout
    assert "--config" in help_text
    assert service["User"] != "root"


def test_unit_gives_a_stop_the_time_that_it_takes() -> None:
    settings = load_settings(Settings, {})
    assert float(unit()["Service"]["TimeoutStopSec"]) > 2 * settings.drain_grace_s
    assert unit()["Service"]["KillMode"] == "mixed"


# --- Kubernetes -----------------------------------------------------------------------------------


def test_manifests_are_valid() -> None:
    assert len(MANIFESTS) == 4
    done = run(SCRIPTS / "kubernetes-validate", "--strict", *MANIFESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_validation_would_find_something(tmp_path: Path) -> None:
    worse = tmp_path / "statefulset.yaml"
    text = (DEPLOY / "kubernetes" / "statefulset.yaml").read_text("utf-8")
    worse.write_text(text.replace("serviceName:", "servicename:"), "utf-8")
    assert run(SCRIPTS / "kubernetes-validate", "--strict", worse).returncode != 0


def test_settings_of_the_config_map_are_settings(tmp_path: Path) -> None:
    settings = told_settings(tmp_path)
    ports = {one["name"]: one["containerPort"] for one in container()["ports"]}
    assert settings.grpc_address == f"0.0.0.0:{ports['grpc']}"
    assert settings.rest_address == f"0.0.0.0:{ports['http']}"
    assert settings.metrics_address == f"0.0.0.0:{ports['metrics']}"
    mounts = {one["name"]: one["mountPath"] for one in container()["volumeMounts"]}
    assert settings.data_dir == Path(mounts["data"])
    assert settings.credentials is not None
    assert settings.credentials.parent == Path(mounts["credentials"])
    assert container()["args"] == ["serve", "--config", mounts["settings"]]


def test_pod_has_longer_to_stop_than_the_server_takes(tmp_path: Path) -> None:
    settings = told_settings(tmp_path)
    takes_s = settings.drain_notice_s + settings.drain_grace_s
    assert pod()["terminationGracePeriodSeconds"] > 2 * takes_s


def test_services_lead_to_the_pod() -> None:
    labels = objects()["StatefulSet", "vectorbucket"]["spec"]["template"]["metadata"]["labels"]
    names = {one["name"] for one in container()["ports"]}
    services = [one for (kind, _), one in objects().items() if kind == "Service"]
    assert len(services) == 2
    for service in services:
        assert service["spec"]["selector"].items() <= labels.items()
        assert {one["targetPort"] for one in service["spec"]["ports"]} <= names
    governing = objects()["StatefulSet", "vectorbucket"]["spec"]["serviceName"]
    assert objects()["Service", governing]["spec"]["clusterIP"] == "None"


def test_pod_is_ready_when_the_health_service_says_so() -> None:
    (grpc_port,) = [one["containerPort"] for one in container()["ports"] if one["name"] == "grpc"]
    assert container()["startupProbe"]["grpc"] == {"port": grpc_port}
    ready = {"port": grpc_port, "service": "vectorbucket.v1.VectorService"}
    assert container()["readinessProbe"]["grpc"] == ready
    assert load_settings(Settings, {}).health


def test_only_one_server_has_the_disk() -> None:
    stateful = objects()["StatefulSet", "vectorbucket"]["spec"]
    assert stateful["replicas"] == 1
    (claim,) = stateful["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_pod_can_do_no_more_than_it_needs() -> None:
    context = container()["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert "/tmp" in {one["mountPath"] for one in container()["volumeMounts"]}  # noqa: S108


def test_servers_before_milvus_are_those_of_the_stateful_set_without_a_disk(tmp_path: Path) -> None:
    deployment = objects()["Deployment", "vectorbucket"]["spec"]
    stateful = objects()["StatefulSet", "vectorbucket"]["spec"]
    assert deployment["replicas"] > 1
    assert deployment["selector"] == stateful["selector"]
    assert deployment["template"]["metadata"] == stateful["template"]["metadata"]
    (only,) = milvus_pod()["containers"]
    same = set(container()) - {"resources"}
    assert {name: only[name] for name in same} == {name: container()[name] for name in same}
    assert set(only) - set(container()) == {"env"}
    settings = told_settings(tmp_path)
    takes_s = settings.drain_notice_s + settings.drain_grace_s + 2 * MilvusOptions().timeout_s
    assert milvus_pod()["terminationGracePeriodSeconds"] > takes_s
    assert {"name": "data", "emptyDir": {"sizeLimit": "1Gi"}} in milvus_pod()["volumes"]
    assert milvus_pod()["securityContext"].items() <= pod()["securityContext"].items()


def test_servers_before_milvus_are_told_settings_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (only,) = milvus_pod()["containers"]
    for one in only["env"]:
        monkeypatch.setenv(one["name"], one.get("value", "me:secret"))
    settings = told_settings(tmp_path)
    assert settings.engine == "milvus"
    assert settings.milvus_options() == MilvusOptions(uri="http://milvus:19530", token="me:secret")  # noqa: S106 - nobody's
