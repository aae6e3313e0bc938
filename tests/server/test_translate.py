"""The translator as a process of its own: settings become a translation, credentials a caller."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from alibabacloud_oss_v2.exceptions import OperationError

from oss.live_rest import ACCOUNT_ID, OWNER, LiveProcess, command, serving, write_credentials
from oss.sdk import models, refused, sdk_client
from raw_http import RawConnection
from rooms import WITHIN_S, eventually
from rpc import bearer, saying, stubs_of
from vectorbucket.v1 import bucket_service_pb2
from vectorbucket_server.auth.api_keys import hash_api_key, new_api_key
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability.logs import make_logger
from vectorbucket_server.settings import Settings
from vectorbucket_server.translate import (
    ChildOrder,
    _line,
    new_request_id,
    open_credentials,
    translation_of,
)
from vectorbucket_server.translate_settings import TranslateSettings

API_KEY = new_api_key()

DOORMAN = f"""
[[credential]]
name = "doorman"
account_id = "{ACCOUNT_ID}"
api_keys = ["{hash_api_key(API_KEY)}"]
impersonate = true
"""
"""What a translator calls a server as."""

NEWCOMER = f"""
[[credential]]
name = "newcomer"
account_id = "{ACCOUNT_ID}"
access_key_id = "new-ak"
access_key_secret = "new-sk"
owner = true
"""


# --- Pieces ---------------------------------------------------------------------------------------


def test_translation_says_what_the_settings_say(tmp_path: Path) -> None:
    made = translation_of(
        Settings(
            region="cn-beijing",
            account_id="42",
            rest_base_domains=("a.test", "B.test"),
            rest_public_endpoint="public.test:80",
            rest={"body_bytes_max": "1000"},
            drain_grace_s=3,
            credentials=tmp_path / "c.toml",
            log_level="error",
        ),
        "127.0.0.1:5",
        "key",
    )
    assert (made.grpc_target, made.api_key) == ("127.0.0.1:5", "key")
    assert (made.door.region, made.door.account_id) == ("cn-beijing", "42")
    assert made.door.base_domains == ("a.test", "b.test")
    assert made.door.public_endpoint == "public.test:80"
    assert (made.options.body_bytes_max, made.options.drain_grace_s) == (1000, 3.0)
    assert made.credentials == str(tmp_path / "c.toml")
    assert (made.log_format, made.log_level) == ("json", "error")


def test_order_of_a_child_is_one_line_that_comes_back() -> None:
    order = ChildOrder(translation_of(TranslateSettings(), "[::1]:5", "a\nb"), 7)
    line = msgspec.json.encode(order)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=ChildOrder) == order


@pytest.mark.parametrize(("sent", "read"), [(b"a b\nrest", b"a b\n"), (b"half", b""), (b"", b"")])
def test_line_is_read_whole_and_no_further(sent: bytes, read: bytes) -> None:
    reader, writer = os.pipe()
    os.write(writer, sent)
    os.close(writer)
    assert _line(reader) == read
    assert os.read(reader, 100) == (sent.removeprefix(read) if read else b"")
    os.close(reader)


def test_request_ids_are_24_digits_and_all_different() -> None:
    made = {new_request_id() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[0-9A-F]{24}", one) for one in made)


@pytest.mark.parametrize("text", [None, "broken", "[[credential]]\nname = 'a'"])
def test_credentials_that_cannot_be_read_are_told_at_the_start(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "credentials.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartFailed, match=r"credentials\.toml") as caught:
        open_credentials(path, make_logger("json", "info", io.StringIO()))
    assert "\n" not in str(caught.value)


def test_change_that_cannot_be_read_is_told_and_nothing_changes(tmp_path: Path) -> None:
    log = io.StringIO()
    secret = secrets.token_hex(16)
    path = write_credentials(tmp_path, OWNER.replace("test-sk", secret))
    opened = open_credentials(path, make_logger("json", "info", log))
    write_credentials(tmp_path, f"{secret} [[")
    eventually(lambda: opened.current() and log.getvalue(), "the change was seen")
    (line,) = [json.loads(one) for one in log.getvalue().splitlines()]
    assert line["level"] == "error"
    assert line["event"] == "the credentials cannot be read; those of before stay in force"
    assert secret not in log.getvalue()
    assert opened.current().by_access_key_id("test-ak") is not None


# --- Alone in front of a server -------------------------------------------------------------------


@contextmanager
def translating(
    folder: Path, target: str, *flags: str, api_key: str = API_KEY, credentials: str = OWNER
) -> Iterator[LiveProcess]:
    """Run a translator alone, with a file of credentials of its own."""
    folder.mkdir(exist_ok=True)
    given = ["--grpc-target", target, "--rest-address", "127.0.0.1:0"]
    if credentials:
        given += ["--credentials", str(write_credentials(folder, credentials))]
    # The key comes by the environment, as an operator should give it.
    environment = {"VECTORBUCKET_API_KEY": api_key} if api_key else {}
    with command(folder, "translate", *given, *flags, environment=environment) as translator:
        yield translator


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProcess]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "--engine", "memory", credentials=OWNER + DOORMAN) as server:
        yield server


def buckets(client: Any) -> Any:
    return client.list_vector_buckets(models.ListVectorBucketsRequest())


def test_translator_alone_answers_signed_requests_and_names_the_caller(
    server: LiveProcess, tmp_path: Path
) -> None:
    with translating(tmp_path / "alone", server.grpc_address) as translator:
        assert re.fullmatch(
            r"vectorbucket-server ready rest=127\.0\.0\.1:[0-9]+\n", translator.ready
        )
        with sdk_client(translator.rest_address) as client:
            made = client.put_vector_bucket(models.PutVectorBucketRequest(bucket="by-the-owner"))
            (found,) = buckets(client).buckets
            assert found.name.endswith(":by-the-owner")
        (line,) = [one for one in server.lines("call") if one["request_id"] == made.request_id]
        assert (line["principal"], line["method"]) == ("owner", "PutVectorBucket")
        with sdk_client(translator.rest_address, "test-ak", "wrong") as stranger:
            error = refused(lambda: buckets(stranger), 403, "SignatureDoesNotMatch")
        # The server is told of that request, too.
        (line,) = [one for one in server.lines("call") if one["request_id"] == error.request_id]
        assert line["reason"] == "SignatureDoesNotMatch"
        assert translator.end() == 0


def test_wrong_api_key_is_told_as_the_translators_own(server: LiveProcess, tmp_path: Path) -> None:
    with (
        translating(tmp_path / "alone", server.grpc_address, api_key=new_api_key()) as translator,
        sdk_client(translator.rest_address) as client,
    ):
        error = refused(lambda: buckets(client), 503, "ServiceUnavailable")
        assert "does not accept the key of this translator" in error.message


def test_api_key_that_may_not_impersonate_is_refused_in_clear_words(tmp_path: Path) -> None:
    no_doorman = DOORMAN.replace("impersonate = true", "owner = true")
    with (
        serving(tmp_path, "--engine", "memory", credentials=OWNER + no_doorman) as server,
        translating(tmp_path / "alone", server.grpc_address) as translator,
        sdk_client(translator.rest_address) as client,
    ):
        error = refused(lambda: buckets(client), 503, "ServiceUnavailable")
        assert "its operator has to look at that key" in error.message


def test_translator_without_its_server_says_to_try_again(tmp_path: Path) -> None:
    with translating(tmp_path / "alone", "127.0.0.1:1") as translator:
        with sdk_client(translator.rest_address) as client:
            error = refused(lambda: buckets(client), 503, "ServiceUnavailable")
        assert int(error.headers["Retry-After"]) > 0


def test_translator_without_credentials_in_front_of_an_open_server_takes_everybody(
    tmp_path: Path,
) -> None:
    with (
        serving(tmp_path, "--engine", "memory", credentials="") as server,
        translating(
            tmp_path / "alone", server.grpc_address, api_key="", credentials=""
        ) as translator,
        sdk_client(translator.rest_address, "anybody", "anything") as client,
    ):
        assert buckets(client).buckets == []


def test_second_signal_cuts_the_requests_of_a_translator(tmp_path: Path) -> None:
    flags = ("--drain-grace-s", "600")
    with translating(
        tmp_path / "alone", "127.0.0.1:1", *flags, api_key="", credentials=""
    ) as translator:
        host = f"bucket-{ACCOUNT_ID}.cn-hangzhou.oss-vectors.aliyuncs.com"
        with RawConnection(translator.rest_address) as request:
            head = f"PUT / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9\r\n"
            request.send(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert request.read(head_only=True).status == 100
            ended = translator.popen.poll

            def signalled() -> bool:
                translator.popen.send_signal(signal.SIGTERM)
                return request.has_answer(0.2)

            eventually(signalled, "the request is cut")
            assert request.is_ended()
        eventually(lambda: ended() is not None, "the translator ends")
        assert translator.popen.returncode == 0


def test_address_in_use_ends_a_translator_with_one_line(
    server: LiveProcess, tmp_path: Path
) -> None:
    given = ["--grpc-target", server.grpc_address, "--rest-address", server.rest_address]
    with command(tmp_path, "translate", *given) as translator:
        assert translator.popen.wait(WITHIN_S) == 1
        assert translator.ready == ""
        assert translator.said() == (
            f"vectorbucket-server: cannot serve on {server.rest_address}: Address already in use\n"
        )


def test_broken_credentials_end_a_translator_with_one_line(tmp_path: Path) -> None:
    with translating(tmp_path / "alone", "127.0.0.1:1", credentials="broken") as translator:
        assert translator.popen.wait(WITHIN_S) == 1
        (line,) = translator.said().splitlines()
        assert line.startswith("vectorbucket-server: ")
        assert "credentials.toml" in line


def test_credentials_without_an_api_key_are_wrong_settings(tmp_path: Path) -> None:
    with translating(tmp_path / "alone", "127.0.0.1:1", api_key="") as translator:
        assert translator.popen.wait(WITHIN_S) == 2
        assert "api_key" in translator.said()


# --- Changes of the file --------------------------------------------------------------------------


def test_changed_credentials_are_picked_up_on_both_doors_and_broken_ones_are_not(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, "--engine", "memory") as server:
        with sdk_client(server.rest_address, "new-ak", "new-sk") as newcomer:
            refused(lambda: buckets(newcomer), 403, "InvalidAccessKeyId")
            write_credentials(tmp_path, OWNER + NEWCOMER)
            eventually(lambda: is_known(newcomer), "the translator has read the new file")
            write_credentials(tmp_path, "broken")
            told = "the credentials cannot be read; those of before stay in force"
            # The server and its translator each say so, once, when they are next asked.
            eventually(
                lambda: is_known(newcomer) and len(server.lines(told)) == 2, "both have said so"
            )
            write_credentials(tmp_path, OWNER)
            eventually(lambda: not is_known(newcomer), "the newcomer is unknown again")
        with sdk_client(server.rest_address) as owner:
            assert buckets(owner).buckets == []


def is_known(client: Any) -> bool:
    """Return whether a caller is let in; the translator may know him a moment before the server."""
    error = refusal(lambda: buckets(client))
    assert error is None or error.code in {"InvalidAccessKeyId", "ServiceUnavailable"}
    return error is None


def refusal(call: Callable[[], object]) -> Any:
    """Return with what the service refuses a call; None if it does not."""
    try:
        call()
    except OperationError as error:
        return error.unwrap()
    return None


def test_grpc_callers_follow_changes_of_the_file(tmp_path: Path) -> None:
    key = new_api_key()
    listing = bucket_service_pb2.ListVectorBucketsRequest()
    with serving(tmp_path, "--engine", "memory") as server, stubs_of(server.grpc_address) as stubs:
        caller = saying(stubs, bearer(key)).buckets

        def code() -> grpc.StatusCode:
            try:
                caller.ListVectorBuckets(listing)
            except grpc.RpcError as error:
                told: grpc.StatusCode = error.code()
                return told
            return grpc.StatusCode.OK

        assert code() is grpc.StatusCode.UNAUTHENTICATED
        write_credentials(tmp_path, f'{OWNER}api_keys = ["{hash_api_key(key)}"]\n')
        eventually(lambda: code() is grpc.StatusCode.OK, "the key is known")
        write_credentials(tmp_path, OWNER)
        eventually(lambda: code() is grpc.StatusCode.UNAUTHENTICATED, "the key is unknown again")
