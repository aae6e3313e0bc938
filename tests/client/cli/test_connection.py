"""Which server, as whom: TLS and API keys through the flags, and what cannot be."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from authorities import Authority, TlsFolder
from client.cli.conftest import Run
from vectorbucket.cli.connection import BadInput, Connection
from vectorbucket_server.app import Server
from vectorbucket_server.auth.new_credential import add_to_file, new_credential

StartServer = Callable[..., Server]


def test_default_is_this_machine() -> None:
    assert Connection().endpoint == "127.0.0.1:50051"
    assert Connection().timeout_s is None


def test_api_key_is_shown_nowhere() -> None:
    assert "secret" not in repr(Connection(api_key="secret"))


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (Connection("http://127.0.0.1:9000"), "it must be HOST:PORT of the gRPC listener"),
        (Connection(""), "--endpoint is ''; it must be HOST:PORT"),
        (Connection("localhost"), "--endpoint is 'localhost'; it must be HOST:PORT"),
        (Connection(timeout_s=0), "--timeout-s is 0; it must be above 0, at most 1,000,000"),
        (Connection(timeout_s=float("inf")), "--timeout-s is inf; "),
        (Connection(timeout_s=float("nan")), "--timeout-s is nan; "),
        (Connection(api_key="a b"), "api_key cannot be sent"),
        (Connection(api_key="file:///no/such/file"), "named by --api-key, cannot be read: No such"),
        (Connection(tls_ca=Path("/no/such/file")), "/no/such/file cannot be read"),
        (Connection(tls_key=Path("/no/such/file")), "tls.certificate is missing"),
    ],
    ids=[
        *("http", "empty", "no port", "no time", "endless", "no number"),
        *("key", "key file", "authorities", "half"),
    ],
)
def test_what_cannot_be_is_told_without_a_call(connection: Connection, words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)) as caught:
        connection.connect()
    assert "a b" not in str(caught.value)


@pytest.fixture(name="keyed")
def fixture_keyed(start_server: StartServer, tmp_path: Path) -> tuple[str, str]:
    """The address of a server that wants an API key, and the key of its owner."""
    made = new_credential("ann", "1234567890", owner=True)
    add_to_file(tmp_path / "credentials.toml", made)
    server = start_server(credentials=tmp_path / "credentials.toml")
    return server.address, made.api_key


def test_api_key_comes_from_flag_file_or_environment(
    run: Run, keyed: tuple[str, str], tmp_path: Path
) -> None:
    address, key = keyed
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    listing = ("list-vector-buckets", "--endpoint", address)
    assert run(*listing, "--api-key", key).code == 0
    assert run(*listing, "--api-key", f"file://{file}").code == 0
    assert run(*listing, environment={"VECTORBUCKET_API_KEY": key}).code == 0
    for refused in (run(*listing), run(*listing, "--api-key", "wrong", "--debug")):
        assert (refused.code, refused.out) == (5, "")
        assert "InvalidAccessKeyId" in refused.err
        assert "--api-key or VECTORBUCKET_API_KEY says who calls" in refused.err
        assert "wrong" not in refused.err


def test_server_is_reached_over_mutual_tls(
    run: Run, start_server: StartServer, tmp_path: Path
) -> None:
    authority = Authority()
    mine = TlsFolder(tmp_path / "mine", authority.issue())
    folder = TlsFolder(tmp_path / "server", authority.issue(), authority)
    server = start_server(**folder.settings)
    listing = ("list-vector-buckets", "-o", "json", "--timeout-s", "5")
    flags = {
        "endpoint": server.address,
        "tls_ca": str(folder.client_ca),
        "tls_certificate": str(mine.certificate),
        "tls_key": str(mine.key),
    }
    said = [text for name, value in flags.items() for text in (_flag(name), value)]
    assert run(*listing, *said).json == {"ListAllMyBucketsResult": {"Buckets": []}}
    environment = {f"VECTORBUCKET_{name.upper()}": value for name, value in flags.items()}
    assert run(*listing, environment=environment).code == 0
    # Without a certificate of one's own there is no server for this caller.
    assert run(*listing, *said[:4], "--timeout-s", "0.5").code == 4


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
