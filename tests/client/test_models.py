"""What callers hold is frozen, small and says what it is."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

import vectorbucket
from vectorbucket import Hit, PutRejected, PutResult, RejectedBatch, Vector
from vectorbucket.errors import VectorIndexParameterInvalid

MODELS = [
    model
    for name in vectorbucket.__all__
    if is_dataclass(model := getattr(vectorbucket, name)) and isinstance(model, type)
]


def test_models_are_found() -> None:
    assert {model.__name__ for model in MODELS} == {
        "BackupInfo",
        "BucketInfo",
        "BucketLogging",
        "BucketPage",
        "Hit",
        "IndexInfo",
        "IndexPage",
        "PutProgress",
        "PutResult",
        "RetryPolicy",
        "ServerStatistics",
        "Tls",
        "Vector",
        "VectorPage",
    }


@pytest.mark.parametrize("model", MODELS)
def test_model_has_slots_and_documents_its_attributes(model: type[Any]) -> None:
    assert "__dict__" not in dir(model)
    documented = model.__doc__ or ""
    assert [one.name for one in fields(model) if f"    {one.name}: " not in documented] == []


def test_values_cannot_be_changed() -> None:
    vector = Vector("a", [1.0, 2.0])
    hit = Hit("a", 0.5)
    with pytest.raises(FrozenInstanceError):
        vector.key = "b"  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        hit.distance = 0.0  # type: ignore[misc]


def test_vector_keeps_what_it_was_given() -> None:
    data = np.array([1.0, 2.0], dtype=np.float32)
    metadata: dict[str, Any] = {"tags": ["x"], "year": 1999}
    vector = Vector("a", data, metadata)
    assert vector.data is data
    assert vector.metadata is metadata
    assert Vector("b").data is None
    assert repr(Vector("b")) == "Vector(key='b', data=None, metadata=None)"


def test_rejected_batch_is_a_tuple_of_three() -> None:
    error = VectorIndexParameterInvalid("bad")
    first_position, count, why = RejectedBatch(500, 20, error)
    assert (first_position, count, why) == (500, 20, error)
    assert RejectedBatch(500, 20, error) == (500, 20, error)


def test_put_rejected_says_how_much_and_why_first() -> None:
    error = VectorIndexParameterInvalid("key is empty", field="vectors[3].key", details={"a": "b"})
    rejected = [RejectedBatch(500, 20, error), RejectedBatch(1000, 7, error)]
    raised = PutRejected(PutResult(480, rejected))
    assert str(raised) == (
        "PutRejected: 27 vectors in 2 of the batches were rejected, 480 are stored; the first "
        "rejected batch begins at position 500: key is empty"
    )
    assert raised.field == "vectors[3].key"
    assert raised.details == {"a": "b"}
    assert raised.retry_after_s is None
