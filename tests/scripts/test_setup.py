"""scripts/setup installs once, starts at once afterwards, and says in one sentence what is missing.

Method: the real scripts run in a copy of their folder, with small shell programs in the place of
Python and pip that write down how they were called; no package is installed here (the fresh clone
is tried whole by continuous integration, which starts as one).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT

STUB = """#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
    *"-m pip install"*) sleep "${PIP_S:-0}"; echo "pip speaks"; exit "${PIP_CODE:-0}" ;;
    *"-m venv"*) mkdir -p "${!#}/bin"; cp "$0" "${!#}/bin/python" ;;
    *version_info*) exit "${OLD:-0}" ;;
    *"import ensurepip"*) exit "${NO_VENV:-0}" ;;
    *"import hnswlib"*) exit "${NO_HNSWLIB:-0}" ;;
    *sysconfig*) echo "$HEADERS" ;;
esac
"""
"""A Python that does what set-up asks of it, or fails as the environment says."""

TOOLS = ("bash", "basename", "dirname", "cksum", "mkdir", "mv", "cp", "sleep")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Return a checkout with nothing but what set-up reads."""
    checkout = tmp_path / "a checkout"
    (checkout / "scripts").mkdir(parents=True)
    for name in ("setup", "serve", "constraints.txt"):
        shutil.copy(ROOT / "scripts" / name, checkout / "scripts" / name)
    (checkout / "pyproject.toml").write_text("[project]\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    write_program(tools / "python3", STUB)
    write_program(tools / "c++", "#!/bin/bash\n")
    (tmp_path / "Python.h").touch()
    return checkout


def write_program(path: Path, text: str) -> None:
    """Write an executable file."""
    path.write_text(text)
    path.chmod(0o755)


def run(
    top: Path, command: str = "need server dev", **more: str
) -> subprocess.CompletedProcess[str]:
    """Source scripts/setup in the checkout, from another folder, and run a command of it."""
    environment = {
        "PATH": str(top.parent / "bin"),
        "CALLS": str(top.parent / "calls"),
        "HEADERS": str(top.parent),
        **more,
    }
    line = f'set -euo pipefail; source "{top}/scripts/setup"; {command}'
    return subprocess.run(
        ["/bin/bash", "-c", line, "scripts/serve"],
        cwd="/",
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def calls(top: Path) -> list[str]:
    """Return how the programs were called since the last time, and forget it."""
    path = top.parent / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def installs(top: Path) -> list[str]:
    """Return the extras that were installed since the last time."""
    return [line.split()[-1] for line in calls(top) if "-m pip install" in line]


def test_first_run_makes_the_environment_and_installs_with_the_pins(top: Path) -> None:
    done = run(top)
    assert done.returncode == 0, done.stderr
    install = next(line for line in calls(top) if "-m pip install" in line)
    assert "--constraint scripts/constraints.txt --editable .[server]" in install
    assert (top / ".venv" / "vectorbucket-server.stamp").exists()


def test_nothing_is_written_to_standard_output(top: Path) -> None:
    done = run(top)
    assert done.stdout == ""
    assert "pip speaks" in done.stderr


def test_second_run_starts_no_program(top: Path) -> None:
    run(top)
    calls(top)
    assert run(top).returncode == 0
    assert calls(top) == []


def test_environment_of_the_tests_serves_too_but_not_the_reverse(top: Path) -> None:
    run(top, "need dev")
    assert installs(top) == [".[dev]"]
    run(top, "need server dev")
    assert installs(top) == []
    (top / ".venv" / "vectorbucket-dev.stamp").unlink()
    run(top, "need server dev")
    run(top, "need dev")
    assert installs(top) == [".[server]", ".[dev]"]


@pytest.mark.parametrize("changed", ["pyproject.toml", "scripts/constraints.txt"])
def test_change_of_what_is_needed_is_installed(top: Path, changed: str) -> None:
    run(top)
    calls(top)
    with (top / changed).open("a") as file:
        file.write("# another\n")
    run(top)
    assert installs(top) == [".[server]"]


def test_environment_that_was_moved_is_installed_again(top: Path) -> None:
    run(top)
    calls(top)
    moved = top.rename(top.parent / "moved")
    run(moved)
    assert installs(moved) == [".[server]"]


def test_environment_without_stamp_is_completed(top: Path) -> None:
    (top / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(top.parent / "bin" / "python3", top / ".venv" / "bin" / "python")
    (top / ".venv" / "theirs").touch()
    run(top)
    made = calls(top)
    assert not [line for line in made if "-m venv" in line]
    assert [line for line in made if "-m pip install" in line]
    assert (top / ".venv" / "theirs").exists()


def test_installation_that_fails_leaves_no_stamp_and_is_tried_again(top: Path) -> None:
    failed = run(top, PIP_CODE="1")
    assert failed.returncode == 1
    assert "the installation failed" in failed.stderr
    assert not (top / ".venv" / "vectorbucket-server.stamp").exists()
    calls(top)
    assert run(top).returncode == 0
    assert installs(top) == [".[server]"]


def test_two_at_once_install_once(top: Path) -> None:
    # The stub holds no lock, so for this one flock comes from the Python that runs the tests.
    real = f'#!/bin/bash\n[[ "$*" == *fcntl* ]] && exec "{sys.executable}" "$@"\n'
    write_program(top.parent / "bin" / "python3", real + STUB.partition("\n")[2])
    # Without the lock, the second would begin while the first is held up in pip.
    both = run(top, "(need server) & need server; wait $!", PIP_S="0.3")
    assert both.returncode == 0, both.stderr
    assert installs(top) == [".[server]"]


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ({"OLD": "1"}, "Python 3.11 or later is needed"),
        ({"NO_VENV": "1"}, "lacks its venv module"),
        ({"NO_HNSWLIB": "1", "HEADERS": "/nowhere"}, "Python's headers are needed"),
        ({"NO_HNSWLIB": "1", "CXX": "/nowhere/c++"}, ""),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(
    top: Path, trouble: dict[str, str], sentence: str
) -> None:
    done = run(top, **trouble)
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, done.stdout) == (1 if sentence else 0, "")
    assert sentence in last
    assert "Traceback" not in done.stderr


def test_missing_compiler_is_said_in_one_sentence(top: Path) -> None:
    (top.parent / "bin" / "c++").unlink()
    done = run(top, NO_HNSWLIB="1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "serve: a C++ compiler is needed to build hnswlib (on Debian and Ubuntu: apt install g++)."
    )


def test_compiler_is_not_asked_for_when_hnswlib_is_there(top: Path) -> None:
    (top.parent / "bin" / "c++").unlink()
    assert run(top).returncode == 0


def test_serve_hands_its_arguments_on_and_is_replaced_by_the_server(top: Path) -> None:
    run(top)
    server = top / ".venv" / "bin" / "vectorbucket-server"
    write_program(server, '#!/bin/bash\nprintf "%s|" "$$" "$@"\n')
    arguments = ["--data-dir", "a b", "--grpc-address", "127.0.0.1:0"]
    process = subprocess.Popen(
        [top / "scripts" / "serve", *arguments],
        cwd="/",
        env={**os.environ, "CALLS": str(top.parent / "calls")},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=60)
    assert out.split("|")[:-1] == [str(process.pid), "serve", *arguments]
