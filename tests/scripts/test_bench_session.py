"""Tests of bench_session.py: what a run is made of, and that nothing of it stays behind."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench_data import distances, draw_dataset, exact_neighbours
from bench_session import BUCKET, INDEX_NAME, TOP_K, Session, Settings, read_dataset
from bench_subject import Condition, Operator
from vectorbucket import Client
from vectorbucket.errors import ServiceUnavailable

SETTINGS = Settings(vectors=300, dimension=8, seed=1, data=None, repeats=1, seconds=0.1)


def session_of(settings: Settings = SETTINGS) -> Session:
    """Return a session that shows nothing."""
    return Session(settings, Console(file=io.StringIO()))


def sample_of(folder: Path, count: int) -> Path:
    """Write a sample of orthogonal vectors and return the path of its .npz."""
    path = folder / "sample.npz"
    np.savez(path, vectors=np.eye(count, dtype=np.float32))
    lines = [json.dumps({"key": f"k{number}"}) for number in range(count)]
    path.with_suffix(".jsonl").write_text("\n".join(lines), encoding="utf-8")
    return path


def settings_of(path: Path, vectors: int) -> Settings:
    """Return settings that take a sample from a file."""
    return Settings(vectors=vectors, dimension=9, seed=1, data=path, repeats=1, seconds=0.1)


def test_mixture_is_drawn_as_the_settings_say() -> None:
    dataset = read_dataset(SETTINGS)
    assert dataset.data.shape == (300, 8)
    assert np.array_equal(dataset.data, read_dataset(SETTINGS).data)


def test_queries_that_are_held_out_of_a_sample_are_not_put(tmp_path: Path) -> None:
    dataset = read_dataset(settings_of(sample_of(tmp_path, 40), 1_000))
    assert (len(dataset.keys), len(dataset.queries)) == (36, 4)
    assert not (dataset.data @ dataset.queries.T).any()


def test_fewer_vectors_of_a_sample_are_asked_with_the_same_queries(tmp_path: Path) -> None:
    path = sample_of(tmp_path, 40)
    few, all_of_it = read_dataset(settings_of(path, 5)), read_dataset(settings_of(path, 40))
    assert few.keys == ("k0", "k1", "k2", "k3", "k4")
    assert np.array_equal(few.queries, all_of_it.queries)


def test_facts_say_what_was_asked_for(tmp_path: Path) -> None:
    with session_of() as session:
        assert session.facts() == {
            "data": "mixture",
            "vectors": 300,
            "dimension": 8,
            "seed": 1,
            "repeats": 1,
        }
    with session_of(settings_of(sample_of(tmp_path, 20), 10)) as session:
        facts = session.facts()
        assert (facts["data"], facts["vectors"], facts["dimension"]) == ("sample.npz", 10, 20)


def test_server_of_a_session_holds_everything_and_ends_with_it() -> None:
    with session_of() as session:
        target = session.loaded_server.target
        assert session.loaded_server.target == target
        with Client(target) as client:
            index = client.get_vector_index(BUCKET, INDEX_NAME)
            assert (index.vector_count, index.pending_vector_count) == (300, 0)
            (found,) = client.get_vectors(
                BUCKET, INDEX_NAME, [session.dataset.keys[7]], return_metadata=True
            )
            assert found.metadata == session.dataset.metadata[7]
    with Client(target, timeout_s=1) as client, pytest.raises(ServiceUnavailable):
        client.get_vector_index(BUCKET, INDEX_NAME)


def test_every_batch_of_a_put_has_its_moment() -> None:
    settings = Settings(vectors=1_200, dimension=4, seed=1, data=None, repeats=1, seconds=0.1)
    with (
        session_of(settings) as session,
        session.server() as server,
        Client(server.target) as client,
    ):
        answers, indexed_s = session.put_and_index(client, "putting", metadata=False)
        (found,) = client.get_vectors(
            BUCKET, INDEX_NAME, [session.dataset.keys[0]], return_metadata=True
        )
    assert [stored for _, stored in answers] == [500, 1_000, 1_200]
    assert sorted(answers) == answers
    assert 0 < answers[0][0] <= answers[-1][0] <= indexed_s
    assert found.metadata == {}


@pytest.mark.parametrize("equals", [None, ("arch", "eq", "all"), ("section", "eq", "python")])
def test_wanted_neighbours_are_the_true_ones_that_fit(
    equals: tuple[str, Operator, str] | None,
) -> None:
    with session_of() as session:
        dataset = session.dataset
        wanted = session.wanted(Condition(*equals).fits if equals else None)
    far = distances(dataset.queries, dataset.data, "cosine")
    fits = [equals is None or metadata[equals[0]] == equals[2] for metadata in dataset.metadata]
    for row, keys in zip(far, wanted, strict=True):
        order = [position for position in np.argsort(row, kind="stable") if fits[position]]
        assert keys == [dataset.keys[position] for position in order[:TOP_K]]


def test_neighbours_of_other_queries_and_data_are_found_once() -> None:
    other = draw_dataset(50, 8, seed=9, queries=4)
    with session_of() as session:
        wanted = session.wanted(queries=other.queries, dataset=other)
        assert session.wanted(queries=other.queries, dataset=other) is wanted
        assert session.wanted(dataset=other) is wanted
        assert session.wanted(queries=other.queries) is not wanted
    found, _ = exact_neighbours(other.queries, other.data, TOP_K, "cosine")
    assert wanted == [[other.keys[place] for place in row] for row in found.tolist()]


def test_nothing_is_wanted_where_nothing_fits() -> None:
    with session_of() as session:
        wanted = session.wanted(lambda _metadata: False)
    assert wanted == [[]] * len(session.dataset.queries)


def test_other_data_than_the_sessions_can_be_put() -> None:
    other = draw_dataset(30, 8, seed=9, queries=1)
    with (
        session_of() as session,
        session.server() as server,
        Client(server.target) as client,
    ):
        session.put_and_index(client, "putting", dataset=other)
        assert client.get_vector_index(BUCKET, INDEX_NAME).vector_count == 30


def test_noise_is_drawn_when_it_is_asked_for(tmp_path: Path) -> None:
    noise = replace(SETTINGS, distribution="uniform")
    with session_of(noise) as session:
        assert session.facts()["data"] == "uniform"
        assert not session.has_recall_floor
        assert np.abs(session.dataset.data).max() > 0.99
    with session_of() as session:
        assert session.has_recall_floor
    with session_of(replace(noise, data=sample_of(tmp_path, 20))) as session:
        assert session.has_recall_floor
