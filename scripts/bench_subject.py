"""What is measured beside each other: our engine, our server and the peers, behind one protocol.

A subject holds vectors and finds them. ``measure_subject`` asks every subject for the same things
in the same way, so that the figures of two can be divided by each other.

Rules of this file: the protocol asks for nothing that a peer cannot do; what a subject needs that
is not installed is its own module's to import; a subject's figures come from ``measure_subject``
alone.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from bench_data import Dataset, Float32Array, recall_at_k
from bench_report import Case, Result, case_of
from bench_session import TOP_K, Session

Operator: TypeAlias = Literal["eq", "in_list", "range"]

BATCH_VECTORS = 500
"""Vectors in a batch, where a subject has no better size of its own."""

MEMORY = "memory"
"""The case that says how much memory a subject takes."""

_WARM_UP_QUERIES = 5
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter asks of a vector's metadata: one field, one of three questions."""

    field: str
    operator: Operator
    """``eq``: the field is this text. ``in_list``: the field is a list that holds this text.
    ``range``: the field is a number, at least ``low`` and less than ``high``."""
    value: str = ""
    low: float = 0.0
    high: float = 0.0

    def fits(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether a vector with this metadata matches; one without the field does not."""
        found = metadata.get(self.field)
        if self.operator == "range":
            return isinstance(found, int | float) and self.low <= found < self.high
        if self.operator == "in_list":
            return isinstance(found, list) and self.value in found
        return bool(found == self.value)

    def as_filter(self) -> dict[str, Any]:
        """Return the same in the filter language of the contract."""
        if self.operator == "range":
            return {self.field: {"$gte": self.low, "$lt": self.high}}
        return {self.field: {"$eq": self.value}}

    def __str__(self) -> str:
        if self.operator == "range":
            return f"{self.low:g} <= {self.field} < {self.high:g}"
        return f"{self.field} {'has' if self.operator == 'in_list' else '='} {self.value}"


class Finder(Protocol):
    """Something that finds vectors under cosine."""

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        """Return the keys of the nearest vectors that match, nearest first.

        Called by up to eight threads at once; what each needs of its own (a connection) it makes on
        its first call.

        Args:
            vector: float32, shape (dimension,).
            top_k: How many at most.
            condition: Which vectors take part; None: all.
        """


class Subject(Finder, Protocol):
    """Something that holds vectors under cosine and finds them."""

    name: str
    """What its figures are called."""
    in_process: bool
    """Whether it works in this process, so that our engine without the RPC is its match."""

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        """Store all of these, in batches that suit it; durable, as far as it does that.

        Called once, by one thread, with everything; the whole call is measured.

        Args:
            keys: A unique text a vector.
            data: float32, shape (n, dimension), C-contiguous.
            metadata: One mapping a vector: texts, numbers, and lists of texts by field. Not every
                vector has every field. Fields that the conditions below ask about must be
                filterable; where a subject needs a field's index, it makes it here or in
                ``finish``.
        """

    def finish(self) -> None:
        """Return when everything stored is indexed and ready to be found."""

    def memory_bytes(self) -> int | None:
        """Return the anonymous memory that it takes, all its processes together; None: unknown.

        In process: what the process has more than when the subject was made.
        """

    def close(self) -> None:
        """End what it started and remove what it stored."""


CONDITIONS: tuple[Condition, ...] = (
    Condition("arch", "eq", "all"),
    Condition("section", "eq", "python"),
    Condition("section", "eq", "electronics"),
)
"""About 0.49, 0.07 and 0.003 of the sample and of the mixture match."""

CALLERS = (1, 8)
"""Callers of queries without a filter."""

FILTERED_CALLERS = (1, 4)
"""Callers of queries with one."""


def measure_subject(session: Session, subject: Subject) -> Result:
    """Load a subject with the session's data, query it, and return what it took.

    The cases of two subjects in one session have the same names in the same order; only memory is
    missing where it is unknown.
    """
    dataset = session.dataset
    with session.working(f"{subject.name}: storing"):
        began = time.perf_counter()
        subject.store(dataset.keys, dataset.data, dataset.metadata)
        stored_s = time.perf_counter() - began
    with session.working(f"{subject.name}: indexing"):
        subject.finish()
        indexed_s = time.perf_counter() - began
    count = len(dataset.keys)
    memory = subject.memory_bytes()
    cases = [
        Case("all stored", "vectors", count, stored_s),
        Case("all indexed", "vectors", count, indexed_s),
    ]
    for condition, numbers in ((None, CALLERS), *((one, FILTERED_CALLERS) for one in CONDITIONS)):
        for callers in numbers:
            name = case_name(dataset, condition, callers)
            wanted = session.wanted(condition.fits if condition else None)
            with session.working(f"{subject.name}: {name}"):
                asked = ask(
                    subject,
                    dataset.queries,
                    condition,
                    callers=callers,
                    seconds=session.settings.seconds,
                )
            cases.append(asked.case(name, wanted))
    if memory is not None:
        cases.append(Case(MEMORY, "MB", round(memory / _MEGABYTE)))
    return Result(subject.name, cases)


def case_name(dataset: Dataset, condition: Condition | None, callers: int) -> str:
    """Return how a case of queries is called: condition, share that matches, callers."""
    who = "1 caller" if callers == 1 else f"{callers} callers"
    if condition is None:
        return who
    share = np.mean([condition.fits(metadata) for metadata in dataset.metadata])
    return f"{condition} ({share:.2%}), {who}"


# --- Asking ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Asked:
    """What callers got."""

    latencies_s: list[float] = field(default_factory=list)
    found: dict[int, list[str]] = field(default_factory=dict)
    """Keys by position of the query, nearest first."""
    seconds: float = 0.0

    def add(self, other: Asked) -> None:
        """Take in what was got after this."""
        self.latencies_s += other.latencies_s
        self.found |= other.found
        self.seconds += other.seconds

    def p50_ms(self) -> float:
        """Return the median of the latencies."""
        return float(np.median(self.latencies_s)) * 1_000

    def p99_ms(self) -> float:
        """Return the 99th percentile of the latencies."""
        return float(np.percentile(self.latencies_s, 99)) * 1_000

    def short(self, wanted: Sequence[Sequence[str]]) -> int:
        """Return how many of the answers have fewer keys than exist."""
        return sum(len(keys) < len(wanted[place]) for place, keys in self.found.items())

    def timing(self, name: str) -> Case:
        """Return this as a case without recall."""
        return case_of(
            name,
            "queries",
            count=len(self.latencies_s),
            seconds=self.seconds,
            latencies_s=self.latencies_s,
        )

    def case(
        self, name: str, wanted: Sequence[Sequence[str]], *, ratio: float | None = None
    ) -> Case:
        """Return this as a case, with the recall of the queries that were asked.

        Args:
            name: What the case is called.
            wanted: For each query the keys of its true neighbours.
            ratio: See Case.
        """
        return replace(self.timing(name), recall_at_10=self.recall(wanted), ratio=ratio)

    def recall(self, wanted: Sequence[Sequence[str]]) -> float:
        """Return the recall of the queries that were asked."""
        places = list(self.found)
        return recall_at_k([self.found[one] for one in places], [wanted[one] for one in places])


def ask(
    subject: Finder,
    queries: Float32Array,
    condition: Condition | None = None,
    *,
    callers: int = 1,
    seconds: float = math.inf,
    count: int | None = None,
    first: int = 0,
) -> Asked:
    """Let callers query a subject beside each other, one query after the other each.

    Args:
        subject: Whom to ask.
        queries: float32, shape (q, dimension); they are asked in turn, again and again.
        condition: Which vectors take part; None: all.
        callers: Threads that ask.
        seconds: How long; every caller asks once at least.
        count: How often, each caller; None: as often as the time allows.
        first: Where to begin in the queries.
    """
    with ThreadPoolExecutor(callers) as pool:
        ready = threading.Barrier(callers + 1)
        calls = [
            pool.submit(
                _ask,
                subject,
                queries,
                condition,
                numbers=itertools.islice(itertools.count(first + caller, callers), count),
                seconds=seconds,
                ready=ready,
            )
            for caller in range(callers)
        ]
        ready.wait()
        began = time.perf_counter()
        answers = [call.result() for call in calls]
        whole = Asked(seconds=time.perf_counter() - began)
    for answer in answers:
        whole.add(answer)
    return whole


def _ask(
    subject: Finder,
    queries: Float32Array,
    condition: Condition | None,
    *,
    numbers: Iterator[int],
    seconds: float,
    ready: threading.Barrier,
) -> Asked:
    """Query one after the other; what a thread's first calls make is made before the others ask."""
    answers = Asked()
    try:
        for position in range(min(_WARM_UP_QUERIES, len(queries))):
            subject.query(queries[position], TOP_K, condition)
    except BaseException:
        ready.abort()
        raise
    ready.wait()
    until = time.perf_counter() + seconds
    for number in numbers:
        position = number % len(queries)
        began = time.perf_counter()
        keys = subject.query(queries[position], TOP_K, condition)
        ended = time.perf_counter()
        answers.latencies_s.append(ended - began)
        answers.found[position] = keys
        if ended >= until:
            break
    return answers


def in_turns(
    asks: Sequence[Callable[[float, int], Asked]], *, seconds: float, turns: int
) -> list[Asked]:
    """Run what is to be compared in turns, so that all meet the same noise.

    Args:
        asks: Each takes for how many seconds to ask and where in the queries to begin.
        seconds: How long each asks, all its turns together.
        turns: How many turns each gets.

    Returns:
        What each got, over all turns.
    """
    got = [Asked() for _ in asks]
    for _ in range(turns):
        for whole, one in zip(got, asks, strict=True):
            whole.add(one(seconds / turns, len(whole.latencies_s)))
    return got
