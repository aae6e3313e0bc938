"""The engines that the suite holds to the seam, each in the states that matter.

Rules of this file: a recipe a state; nothing about what is tested. Another engine is held to the
seam by a recipe here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engines.subject import Subject
from vectorbucket_server.engine.base import Engine, SilentObserver
from vectorbucket_server.engine.embedded import indexer, planner, rebuild, saver
from vectorbucket_server.engine.embedded.engine import EmbeddedEngine
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.memory import MemoryEngine

_NEVER = 10**9
"""More vectors than any test puts."""

_SCAN_IS_DEAR_S = 10.0
"""What a scan is said to cost where a test wants the graph asked, however small the index."""


class WatchingObserver(SilentObserver):
    """Counts plans and remembers failures in the background, of which there must be none."""

    def __init__(self) -> None:
        self.plans: Counter[str] = Counter()
        self.indexed = 0
        self.failures: list[str] = []

    def plan_chosen(self, plan: str, query_count: int) -> None:
        """Count the plan."""
        self.plans[plan] += query_count

    def vectors_indexed(self, count: int, seconds: float) -> None:  # noqa: ARG002 - the protocol's
        """Count the vectors."""
        self.indexed += count

    def background_failed(self, work: str, error: Exception) -> None:
        """Remember the failure."""
        self.failures.append(f"{work}: {error!r}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make an engine, and in which state to test it."""

    make: Callable[[Path, WatchingObserver], Engine]
    settles: bool = False
    """Whether tests wait for the indexer where the state of the graph could matter."""
    eager: bool = False
    """Whether indexing and graph searches happen however few vectors there are and however busy
    puts are: the constants that put them off are set to nothing."""
    restless: bool = False
    """Whether rebuilds and checkpoints happen however little has changed, too."""
    exact: bool = False
    """Whether it must find exactly what the specification finds."""


def _embedded(graph_rows_min: int, **changes: Any) -> Callable[[Path, WatchingObserver], Engine]:
    """Return how to make an embedded engine whose indexes have a graph from so many vectors on."""

    def make(folder: Path, observer: WatchingObserver) -> Engine:
        options = EmbeddedOptions(
            data_dir=folder / "data", graph_rows_min=graph_rows_min, **changes
        )
        return EmbeddedEngine(options, observer)

    return make


RECIPES = {
    "memory": Recipe(lambda *_: MemoryEngine(), exact=True),
    "embedded-scanning": Recipe(_embedded(_NEVER), exact=True),
    "embedded-indexing": Recipe(_embedded(1), eager=True),
    "embedded-indexed": Recipe(_embedded(1), eager=True, settles=True),
    "embedded-restless": Recipe(
        _embedded(1, checkpoint_changes_min=40, checkpoint_changes_share=0.0, worn_share_max=0.1),
        eager=True,
        restless=True,
    ),
}
"""Recipe by name. The embedded engine four times: without a graph, while it is built, when it is,
and while it is built anew and saved all the time.
"""


MILVUS = "milvus"
"""The name of the recipe that needs a running Milvus; see ``recipe_on_milvus``."""


def recipe_on_milvus(uri: str, database: str) -> Recipe:
    """Return how to make an engine on a database of a running Milvus.

    Args:
        uri: Where Milvus takes calls.
        database: An empty database.
    """
    # Here and not above: not every platform has a Milvus to test with.
    from vectorbucket_server.engine.milvus.engine import MilvusEngine  # noqa: PLC0415
    from vectorbucket_server.engine.milvus.options import MilvusOptions  # noqa: PLC0415

    # Changes of the catalogue wait that long: 20 of them in one test.
    options = MilvusOptions(uri=uri, database=database, catalogue_cache_s=0.05)
    return Recipe(lambda _, observer: MilvusEngine(options, observer))


def ask_graphs(patch: pytest.MonkeyPatch) -> None:
    """Let queries ask a graph where there is one, and indexing happen, however small it all is."""
    for name in ("_SCAN_FIXED_S", "_SCORED_FIXED_S"):
        patch.setattr(planner, name, _SCAN_IS_DEAR_S)
    # Indexed beside the puts: a test's burst would be over before the indexer began.
    patch.setattr(indexer, "_BURST_S", 0.0)


def rest_never(patch: pytest.MonkeyPatch) -> None:
    """Let rebuilds and checkpoints happen however little has changed."""
    patch.setattr(rebuild, "_DEAD_MIN", 20)
    patch.setattr(saver, "_LOOK_AGAIN_S", 0.005)


@contextmanager
def opened(recipe: Recipe, folder: Path) -> Iterator[tuple[Subject, WatchingObserver]]:
    """Yield an empty, open engine of a recipe; check at the end that nothing failed behind."""
    observer = WatchingObserver()
    with pytest.MonkeyPatch.context() as patch:
        if recipe.eager:
            ask_graphs(patch)
        if recipe.restless:
            rest_never(patch)
        subject = Subject(lambda: recipe.make(folder, observer), settles=recipe.settles)
        try:
            yield subject, observer
        finally:
            subject.close()
    assert not observer.failures, observer.failures
