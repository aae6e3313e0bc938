"""A client says whom it trusts and who it is; what it cannot use is named, and no key is shown."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from authorities import Authority, TlsFolder
from faulty_proxy import Fault, FaultyProxy
from vectorbucket import Client, ServiceUnavailable, Tls, VectorBucketError
from vectorbucket._tls import channel_credentials
from vectorbucket_server.app import Server, running_server
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

OURS, STRANGERS = Authority(), Authority()
ISSUED, OTHER = OURS.issue(), OURS.issue()
KEY = "vbk_" + "0aZ-_" * 8
ROW = np.ones(3, np.float32)

Connect = Callable[..., Client]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that speaks TLS and wants no certificates; bucket ``photos``, index ``faces``."""
    folder = tmp_path_factory.mktemp("encrypted")
    settings = Settings(
        engine="memory",
        grpc_address="127.0.0.1:0",
        bucket_log_dir=folder / "logs",
        **TlsFolder(folder / "tls", ISSUED).settings,
    )
    log = make_logger("json", "error", io.StringIO())
    with running_server(settings, log=log) as server:
        with Client(server.address, tls=Tls(ca=OURS.pem)) as client:
            client.put_vector_bucket("photos")
            client.put_vector_index("photos", "faces", dimension=3, distance_metric="euclidean")
        yield server


@pytest.mark.parametrize("key", [None, KEY], ids=["without_a_key", "with_a_key"])
def test_calls_and_streams_go_by_tls(encrypted: Server, connect: Connect, key: str | None) -> None:
    client = connect(encrypted.address, tls=Tls(ca=OURS.pem), api_key=key)
    rows = [(f"k{number}", ROW * number) for number in range(1_200)]
    assert client.put_vectors("photos", "faces", rows).stored == 1_200
    assert [hit.key for hit in client.query_vectors("photos", "faces", ROW, top_k=1)] == ["k1"]
    assert len(list(client.scan_vectors("photos", "faces"))) == 1_200


def test_stream_that_breaks_is_resumed_by_tls(encrypted: Server, connect: Connect) -> None:
    with FaultyProxy(encrypted.address, Fault(cut_up=20_000, reset=True)) as proxy:
        client = connect(proxy.address, tls=Tls(ca=OURS.pem))
        rows = [(f"resumed-{number}", ROW) for number in range(2_000)]
        assert client.put_vectors("photos", "faces", rows).stored == 2_000
        assert proxy.connection(1) is not None


@pytest.mark.parametrize(
    "tls",
    [None, False, True, Tls(ca=STRANGERS.pem)],
    ids=["plain", "no_tls", "those_of_grpc", "a_stranger"],
)
def test_client_that_does_not_trust_the_server_is_not_served(
    encrypted: Server, *, tls: bool | Tls | None
) -> None:
    with (
        Client(encrypted.address, tls=tls, timeout_s=0.3) as client,
        pytest.raises(VectorBucketError) as raised,
    ):
        client.get_vector_bucket("photos")
    assert isinstance(raised.value, ServiceUnavailable)


@pytest.mark.parametrize(
    "as_path", [str, Path, lambda path: Path(path).read_bytes(), Path.read_text]
)
def test_parts_are_paths_or_what_stands_in_the_files(
    tmp_path: Path, encrypted: Server, as_path: Callable[[Path], Any]
) -> None:
    folder = TlsFolder(tmp_path, ISSUED, OURS)
    parts = (as_path(one) for one in (folder.client_ca, folder.certificate, folder.key))
    with Client(encrypted.address, tls=Tls(*parts)) as client:
        assert client.get_vector_bucket("photos").bucket == "photos"


def test_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_bytes(OURS.pem)
    assert channel_credentials(Tls(ca="~/ca.pem")) is not None


def test_certificate_and_key_go_together() -> None:
    with pytest.raises(ValueError, match=r"tls\.key is missing"):
        Tls(certificate=ISSUED.certificate)
    with pytest.raises(ValueError, match=r"tls\.certificate is missing"):
        Tls(key=ISSUED.key)


ENCRYPTED_KEY = (
    b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nQUFB\n-----END ENCRYPTED PRIVATE KEY-----\n"
)
BROKEN = "-----BEGIN CERTIFICATE-----\nQUFBQQ==\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"ca": "/away/ca.pem"}, r"tls\.ca /away/ca\.pem cannot be read: No such file"),
        ({"ca": b""}, r"tls\.ca holds no certificate in PEM"),
        ({"ca": BROKEN}, r"tls\.ca holds a certificate that is broken"),
        ({"ca": "a\0b"}, r"tls\.ca .* cannot be read"),
        ({"certificate": ISSUED.key, "key": ISSUED.key}, r"tls\.certificate holds no certificate"),
        ({"certificate": ISSUED.certificate, "key": OURS.pem}, r"tls\.key holds no private key"),
        ({"certificate": ISSUED.certificate, "key": ENCRYPTED_KEY}, r"tls\.key is encrypted"),
    ],
    ids=["away", "empty", "broken", "no_path", "key_for_certificate", "no_key", "encrypted"],
)
def test_what_cannot_be_used_is_named_and_no_key_is_shown(
    parts: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        Client("127.0.0.1:1", tls=Tls(**parts))
    assert "-----" not in str(raised.value)


def test_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    folder = TlsFolder(tmp_path, ISSUED)
    folder.key.write_bytes(OTHER.key)
    with pytest.raises(ValueError, match=r"tls\.certificate .* and tls\.key .* do not belong"):
        Client("127.0.0.1:1", tls=Tls(certificate=folder.certificate, key=folder.key))


def test_key_is_shown_by_no_representation() -> None:
    tls = Tls(certificate=ISSUED.certificate, key=ISSUED.key)
    client = Client("127.0.0.1:1", tls=tls)
    with suppress(VectorBucketError):
        client.get_vector_bucket("photos", timeout_s=0.01)
    assert "PRIVATE" not in repr(tls) + repr(vars(client))
    both = ISSUED.certificate + ISSUED.key
    assert "PRIVATE" not in repr(Tls(certificate=both, key=both))
    client.close()


def test_how_to_speak_tls_is_a_value() -> None:
    assert Tls(ca="a") == Tls(ca="a") != Tls(ca="b")
    assert len({Tls(ca="a"), Tls(ca="a")}) == 1
