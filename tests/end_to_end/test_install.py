"""What is built installs, imports with nothing but its own needs, serves, finds, and stops.

Method: the wheel is built and installed by pip into new virtual environments. What it depends on is
not downloaded again: of the packages that are installed here, each environment sees exactly those
files that belong to the wheel's own requirements and theirs, and nothing else.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from house import ROOT

CLIENT_NEEDS = {"grpcio", "grpcio-health-checking", "grpcio-status", "numpy", "protobuf"}
STOP_S = 60
"""Seconds until a hanging process fails the test rather than the run."""

ROUND_TRIP = """
from vectorbucket import Client
client = Client({target!r})
client.put_vector_bucket("shop")
client.put_vector_index("shop", "cups", dimension=2, distance_metric="euclidean")
result = client.put_vectors("shop", "cups", keys=["red", "blue"], data=[[3, 4], [0, 1]])
hits = client.query_vectors("shop", "cups", [0, 0], top_k=2)
print(result.stored, [(hit.key, hit.distance) for hit in hits])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def requirements(built: Path, extra: str) -> list[Requirement]:
    """Return what the wheel requires, with an extra or (if it is empty) without any."""
    with zipfile.ZipFile(built) as archive:
        name = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        fields = message_from_string(archive.read(name).decode())
    wanted = [Requirement(line) for line in fields.get_all("Requires-Dist") or []]
    return [one for one in wanted if not one.marker or one.marker.evaluate({"extra": extra})]


def closure(wanted: list[Requirement]) -> dict[str, metadata.Distribution]:
    """Return the installed distributions that these requirements need, theirs included."""
    found: dict[str, metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found[name] = metadata.distribution(name)
        assert requirement.specifier.contains(found[name].version), name
        for line in found[name].requires or []:
            further = Requirement(line)
            extras = requirement.extras or {""}
            if not further.marker or any(further.marker.evaluate({"extra": e}) for e in extras):
                wanted.append(further)
    return found


def install(built: Path, folder: Path, extra: str) -> Path:
    """Install the wheel into a new environment and return the environment's Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    offline = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, *offline, str(built)], check=True, capture_output=True)
    dependencies = folder / "dependencies"
    for distribution in closure(requirements(built, extra)).values():
        for file in distribution.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                link = dependencies / file
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(Path(str(distribution.locate_file(file))))
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return python


@pytest.fixture(scope="module")
def client_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the client alone."""
    return install(wheel, tmp_path_factory.mktemp("client"), "")


@pytest.fixture(scope="module")
def server_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the server."""
    return install(wheel, tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def cli_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with the command line."""
    return install(wheel, tmp_path_factory.mktemp("cli"), "cli")


def run(python: Path, program: str) -> str:
    """Run a program with warnings as errors, away from the checkout, and return what it prints."""
    done = subprocess.run(
        [python, "-I", "-W", "error", "-c", program],
        cwd=python.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def server(python: Path, data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the installed command and yield the process and its target, once it is ready."""
    flags = ["--grpc-address", "127.0.0.1:0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(
        [str(python.parent / "vectorbucket-server"), "serve", *flags],
        cwd=data_dir.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = re.fullmatch(r"vectorbucket-server ready grpc=(127\.0\.0\.1:[1-9]\d*)\n", line)
        assert ready, line
        yield process, ready[1]
    finally:
        process.kill()
        process.communicate()


def test_client_alone_requires_five_packages(wheel: Path) -> None:
    needs = requirements(wheel, "")
    assert {canonicalize_name(one.name) for one in needs} == CLIENT_NEEDS
    assert set(closure(needs)) == CLIENT_NEEDS | {"googleapis-common-protos", "typing-extensions"}


def test_client_alone_is_imported_without_the_server_and_its_packages(client_python: Path) -> None:
    program = "import sys, json, vectorbucket; print(json.dumps(sorted(sys.modules)))"
    modules = {name.partition(".")[0] for name in json.loads(run(client_python, program))}
    assert "vectorbucket" in modules
    assert not modules & {"vectorbucket_server", "rocksdict", "hnswlib", "pydantic", "typer"}


@pytest.mark.parametrize(
    ("command", "extra"),
    [("vectorbucket-server serve", "server"), ("vectorbucket get-health", "cli")],
    ids=["server", "cli"],
)
def test_command_without_its_extra_says_what_to_install(
    client_python: Path, command: str, extra: str
) -> None:
    program, argument = command.split()
    done = subprocess.run(
        [str(client_python.parent / program), argument],
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_S,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert f"vectorbucket[{extra}]" in done.stderr


def test_wheel_holds_the_license_the_types_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"vectorbucket/py.typed", "vectorbucket_server/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "vectorbucket",
        "vectorbucket_server",
    }


def test_installed_server_puts_queries_and_stops(server_python: Path, tmp_path: Path) -> None:
    with server(server_python, tmp_path / "data") as (process, target):
        answer = run(server_python, ROUND_TRIP.format(target=target))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STOP_S) == 0
    assert answer == "2 [('blue', 1.0), ('red', 5.0)]\n"


def test_example_of_the_readme_works_when_pasted(server_python: Path, tmp_path: Path) -> None:
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    lines = [line for line in example.splitlines() if line]
    assert lines[0] == "from vectorbucket import Client"
    assert len(lines) == 1 + 5
    with server(server_python, tmp_path / "data") as (_, target):
        assert "127.0.0.1:50051" in example
        answer = run(server_python, example.replace("127.0.0.1:50051", target))
    assert "red" in answer


def test_commands_of_the_readme_work_when_pasted(
    cli_python: Path, server_python: Path, tmp_path: Path
) -> None:
    section = (ROOT / "README.md").read_text().partition("\n## The command line\n")[2]
    example = section.partition("```\n")[2].partition("```")[0]
    assert all(line.startswith("vectorbucket ") for line in example.splitlines())
    with server(server_python, tmp_path / "data") as (_, target):
        environment = {"PATH": str(cli_python.parent), "VECTORBUCKET_ENDPOINT": target}
        done = subprocess.run(
            ["/bin/sh", "-euc", example],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=STOP_S,
        )
    assert done.returncode == 0, done.stderr
    assert "red" in done.stdout
    assert (tmp_path / "tall.parquet").stat().st_size > 0
