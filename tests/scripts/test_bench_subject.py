"""Tests of bench_subject.py: subjects are asked for the same things, and all of it is counted."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from bench_data import Float32Array, draw_dataset, exact_neighbours
from bench_session import Session, Settings
from bench_subject import (
    CONDITIONS,
    MEMORY,
    Asked,
    Condition,
    Subject,
    ask,
    case_name,
    in_turns,
    measure_subject,
)

SETTINGS = Settings(vectors=400, dimension=8, seed=1, data=None, repeats=1, seconds=0.05)


class ExactSubject:
    """Searches everything, always."""

    name = "exact"
    in_process = True

    def __init__(self, memory: int | None = None) -> None:
        self.memory = memory
        self.finished = False
        self.threads: set[int] = set()

    def store(
        self, keys: Sequence[str], data: Float32Array, metadata: Sequence[Mapping[str, Any]]
    ) -> None:
        self.keys, self.data, self.metadata = keys, data, metadata

    def finish(self) -> None:
        self.finished = True

    def query(self, vector: Float32Array, top_k: int, condition: Condition | None) -> list[str]:
        self.threads.add(threading.get_ident())
        fitting = [
            place
            for place, one in enumerate(self.metadata)
            if condition is None or condition.fits(one)
        ]
        k = min(top_k, len(fitting))
        if not k:
            return []
        found, _ = exact_neighbours(vector[None, :], self.data[fitting], k, "cosine")
        return [self.keys[fitting[place]] for place in found[0].tolist()]

    def memory_bytes(self) -> int | None:
        return self.memory

    def close(self) -> None:
        pass


class FailingSubject(ExactSubject):
    """Finds nothing but an error."""

    def query(
        self,
        vector: Float32Array,  # noqa: ARG002 - the protocol's
        top_k: int,  # noqa: ARG002 - the protocol's
        condition: Condition | None,  # noqa: ARG002 - the protocol's
    ) -> list[str]:
        raise ConnectionError("gone")


def session_of() -> Session:
    """Return a session that shows nothing."""
    return Session(SETTINGS, Console(file=io.StringIO()))


def loaded(subject: ExactSubject) -> ExactSubject:
    """Return a subject that holds a data set."""
    dataset = draw_dataset(100, 8, seed=1, queries=7)
    subject.store(dataset.keys, dataset.data, dataset.metadata)
    return subject


QUERIES = draw_dataset(100, 8, seed=1, queries=7).queries


@pytest.mark.parametrize(
    ("condition", "metadata", "fits"),
    [
        (Condition("a", "eq", "x"), {"a": "x"}, True),
        (Condition("a", "eq", "x"), {"a": "y"}, False),
        (Condition("a", "eq", "x"), {}, False),
        (Condition("a", "in_list", "x"), {"a": ["y", "x"]}, True),
        (Condition("a", "in_list", "x"), {"a": []}, False),
        (Condition("a", "in_list", "x"), {"a": "x"}, False),
        (Condition("a", "range", low=1, high=2), {"a": 1.0}, True),
        (Condition("a", "range", low=1, high=2), {"a": 2.0}, False),
        (Condition("a", "range", low=1, high=2), {"a": "1"}, False),
        (Condition("a", "range", low=1, high=2), {}, False),
    ],
)
def test_condition_fits_what_it_says(
    condition: Condition, metadata: dict[str, Any], *, fits: bool
) -> None:
    assert condition.fits(metadata) is fits


def test_condition_is_a_filter_of_the_contract_and_has_words() -> None:
    text = Condition("a", "eq", "x")
    assert (text.as_filter(), str(text)) == ({"a": {"$eq": "x"}}, "a = x")
    tag = Condition("a", "in_list", "x")
    assert (tag.as_filter(), str(tag)) == ({"a": {"$eq": "x"}}, "a has x")
    number = Condition("a", "range", low=1.0, high=2.5)
    assert number.as_filter() == {"a": {"$gte": 1.0, "$lt": 2.5}}
    assert str(number) == "1 <= a < 2.5"


def test_exact_subject_is_measured_with_a_recall_of_one() -> None:
    subject: Subject = ExactSubject(memory=2_500_000)
    with session_of() as session:
        result = measure_subject(session, subject)
    names = [case.name for case in result.cases]
    assert result.workload == "exact"
    assert names[:4] == ["all stored", "all indexed", "1 caller", "8 callers"]
    assert len(names) == 4 + 2 * len(CONDITIONS) + 1
    assert (names[-1], result.cases[-1].count, result.cases[-1].unit) == (MEMORY, 2, "MB")
    assert all(case.recall_at_10 == 1.0 for case in result.cases[2:-1])
    assert result.cases[0].seconds is not None
    assert result.cases[1].seconds is not None
    assert result.cases[0].seconds <= result.cases[1].seconds


def test_memory_that_is_unknown_has_no_case() -> None:
    subject = ExactSubject()
    with session_of() as session:
        result = measure_subject(session, subject)
    assert subject.finished
    assert MEMORY not in [case.name for case in result.cases]


def test_case_of_a_condition_names_its_share() -> None:
    dataset = draw_dataset(100, 8, seed=1, queries=1)
    assert case_name(dataset, None, 1) == "1 caller"
    assert (
        case_name(dataset, Condition("arch", "eq", "none"), 4) == "arch = none (0.00%), 4 callers"
    )


def test_every_caller_asks_as_often_as_it_is_told() -> None:
    subject = loaded(ExactSubject())
    asked = ask(subject, QUERIES, callers=3, count=5)
    assert len(asked.latencies_s) == 15
    assert set(asked.found) == set(range(7))
    assert len(subject.threads) == 3
    assert asked.seconds > 0


def test_caller_asks_once_however_little_time_there_is() -> None:
    asked = ask(loaded(ExactSubject()), QUERIES, seconds=0.0, first=3)
    assert list(asked.found) == [3]


def test_error_of_a_subject_ends_the_asking() -> None:
    with pytest.raises((ConnectionError, threading.BrokenBarrierError)):
        ask(loaded(FailingSubject()), QUERIES, callers=2, count=1)


def test_answers_of_turns_are_put_together() -> None:
    begun: list[tuple[str, float, int]] = []

    def asking(name: str, answers: int) -> Any:
        def take(seconds: float, first: int) -> Asked:
            begun.append((name, seconds, first))
            return Asked([0.1] * answers, {first: [name]}, 1.0)

        return take

    one, two = in_turns([asking("a", 2), asking("b", 3)], seconds=6.0, turns=2)
    assert begun == [("a", 3.0, 0), ("b", 3.0, 0), ("a", 3.0, 2), ("b", 3.0, 3)]
    assert (one.seconds, len(one.latencies_s), one.found) == (2.0, 4, {0: ["a"], 2: ["a"]})
    assert len(two.latencies_s) == 6


def test_what_was_got_has_percentiles_recall_and_short_answers() -> None:
    asked = Asked([0.001] * 98 + [0.1] * 2, {0: ["a", "b"], 3: ["c"]}, seconds=2.0)
    wanted = [["a", "b"], [], [], ["c", "d"]]
    assert asked.p50_ms() == pytest.approx(1.0)
    assert asked.p99_ms() == pytest.approx(100.0)
    assert asked.short(wanted) == 1
    case = asked.case("x", wanted, ratio=2.0)
    assert (case.count, case.seconds, case.recall_at_10, case.ratio) == (100, 2.0, 0.75, 2.0)
    assert asked.timing("x").recall_at_10 is None
    assert np.isclose(asked.recall(wanted), 0.75)
