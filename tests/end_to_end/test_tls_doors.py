"""TLS and mutual TLS over both doors of a server: who gets in, and what goes on while files change.

Method: authorities and certificates are made here. One server, started from the command line, is
asked by clients of every kind; another, in this process, has its certificates replaced while a put
stream and an HTTP connection are in use.
"""

from __future__ import annotations

import http.client
import io
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from alibabacloud_oss_v2.transport.requests_client import RequestsHttpClient
from requests.adapters import HTTPAdapter

from authorities import HOSTS, Authority, Issued, TlsFolder, trusting
from oss.live_rest import ACCOUNT_ID, OWNER, LiveProcess, command, serving
from oss.sdk import models, sdk_client
from rooms import WITHIN_S, eventually
from rpc import PutStream, bearer, put_message, saying, some_vectors, stubs_of
from vectorbucket import Client, RetryPolicy, ServiceUnavailable, Tls
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket_server.app import running_server
from vectorbucket_server.auth.api_keys import hash_api_key, new_api_key
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings

OURS, CALLERS, STRANGERS = Authority(), Authority(), Authority()
CALLER, STRANGER = CALLERS.issue("caller"), STRANGERS.issue("stranger")

API_KEY, TRANSLATORS_KEY = new_api_key(), new_api_key()
CREDENTIALS = f"""{OWNER}
api_keys = ["{hash_api_key(API_KEY)}"]

[[credential]]
name = "doorman"
account_id = "{ACCOUNT_ID}"
api_keys = ["{hash_api_key(TRANSLATORS_KEY)}"]
impersonate = true
"""

DOMAIN = "vectors.test"
SERVICE = {"Host": DOMAIN}
ONCE = RetryPolicy(attempts_max=1)
LIST = bucket_service_pb2.ListVectorBucketsRequest()


def speaking(ca: Authority, shown: Issued | None = None) -> grpc.ChannelCredentials:
    """Return what a channel speaks TLS with."""
    if shown is None:
        return grpc.ssl_channel_credentials(ca.pem)
    return grpc.ssl_channel_credentials(ca.pem, shown.key, shown.certificate)


def https(address: str, tls: ssl.SSLContext) -> http.client.HTTPSConnection:
    """Return a connection, which is made when it is first used."""
    return http.client.HTTPSConnection(address, context=tls, timeout=WITHIN_S)


def asked(connection: http.client.HTTPConnection) -> int:
    """Return the status of a request that is not signed."""
    connection.request("GET", "/", headers=SERVICE)
    answer = connection.getresponse()
    answer.read()
    return answer.status


# --- A server from the command line ---------------------------------------------------------------


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProcess]:
    """A server that wants certificates and keys, by both doors."""
    folder = tmp_path_factory.mktemp("mutual")
    files = TlsFolder(folder / "tls", OURS.issue(*HOSTS, DOMAIN, f"*.{DOMAIN}"), CALLERS)
    flags = ["--engine", "memory", "--log-level", "debug", *files.flags]
    with serving(folder, *flags, credentials=CREDENTIALS) as server:
        yield server


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The caller's certificate and key, in a file."""
    return CALLER.in_file(tmp_path_factory.mktemp("caller") / "caller.pem")


def test_caller_with_a_good_certificate_is_served_by_grpc(mutual: LiveProcess, shown: Path) -> None:
    tls = Tls(ca=OURS.pem, certificate=shown, key=shown)
    with Client(mutual.grpc_address, api_key=API_KEY, tls=tls) as client:
        client.put_vector_bucket("by-grpc")
        client.put_vector_index("by-grpc", "faces", dimension=2, distance_metric="euclidean")
        rows = [(f"key-{number}", [number, 0.0]) for number in range(1_200)]
        assert client.put_vectors("by-grpc", "faces", rows).stored == 1_200
        hits = client.query_vectors("by-grpc", "faces", [0.0, 0.0], top_k=2)
        assert [hit.key for hit in hits] == ["key-0", "key-1"]
        assert len(list(client.scan_vectors("by-grpc", "faces"))) == 1_200


@pytest.mark.parametrize(
    ("ca", "shown_cert", "words"),
    [
        (STRANGERS, CALLER, "CERTIFICATE_VERIFY_FAILED"),
        (OURS, None, "failed to connect"),
        (OURS, STRANGER, "failed to connect"),
    ],
    ids=["wrong_authority", "no_certificate", "foreign_certificate"],
)
def test_others_do_not_get_in_by_grpc(
    mutual: LiveProcess, ca: Authority, shown_cert: Issued | None, words: str
) -> None:
    own = {} if shown_cert is None else vars_of(shown_cert)
    with (
        Client(
            mutual.grpc_address, api_key=API_KEY, tls=Tls(ca=ca.pem, **own), retry=ONCE
        ) as client,
        pytest.raises(ServiceUnavailable, match=words),
    ):
        client.get_vector_bucket("photos")


def vars_of(issued: Issued) -> dict[str, bytes]:
    """Return the parts of a client's Tls."""
    return {"certificate": issued.certificate, "key": issued.key}


def test_certificate_alone_is_no_key(mutual: LiveProcess) -> None:
    with stubs_of(mutual.grpc_address, speaking(OURS, CALLER)) as stubs:
        with pytest.raises(grpc.RpcError) as caught:
            stubs.buckets.ListVectorBuckets(LIST)
        status: Any = caught.value
        assert status.code() is grpc.StatusCode.UNAUTHENTICATED
        assert saying(stubs, bearer(API_KEY)).buckets.ListVectorBuckets(LIST) is not None


def test_plain_caller_does_not_get_in_by_grpc(mutual: LiveProcess) -> None:
    with (
        Client(mutual.grpc_address, api_key=API_KEY, retry=ONCE) as client,
        pytest.raises(ServiceUnavailable),
    ):
        client.get_vector_bucket("photos")


def test_caller_with_a_good_certificate_is_answered_by_rest(
    mutual: LiveProcess, shown: Path
) -> None:
    tls = trusting(OURS, shown)
    with closing(https(mutual.rest_address, tls)) as connection:
        # No signature comes with it: that the dialect says so is all that is asked here.
        assert [asked(connection), asked(connection)] == [403, 403]
        here = connection.sock.getsockname()
    (first, second) = mutual.lines("call")[-2:]
    assert first["peer"] == second["peer"] == f"127.0.0.1:{here[1]}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_others_do_not_get_in_by_rest(
    mutual: LiveProcess, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    foreign = trusting(OURS, STRANGER.in_file(tmp_path / "stranger.pem"))
    for tls, alert in ((trusting(OURS), "CERTIFICATE_REQUIRED|HANDSHAKE"), (foreign, "UNKNOWN_CA")):
        tls.maximum_version = version
        connection = https(mutual.rest_address, tls)
        with closing(connection), pytest.raises(ssl.SSLError, match=alert):
            asked(connection)
    connection = https(mutual.rest_address, trusting(STRANGERS))
    with closing(connection), pytest.raises(ssl.SSLCertVerificationError):
        asked(connection)
    told = [line["reason"] for line in mutual.lines("TLS handshake failed")]
    assert {"PEER_DID_NOT_RETURN_A_CERTIFICATE", "CERTIFICATE_VERIFY_FAILED"} <= set(told)


class _OurTls(HTTPAdapter):
    """What the SDK sends by, with TLS of a test's own."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        """Make the pool."""
        super().init_poolmanager(*arguments, **named, ssl_context=self._tls)


def test_official_sdk_speaks_tls_with_buckets_as_hosts(
    mutual: LiveProcess, shown: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Method: names below our domain lead to this machine, as a public resolver would have it."""
    look_up = socket.getaddrinfo

    def here(host: str, *rest: Any, **named: Any) -> Any:
        return look_up("127.0.0.1" if host.endswith(DOMAIN) else host, *rest, **named)

    monkeypatch.setattr("socket.getaddrinfo", here)
    port = mutual.rest_address.rpartition(":")[2]
    session = requests.Session()
    session.mount("https://", _OurTls(trusting(OURS, shown)))
    with (
        session,
        sdk_client(
            mutual.rest_address,
            endpoint=f"https://{DOMAIN}:{port}",
            proxy_host=None,
            http_client=RequestsHttpClient(session=session),
        ) as client,
    ):
        client.put_vector_bucket(models.PutVectorBucketRequest(bucket="by-sdk"))
        request = models.GetVectorBucketRequest(bucket="by-sdk")
        assert client.get_vector_bucket(request).bucket_info.name.endswith(":by-sdk")


def test_lone_translator_reaches_the_server_by_mutual_tls(
    mutual: LiveProcess, tmp_path: Path
) -> None:
    for name, content in (("ca", OURS.pem), ("crt", CALLER.certificate), ("key", CALLER.key)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "credentials.toml").write_text(CREDENTIALS)
    (tmp_path / "credentials.toml").chmod(0o600)
    flags = ["--grpc-target", mutual.grpc_address, "--rest-address", "127.0.0.1:0", "--grpc-tls"]
    flags += [
        "--credentials",
        str(tmp_path / "credentials.toml"),
        "--grpc-ca",
        str(tmp_path / "ca"),
    ]
    own = ["--grpc-client-certificate", str(tmp_path / "crt")]
    own += ["--grpc-client-key", str(tmp_path / "key")]
    key = {"VECTORBUCKET_API_KEY": TRANSLATORS_KEY}
    request = models.ListVectorBucketsRequest()
    with (
        command(tmp_path, "translate", *flags, *own, environment=key) as translator,
        sdk_client(translator.rest_address) as client,
    ):
        assert client.list_vector_buckets(request).status_code == 200


# --- Certificates that change ---------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> TlsFolder:
    """The files of ``open_server``."""
    return TlsFolder(tmp_path / "tls", OURS.issue(), CALLERS)


@pytest.fixture
def open_server(files: TlsFolder, tmp_path: Path) -> Iterator[LiveProcess]:
    """A server that wants certificates and no keys, by both doors."""
    with serving(tmp_path, "--engine", "memory", *files.flags, credentials="") as server:
        yield server


def gets_in_by_grpc(server: LiveProcess, ca: Authority, shown: Issued) -> bool:
    """Return whether a new channel comes to anything."""
    with stubs_of(server.grpc_address, speaking(ca, shown)) as stubs:
        try:
            stubs.buckets.ListVectorBuckets(LIST)
        except grpc.RpcError:
            return False
        return True


def gets_in_by_rest(server: LiveProcess, tls: ssl.SSLContext) -> bool:
    """Return whether a new connection comes to anything."""
    with closing(https(server.rest_address, tls)) as connection:
        try:
            return asked(connection) == 200
        except ssl.SSLError:
            return False


NO_GOOD = "the TLS files cannot be used; those of before stay in force"


def test_certificates_change_while_connections_are_in_use(
    open_server: LiveProcess, files: TlsFolder, tmp_path: Path
) -> None:
    new, new_callers = Authority(), Authority()
    new_caller = new_callers.issue("caller")
    before = trusting(OURS, CALLER.in_file(tmp_path / "before.pem"))
    after = trusting(new, new_caller.in_file(tmp_path / "after.pem"))
    with ExitStack() as held:
        stubs = held.enter_context(stubs_of(open_server.grpc_address, speaking(OURS, CALLER)))
        stubs.make_index()
        stream = PutStream(stubs)
        assert stream.ask(put_message(1, *some_vectors(1))).HasField("stored")
        kept = held.enter_context(closing(https(open_server.rest_address, before)))
        assert asked(kept) == 200
        kept_by = kept.sock

        files.write(new.issue(), new_callers)
        eventually(lambda: gets_in_by_grpc(open_server, new, new_caller), "gRPC shows the new")
        eventually(lambda: gets_in_by_rest(open_server, after), "REST shows the new")
        assert not gets_in_by_grpc(open_server, OURS, CALLER)
        assert not gets_in_by_grpc(open_server, new, CALLER)
        assert not gets_in_by_rest(open_server, before)
        old_caller = trusting(new, tmp_path / "before.pem")
        assert not gets_in_by_rest(open_server, old_caller)

        assert stream.ask(put_message(2, *some_vectors(2))).HasField("stored")
        assert asked(kept) == 200
        assert kept.sock is kept_by, "it was made anew"

        files.certificate.write_bytes(OURS.issue().certificate)

        def both_have_told() -> bool:
            assert gets_in_by_grpc(open_server, new, new_caller)
            assert gets_in_by_rest(open_server, after)
            return len(open_server.lines(NO_GOOD)) == 2

        eventually(both_have_told, "gRPC and REST have told of it")
        assert all("do not belong" in line["error"] for line in open_server.lines(NO_GOOD))
        assert stream.ask(put_message(3, *some_vectors(3))).HasField("stored")
        assert stream.finish() == []
        assert asked(kept) == 200


def test_certificate_is_guard_enough_for_other_machines(
    files: TlsFolder, tmp_path: Path, server_log: io.StringIO
) -> None:
    settings = Settings(
        engine="memory", grpc_address="0.0.0.0:0", data_dir=tmp_path, **files.settings
    )
    with running_server(settings, log=make_logger("json", "debug", server_log)) as server:
        port = server.address.rpartition(":")[2]
        with stubs_of(f"127.0.0.1:{port}", speaking(OURS, CALLER)) as stubs:
            stubs.make_index()


def test_keys_in_clear_text_are_warned_of_at_the_start(
    tmp_path: Path, server_log: io.StringIO, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    (tmp_path / "credentials.toml").write_text(CREDENTIALS)
    settings = Settings(
        engine="memory",
        grpc_address="0.0.0.0:0",
        data_dir=tmp_path,
        credentials=tmp_path / "credentials.toml",
    )
    with running_server(settings, log=make_logger("json", "debug", server_log)):
        (line,) = [line for line in log_lines() if line["level"] == "warning"]
    assert re.search("without encryption", line["event"])
    assert (line["setting"], line["address"]) == ("grpc_address", "0.0.0.0:0")


def test_certificate_that_cannot_be_used_stops_the_start_before_anything_is_bound(
    tmp_path: Path, server_log: io.StringIO
) -> None:
    files = TlsFolder(tmp_path / "tls", Issued(OURS.issue().certificate, OURS.issue().key))
    settings = Settings(
        engine="memory", grpc_address="127.0.0.1:0", data_dir=tmp_path, **files.settings
    )
    made = running_server(settings, log=make_logger("json", "debug", server_log))
    with pytest.raises(StartFailed, match=r"tls_key .* do not belong together"), made:
        pytest.fail("it serves")
    assert server_log.getvalue() == ""
