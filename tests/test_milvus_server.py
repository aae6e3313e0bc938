"""The real Milvus starts, holds what it was given through a kill, and is never left over.

Rules of this file: the tests that kill have a Milvus of their own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from house import ROOT
from milvus_server import MILVUS_TESTS, MilvusServer, shared_server, temporary_database
from rooms import eventually


def members(group: int) -> list[int]:
    """Return the processes of a group, those that have ended and that nobody waits for included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group:
                found.append(int(entry.name))
    return found


def databases(uri: str) -> list[str]:
    from pymilvus import MilvusClient  # noqa: PLC0415 - takes a second, which few tests need

    with closing(MilvusClient(uri)) as client:
        return list(client.list_databases())


@pytest.mark.usefixtures("milvus_package")
def test_what_it_held_is_there_after_a_kill_and_nothing_after_the_end(tmp_path: Path) -> None:
    with MilvusServer(tmp_path / "milvus") as server:
        uri, group = server.uri, server.group
        with temporary_database(uri) as name:
            assert len(members(group)) == 2, "its keeper and itself"
            server.kill()
            assert members(group) == []

            server.restart()

            assert server.uri == uri
            assert name in databases(uri)
        group = server.group
    assert members(group) == []
    assert not (tmp_path / "milvus" / "data").exists()


_ONE_OF_TWO = """
import sys
from pathlib import Path
from milvus_server import shared_server

if __name__ == "__main__":
    with shared_server(Path(sys.argv[1])) as server:
        print(server.uri, server.keeper.pid if server.keeper else "", flush=True)
        sys.stdin.readline()
"""


def user_of(folder: Path) -> subprocess.Popen[str]:
    """Start a process that uses the shared server of a folder until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", _ONE_OF_TWO, str(folder)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.usefixtures("milvus_package")
def test_workers_share_one_until_the_last_has_left_even_if_some_are_killed(tmp_path: Path) -> None:
    with user_of(tmp_path / "milvus") as one, user_of(tmp_path / "milvus") as other:
        said = {one: read_line(one).split(), other: read_line(other).split()}
        first, second = (one, other) if len(said[one]) == 2 else (other, one)
        group = int(said[first][1])
        assert said[second] == [said[first][0]], "one address, one keeper"

        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(1.0)  # five times what the keeper takes to see that nobody is there
        assert databases(said[second][0]) == ["default"]

        second.send_signal(signal.SIGKILL)
        second.wait()
        eventually(lambda: not members(group), "nobody uses it, and nothing of it is left")


@pytest.mark.usefixtures("milvus_package")
def test_one_that_others_use_outlives_the_first_who_waits_for_them(tmp_path: Path) -> None:
    with user_of(tmp_path / "milvus") as first:
        group = int(read_line(first).split()[1])
        with shared_server(tmp_path / "milvus") as server:
            assert first.stdin is not None
            first.stdin.close()
            with pytest.raises(subprocess.TimeoutExpired):
                first.wait(1.0)
            assert databases(server.uri) == ["default"]
        assert first.wait(30.0) == 0
    assert members(group) == []


def test_whole_runs_look_for_it_where_tests_may_use_it() -> None:
    script = (ROOT / "scripts" / "test").read_text()
    named = re.findall(r"^MILVUS_TESTS\+?=\((.*)\)$", script, re.MULTILINE)
    assert tuple(" ".join(named).split()) == MILVUS_TESTS


@pytest.mark.usefixtures("milvus_package")
def test_milvus_ends_with_its_keeper(tmp_path: Path) -> None:
    with MilvusServer(tmp_path / "milvus") as server:
        group = server.group
        os.kill(group, signal.SIGKILL)
        eventually(lambda: members(group) in ([], [group]), "nothing runs; nobody waited yet")
    assert members(group) == []
