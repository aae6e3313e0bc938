"""The specification is short, and does what it says; tests/engines holds it to the whole seam.

Here stand only its own distances, checked by hand, and what makes it fit to be an oracle: it keeps
nothing of its callers' arrays, and knows nobody above it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.subject import ACCOUNT, MANY, batch
from house import ROOT
from vectorbucket.errors import (
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchVectorIndex,
    RequestTimeout,
)
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.filters.expression import Equals
from vectorbucket_server.model import (
    Bucket,
    DistanceMetric,
    EngineStatistics,
    Hit,
    Index,
    Query,
)

PATH = ROOT / "server/vectorbucket_server/engine/memory.py"
LINES_MAX = 230


class GivenUp:
    """The deadline of a caller who waits no longer."""

    def check(self) -> None:
        """Raise."""
        raise RequestTimeout("the caller has given up")

    def remaining_s(self) -> float:
        """Return that nothing is left."""
        return 0.0


@pytest.fixture(name="engine")
def fixture_engine() -> MemoryEngine:
    """Return an engine with a bucket."""
    engine = MemoryEngine()
    engine.open()
    engine.put_bucket(Bucket("things", ACCOUNT, 5), buckets_max=MANY)
    return engine


def make(engine: MemoryEngine, metric: DistanceMetric = DistanceMetric.EUCLIDEAN) -> Index:
    """Make an index of dimension 2."""
    return engine.put_index(Index("things", metric.value, 2, metric), indexes_max=MANY)


def query(engine: MemoryEngine, index: Index, vector: list[float], **changes: object) -> list[Hit]:
    """Return the hits of one query."""
    asked = Query(np.array([vector], np.float32), **{"top_k": 10, **changes})  # type: ignore[arg-type]
    return engine.query_vectors(index, asked)[0]


def code_lines() -> int:
    """Return the lines of code: no imports, docstrings, comments or blank lines."""
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    lines: set[int] = set()
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt):
            continue
        span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if text or isinstance(node, ast.Import | ast.ImportFrom):
            left_out.update(span)
        else:
            lines.update(span)
    source = PATH.read_text(encoding="utf-8").splitlines()
    return sum(
        number not in left_out and bool(source[number - 1].split("#")[0].strip())
        for number in lines
    )


def test_specification_is_short_enough_to_be_read() -> None:
    assert code_lines() <= LINES_MAX


def test_specification_knows_no_network_and_nobody_above_it() -> None:
    imported = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(PATH.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    ours = {name for name in imported if str(name).startswith("vectorbucket")}
    assert ours == {
        "vectorbucket.errors",
        "vectorbucket_server.engine.base",
        "vectorbucket_server.filters.matcher",
        "vectorbucket_server.model",
    }
    others = {str(name).partition(".")[0] for name in imported if name not in ours}
    assert others - {"numpy"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", ["rocksdict", "hnswlib", "pyroaring", "msgspec"])
def test_specification_needs_no_library_of_another_engine(package: str) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from vectorbucket_server.engine.memory import MemoryEngine\n"
        "MemoryEngine().open()"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT / 'client'}:{ROOT / 'server'}"},
        check=True,
    )


def test_euclidean_distances_are_those_of_school(engine: MemoryEngine) -> None:
    index = make(engine)
    engine.put_vectors(index, batch(["far", "near", "here"], [[3, 4], [0, 1], [0, 0]]))
    hits = query(engine, index, [0, 0])
    assert hits == [Hit("here", 0.0), Hit("near", 1.0), Hit("far", 5.0)]


def test_cosine_distances_are_those_of_school(engine: MemoryEngine) -> None:
    index = make(engine, DistanceMetric.COSINE)
    engine.put_vectors(
        index, batch(["same", "square", "opposite", "half"], [[9, 0], [0, 2], [-3, 0], [1, 1]])
    )
    hits = query(engine, index, [1, 0])
    assert [hit.key for hit in hits] == ["same", "half", "square", "opposite"]
    assert [hit.distance for hit in hits] == pytest.approx([0, 1 - 1 / np.sqrt(2), 1, 2])


@pytest.mark.parametrize("size", [1e-45, 1e-30, 1e19, 3e38])
@pytest.mark.parametrize("metric", DistanceMetric)
def test_distances_are_right_at_the_ends_of_float32(
    engine: MemoryEngine, metric: DistanceMetric, size: float
) -> None:
    index = make(engine, metric)
    engine.put_vectors(index, batch(["a", "b"], [[size, 0], [0, size]]))
    near, far = query(engine, index, [size, 0])
    assert (near.key, near.distance) == ("a", 0.0)
    exact = 1.0 if metric is DistanceMetric.COSINE else np.float64(np.float32(size)) * np.sqrt(2)
    assert far.distance == pytest.approx(exact, rel=1e-12)


def test_what_was_put_does_not_change_with_the_callers_array(engine: MemoryEngine) -> None:
    index = make(engine)
    made = batch(["a"], [[1, 2]], [{"tags": ["x"]}])
    engine.put_vectors(index, made)
    made.data[0] = 9
    (vector,) = engine.get_vectors(index, ["a"], data=True, metadata=True)
    assert vector.data is not None
    assert vector.data.tolist() == [1, 2]


def test_filter_decides_before_the_nearest_are_chosen(engine: MemoryEngine) -> None:
    index = make(engine)
    colours = [{"colour": "blue"}, {"colour": "red"}, {}]
    engine.put_vectors(index, batch(["a", "b", "c"], [[1, 0], [2, 0], [3, 0]], colours))
    assert [hit.key for hit in query(engine, index, [0, 0], top_k=1)] == ["a"]
    red = query(engine, index, [0, 0], top_k=1, filter=Equals("colour", "red"))
    assert [hit.key for hit in red] == ["b"]


def test_caller_who_has_given_up_gets_nothing_done(engine: MemoryEngine) -> None:
    index = make(engine)
    engine.put_vectors(index, batch(["a"], [[1, 0]]))
    asked = Query(np.zeros((1, 2), np.float32), 1)
    for call in (
        lambda: engine.put_vectors(index, batch(["b"], [[1, 0]]), deadline=GivenUp()),
        lambda: engine.delete_vectors(index, ["a"], deadline=GivenUp()),
        lambda: engine.query_vectors(index, asked, deadline=GivenUp()),
    ):
        with pytest.raises(RequestTimeout):
            call()
    assert [hit.key for hit in query(engine, index, [0, 0])] == ["a"]


def test_nothing_is_ever_pending(engine: MemoryEngine) -> None:
    index = make(engine)
    engine.put_vectors(index, batch(["a", "b"], [[1, 0], [2, 0]]))
    statistics = engine.index_statistics(index)
    assert (statistics.vector_count, statistics.pending_vector_count) == (2, 0)


def test_nothing_leaves_memory_and_nothing_is_built_anew(engine: MemoryEngine) -> None:
    index = make(engine)
    engine.load_index(index)
    assert not engine.capabilities.graphs
    assert not engine.capabilities.backups
    for call in (engine.unload_index, engine.rebuild_index):
        with pytest.raises(MethodNotAllowed):
            call(index)
    with pytest.raises(MethodNotAllowed):
        engine.back_up(Path("never made"))
    assert engine.statistics() == EngineStatistics(1, 1, 1, 0, 0)


def test_closed_engine_has_forgotten_everything(engine: MemoryEngine) -> None:
    index = make(engine)
    engine.close()
    assert not engine.capabilities.persistent
    with pytest.raises(NoSuchBucket):
        engine.get_bucket("things")
    with pytest.raises(NoSuchVectorIndex):
        engine.index_statistics(index)
    engine.close()
