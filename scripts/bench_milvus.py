"""The workload of the engine on Milvus: our server before a Milvus, pymilvus used directly on it.

Queries of both go to the same collection at Bounded consistency. A put of both is answered when a
Strong read has seen it: of eight batches at a time, as many as the client has under way in a
stream, or of each. Beside them the same with the embedded engine, where no ratio is asked for.

Rules of this file: what is compared meets the same Milvus in turns; Milvus has its own default
settings, with which a Strong read waits about 200 ms; it is the one of the package ``milvus``,
started here, unless the command line names another; nothing is left in it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from bench_data import Dataset
from bench_milvus_direct import Direct
from bench_ours import ServerSubject
from bench_peer_base import PeerUnavailable, batches
from bench_report import Case, Ratio, Result, case_of
from bench_server import ROOT
from bench_session import BUCKET, INDEX_NAME, Session
from bench_subject import (
    BATCH_VECTORS,
    CALLERS,
    CONDITIONS,
    Asked,
    Condition,
    Finder,
    ask,
    case_name,
    in_turns,
)
from vectorbucket import Client, PutProgress

SHARE_AT_LEAST = 0.8
"""Of the throughput of pymilvus used directly."""

UNDER_WAY = 8
"""Batches that the client sends before it waits for an answer."""

_CONDITIONS = (None, CONDITIONS[1])
"""Without a filter, and with one that a fifteenth matches."""

_TURNS = 3
_OURS, _DIRECT = "server", "pymilvus"


def milvus(session: Session) -> Result:
    """Query and put through the server and through pymilvus, and the embedded engine beside."""
    with _running_milvus(session) as (uri, database, note):
        arguments = ("--engine", "milvus", "--milvus-uri", uri, "--milvus-database", database)
        with session.server(*arguments) as server:
            places = _Places(server.target, uri, database)
            with closing(ServerSubject(server, _OURS)) as ours:
                ours.store(session.dataset.keys, session.dataset.data, session.dataset.metadata)
                cases, ratios = _queries(session, places, ours)
            with Client(server.target) as client:
                client.delete_vector_index(BUCKET, INDEX_NAME)
            more_cases, more_ratios = _puts(session, places)
    return Result("milvus", (*cases, *more_cases), (*ratios, *more_ratios), notes=(note,))


@dataclass(frozen=True, slots=True)
class _Places:
    """Where our server is, and its Milvus."""

    target: str
    uri: str
    database: str

    def direct(self, index_name: str) -> closing[Direct]:
        """Return pymilvus on the collection of an index."""
        return closing(Direct(self.uri, self.database, index_name))


@contextmanager
def _running_milvus(session: Session) -> Iterator[tuple[str, str, str]]:
    """Yield where a Milvus is, an empty database in it, and what is to be known about it.

    Raises:
        PeerUnavailable: None is named, and there is no package with one.
    """
    # What starts it for the tests starts it here; it is not on the path of a program.
    sys.path.append(str(ROOT / "tests"))
    from milvus_server import (  # noqa: PLC0415 - only now is it on the path
        MilvusServer,
        temporary_database,
        why_missing,
    )

    named = session.settings.milvus
    if named is not None:
        with temporary_database(named) as database:
            yield named, database, "Milvus: one that was running, with settings of its own"
        return
    try:
        reason = why_missing()
    except RuntimeError as missing:
        reason = str(missing)
    if reason is not None:
        raise PeerUnavailable(f"the workload milvus needs --milvus URI: {reason}")
    with (
        session.folder() as folder,
        MilvusServer(folder, quick=False) as server,
        temporary_database(server.uri) as database,
    ):
        yield server.uri, database, "Milvus: standalone, of the package, default settings"


# --- Queries --------------------------------------------------------------------------------------


def _queries(
    session: Session, places: _Places, ours: ServerSubject
) -> tuple[list[Case], list[Ratio]]:
    """Query the index that our server has filled, with each condition and number of callers."""
    cases: list[Case] = []
    ratios: list[Ratio] = []
    with (
        places.direct(INDEX_NAME) as direct,
        closing(ServerSubject(session.loaded_server, "embedded engine")) as embedded,
    ):
        with session.working("milvus: building the graph"):
            direct.finish()
        finders: list[ServerSubject | Direct] = [ours, direct, embedded]
        for condition in _CONDITIONS:
            wanted = session.wanted(condition.fits if condition else None)
            for callers in CALLERS:
                name = case_name(session.dataset, condition, callers)
                with session.working(f"milvus: {name}"):
                    answers = in_turns(
                        [_asking(one, session, condition, callers) for one in finders],
                        seconds=session.settings.seconds,
                        turns=_TURNS,
                    )
                cases += [
                    asked.case(f"{one.name}, {name}", wanted)
                    for one, asked in zip(finders, answers, strict=True)
                ]
                share = _rate(answers[0]) / _rate(answers[1])
                ratios.append(
                    Ratio(
                        f"queries per second of {name} to pymilvus",
                        share,
                        at_least=SHARE_AT_LEAST,
                    )
                )
    return cases, ratios


def _asking(
    finder: Finder, session: Session, condition: Condition | None, callers: int
) -> Callable[[float, int], Asked]:
    """Return what takes one turn."""
    queries = session.dataset.queries

    def turn(seconds: float, first: int) -> Asked:
        return ask(finder, queries, condition, callers=callers, seconds=seconds, first=first)

    return turn


def _rate(asked: Asked) -> float:
    """Return answers per second."""
    return len(asked.latencies_s) / asked.seconds


# --- Puts -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Put:
    """One way to put everything, and what it took in each repeat."""

    name: str
    run: Callable[[int], list[float]]
    """Puts into a fresh index, of the repeat's number; returns for each batch when it was
    answered, in seconds from the start."""
    answered_s: list[list[float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median of what all took."""
        return median(answered[-1] for answered in self.answered_s)

    def case(self, count: int) -> Case:
        """Return this as a case; its latencies are the times from one answer to the next."""
        gaps = [
            after - before
            for answered in self.answered_s
            for before, after in zip([0.0, *answered], answered, strict=False)
        ]
        return case_of(self.name, "vectors", count=count, seconds=self.seconds, latencies_s=gaps)


def _puts(session: Session, places: _Places) -> tuple[list[Case], list[Ratio]]:
    """Put everything through a stream and call by call, in turns."""
    dataset = session.dataset
    pairs = [
        (
            "a stream",
            _Put(f"{_OURS}, stream", partial(_through, places, dataset, _stream)),
            _Put(
                f"{_DIRECT}, a probe after {UNDER_WAY} batches",
                partial(_directly, places, dataset, UNDER_WAY),
            ),
            _Put("embedded engine, stream", partial(_embedded, session, _stream)),
        ),
        (
            f"{BATCH_VECTORS} a call",
            _Put(f"{_OURS}, {BATCH_VECTORS} a call", partial(_through, places, dataset, _calls)),
            _Put(f"{_DIRECT}, a probe after each batch", partial(_directly, places, dataset, 1)),
            _Put(f"embedded engine, {BATCH_VECTORS} a call", partial(_embedded, session, _calls)),
        ),
    ]
    for repeat in range(session.settings.repeats):
        for what, *puts in pairs:
            # Whoever comes second meets what Milvus has still to do for the first.
            for put in puts if repeat % 2 else reversed(puts):
                with session.working(f"milvus: {what}, run {repeat + 1}, {put.name}"):
                    put.answered_s.append(put.run(repeat))
    count = len(dataset.keys)
    cases = [put.case(count) for _, *puts in pairs for put in puts]
    ratios = [
        Ratio(
            f"vectors per second of {what} to pymilvus",
            direct.seconds / ours.seconds,
            at_least=SHARE_AT_LEAST,
        )
        for what, ours, direct, _ in pairs
    ]
    return cases, ratios


Putter = Callable[[Client, str, Dataset], list[float]]


def _through(places: _Places, dataset: Dataset, put: Putter, repeat: int) -> list[float]:
    """Put through our server."""
    with (
        _fresh_index(places, dataset, f"ours{repeat}") as index_name,
        Client(places.target) as client,
    ):
        client.get_vector_index(BUCKET, index_name)  # connects, outside the measured time
        return put(client, index_name, dataset)


def _directly(places: _Places, dataset: Dataset, probe_every: int, repeat: int) -> list[float]:
    """Put through pymilvus."""
    with (
        _fresh_index(places, dataset, f"direct{repeat}") as index_name,
        places.direct(index_name) as direct,
    ):
        return direct.put(direct.batches_of(dataset), probe_every=probe_every)


def _embedded(session: Session, put: Putter, _repeat: int) -> list[float]:
    """Put into a server with the embedded engine."""
    with session.server() as server, Client(server.target) as client:
        client.get_vector_index(BUCKET, INDEX_NAME)
        return put(client, INDEX_NAME, session.dataset)


@contextmanager
def _fresh_index(places: _Places, dataset: Dataset, index_name: str) -> Iterator[str]:
    """Yield the name of an empty index that Milvus has loaded; delete it at the end."""
    with Client(places.target) as client:
        client.put_vector_index(
            BUCKET, index_name, dimension=dataset.dimension, distance_metric="cosine"
        )
        client.query_vectors(BUCKET, index_name, dataset.queries[0], top_k=1)
        try:
            yield index_name
        finally:
            client.delete_vector_index(BUCKET, index_name)


def _stream(client: Client, index_name: str, dataset: Dataset) -> list[float]:
    """Put everything through a stream."""
    answered_s: list[float] = []
    began = time.perf_counter()

    def note(progress: PutProgress) -> None:
        if not progress.finished:
            answered_s.append(time.perf_counter() - began)

    client.put_vectors(
        BUCKET,
        index_name,
        keys=dataset.keys,
        data=dataset.data,
        metadata=dataset.metadata,
        progress=note,
    )
    return answered_s


def _calls(client: Client, index_name: str, dataset: Dataset) -> list[float]:
    """Put everything by unary calls, one after the other."""
    answered_s: list[float] = []
    began = time.perf_counter()
    for rows in batches(len(dataset.keys), BATCH_VECTORS):
        client.put_vectors_batch(
            BUCKET,
            index_name,
            keys=dataset.keys[rows],
            data=dataset.data[rows],
            metadata=dataset.metadata[rows],
        )
        answered_s.append(time.perf_counter() - began)
    return answered_s
