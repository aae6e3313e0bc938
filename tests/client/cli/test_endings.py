"""However a command ends, it says so in one line and with an exit code."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import typer

from client.cli.conftest import Run
from rooms import WITHIN_S
from vectorbucket import Client, InternalError, NoSuchBucket, QpsLimitExceeded, VectorBucketError
from vectorbucket.cli.connection import BadInput, Connection
from vectorbucket.cli.endings import fail, say, shown, told

QUIET = Connection()
LOUD = Connection(debug=True)


def code_of(error: BaseException, connection: Connection = QUIET) -> int:
    """Return the exit code of a command that ends so."""
    with pytest.raises(typer.Exit) as caught, told(connection):
        raise error
    return caught.value.exit_code


ENDS: dict[str, tuple[BaseException, int, str]] = {
    "not found": (
        NoSuchBucket("bucket 'a' does not exist", request_id="ABC"),
        3,
        "NoSuchBucket: bucket 'a' does not exist (request id ABC); list-vector-buckets shows",
    ),
    "too much": (QpsLimitExceeded("slow down"), 4, "QpsLimitExceeded: slow down; try again"),
    "failed": (InternalError("oops"), 1, "InternalError: oops; the server's log has the cause"),
    "input": (BadInput("--filter is no JSON"), 2, "--filter is no JSON"),
    "disk": (
        OSError(28, "No space left"),
        1,
        "the output cannot be read or written: No space left",
    ),
    "file": (OSError(13, "Denied", "a.npy"), 1, "a.npy cannot be read or written: Denied"),
    "interrupted": (KeyboardInterrupt(), 130, "interrupted"),
}


@pytest.mark.parametrize("case", ENDS)
def test_every_end_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], case: str
) -> None:
    error, code, words = ENDS[case]
    assert code_of(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("vectorbucket: ")
    assert words in line


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    error = QpsLimitExceeded("slow down", field="vectors", details={"limit": "5"}, retry_after_s=2)
    error.__cause__ = OSError("the cause")
    assert code_of(error, LOUD) == 4
    err = capsys.readouterr().err
    for words in ("Traceback", "OSError: the cause", "field vectors", "'limit': '5'", "after 2 s"):
        assert words in err


def test_exit_code_can_be_chosen() -> None:
    with pytest.raises(typer.Exit) as caught:
        fail(QUIET, NoSuchBucket.of("a"), 1)
    assert caught.value.exit_code == 1


def test_what_succeeds_ends_nothing() -> None:
    with told(QUIET):
        pass


def test_error_that_nobody_foresaw_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), told(QUIET):
        raise ZeroDivisionError


def test_error_without_advice_is_told_alone(capsys: pytest.CaptureFixture[str]) -> None:
    class Unheard(VectorBucketError, http_status=500, grpc_code=2):
        """An error of a newer server."""

    assert code_of(Unheard("oops")) == 1
    assert capsys.readouterr().err == "vectorbucket: Unheard: oops\n"


def test_message_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say("bucket '\x1b[2Ja' does not exist")
    assert capsys.readouterr().err == "vectorbucket: bucket '\\x1b[2Ja' does not exist\n"
    assert shown("é\tß") == "é\\tß"


def test_server_that_is_not_there_is_worth_another_try(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    ended = run("list-vector-buckets", "-e", f"127.0.0.1:{port}", "--timeout-s", "0.2")
    assert (ended.code, ended.out) == (4, "")
    assert len(ended.err.splitlines()) == 1


@contextmanager
def program(*arguments: str, after: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Run the command as a program, redirected as a shell would; kill it if it does not end."""
    ours = [sys.executable, "-m", "vectorbucket.cli", *arguments]
    command = ["/bin/sh", "-c", f'exec "$@" {after}', "sh", *ours]
    env = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_reader_that_goes_away_ends_it_quietly(
    faces: list[str], client: Client, server_address: str
) -> None:
    keys = [f"{number:04}" + "x" * 250 for number in range(1000)]
    client.put_vectors(faces[1], "faces", [(key, [1.0, 2.0, 3.0]) for key in keys])
    listing = ("list-vectors", *faces, "--all", "-o", "json", "-e", server_address)
    with program(*listing) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.read(10) == b'{"vectors"'
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(WITHIN_S) == 141


def test_help_that_nobody_reads_ends_it_quietly() -> None:
    with program("--help") as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(WITHIN_S) == 141


def test_streams_that_are_closed_do_no_harm(server_address: str) -> None:
    with program("get-health", "-e", server_address, after="<&- >&- 2>&-") as running:
        assert running.wait(WITHIN_S) == 0


def test_ctrl_c_ends_it_cleanly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WITHIN_S)
        endpoint = f"127.0.0.1:{silent.getsockname()[1]}"
        with program("list-vector-buckets", "-e", endpoint) as running:
            connection, _ = silent.accept()
            with connection:
                running.send_signal(signal.SIGINT)
                out, err = running.communicate(timeout=WITHIN_S)
    assert (running.returncode, out, err) == (130, b"", b"vectorbucket: interrupted\n")
