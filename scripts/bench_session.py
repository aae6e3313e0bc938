"""One run of the bench: its data, its settings, its servers, and what it shows while it works.

Rules of this file: what several workloads need is made once, on first use, and ended with the
session; what a workload alone needs is the workload's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from bench_data import Dataset, draw_dataset, exact_neighbours, load_dataset
from bench_reference import BareGraph, build_bare_graph
from bench_server import ServerProcess, start_server
from vectorbucket import Client, PutProgress

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


def read_dataset(settings: Settings) -> Dataset:
    """Return the data that the settings ask for: a mixture, or a sample with queries held out."""
    if settings.data is None:
        return draw_dataset(settings.vectors, settings.dimension, seed=settings.seed)
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
            "data": self.settings.data.name if self.settings.data else "mixture",
            "vectors": len(self.dataset.keys),
            "dimension": self.dataset.dimension,
            "seed": self.settings.seed,
            "repeats": self.settings.repeats,
        }

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
    def server(self) -> Iterator[ServerProcess]:
        """Yield a server of its own with default settings, empty but for a bucket and an index."""
        with self.folder() as data_dir, start_server(data_dir) as server:
            with Client(server.target) as client:
                client.put_vector_bucket(BUCKET)
                client.put_vector_index(
                    BUCKET,
                    INDEX_NAME,
                    dimension=self.dataset.dimension,
                    distance_metric="cosine",
                )
            yield server

    def put_and_index(
        self, client: Client, what: str, *, metadata: bool = True
    ) -> tuple[list[float], float]:
        """Put the whole data set and wait until the graph holds it.

        Returns:
            When, in seconds from the first message on, each batch was acknowledged, and when all
            was indexed.
        """
        dataset = self.dataset
        acknowledged_s: list[float] = []
        client.get_vector_index(BUCKET, INDEX_NAME)  # connects, outside the measured time
        with self._console.status(what) as status:
            began = time.perf_counter()

            def note(progress: PutProgress) -> None:
                if not progress.finished:
                    acknowledged_s.append(time.perf_counter() - began)

            client.put_vectors(
                BUCKET,
                INDEX_NAME,
                keys=dataset.keys,
                data=dataset.data,
                metadata=dataset.metadata if metadata else None,
                progress=note,
            )
            while pending := client.get_vector_index(BUCKET, INDEX_NAME).pending_vector_count:
                status.update(f"{what}: {pending:,} vectors to index")
                time.sleep(_LOOK_AGAIN_S)
            return acknowledged_s, time.perf_counter() - began

    @cached_property
    def loaded_target(self) -> str:
        """Where a server listens that holds and has indexed the whole data set."""
        server = self._stack.enter_context(self.server())
        with Client(server.target) as client:
            self.put_and_index(client, "loading the server")
        return server.target

    @cached_property
    def bare_graph(self) -> BareGraph:
        """The whole data set in a graph of hnswlib alone."""
        with self.working("building hnswlib's graph"):
            return build_bare_graph(self.dataset.data)

    def wanted(self, equals: Mapping[str, str] | None = None) -> list[list[str]]:
        """Return for each query the keys of its true neighbours, among those whose metadata fit.

        Args:
            equals: Values that metadata must have, by field; None for all vectors.
        """
        dataset = self.dataset
        fitting = [
            position
            for position, metadata in enumerate(dataset.metadata)
            if all(metadata.get(name) == value for name, value in (equals or {}).items())
        ]
        with self.working("finding the true neighbours"):
            k = min(TOP_K, len(fitting))
            found, _ = exact_neighbours(dataset.queries, dataset.data[fitting], k, "cosine")
        return [[dataset.keys[fitting[position]] for position in row] for row in found.tolist()]
