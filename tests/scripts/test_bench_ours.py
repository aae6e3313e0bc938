"""Tests of bench_ours.py: engine and server find what they were given, each in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from bench_data import draw_dataset, exact_neighbours
from bench_filters import SPREADS, conditions, filter_data
from bench_ours import EngineSubject, ServerSubject, expression_of, memory_in_use
from bench_server import start_server
from bench_session import make_index
from bench_subject import Condition, Subject
from vectorbucket.limits import Limits
from vectorbucket_server.filters.parser import parse

DATA = filter_data(draw_dataset(1_200, 8, seed=1, queries=10), seed=1).dataset


@pytest.fixture(name="subject", params=["engine", "server"], scope="module")
def fixture_subject(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Subject]:
    """Yield each of ours, loaded."""
    if request.param == "engine":
        with closing(EngineSubject(8)) as engine:
            load(engine)
            yield engine
        return
    with start_server(tmp_path_factory.mktemp("server") / "data") as process:
        make_index(process.target, 8)
        with closing(ServerSubject(process)) as server:
            load(server)
            yield server


def load(subject: Subject) -> None:
    """Store the data in a subject."""
    subject.store(DATA.keys, DATA.data, DATA.metadata)
    subject.finish()


def test_subject_finds_what_is_nearest(subject: Subject) -> None:
    wanted, _ = exact_neighbours(DATA.queries, DATA.data, 5, "cosine")
    for row, places in zip(DATA.queries, wanted.tolist(), strict=True):
        assert subject.query(row, 5, None) == [DATA.keys[place] for place in places]


@pytest.mark.parametrize("kind", ["text", "list", "range"])
def test_subject_finds_only_what_fits(subject: Subject, kind: str) -> None:
    for spread in SPREADS:
        for level in ("1", "0.01", "one"):
            condition = conditions(level, spread, len(DATA.keys))[kind]
            fitting = [place for place, one in enumerate(DATA.metadata) if condition.fits(one)]
            k = min(10, len(fitting))
            wanted, _ = exact_neighbours(DATA.queries[:1], DATA.data[fitting], k, "cosine")
            found = subject.query(DATA.queries[0], 10, condition)
            assert found == [DATA.keys[fitting[place]] for place in wanted[0].tolist()]


def test_subject_is_asked_by_many_at_once(subject: Subject) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda row: subject.query(row, 3, None), list(DATA.queries) * 8))
    assert answers == answers[: len(DATA.queries)] * 8


def test_subject_takes_memory(subject: Subject) -> None:
    taken = subject.memory_bytes()
    assert taken is not None
    # The engine's is a difference, which may be small.
    assert taken > (0 if subject.in_process else 10_000_000)


def test_folder_of_an_engine_goes_with_it() -> None:
    engine = EngineSubject(4)
    folder = Path(engine._folder.name)
    assert folder.is_dir()
    engine.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    "condition",
    [
        Condition("a", "eq", "x"),
        Condition("a", "in_list", "x"),
        Condition("a", "range", low=1.0, high=2.0),
    ],
)
def test_engine_is_asked_what_the_server_reads(condition: Condition) -> None:
    assert expression_of(condition) == parse(condition.as_filter(), limits=Limits())
    assert expression_of(None) is None


def test_memory_of_this_process_grows_with_what_it_holds() -> None:
    before = memory_in_use()
    held = bytearray(b"x" * 50_000_000)
    assert memory_in_use() - before > 40_000_000
    del held
    assert memory_in_use() - before < 10_000_000
