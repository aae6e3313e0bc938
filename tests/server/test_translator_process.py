"""The translator beside a server: it serves, comes back on the same address, and ends with it."""

from __future__ import annotations

import http.client
import io
import json
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from conftest import StartServer
from oss.live_rest import OWNER, LiveProcess, command, is_running, serving
from rooms import WITHIN_S, eventually, running
from rpc import query_request, stubs_of
from stubborn import SlowEngine
from vectorbucket_server import translator_process
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.observability.metrics import TranslatorState
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate import Translation, translation_of
from vectorbucket_server.translator_process import TranslatorProcess

SERVICE = "cn-hangzhou.vectors.test"
BUCKET = "photos-1234567890.vectors.test"
QUERY = json.dumps(
    {"indexName": "faces", "queryVector": {"float32": [0, 0, 0, 0]}, "topK": 1}
).encode()

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def beside(server_log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Iterator[TranslatorProcess]:
    """A translator's address and log; not started."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    made = TranslatorProcess("127.0.0.1:0", make_logger("json", "debug", server_log))
    yield made
    made.stop()


def translation(target: str, **settings: Any) -> Translation:
    """Return the translation for a server at an address."""
    return translation_of(Settings(**settings), target, "")


def ask(
    address: str, method: str = "GET", target: str = "/", body: bytes = b"", host: str = SERVICE
) -> tuple[int, bytes]:
    """Return the status and the body of an answer."""
    with closing(http.client.HTTPConnection(address, timeout=WITHIN_S)) as connection:
        connection.request(method, target, body, {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


def query(address: str) -> int:
    """Return the status of a query of the index that ``Stubs.make_index`` makes."""
    return ask(address, "POST", "/?queryVectors", QUERY, BUCKET)[0]


def test_translator_serves_until_it_is_stopped(
    start_server: StartServer, beside: TranslatorProcess, log_lines: Lines
) -> None:
    beside.start(translation(start_server().address))
    status, body = ask(beside.address)
    assert (status, json.loads(body)["ListAllMyBucketsResult"]["Buckets"]) == (200, [])
    child = beside.process_id
    assert child is not None
    assert is_running(child)
    beside.stop()
    assert not is_running(child)
    with pytest.raises(ConnectionRefusedError):
        ask(beside.address)
    beside.stop()
    assert [line for line in log_lines() if line["level"] in ("warning", "error")] == []


def test_server_that_is_stopped_leaves_no_socket(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    # Its path is short, as that of a socket has to be.
    with TemporaryDirectory() as temporary:
        monkeypatch.setattr("tempfile.tempdir", temporary)
        server = start_server(rest_address="127.0.0.1:0")
        (folder,) = Path(temporary).iterdir()
        assert [one.is_socket() for one in folder.iterdir()] == [True]
        assert ask(server.rest_address)[0] == 200
        with pytest.raises(StartFailed, match="in use"):
            start_server(rest_address=server.rest_address)
        server.stop()
        assert list(Path(temporary).iterdir()) == []


def test_killed_translator_comes_back_on_its_address_while_connections_wait(
    start_server: StartServer, beside: TranslatorProcess, log_lines: Lines
) -> None:
    beside.start(translation(start_server().address))
    first = beside.process_id
    assert first is not None
    assert beside.state() == TranslatorState(is_up=True, restart_count=0)
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not is_running(first), "the translator has ended")
    assert ask(beside.address)[0] == 200
    assert beside.process_id != first
    eventually(
        lambda: beside.state() == TranslatorState(is_up=True, restart_count=1), "it is counted"
    )
    (line,) = [line for line in log_lines() if line["event"] == "the REST process ended"]
    assert (line["level"], line["status"]) == ("error", -signal.SIGKILL)


def test_translator_that_cannot_start_is_told_and_leaves_the_address(
    beside: TranslatorProcess, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = translation("127.0.0.1:1", credentials=tmp_path / "missing.toml")
    folder = Path(beside.grpc_target.removeprefix("unix:")).parent
    assert folder.is_dir()
    with pytest.raises(StartFailed, match=f"cannot serve REST on {beside.address}: its process"):
        beside.start(missing)
    (line,) = capfd.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "REST is not served"
    assert "missing.toml" in json.loads(line)["error"]
    assert not folder.exists()
    TranslatorProcess(beside.address, make_logger("json", "error", io.StringIO())).stop()


def test_translator_that_keeps_failing_is_tried_until_it_starts(
    start_server: StartServer,
    beside: TranslatorProcess,
    tmp_path: Path,
    log_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(translator_process, "_AGAIN_AFTER_S", (0.0, 0.01))
    credentials = tmp_path / "credentials.toml"
    credentials.write_text(OWNER)
    beside.start(translation(start_server().address, credentials=credentials))
    credentials.write_text("broken")
    assert beside.process_id is not None
    os.kill(beside.process_id, signal.SIGKILL)

    def pauses() -> list[float]:
        return [
            line["again_after_s"]
            for line in log_lines()
            if line["event"] == "the REST process ended"
        ]

    eventually(lambda: len(pauses()) >= 3, "it was tried again and again")
    credentials.write_text(OWNER)
    assert ask(beside.address)[0] == 403
    assert pauses()[:3] == [0.0, 0.01, 0.01]


def test_translator_comes_back_after_the_system_had_no_room_for_it(
    start_server: StartServer,
    beside: TranslatorProcess,
    log_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Method: this process may open no more files for a while, so no pipe to a child."""
    monkeypatch.setattr(translator_process, "_AGAIN_AFTER_S", (0.0, 0.01))
    beside.start(translation(start_server().address))
    assert beside.process_id is not None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(beside.process_id, signal.SIGKILL)
        event = "the REST process cannot be started"
        eventually(
            lambda: len([line for line in log_lines() if line["event"] == event]) >= 2,
            "it was tried again and again",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert ask(beside.address)[0] == 200


def test_translator_imports_nothing_from_the_folder_that_it_was_started_in(
    start_server: StartServer,
    beside: TranslatorProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "uvloop.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    beside.start(translation(start_server().address))
    assert ask(beside.address)[0] == 200


def test_stop_waits_for_requests_that_are_under_way(
    start_server: StartServer, beside: TranslatorProcess, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
    beside.start(translation(server.address))
    answers: list[int] = []
    with running(lambda: answers.append(query(beside.address))):
        assert slow.entered.acquire(timeout=WITHIN_S)
        stopping = threading.Thread(target=beside.stop)
        stopping.start()
        eventually(lambda: refuses_connections(beside), "no new connections are taken")
        assert stopping.is_alive()
        assert not answers
        slow.gate.set()
    stopping.join(WITHIN_S)
    assert not stopping.is_alive()
    assert answers == [200]


def refuses_connections(beside: TranslatorProcess) -> bool:
    """Return whether a new connection comes to nothing."""
    host, _, port = beside.address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=0.2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: vectors.test\r\n\r\n")
            return not connection.recv(1)
    except OSError:
        return True


def test_stop_cuts_requests_that_take_longer_than_their_grace(
    start_server: StartServer, beside: TranslatorProcess, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
    beside.start(translation(server.address, drain_grace_s=0.1))

    def be_cut() -> None:
        with suppress(OSError, http.client.HTTPException):
            assert query(beside.address) == 503

    with running(be_cut):
        assert slow.entered.acquire(timeout=WITHIN_S)
        before = time.monotonic()
        beside.stop()
        assert time.monotonic() - before < WITHIN_S / 2


def test_stop_in_a_hurry_cuts_requests_at_once(
    start_server: StartServer, beside: TranslatorProcess, slow: SlowEngine
) -> None:
    server = start_server(over=slow)
    with stubs_of(server.address) as stubs:
        stubs.make_index()
    beside.start(translation(server.address, drain_grace_s=600))

    def be_cut() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            query(beside.address)

    with running(be_cut):
        assert slow.entered.acquire(timeout=WITHIN_S)
        stopping = threading.Thread(target=beside.stop)
        stopping.start()
        for _ in range(2):
            beside.hurry()
        stopping.join(WITHIN_S)
        assert not stopping.is_alive()


def test_translator_that_does_not_end_is_killed(
    start_server: StartServer,
    beside: TranslatorProcess,
    log_lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(translator_process, "_STOP_SLACK_S", 0.1)
    beside.start(translation(start_server().address, drain_grace_s=0.1))
    child = beside.process_id
    assert child is not None
    os.kill(child, signal.SIGSTOP)
    beside.stop()
    assert not is_running(child)
    (line,) = [line for line in log_lines() if line["level"] == "warning"]
    assert line["event"] == "the REST process did not end in time"


def test_stop_while_the_translator_is_started_again_leaves_nothing(
    start_server: StartServer, beside: TranslatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translator_process, "_AGAIN_AFTER_S", (0.0,))
    beside.start(translation(start_server().address))
    first = beside.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: beside.process_id != first, "it is started again")
    beside.stop()
    second = beside.process_id
    assert second is not None
    assert not is_running(second)


def test_address_in_use_is_told_before_anything_is_started(beside: TranslatorProcess) -> None:
    with pytest.raises(StartFailed, match="Address already in use"):
        TranslatorProcess(beside.address, make_logger("json", "error", io.StringIO()))


# --- Beside a server that is a process ------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveProcess]:
    """A server that asks nobody for credentials, as a process."""
    with serving(tmp_path, "--engine", "memory", credentials="") as server:
        yield server


def test_server_that_stops_ends_its_translator_after_its_requests(live: LiveProcess) -> None:
    (translator,) = live.translator_ids()
    host, _, port = live.rest_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        head = f"PUT / HTTP/1.1\r\nHost: {BUCKET}\r\nContent-Length: 1\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        # It says so when it waits for the body, and so has the request.
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        live.popen.send_signal(signal.SIGTERM)
        eventually(lambda: live.lines("stopping"), "the server stops")
        connection.sendall(b" ")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert live.popen.wait(WITHIN_S) == 0
    assert not is_running(translator)
    (call,) = live.lines("call")
    assert (call["method"], call["code"]) == ("PutVectorBucket", "OK")
    assert [line for line in live.lines() if line["level"] in ("warning", "error")] == []


def test_server_that_is_killed_takes_its_translator_with_it(live: LiveProcess) -> None:
    (translator,) = live.translator_ids()
    (line,) = live.lines("serving REST")
    place = Path(line["grpc_target"].removeprefix("unix:"))
    assert place.is_socket()
    live.popen.kill()
    eventually(lambda: not is_running(translator), "the translator has ended")
    assert not place.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_whole_group_is_the_servers_business(
    live: LiveProcess, number: signal.Signals
) -> None:
    (translator,) = live.translator_ids()
    os.kill(translator, number)
    assert ask(live.rest_address)[0] == 200
    os.killpg(live.popen.pid, number)
    assert live.popen.wait(WITHIN_S) == 0
    assert not is_running(translator)
    assert live.lines("the REST process ended") == []


def test_killed_translator_of_a_real_server_comes_back(live: LiveProcess) -> None:
    (first,) = live.translator_ids()
    os.kill(first, signal.SIGKILL)
    assert ask(live.rest_address)[0] == 200
    (second,) = live.translator_ids()
    assert second != first
    assert live.end() == 0
    assert not is_running(second)


def test_rest_address_in_use_is_one_line_and_the_server_does_not_start(
    live: LiveProcess, tmp_path: Path
) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    flags = ["--engine", "memory", "--grpc-address", "127.0.0.1:0"]
    with command(folder, "serve", *flags, "--rest-address", live.rest_address) as second:
        assert second.popen.wait(WITHIN_S) == 1
        assert second.ready == ""
        assert second.said() == (
            f"vectorbucket-server: cannot serve on {live.rest_address}: Address already in use\n"
        )


def test_request_of_rest_finds_what_grpc_wrote(live: LiveProcess) -> None:
    with stubs_of(live.grpc_address) as stubs:
        stubs.make_index()
        assert stubs.vectors.QueryVectors(query_request()).vectors == []
    assert query(live.rest_address) == 200
