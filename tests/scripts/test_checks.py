"""scripts/test runs every check in order, stops at the first failure, and says what to do about it.

Method: the real script runs in a copy of its folder, with an up-to-date .venv whose programs only
write down how they were called and fail where the test says so.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

from house import ROOT

PROGRAMS = ("ruff", "mypy", "python", "pytest", "coverage")
STUB = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
[[ -n "${FAILING:-}" && "$(basename "$0") $*" == *"$FAILING"* ]] && exit 3
if IFS= read -r line; then echo "standard input is open" >> "$CALLS"; fi
exit 0
"""


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a checkout whose .venv needs nothing."""
    (tmp_path / "scripts").mkdir()
    for name in ("setup", "test", "constraints.txt"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(STUB)
        (programs / name).chmod(0o755)
    stamp = subprocess.run(
        ["/bin/bash", "-c", f'source "{tmp_path}/scripts/setup"; expected_stamp'],
        check=True,
        capture_output=True,
    ).stdout
    (tmp_path / ".venv" / "vectorbucket-dev.stamp").write_bytes(stamp)
    return tmp_path


def run(
    top: Path, *arguments: str, command: str = "scripts/test", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command from another folder, with something on its standard input."""
    (top / "calls").unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(
        [str(top / command), *arguments],
        cwd="/",
        env={**environment, "CALLS": str(top / "calls"), **more},
        input="a line\n",
        capture_output=True,
        text=True,
        check=False,
    )


def calls(top: Path) -> list[str]:
    """Return how the programs were called."""
    return (top / "calls").read_text().splitlines()


def test_checks_run_in_their_order_without_standard_input(top: Path) -> None:
    done = run(top)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [" ".join(line.split()[:2]) for line in calls(top)] == [
        "ruff format",
        "ruff check",
        "mypy --no-error-summary",
        "python scripts/generate_protos.py",
        "python scripts/readme_tables.py",
        "pytest --color=no",
        "coverage report",
    ]


@pytest.mark.parametrize(
    ("failing", "step", "remedy"),
    [
        ("ruff format", "format", ".venv/bin/ruff format"),
        ("ruff check", "lint", ".venv/bin/ruff check --fix"),
        ("mypy", "types", "pyproject.toml"),
        ("generate_protos", "contract", "scripts/generate_protos.py"),
        ("readme_tables", "tables", "scripts/readme_tables.py"),
        ("pytest", "tests", ".venv/bin/pytest"),
        ("coverage report", "coverage of the pure rooms", "Test the lines"),
    ],
)
def test_first_failure_stops_and_says_what_to_do(
    top: Path, failing: str, step: str, remedy: str
) -> None:
    done = run(top, FAILING=failing)
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"== {step} failed after ")
    assert remedy in last
    assert failing in calls(top)[-1]


def test_every_step_says_how_long_it_took(top: Path) -> None:
    lines = run(top).stdout.splitlines()
    steps = [line for line in lines if line.endswith(" s") and ": ok, " in line]
    assert len(steps) == len(calls(top))
    assert lines[-1].startswith("== all checks passed in ")


def test_coverage_is_judged_after_whole_runs_only(top: Path) -> None:
    run(top, "--long")
    assert "--fail-under=100" in calls(top)[-1]
    run(top, "tests/proto")
    assert calls(top)[-1].startswith("pytest ")


def test_arguments_go_to_pytest(top: Path) -> None:
    run(top, "--long", "tests/proto", "-k", "lock and not stale")
    assert calls(top)[-1].endswith("--long tests/proto -k lock and not stale")


def test_continuous_integration_runs_the_same(top: Path) -> None:
    run(top, "--long")
    at_home = calls(top)
    assert run(top, "--long", command=".ci/run", CI="true").returncode == 0
    assert calls(top) == at_home


def test_colours_are_for_terminals_only(top: Path) -> None:
    assert "\x1b" not in run(top).stdout
    environment = {**os.environ, "CALLS": str(top / "calls")}
    environment.pop("CI", None)
    environment.pop("NO_COLOR", None)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        subprocess.run([str(top / "scripts/test")], env=environment, stdout=theirs, check=True)
        os.close(theirs)
        assert b"\x1b[" in screen.read(1 << 16)
    assert "pytest --color=yes" in "\n".join(calls(top))
