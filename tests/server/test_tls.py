"""What a listener shows changes with its files, and stays as it was when they are no good."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from authorities import Authority, TlsFolder
from vectorbucket_server.certificates import TlsFiles
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings
from vectorbucket_server.tls import (
    GrpcTls,
    IdentityFiles,
    channel_credentials,
    grpc_tls_of,
    open_identity,
    server_credentials,
    tell_clear_text,
    tls_files_of,
)
from vectorbucket_server.translate_settings import TranslateSettings

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.issue(), AUTHORITY.issue()

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> TlsFolder:
    """Good files, callers' authority among them."""
    return TlsFolder(tmp_path / "tls", FIRST, AUTHORITY)


def opened(folder: TlsFolder, server_log: io.StringIO, **more: Any) -> IdentityFiles:
    """Return what watches a folder, and looks again each time unless ``more`` says how often."""
    files = tls_files_of(Settings(**folder.settings))
    assert files is not None
    log = make_logger("json", "debug", server_log)
    return IdentityFiles(files, log, **({"look_again_s": 0.0} | more))


# --- Settings -------------------------------------------------------------------------------------


def test_settings_name_the_files(folder: TlsFolder) -> None:
    assert tls_files_of(Settings()) is None
    named = str(folder.certificate), str(folder.key), str(folder.client_ca)
    assert tls_files_of(Settings(**folder.settings)) == TlsFiles(*named)


def test_settings_name_the_files_of_the_way_to_the_server() -> None:
    assert grpc_tls_of(TranslateSettings()) is None
    assert grpc_tls_of(TranslateSettings(grpc_tls=True)) == GrpcTls(None, None, None)
    own: dict[str, Any] = {"grpc_client_certificate": Path("c"), "grpc_client_key": Path("k")}
    made = grpc_tls_of(TranslateSettings(grpc_tls=True, grpc_ca=Path("a"), **own))
    assert made == GrpcTls("a", "c", "k")


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "example.com:1"])
def test_keys_in_clear_text_are_warned_of(
    address: str, folder: TlsFolder, server_log: io.StringIO, log_lines: Lines
) -> None:
    log = make_logger("json", "debug", server_log)
    asking: dict[str, Any] = {"credentials": Path("c.toml")}
    # Nobody hears it, nobody is asked for keys, or nobody understands it.
    tell_clear_text(Settings(**asking), log, grpc_address="127.0.0.1:1", rest_address="")
    tell_clear_text(Settings(insecure=True), log, grpc_address=address)
    tell_clear_text(Settings(**asking, **folder.settings), log, grpc_address=address)
    assert log_lines() == []
    tell_clear_text(Settings(**asking), log, grpc_address="localhost:1", rest_address=address)
    (line,) = log_lines()
    assert (line["level"], line["setting"], line["address"]) == ("warning", "rest_address", address)


# --- What listeners show --------------------------------------------------------------------------


def test_without_files_nothing_is_shown(server_log: io.StringIO) -> None:
    assert open_identity(Settings(), make_logger("json", "debug", server_log)) is None
    assert server_credentials(None) is None


def test_files_that_stay_keep_what_is_shown(folder: TlsFolder, server_log: io.StringIO) -> None:
    watched = opened(folder, server_log)
    first = watched.current()
    folder.write(FIRST, AUTHORITY)
    assert watched.current() is first, "clients could resume no session"
    assert watched.context() is first.context
    assert server_log.getvalue() == ""


def test_files_that_change_are_shown_and_told(
    folder: TlsFolder, server_log: io.StringIO, log_lines: Lines
) -> None:
    watched = opened(folder, server_log)
    first = watched.current()
    folder.write(SECOND)
    second = watched.current()
    assert (second.certificate, second.key) == (SECOND.certificate, SECOND.key)
    assert second.context is not first.context
    assert watched.current() is second
    (line,) = log_lines()
    assert (line["event"], line["level"]) == ("the TLS files have changed", "info")
    assert line["expires"] == second.expires


def test_authority_of_callers_changes_alone(folder: TlsFolder, server_log: io.StringIO) -> None:
    watched = opened(folder, server_log)
    other = Authority()
    folder.client_ca.write_bytes(other.pem)
    assert watched.current().client_ca == other.pem
    assert watched.current().certificate == FIRST.certificate


def test_folder_behind_a_link_is_changed_as_a_whole(
    tmp_path: Path, server_log: io.StringIO
) -> None:
    """Method: as Kubernetes changes a mounted secret, by what a link of links leads to."""
    TlsFolder(tmp_path / "1", FIRST)
    TlsFolder(tmp_path / "2", SECOND)
    data = tmp_path / "data"
    data.symlink_to("1")
    for name in ("server.pem", "server.key"):
        (tmp_path / name).symlink_to(f"data/{name}")
    files = TlsFiles(str(tmp_path / "server.pem"), str(tmp_path / "server.key"), None)
    log = make_logger("json", "debug", server_log)
    watched = IdentityFiles(files, log, look_again_s=0.0)
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").replace(data)
    assert watched.current().certificate == SECOND.certificate


def test_half_of_a_change_is_told_once_and_leaves_what_was(
    folder: TlsFolder, server_log: io.StringIO, log_lines: Lines
) -> None:
    watched = opened(folder, server_log)
    first = watched.current()
    folder.certificate.write_bytes(SECOND.certificate)
    assert [watched.current() for _ in range(5)] == [first] * 5
    (line,) = log_lines()
    assert line["level"] == "error"
    assert line["event"] == "the TLS files cannot be used; those of before stay in force"
    assert "do not belong together" in line["error"]
    assert "PRIVATE" not in server_log.getvalue()
    folder.key.write_bytes(SECOND.key)
    assert watched.current().certificate == SECOND.certificate


def test_file_that_goes_away_leaves_what_was_until_it_comes_again(
    folder: TlsFolder, server_log: io.StringIO, log_lines: Lines
) -> None:
    watched = opened(folder, server_log)
    first = watched.current()
    folder.key.rename(folder.key.with_suffix(".away"))
    assert [watched.current(), watched.current()] == [first] * 2
    assert ["cannot be read" in line["error"] for line in log_lines()] == [True]
    folder.key.with_suffix(".away").rename(folder.key)
    assert watched.current() is first
    folder.write(SECOND)
    assert watched.current().certificate == SECOND.certificate


def test_files_are_looked_at_now_and_then_only(folder: TlsFolder, server_log: io.StringIO) -> None:
    now_s = 100.0
    watched = opened(folder, server_log, clock=lambda: now_s, look_again_s=1.0)
    folder.write(SECOND)
    now_s += 0.9
    assert watched.current().certificate == FIRST.certificate
    now_s += 0.1
    assert watched.current().certificate == SECOND.certificate


def test_change_within_one_tick_of_the_clock_is_found_at_the_next_look(
    folder: TlsFolder, server_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: every file looks like every other, as two writes in one tick do."""
    watched = opened(folder, server_log)
    monkeypatch.setattr("vectorbucket_server.tls.stamps_of", lambda _files: ((1,),))
    watched.current()
    folder.write(SECOND)
    assert watched.current().certificate == SECOND.certificate


def test_expired_certificate_is_warned_of(
    folder: TlsFolder, server_log: io.StringIO, log_lines: Lines
) -> None:
    folder.write(AUTHORITY.issue(expired=True))
    opened(folder, server_log)
    (line,) = log_lines()
    assert (line["level"], line["reason"]) == ("warning", "certificate has expired")
    assert line["tls_certificate"] == str(folder.certificate)


def test_files_that_cannot_be_used_stop_the_start(
    folder: TlsFolder, server_log: io.StringIO
) -> None:
    folder.key.write_bytes(SECOND.key)
    with pytest.raises(StartFailed, match="do not belong together"):
        opened(folder, server_log)


# --- The way to a server --------------------------------------------------------------------------


def test_way_to_a_server_takes_good_files_or_none(folder: TlsFolder) -> None:
    own = str(folder.certificate), str(folder.key)
    for tls in (GrpcTls(None, None, None), GrpcTls(str(folder.client_ca), *own)):
        assert channel_credentials(tls) is not None


@pytest.mark.parametrize(
    ("ca", "certificate", "key", "words"),
    [
        ("away", None, None, "grpc_ca .*away cannot be read: No such file"),
        ("key", None, None, "grpc_ca .*server.key holds no certificate"),
        (None, "key", "key", "grpc_client_certificate .* holds no certificate"),
        (None, "certificate", "certificate", "grpc_client_key .* holds no private key"),
        (None, "certificate", "other", "grpc_client_key .* do not belong together"),
    ],
)
def test_way_to_a_server_names_what_is_no_good(
    folder: TlsFolder, ca: str | None, certificate: str | None, key: str | None, words: str
) -> None:
    other = folder.key.with_name("other")
    other.write_bytes(SECOND.key)
    paths = {
        "away": str(folder.key.with_name("away")),
        "key": str(folder.key),
        "certificate": str(folder.certificate),
        "other": str(other),
    }
    with pytest.raises(StartFailed, match=words):
        channel_credentials(GrpcTls(*(one and paths[one] for one in (ca, certificate, key))))
