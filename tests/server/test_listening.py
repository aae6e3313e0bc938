"""Addresses are listened on, or refused in the operating system's words."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import pytest

from vectorbucket_server.listening import PrivateSocket, StartFailed, listen, why_not


def connect(host: str, port: int) -> None:
    """Connect, which succeeds as soon as somebody listens."""
    with socket.create_connection((host, port), timeout=5):
        pass


def test_port_0_takes_a_free_port_that_can_be_connected_to() -> None:
    with listen("127.0.0.1:0") as first, listen("127.0.0.1:0") as second:
        ports = {one.getsockname()[1] for one in (first, second)}
        assert len(ports) == 2
        for port in ports:
            connect("127.0.0.1", port)


@pytest.mark.parametrize("host", ["localhost", "[::1]"])
def test_other_spellings_of_loopback_are_listened_on(host: str) -> None:
    with listen(f"{host}:0") as listening:
        connect(host.strip("[]"), listening.getsockname()[1])


def test_any_address_of_ipv6_is_also_any_of_ipv4() -> None:
    with listen("[::]:0") as listening:
        port = listening.getsockname()[1]
        connect("127.0.0.1", port)
        connect("::1", port)


def test_address_in_use_is_told() -> None:
    with listen("127.0.0.1:0") as first:
        address = f"127.0.0.1:{first.getsockname()[1]}"
        with pytest.raises(StartFailed) as caught:
            listen(address)
        assert str(caught.value) == f"cannot serve on {address}: Address already in use"
        assert why_not(address) == "Address already in use"


# --- Sockets that are nobody else's ---------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short, as that of a socket has to be."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def test_socket_is_in_a_folder_of_this_user_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    made, other = PrivateSocket(), PrivateSocket()
    assert made.folder.parent == folder
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    assert made.path.parent == made.folder != other.folder
    made.path.touch()
    for one in (made, other, made):
        one.remove()
    assert list(folder.iterdir()) == []


def test_grpc_understands_how_a_socket_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = folder / "a b%20?#é"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    made = PrivateSocket()
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_insecure_port(made.target)
    server.start()
    assert made.path.is_socket()
    with grpc.insecure_channel(made.target) as channel:
        grpc.channel_ready_future(channel).result(5)
    server.stop(None).wait()
    made.remove()


def test_socket_is_elsewhere_where_no_temporary_folder_will_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = folder / ("long" * 30), folder / "short"
    for one in (long, short):
        one.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    made = PrivateSocket([folder / "missing", short])
    assert made.folder.parent == short
    made.remove()
    with pytest.raises(StartFailed, match=r"grpc has over 107 bytes\): name a short one in TMPDIR"):
        PrivateSocket()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "missing"))
    with pytest.raises(StartFailed, match="none is there"):
        PrivateSocket()
    assert list(long.iterdir()) == list(short.iterdir()) == []


def test_socket_is_not_where_anybody_may_put_another_in_its_place_if_that_can_be_helped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anybodys, own = folder / "anybodys", folder / "own"
    for one in (anybodys, own):
        one.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(anybodys))
    for mode, parents, chosen in (
        (0o777, [own], own),
        (0o777, [], anybodys),
        (0o1777, [own], anybodys),  # in which everybody may rename his own only
    ):
        anybodys.chmod(mode)
        made = PrivateSocket(parents)
        made.remove()
        assert made.folder.parent == chosen


def test_address_can_be_taken_again_at_once() -> None:
    with listen("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            accepted, _ = first.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    with listen(f"127.0.0.1:{port}") as second:
        assert second.getsockname()[1] == port


def test_address_of_another_machine_is_told() -> None:
    with pytest.raises(StartFailed, match=r"cannot serve on 192\.0\.2\.1:0: Cannot assign"):
        listen("192.0.2.1:0")
    assert why_not("192.0.2.1:0").startswith("Cannot assign")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64])
def test_host_that_is_none_is_told_in_one_line(host: str) -> None:
    with pytest.raises(StartFailed) as caught:
        listen(f"{host}:0")
    assert str(caught.value).startswith(f"cannot serve on {host}:0: ")
    assert "\n" not in str(caught.value)


def test_nothing_is_said_against_an_address_that_can_be_had() -> None:
    assert why_not("127.0.0.1:0") == "gRPC refused it"
