"""Put a real sample into a running server and search it: what vectorbucket does, in a minute.

Usage: ``scripts/serve`` in one terminal, ``.venv/bin/python scripts/demo.py`` in another; again, as
often as you like. ``--all`` asks all of the sample's questions.

Rules of this file: it uses the public client and nothing else of the project's packages, as any
caller would; it shows what the server answers, unsorted and unfiltered by itself.

The sample: 2,000 packages of Debian 12, scripts/demo_data/README.md says from where and how.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench_data import Dataset, load_dataset
from vectorbucket import Client, Hit, PutProgress
from vectorbucket.errors import (
    BucketNameNotAvailable,
    ServiceUnavailable,
    VectorBucketError,
    VectorBucketIndexAlreadyExist,
)

SAMPLE = Path(__file__).resolve().parent / "demo_data" / "debian-packages-2k.npz"
BUCKET = "demo"
INDEX_NAME = "packages"
TOP_K = 5


@dataclass(frozen=True)
class Question:
    """One of the sample's texts, asked of all packages or of some."""

    text: str
    filter: Mapping[str, object] | None = None
    meaning: str = ""
    """What the filter says, in words."""


QUESTIONS = (
    Question("play chess against the computer"),
    Question("scan network ports"),
    Question("backup files incrementally"),
    Question("font for japanese"),
    Question("database server with SQL", {"section": "database"}, "only section database"),
    Question(
        "convert pdf to text",
        {"tags": {"$in": ["use::converting"]}},
        "only packages with the tag use::converting",
    ),
)
"""What is asked unless --all is given. ``tags`` is a list: one element that matches is enough."""


def make_index(client: Client, dimension: int) -> None:
    """Make the demonstration's bucket and index, unless an earlier run has."""
    with suppress(BucketNameNotAvailable):
        client.put_vector_bucket(BUCKET)
    with suppress(VectorBucketIndexAlreadyExist):
        client.put_vector_index(BUCKET, INDEX_NAME, dimension=dimension, distance_metric="cosine")


def put_sample(client: Client, sample: Dataset, console: Console) -> None:
    """Put the whole sample, with a bar; what an earlier run has put is replaced."""
    columns = (
        TextColumn("putting {task.fields[what]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("put", total=len(sample.keys), what=f"{sample.dimension}-d vectors")

        def show(progress: PutProgress) -> None:
            bars.update(bar, completed=progress.stored)

        client.put_vectors(
            BUCKET,
            INDEX_NAME,
            keys=sample.keys,
            data=sample.data,
            metadata=sample.metadata,
            progress=show,
        )


def ask(client: Client, sample: Dataset, question: Question) -> list[Hit]:
    """Return the nearest packages to a question of the sample.

    Raises:
        ValueError: The sample has no vector for the text.
    """
    return client.query_vectors(
        BUCKET,
        INDEX_NAME,
        sample.queries[sample.query_texts.index(question.text)],
        top_k=TOP_K,
        filter=question.filter,
        return_metadata=True,
    )


def table_of(question: Question, hits: Sequence[Hit]) -> Table:
    """Return the hits as a table, nearest first, as they came."""
    title = f"“{question.text}”" + (f", {question.meaning}" if question.meaning else "")
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("distance", justify="right")
    table.add_column("package", style="cyan", no_wrap=True)
    table.add_column("section")
    table.add_column("summary")
    for hit in hits:
        about = hit.metadata or {}
        distance = "" if hit.distance is None else f"{hit.distance:.3f}"
        table.add_row(distance, hit.key, str(about.get("section")), str(about.get("summary")))
    return table


def demonstrate(target: str, console: Console, *, everything: bool = False) -> None:
    """Put the sample into the server at ``target`` and print what it finds."""
    sample = load_dataset(SAMPLE)
    plain = tuple(Question(text) for text in sample.query_texts)
    with Client(target) as client:
        make_index(client, sample.dimension)
        put_sample(client, sample, console)
        for question in plain if everything else QUESTIONS:
            console.print(table_of(question, ask(client, sample, question)))
        index = client.get_vector_index(BUCKET, INDEX_NAME)
        console.print(f"The index holds {index.vector_count:,} vectors.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="127.0.0.1:50051", help="HOST:PORT of the server")
    parser.add_argument("--all", action="store_true", help="ask all of the sample's questions")
    options = parser.parse_args(arguments)
    try:
        demonstrate(options.target, Console(), everything=options.all)
    except ServiceUnavailable:
        print(f"No server answers at {options.target}; start one: scripts/serve", file=sys.stderr)
        return 1
    except VectorBucketError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
