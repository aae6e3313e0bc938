"""Tests of bench_peer_base.py: packages, addresses, kinds of fields, one thing a thread."""

from __future__ import annotations

import json
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bench_peer_base import (
    INDEXED_FIELDS,
    PeerUnavailable,
    PerThread,
    batches,
    field_kinds,
    peer_address,
    peer_package,
)


def test_package_that_is_installed_is_returned() -> None:
    assert peer_package("someone", "json", "json") is json


def test_package_that_is_missing_is_named() -> None:
    with pytest.raises(PeerUnavailable, match=r"the peer someone needs .*: pip install no-such"):
        peer_package("someone", "no_such_module_here.client", "no-such")


def test_package_that_lacks_one_of_its_own_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_peer_module.py").write_text("import no_such_module_here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_module_here"):
        peer_package("someone", "broken_peer_module", "broken-peer")
    assert "broken_peer_module" not in sys.modules


def test_address_of_a_server_that_answers_is_returned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert peer_address("someone", f"127.0.0.1:{port}", 1) == ("127.0.0.1", port)
        assert peer_address("someone", None, port) == ("127.0.0.1", port)


def test_address_where_nothing_answers_says_how_to_name_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(PeerUnavailable, match=rf"nothing answers at 127.0.0.1:{port}; start some"):
        peer_address("someone", f"127.0.0.1:{port}", 1)


@pytest.mark.parametrize("target", ["localhost", ":80", "localhost:", "localhost:http"])
def test_malformed_address_is_refused(target: str) -> None:
    with pytest.raises(PeerUnavailable, match="it must be HOST:PORT"):
        peer_address("someone", target, 1)


def test_fields_that_the_conditions_ask_about_are_indexed_once_each() -> None:
    assert INDEXED_FIELDS == ("arch", "section")


def test_kinds_of_fields_are_read_from_the_metadata() -> None:
    metadata: list[dict[str, Any]] = [
        {"arch": "all"},
        {"size": 3, "tags": []},
        {"size": 2.5, "arch": "amd64"},
    ]
    assert field_kinds(metadata) == {"arch": "text", "size": "number", "tags": "list"}


def test_field_of_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="size holds a number here and a text there"):
        field_kinds([{"size": 3}, {"size": "large"}])


def test_batches_cut_all_rows_and_no_more() -> None:
    assert list(batches(5, 2)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(batches(0, 2)) == []


def test_each_thread_has_one_thing_of_its_own_and_all_are_ended() -> None:
    made: list[int] = []
    ended: list[int] = []

    def make() -> int:
        made.append(threading.get_ident())
        return made[-1]

    things = PerThread(make, ended.append)
    seen = {things.get(), things.get()}
    thread = threading.Thread(target=lambda: seen.add(things.get()))
    thread.start()
    thread.join()
    assert seen == set(made)
    assert len(made) == 2
    things.close()
    assert ended == made
