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
    beside = [line for line in calls(top) if " -m milvus " in line]
    assert len(beside) == 1
    others = [line for line in calls(top) if line not in beside]
    assert [" ".join(line.split()[:2]) for line in others] == [
        "ruff format",
        "ruff check",
        "mypy --no-error-summary",
        "python scripts/generate_protos.py",
        "python scripts/readme_tables.py",
        "pytest --color=no",
        "pytest --color=no",
        "coverage report",
    ]


def test_every_test_is_in_one_of_the_runs_under_coverage_or_not(top: Path) -> None:
    run(top)
    whole = next(line for line in calls(top) if " -m not milvus " in line).split()
    pure = next(line for line in calls(top) if " --cov " in line).split()
    ignored = [word.removeprefix("--ignore=") for word in whole if word.startswith("--ignore=")]
    assert ignored == [word for word in pure if word.startswith("tests/")]
    assert all((ROOT / path).exists() for path in ignored)


@pytest.mark.parametrize(
    ("failing", "step", "remedy"),
    [
        ("ruff format", "format", ".venv/bin/ruff format"),
        ("ruff check", "lint", ".venv/bin/ruff check --fix"),
        ("mypy", "types", "pyproject.toml"),
        ("generate_protos", "contract", "scripts/generate_protos.py"),
        ("readme_tables", "tables", "scripts/readme_tables.py"),
        ("-m not milvus", "tests", ".venv/bin/pytest"),
        ("--cov ", "tests of the pure rooms", ".venv/bin/pytest"),
        ("-m milvus", "tests on Milvus", ".venv/bin/pytest"),
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
    assert "all checks passed" not in done.stdout
    stopped_at = [line for line in calls(top) if "-m milvus" not in line][-1]
    assert failing in stopped_at or (failing, stopped_at[:8]) == ("-m milvus", "coverage")


def test_every_step_says_how_long_it_took(top: Path) -> None:
    lines = run(top).stdout.splitlines()
    steps = [line for line in lines if line.endswith(" s") and ": ok, " in line]
    assert len(steps) == len(calls(top))
    assert lines[-1].startswith("== all checks passed in ")


def test_coverage_is_judged_after_whole_runs_only(top: Path) -> None:
    run(top, "--long")
    assert any("--fail-under=100" in line for line in calls(top))
    run(top, "tests/proto")
    assert calls(top)[-1].startswith("pytest ")
    assert not any("coverage" in line for line in calls(top))


def test_the_long_form_is_that_of_every_run(top: Path) -> None:
    run(top, "--long")
    runs = [line for line in calls(top) if line.startswith("pytest ")]
    assert len(runs) == 3
    assert all(line.endswith(" --long") for line in runs)


def test_arguments_go_to_pytest(top: Path) -> None:
    run(top, "--long", "tests/proto", "-k", "lock and not stale")
    assert calls(top)[-1].endswith("--long tests/proto -k lock and not stale")


def test_continuous_integration_runs_the_same(top: Path) -> None:
    run(top, "--long")
    at_home = sorted(calls(top))
    assert run(top, "--long", command=".ci/run", CI="true").returncode == 0
    assert sorted(calls(top)) == at_home


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
