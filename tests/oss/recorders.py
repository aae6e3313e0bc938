"""A translator before stubs that answer everything, and keep what they were asked.

Rules of this file: what is told to the server is looked at here, not what the server makes of it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from oss.dialect import DOOR, NOW_S, Answer, check_form, request_ids
from oss.signing import CREDENTIALS, TRANSLATOR_KEY
from vectorbucket.v1 import bucket_service_pb2, index_service_pb2, vector_service_pb2
from vectorbucket_server.auth.credentials import parse_credentials
from vectorbucket_server.rest.oss.messages import HttpRequest
from vectorbucket_server.rest.oss.translator import Stubs, Translator


class Recorder:
    """Stands where stubs stand: answers with empty messages, and keeps what it was asked."""

    def __init__(self, service: Any) -> None:
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        """What calls wait for before they are answered."""
        self._service = service

    def __getattr__(self, rpc: str) -> Any:
        async def call(request: Any, *, metadata: Any, timeout: float) -> Any:  # noqa: ASYNC109
            assert timeout == 60
            names = [name for name, _ in metadata]
            assert len(set(names)) == len(names)
            self.calls.append((rpc, request, dict(metadata)))
            if self.gate is not None:
                await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            output = self._service.methods_by_name[rpc].output_type
            return output._concrete_class()

        return call


def new_recorders() -> Stubs:
    """Return one for each service."""
    return Stubs(
        Recorder(bucket_service_pb2.DESCRIPTOR.services_by_name["BucketService"]),
        Recorder(index_service_pb2.DESCRIPTOR.services_by_name["IndexService"]),
        Recorder(vector_service_pb2.DESCRIPTOR.services_by_name["VectorService"]),
    )


def translator_on(stubs: Stubs, **named: Any) -> Translator:
    async def offload(work: Any) -> Any:
        return await asyncio.to_thread(work)

    said: dict[str, Any] = {
        "credentials": None,
        "api_key": "",
        "now_s": lambda: NOW_S,
        "new_request_id": request_ids(),
        "offload": offload,
        **named,
    }
    return Translator(stubs, said.pop("door", DOOR), **said)


def guarded(stubs: Stubs, **named: Any) -> Translator:
    known = parse_credentials(CREDENTIALS)
    return translator_on(stubs, credentials=lambda: known, api_key=TRANSLATOR_KEY, **named)


def answer_to(translator: Translator, request: HttpRequest) -> Answer:
    response = asyncio.run(translator.translate(request))
    check_form(response)
    return Answer(response)
