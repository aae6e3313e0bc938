"""Workloads by REST, each beside the same calls by gRPC.

Rules of this file: callers are processes with requests that are ready to be sent, alike for both;
both are asked of the same server, which is the real command with a REST address. What is between a
caller and its answer is the server's alone.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Literal, TypeAlias

from bench_report import Case, Ratio, Result, case_of
from bench_rest_requests import (
    ACCOUNT_ID,
    PUT_METHOD,
    QUERY_METHOD,
    Keys,
    keys_of_body,
    keys_of_message,
    put_messages,
    put_requests,
    query_messages,
    query_requests,
)
from bench_server import ROOT, SOURCES, ServerProcess, start_server, wait_until_quiet
from bench_session import Session, make_index
from bench_subject import BATCH_VECTORS, CALLERS, Asked, case_name, in_turns
from vectorbucket import Client
from vectorbucket_server.auth.new_credential import new_credential

Kind: TypeAlias = Literal["http", "grpc"]

REST = ("--rest-address", "127.0.0.1:0")

QUERIES_AT_LEAST = 0.5
"""What a query by REST is to reach of the throughput of one by gRPC."""

_WARM_UP_CALLS = 20
_TURNS = 5


@dataclass(frozen=True, slots=True)
class Calls:
    """What callers call."""

    kind: Kind
    target: str
    method: str
    requests: Sequence[bytes]
    api_key: str = ""


class Callers:
    """Processes that call."""

    def __init__(self, calls: Calls, count: int, *, warm_up: int = 0) -> None:
        """Start them, and wait until they are ready.

        Args:
            calls: What they call.
            count: How many.
            warm_up: How often each calls before it is ready.

        Raises:
            RuntimeError: One of them does not get ready; it has told why on standard error.
        """
        self._children = [_start(calls) for _ in range(count)]
        sizes = json.dumps({"sizes": [len(one) for one in calls.requests], "warm_up": warm_up})
        for child in self._children:
            with suppress(BrokenPipeError):  # it has ended, as will be heard
                _say(child, sizes.encode() + b"\n", *calls.requests)
        if [_hear(child) for child in self._children] != [b"ready\n"] * count:
            self.stop()
            raise RuntimeError(f"the callers of {calls.target} do not get ready")

    def ask(
        self, seconds: float, first: int, count: int | None, keys_of: Callable[[bytes], list[str]]
    ) -> Asked:
        """Let all of them call, beside each other.

        Args:
            seconds: How long.
            first: Where in the requests to begin.
            count: How often, each; None: as often as the time allows.
            keys_of: Returns what was found, of an answer.
        """
        for position, child in enumerate(self._children):
            order = {"first": first + position, "step": len(self._children)}
            _say(child, json.dumps({**order, "seconds": seconds, "count": count}).encode() + b"\n")
        whole = Asked()
        for child in self._children:
            told = json.loads(_hear(child))
            found = {
                int(place): keys_of(base64.b64decode(answer))
                for place, answer in told["answers"].items()
            }
            whole.add(Asked(told["latencies_s"], found))
            whole.seconds = max(whole.seconds, told["seconds"])
        return whole

    def stop(self) -> None:
        """End them."""
        for child in self._children:
            child.communicate()


@contextmanager
def callers_of(calls: Calls, count: int, *, warm_up: int = 0) -> Iterator[Callers]:
    """Yield processes that call, and end them afterwards."""
    callers = Callers(calls, count, warm_up=warm_up)
    try:
        yield callers
    finally:
        callers.stop()


def _start(calls: Calls) -> subprocess.Popen[bytes]:
    """Return a process that waits for its requests."""
    program = str(ROOT / "scripts" / "bench_rest_caller.py")
    command = [sys.executable, program, calls.kind, calls.target, calls.method, calls.api_key]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=SOURCES)


def _say(child: subprocess.Popen[bytes], *parts: bytes) -> None:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    for part in parts:
        child.stdin.write(part)
    child.stdin.flush()


def _hear(child: subprocess.Popen[bytes]) -> bytes:
    assert child.stdout is not None  # noqa: S101 - it is a pipe
    return child.stdout.readline()


# --- Queries ------------------------------------------------------------------------------------


def rest_query(session: Session) -> Result:
    """One query a call, by REST and by gRPC: of an open server, and of one that asks who calls."""
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with session.folder() as data_dir:
        with start_server(data_dir, *REST) as server:
            make_index(server.target, session.dataset.dimension)
            with Client(server.target) as client:
                session.put_and_index(client, "rest_query: loading the server")
            _measure(session, server, cases, ratios)
        owner = new_credential("bench", ACCOUNT_ID, owner=True)
        credentials = data_dir.parent / "credentials.toml"
        credentials.write_text(owner.toml, encoding="utf-8")
        with start_server(data_dir, *REST, "--credentials", str(credentials)) as server:
            keys = Keys(owner.access_key_id, owner.access_key_secret)
            _measure(session, server, cases, ratios, keys=keys, api_key=owner.api_key)
    return Result("rest_query", cases, ratios)


def _measure(
    session: Session,
    server: ServerProcess,
    cases: list[Case],
    ratios: list[Ratio],
    *,
    keys: Keys | None = None,
    api_key: str = "",
) -> None:
    """Query a server both ways, in turns, and add what was found."""
    dataset, wanted = session.dataset, session.wanted()
    http = Calls("http", server.rest_target, "", query_requests(dataset.queries, keys))
    grpc = Calls("grpc", server.target, QUERY_METHOD, query_messages(dataset.queries), api_key)
    wait_until_quiet(server.pid, children=1)
    for callers in CALLERS:
        name = f"{'signed' if keys else 'unsigned'}, {case_name(dataset, None, callers)}"
        with ExitStack() as stack, session.working(f"rest_query: {name}"):
            groups = [
                (stack.enter_context(callers_of(one, callers, warm_up=_WARM_UP_CALLS)), keys_of)
                for one, keys_of in ((http, keys_of_body), (grpc, keys_of_message))
            ]
            by_rest, by_grpc = in_turns(
                [partial(_ask, group, keys_of) for group, keys_of in groups],
                seconds=session.settings.seconds,
                turns=_TURNS,
            )
        cases += [by_rest.case(name, wanted), by_grpc.case(f"gRPC, {name}", wanted)]
        ratios.append(
            Ratio(
                f"queries per second, {name}, to gRPC",
                _rate(by_rest) / _rate(by_grpc),
                at_least=QUERIES_AT_LEAST,
            )
        )


def _ask(
    callers: Callers, keys_of: Callable[[bytes], list[str]], seconds: float, first: int
) -> Asked:
    """Take one turn."""
    return callers.ask(seconds, first, None, keys_of)


def _rate(asked: Asked) -> float:
    """Return answers per second."""
    return len(asked.latencies_s) / asked.seconds


# --- Puts ---------------------------------------------------------------------------------------


def rest_put(session: Session) -> Result:
    """Put all vectors, 500 a call, one call after the other, by REST and by gRPC."""
    dataset = session.dataset
    requests = {
        "http": put_requests(dataset, BATCH_VECTORS),
        "grpc": put_messages(dataset, BATCH_VECTORS),
    }
    asked: dict[str, list[Asked]] = {"http": [], "grpc": []}
    for number in range(session.settings.repeats):
        for kind in ("http", "grpc") if number % 2 else ("grpc", "http"):
            with (
                session.server(*REST) as server,
                session.working(f"rest_put: {kind}, run {number + 1}"),
            ):
                target = server.rest_target if kind == "http" else server.target
                calls = Calls(kind, target, PUT_METHOD, requests[kind])
                with callers_of(calls, 1) as callers:
                    asked[kind].append(callers.ask(0.0, 0, len(requests[kind]), lambda _: []))
    seconds = {kind: median(one.seconds for one in runs) for kind, runs in asked.items()}
    size = f"{BATCH_VECTORS} vectors a call"
    names = {"http": size, "grpc": f"gRPC, {size}"}
    cases = [
        case_of(
            names[kind],
            "vectors",
            count=len(dataset.keys),
            seconds=seconds[kind],
            latencies_s=[one for run in runs for one in run.latencies_s],
        )
        for kind, runs in asked.items()
    ]
    megabytes = sum(map(len, requests["http"])) / 1_000_000
    cases.append(Case("JSON of that", "MB", round(megabytes), seconds["http"]))
    ratio = Ratio("vectors per second to gRPC", seconds["grpc"] / seconds["http"])
    return Result("rest_put", cases, [ratio])
