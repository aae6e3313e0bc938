"""A directory is opened as it is, and left as it was, or refused in words."""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from resting import (
    COUNT,
    files_of,
    flip,
    numbers_of,
    resting_options,
)
from rooms import in_child
from vectorbucket.errors import Corruption, ServiceUnavailable
from vectorbucket_server.engine.embedded.at_rest import opened_at_rest
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.embedded.schema import FORMAT_KEY, Family
from vectorbucket_server.engine.embedded.verified_catalogue import END

_TRY_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print("free")
    except OSError:
        print("held")
"""

_HOLD_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""
"""What a server does; tests/server/test_disk_commands.py has a real one."""


def test_everything_is_there_and_nothing_is_changed(resting: EmbeddedOptions) -> None:
    before = files_of(resting.data_dir)
    with opened_at_rest(resting.data_dir, resting) as rest:
        assert sum(1 for _ in rest.store.scan(Family.VECTORS, b"", END)) == COUNT + 3
        assert rest.store.get(Family.CATALOG, FORMAT_KEY)
        assert sum(rest.store.sizes_bytes().values()) == rest.store.size_bytes() > 0
        assert rest.data_dir == resting.data_dir
        view = rest.view
    assert files_of(resting.data_dir) == before
    assert not view.exists()


def test_what_was_written_last_is_there_before_it_is_in_a_table(resting: EmbeddedOptions) -> None:
    program = """
import os, sys
from pathlib import Path
from resting import resting_options
from vectorbucket_server.engine.embedded.schema import Family
from vectorbucket_server.engine.embedded.store import Store
options = resting_options(Path(sys.argv[1]))
store = Store(options.data_dir / "store", options)
batch = store.batch()
batch.put(Family.CHANGES, b"late", b"comer")
store.write(batch)
store.sync()
print("written", flush=True)
os._exit(0)
"""
    assert in_child(program, resting.data_dir.parent) == "written"
    before = files_of(resting.data_dir)
    with opened_at_rest(resting.data_dir, resting) as rest:
        assert rest.store.get(Family.CHANGES, b"late") == b"comer"
    assert files_of(resting.data_dir) == before


def test_directory_that_a_server_uses_is_refused(resting: EmbeddedOptions) -> None:
    lock, told = resting.data_dir / "store" / "LOCK", "in use by another process; one process at a"
    command = [sys.executable, "-c", _HOLD_THE_LOCK, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "held\n"
        with (
            pytest.raises(ServiceUnavailable, match=f"{lock.parent} is {told}"),
            opened_at_rest(resting.data_dir, resting),
        ):
            pass
        server.communicate()
    with opened_at_rest(resting.data_dir, resting) as rest:
        assert rest.store.get(Family.CATALOG, FORMAT_KEY)


def test_no_server_starts_on_what_is_being_read(resting: EmbeddedOptions) -> None:
    lock = resting.data_dir / "store" / "LOCK"
    with opened_at_rest(resting.data_dir, resting):
        assert in_child(_TRY_THE_LOCK, lock) == "held"
    assert in_child(_TRY_THE_LOCK, lock) == "free"


def test_directory_without_a_lock_is_read(resting: EmbeddedOptions) -> None:
    lock = resting.data_dir / "store" / "LOCK"
    lock.unlink()
    with opened_at_rest(resting.data_dir, resting) as rest:
        assert rest.store.get(Family.CATALOG, FORMAT_KEY)
    assert not lock.exists()


def test_who_may_only_read_is_enough(resting: EmbeddedOptions) -> None:
    (resting.data_dir / "store" / "LOCK").chmod(0o444)
    with opened_at_rest(resting.data_dir, resting), opened_at_rest(resting.data_dir, resting) as it:
        assert it.store.get(Family.CATALOG, FORMAT_KEY)


def test_folder_that_cannot_be_made_is_told(
    resting: EmbeddedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with (
        pytest.raises(ServiceUnavailable, match=r"/nowhere/.* cannot be read or written: No such"),
        opened_at_rest(resting.data_dir, resting),
    ):
        pass


def test_lock_is_let_go_when_the_store_cannot_be_opened(resting: EmbeddedOptions) -> None:
    path = resting.data_dir / "store"
    flip(next(path.glob("MANIFEST-*")), 20)
    with pytest.raises(Corruption), opened_at_rest(resting.data_dir, resting):
        pass
    with (path / "LOCK").open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_other_directories_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    told = f"{tmp_path / name} is neither a data directory nor a backup: no store/"
    with (
        pytest.raises(ServiceUnavailable, match=re.escape(told)),
        opened_at_rest(tmp_path / name, resting_options(tmp_path)),
    ):
        pass
    assert not (tmp_path / "nowhere").exists()


def test_damage_is_told_about_the_file_in_the_directory(resting: EmbeddedOptions) -> None:
    path, _ = numbers_of(resting, 77)
    path.unlink()
    with (
        pytest.raises(Corruption, match=re.escape(str(path))) as caught,
        opened_at_rest(resting.data_dir, resting),
    ):
        pass
    assert "/vectorbucket-" not in caught.value.message


def test_what_others_read_before_hides_no_damage(resting: EmbeddedOptions) -> None:
    def read() -> int:
        with opened_at_rest(resting.data_dir, resting) as rest:
            return sum(1 for _ in rest.store.scan(Family.DATA, b"", END))

    assert read() == COUNT + 3
    flip(*numbers_of(resting, 77))
    with pytest.raises(Corruption, match="checksum mismatch"):
        read()
