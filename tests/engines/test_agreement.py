"""Random operations, restarts among them, on the specification and on each engine that persists.

Twice: as long lives from fixed seeds, which go far; and as a state machine, which shrinks what it
finds to the shortest life that shows it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from engines.pair import RECALL_FLOOR, Pair, Place
from engines.recipes import RECIPES, Recipe, opened
from engines.subject import Subject
from long_runs import Rounds
from oracles import random_filter, random_grid, random_metadata
from vectorbucket_server.engine.base import Engine
from vectorbucket_server.engine.embedded.graph import Graph
from vectorbucket_server.engine.memory import MemoryEngine
from vectorbucket_server.model import BucketLogging, DistanceMetric, Index, Segment

DIMENSION = 4
KEYS = tuple(f"{prefix}{number}" for prefix in ("a", "é", "z/") for number in range(60))
PLACES: tuple[Place, ...] = (
    ("bucket-a", "one"),
    ("bucket-a", "two"),
    ("bucket-b", "one"),
)
METRICS = tuple(DistanceMetric)


@contextmanager
def pair_over(folder: Path, recipe_name: str) -> Iterator[Pair]:
    """Yield a pair of the specification and an engine of a recipe."""
    recipe = RECIPES[recipe_name]
    specification = Subject(MemoryEngine, settles=False)
    with opened(recipe, folder) as (subject, _):
        yield Pair(specification, subject, exact=recipe.exact)


def put(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Put up to 40 vectors, some of them over existing ones."""
    keys = rng.choice(KEYS, size=int(rng.integers(1, 40)), replace=False).tolist()
    rows = random_grid(rng, len(keys), DIMENSION)
    pair.put(place, keys, rows, [random_metadata(rng) for _ in keys])


def delete(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Delete up to 15 keys, existing or not."""
    pair.delete(place, rng.choice(KEYS, size=int(rng.integers(1, 15)), replace=False).tolist())


def get(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Get up to 50 keys, existing or not, some of them twice."""
    pair.get(place, rng.choice(KEYS, size=int(rng.integers(1, 50))).tolist())


def list_segment(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """List one of up to four segments in pages of up to 50."""
    count = int(rng.integers(1, 5))
    pair.listing(place, Segment(int(rng.integers(count)), count), int(rng.integers(1, 50)))


def query(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Query with or without a filter, for few or for many."""
    row = random_grid(rng, 1, DIMENSION)[0]
    raw_filter = random_filter(rng) if rng.random() < 0.6 else None
    pair.query(place, row, int(rng.choice([1, 3, 10, 100])), raw_filter)


def put_index(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Make an index, and its bucket if that is missing."""
    pair.put_bucket(place[0])
    pair.put_index(place, DIMENSION, METRICS[int(rng.integers(2))])


def set_policy_or_logging(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Set or remove the policy or the logging of a bucket, which may be missing."""
    said = str(rng.choice(["", "é one", "two"]))
    if rng.random() < 0.5:
        pair.set_policy(place[0], said)
    else:
        pair.set_logging(place[0], BucketLogging("logs", said) if said else None)


def operate(pair: Pair, place: Place, rng: np.random.Generator) -> None:
    """Let an index leave memory, come, or be built anew."""
    pair.operate(place, OPERATED[int(rng.integers(len(OPERATED)))])


OPERATED: tuple[Callable[[Engine, Index], None], ...] = (
    lambda engine, index: engine.unload_index(index),
    lambda engine, index: engine.load_index(index),
    lambda engine, index: engine.rebuild_index(index),
)
"""What operators do to an index."""

OPERATIONS: tuple[tuple[int, Callable[[Pair, Place, np.random.Generator], None]], ...] = (
    (25, put),
    (12, delete),
    (12, get),
    (8, list_segment),
    (35, query),
    (6, put_index),
    (2, lambda pair, place, _: pair.delete_index(place)),
    (1, lambda pair, place, _: pair.delete_bucket(place[0])),
    (2, set_policy_or_logging),
    (3, lambda pair, place, _: pair.count(place)),
    (2, lambda pair, *_: pair.catalogue()),
    (2, lambda pair, *_: pair.restart()),
    (3, lambda pair, place, _: pair.settle(place)),
    (6, operate),
)
"""What can happen in a life, and how often."""


@pytest.mark.parametrize("recipe_name", [name for name in RECIPES if name != "memory"])
@pytest.mark.parametrize("seed", [1, 2])
def test_engines_agree_over_a_random_life(
    recipe_name: str, seed: int, tmp_path: Path, rounds: Rounds
) -> None:
    with pair_over(tmp_path, recipe_name) as pair:
        live(pair, seed, rounds(250, 10_000))


@pytest.mark.parametrize("seed", [1, 2])
def test_milvus_agrees_with_the_embedded_engine_over_a_random_life(
    seed: int, milvus_recipe: Recipe, tmp_path: Path, rounds: Rounds
) -> None:
    with (
        opened(RECIPES["embedded-scanning"], tmp_path) as (specification, _),
        opened(milvus_recipe, tmp_path) as (subject, _),
    ):
        live(Pair(specification, subject, exact=False), seed, rounds(200, 3_000))


def live(pair: Pair, seed: int, count: int) -> None:
    """Let so many operations happen to a pair, chosen by a seed."""
    rng = np.random.default_rng(seed)
    weights = np.array([weight for weight, _ in OPERATIONS], float)
    for place in PLACES:
        put_index(pair, place, rng)
    for _ in range(count):
        act = OPERATIONS[rng.choice(len(OPERATIONS), p=weights / weights.sum())][1]
        act(pair, PLACES[rng.choice(3, p=[0.7, 0.2, 0.1])], rng)
    assert pair.recall >= RECALL_FLOOR


@pytest.mark.parametrize("seed", [1, 2])
def test_engines_agree_over_a_life_of_resumed_checkpoints(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: Rounds
) -> None:
    rng = np.random.default_rng(seed)
    resumed: list[Path] = []
    load = Graph.load

    def noted(path: Path, **named: Any) -> Graph:
        resumed.append(path)
        return load(path, **named)

    monkeypatch.setattr(Graph, "load", noted)
    restarts = rounds(12, 200)
    with pair_over(tmp_path, "embedded-restless") as pair:
        put_index(pair, PLACES[0], rng)
        for _ in range(restarts):
            for act in (put, put, delete, put, query):
                act(pair, PLACES[0], rng)
            pair.restart()
            # Before the graph holds what came since the checkpoint, and beside its coming.
            for act in (query, get, list_segment, query):
                act(pair, PLACES[0], rng)
            pair.count(PLACES[0])
        assert pair.recall >= RECALL_FLOOR
    assert len(resumed) > restarts // 2


class Life(RuleBasedStateMachine):
    """A life whose operations hypothesis chooses, in the state that recipe names."""

    recipe_name = ""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="vectorbucket-life-")
        self._context = pair_over(Path(self._folder.name), self.recipe_name)
        self.pair = self._context.__enter__()

    def teardown(self) -> None:
        """Close the engines and remove what they kept."""
        self._context.__exit__(None, None, None)
        self._folder.cleanup()

    @initialize(metric=st.sampled_from(METRICS))
    def begin(self, metric: DistanceMetric) -> None:
        """Make the first index."""
        self.pair.put_bucket(PLACES[0][0])
        self.pair.put_index(PLACES[0], DIMENSION, metric)

    @rule(place=st.sampled_from(PLACES), seed=st.integers(0, 99))
    def put(self, place: Place, seed: int) -> None:
        put(self.pair, place, np.random.default_rng(seed))

    @rule(place=st.sampled_from(PLACES), seed=st.integers(0, 99))
    def delete(self, place: Place, seed: int) -> None:
        delete(self.pair, place, np.random.default_rng(seed))

    @rule(place=st.sampled_from(PLACES), seed=st.integers(0, 99))
    def query(self, place: Place, seed: int) -> None:
        query(self.pair, place, np.random.default_rng(seed))

    @rule(place=st.sampled_from(PLACES))
    def read(self, place: Place) -> None:
        self.pair.get(place, KEYS)
        self.pair.listing(place, Segment(), 7)
        self.pair.count(place)

    @rule(place=st.sampled_from(PLACES), seed=st.integers(0, 1))
    def put_index(self, place: Place, seed: int) -> None:
        put_index(self.pair, place, np.random.default_rng(seed))

    @rule(place=st.sampled_from(PLACES))
    def delete_index(self, place: Place) -> None:
        self.pair.delete_index(place)

    @rule(name=st.sampled_from([place[0] for place in PLACES]))
    def delete_bucket(self, name: str) -> None:
        self.pair.delete_bucket(name)

    @rule(place=st.sampled_from(PLACES), seed=st.integers(0, 9))
    def set_policy_or_logging(self, place: Place, seed: int) -> None:
        set_policy_or_logging(self.pair, place, np.random.default_rng(seed))

    @rule()
    def restart(self) -> None:
        self.pair.restart()
        self.pair.catalogue()

    @rule(place=st.sampled_from(PLACES), act=st.sampled_from(OPERATED))
    def operate(self, place: Place, act: Callable[[Engine, Index], None]) -> None:
        self.pair.operate(place, act)

    @rule(place=st.sampled_from(PLACES))
    def settle(self, place: Place) -> None:
        self.pair.settle(place)


@pytest.mark.parametrize(
    "recipe_name", ["embedded-scanning", "embedded-indexed", "embedded-restless"]
)
def test_engines_agree_over_the_shortest_lives(recipe_name: str, rounds: Rounds) -> None:
    life = type("ChosenLife", (Life,), {"recipe_name": recipe_name})
    run_state_machine_as_test(
        life,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=rounds(12, 200),
            stateful_step_count=25,
        ),
    )


def test_comparison_notices_a_vector_that_only_one_engine_has(tmp_path: Path) -> None:
    with pair_over(tmp_path, "embedded-scanning") as pair:
        rng = np.random.default_rng(3)
        put_index(pair, PLACES[0], rng)
        put(pair, PLACES[0], rng)
        index = pair._subject.engine.get_index(*PLACES[0])
        pair._subject.put(index, ["stowaway"], np.ones((1, DIMENSION)))
        checks: list[Callable[[], None]] = [
            lambda: pair.listing(PLACES[0], Segment(), 10),
            lambda: pair.count(PLACES[0]),
            lambda: pair.query(PLACES[0], np.ones(DIMENSION, np.float32), 100, None),
        ]
        for check in checks:
            with pytest.raises(AssertionError):
                check()
