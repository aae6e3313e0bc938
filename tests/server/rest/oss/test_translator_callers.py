"""The translator: who calls, before there is a body; and what becomes of who does not wait."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from oss.dialect import ACCOUNT_ID, BUCKET, BUCKET_HOST, NOW_S, REGION
from oss.recorders import answer_to, guarded, translator_on
from oss.signing import VECTOR_A
from vectorbucket.v1 import vector_service_pb2
from vectorbucket_server.auth.entries import FAULT, PRINCIPAL, decode_fault
from vectorbucket_server.rest.oss.messages import HttpRequest, Identified
from vectorbucket_server.rest.oss.translator import LISTINGS_AT_ONCE, OFFLOAD_BYTES, Door, Stubs

# --- Who calls, before there is a body ----------------------------------------------------------


def test_whoever_signed_is_known_by_the_head_alone(recorders: Stubs) -> None:
    head = dataclasses.replace(VECTOR_A, body=b"")
    assert guarded(recorders).identify(head) == Identified("owner")
    assert translator_on(recorders).identify(head) == Identified()
    stranger = dataclasses.replace(head, headers=(("host", BUCKET_HOST),))
    identified = guarded(recorders).identify(stranger)
    assert (identified.principal, identified.is_known) == (None, False)
    assert identified.refusal is not None
    assert identified.refusal.code == "AccessDenied"
    assert translator_on(recorders).identify(stranger).is_known
    assert not any(recorder.calls for recorder in recorders)


def test_whoever_was_identified_is_not_asked_again(recorders: Stubs) -> None:
    """Method: a signature is good when the head comes, and too old when the body is there."""
    now_s = [float(NOW_S)]
    translator = guarded(recorders, now_s=lambda: now_s[0])
    identified = translator.identify(dataclasses.replace(VECTOR_A, body=b""))
    now_s[0] += 3600
    response = asyncio.run(translator.translate(VECTOR_A, identified))
    assert response.status == 200
    ((_, message, entries),) = recorders.vectors.calls
    assert (len(message.vectors), entries[PRINCIPAL], FAULT in entries) == (1, "owner", False)
    assert not translator.identify(VECTOR_A).is_known


def test_of_a_stranger_who_was_identified_no_body_is_needed_and_none_is_read(
    recorders: Stubs,
) -> None:
    translator = guarded(recorders)
    bare = HttpRequest("POST", "/?putVectors", (("host", BUCKET_HOST),))
    identified = translator.identify(bare)
    for body in (b"", VECTOR_A.body, b"no json"):
        asyncio.run(translator.translate(dataclasses.replace(bare, body=body), identified))
        _, message, entries = recorders.vectors.calls[-1]
        assert message == vector_service_pb2.PutVectorsBatchRequest(bucket=BUCKET)
        assert decode_fault(entries[FAULT]).code == "AccessDenied"


@pytest.mark.parametrize(
    ("host", "origin", "known"),
    [
        ("localhost:9000", "http://localhost:9000", True),
        ("localhost:9000", "http://evil.example", False),
        ("evil.example", "http://evil.example", False),
        ("node-7.example", "http://node-7.example", True),
        ("vectors.example", "http://vectors.example", True),
    ],
)
def test_an_open_door_knows_no_page_of_another_host(
    recorders: Stubs, host: str, origin: str, *, known: bool
) -> None:
    door = Door(
        region=REGION,
        account_id=ACCOUNT_ID,
        base_domains=("Node-7.Example",),
        public_endpoint="Vectors.example:443",
    )
    headers = (("host", host), ("origin", origin), ("content-type", "text/plain"))
    request = HttpRequest("POST", "/photos/?deleteVectors", headers, b'{"indexName":"i","keys":[]}')
    translator = translator_on(recorders, door=door)
    assert translator.identify(request).is_known == known
    answer_to(translator, request)
    ((_, message, entries),) = recorders.vectors.calls
    assert (message.index_name, FAULT in entries) == (("i", False) if known else ("", True))
    if not known:
        assert decode_fault(entries[FAULT]).code == "AccessDenied"
    assert guarded(recorders).identify(VECTOR_A).is_known
    with_page = dataclasses.replace(VECTOR_A, headers=(*VECTOR_A.headers, ("origin", origin)))
    assert guarded(recorders).identify(with_page).is_known


# --- Work that takes a while --------------------------------------------------------------------


class Slowly:
    """Runs work when it is told to, like threads that are busy."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.done = 0
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []

    def __call__(self, work: Any) -> asyncio.Future[Any]:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, ended))
        self.asked.set()
        return ended

    def run(self) -> None:
        for work, ended in self._waiting:
            result = work()
            self.done += result is not None
            if not ended.done():
                ended.set_result(result)


def test_whoever_is_cancelled_stays_until_the_work_on_its_body_has_ended(recorders: Stubs) -> None:
    async def scenario() -> None:
        slowly = Slowly()
        translator = translator_on(recorders, offload=slowly)
        body = b'{"indexName":"i","padding":"' + b"x" * OFFLOAD_BYTES + b'"}'
        request = HttpRequest("POST", "/?getVectors", (("host", BUCKET_HOST),), body)
        task = asyncio.create_task(translator.translate(request))
        await slowly.asked.wait()
        for _ in range(3):
            task.cancel()
            finished, _ = await asyncio.wait([task], timeout=0.01)
            assert not finished
        slowly.run()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert slowly.done == 0, "work was done for nobody"

    asyncio.run(scenario())
    assert not recorders.vectors.calls


# --- How many at once -------------------------------------------------------------------------


def test_listings_wait_for_each_other_and_queries_for_nobody(recorders: Stubs) -> None:
    """A page can be a hundred megabytes while it is made, and clients can ask for many."""

    def post(flag: str, body: bytes) -> HttpRequest:
        return HttpRequest("POST", f"/?{flag}", (("host", "photos-1.localhost"),), body)

    async def ask() -> list[int]:
        gate = recorders.vectors.gate = asyncio.Event()
        translator = translator_on(recorders)
        listing, query = post("listVectors", b'{"indexName":"i"}'), post("queryVectors", b"{}")
        asked = [listing] * (LISTINGS_AT_ONCE + 3) + [query] * 2
        running = [asyncio.ensure_future(translator.translate(one)) for one in asked]
        for _ in range(200):
            await asyncio.sleep(0)  # turns enough for all that can begin
        assert [rpc for rpc, _, _ in recorders.vectors.calls].count("ListVectors") == (
            LISTINGS_AT_ONCE
        )
        gate.set()
        return [(await one).status for one in running]

    assert asyncio.run(ask()) == [200] * (LISTINGS_AT_ONCE + 5)
