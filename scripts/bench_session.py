"""One run of the bench: its data, its settings, its servers, and what it shows while it works.

Rules of this file: what several workloads need is made once, on first use, and ended with the
session; what a workload alone needs is the workload's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

from rich.console import Console

from bench_data import (
    MIXTURE,
    Dataset,
    Float32Array,
    Metadata,
    draw_dataset,
    exact_neighbours,
    load_dataset,
)
from bench_reference import BareGraph, build_bare_graph
from bench_server import ServerProcess, start_server, wait_until_quiet
from vectorbucket import Client, PutProgress

Fits: TypeAlias = Callable[[Metadata], bool]
"""Whether a vector with some metadata matches."""

BUCKET = "bench"
INDEX_NAME = "vectors"
TOP_K = 10

_LOOK_AGAIN_S = 0.02
"""How often to ask whether all is indexed."""

_HELD_OUT_MAX = 500
"""Vectors of a sample from a file that become queries and are not put."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    vectors: int
    dimension: int
    seed: int
    data: Path | None
    repeats: int
    """How often each timing of a put is taken; the median counts."""
    seconds: float
    """How long each case of a query workload runs."""
    distribution: str = MIXTURE
    """Of drawn data: ``mixture`` or ``uniform``."""
    in_process: bool = False
    """Whether query_filtered asks the engine alone, without the RPC."""
    milvus: str | None = None
    """URI of the Milvus that the workload milvus uses; None: it starts one."""


def read_dataset(settings: Settings) -> Dataset:
    """Return the data that the settings ask for: a mixture, or a sample with queries held out."""
    if settings.data is None:
        return draw_dataset(
            settings.vectors,
            settings.dimension,
            seed=settings.seed,
            distribution=settings.distribution,
        )
    sample = load_dataset(settings.data)
    held_out = min(_HELD_OUT_MAX, len(sample.keys) // 10)
    kept = sample.first(min(settings.vectors, len(sample.keys) - held_out))
    return replace(kept, queries=sample.data[-held_out:])


class Session:
    """A run of the bench; as a context, it ends its servers and removes their data."""

    def __init__(self, settings: Settings, console: Console) -> None:
        """Read or draw the data.

        Args:
            settings: What the command line says.
            console: Where progress is shown.
        """
        self.settings = settings
        self._console = console
        self._stack = ExitStack()
        self._wanted: dict[Any, list[list[str]]] = {}
        with console.status("reading the data"):
            self.dataset = read_dataset(settings)

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End what was begun."""
        self._stack.close()

    def facts(self) -> dict[str, Any]:
        """Return what the run was asked to do."""
        return {
            "data": self.settings.data.name if self.settings.data else self.settings.distribution,
            "vectors": len(self.dataset.keys),
            "dimension": self.dataset.dimension,
            "seed": self.settings.seed,
            "repeats": self.settings.repeats,
        }

    @property
    def has_recall_floor(self) -> bool:
        """Whether a graph can find its way in the data; in uniform noise it cannot."""
        return self.settings.data is not None or self.settings.distribution == MIXTURE

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show what is being done while it is done."""
        with self._console.status(what):
            yield

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield the path of a folder for a server's data, and remove it at the end."""
        with tempfile.TemporaryDirectory(prefix="vectorbucket-bench-") as made:
            yield Path(made) / "data"

    @contextmanager
    def server(self, *arguments: str) -> Iterator[ServerProcess]:
        """Yield a server of its own, empty but for a bucket and an index.

        Args:
            arguments: What it is told beside its default settings.
        """
        with self.folder() as data_dir, start_server(data_dir, *arguments) as server:
            make_index(server.target, self.dataset.dimension)
            yield server

    def put_and_index(
        self,
        client: Client,
        what: str,
        *,
        metadata: bool = True,
        dataset: Dataset | None = None,
    ) -> tuple[list[tuple[float, int]], float]:
        """Put a whole data set and wait until the graph holds it.

        Args:
            client: Of the server to put into.
            what: What is shown meanwhile.
            metadata: Whether metadata are put, too.
            dataset: What to put; None: the session's.

        Returns:
            For each answer when it came, in seconds from the first message on, and how many vectors
            were stored by then; and when all was indexed.
        """
        dataset = dataset or self.dataset
        answers: list[tuple[float, int]] = []
        client.get_vector_index(BUCKET, INDEX_NAME)  # connects, outside the measured time
        with self._console.status(what) as status:
            began = time.perf_counter()

            def note(progress: PutProgress) -> None:
                if not progress.finished:
                    answers.append((time.perf_counter() - began, progress.stored))

            client.put_vectors(
                BUCKET,
                INDEX_NAME,
                keys=dataset.keys,
                data=dataset.data,
                metadata=dataset.metadata if metadata else None,
                progress=note,
            )
            wait_until_indexed(
                client, lambda pending: status.update(f"{what}: {pending:,} vectors to index")
            )
            return answers, time.perf_counter() - began

    @cached_property
    def loaded_server(self) -> ServerProcess:
        """A server that holds and has indexed the whole data set."""
        server = self._stack.enter_context(self.server())
        with Client(server.target) as client:
            self.put_and_index(client, "loading the server")
        wait_until_quiet(server.pid)
        return server

    @cached_property
    def bare_graph(self) -> BareGraph:
        """The whole data set in a graph of hnswlib alone."""
        with self.working("building hnswlib's graph"):
            return build_bare_graph(self.dataset.data)

    def wanted(
        self,
        fits: Fits | None = None,
        *,
        queries: Float32Array | None = None,
        dataset: Dataset | None = None,
    ) -> list[list[str]]:
        """Return for each query the keys of its true neighbours, TOP_K or as many as match.

        Args:
            fits: Which vectors take part; None: all.
            queries: float32, shape (q, dimension); None: the data set's.
            dataset: What holds them; None: the session's.
        """
        dataset = dataset or self.dataset
        rows = dataset.queries if queries is None else queries
        # The arrays live as long as the answer, so that nothing else gets their identity.
        asked = (fits, id(dataset), id(rows))
        if asked not in self._wanted:
            with self.working("finding the true neighbours"):
                self._wanted[asked] = _neighbours(dataset, rows, fits)
            self._stack.callback(lambda *_kept: None, dataset, rows)
        return self._wanted[asked]


def _neighbours(dataset: Dataset, queries: Float32Array, fits: Fits | None) -> list[list[str]]:
    """Return for each query the keys of its true neighbours among the vectors that match."""
    fitting = [
        position
        for position, metadata in enumerate(dataset.metadata)
        if fits is None or fits(metadata)
    ]
    if not fitting:
        return [[] for _ in queries]
    data = dataset.data if len(fitting) == len(dataset.keys) else dataset.data[fitting]
    found, _ = exact_neighbours(queries, data, min(TOP_K, len(fitting)), "cosine")
    return [[dataset.keys[fitting[place]] for place in row] for row in found.tolist()]


def make_index(target: str, dimension: int) -> None:
    """Make the bench's bucket and its index under cosine, with defaults."""
    with Client(target) as client:
        client.put_vector_bucket(BUCKET)
        client.put_vector_index(BUCKET, INDEX_NAME, dimension=dimension, distance_metric="cosine")


def wait_until_indexed(client: Client, show: Callable[[int], None] = lambda _pending: None) -> None:
    """Return when the graph holds all vectors; ``show`` gets how many it does not hold yet."""
    while pending := client.get_vector_index(BUCKET, INDEX_NAME).pending_vector_count:
        show(pending)
        time.sleep(_LOOK_AGAIN_S)
