"""What the engine on Milvus can be told, and what it cannot."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

import pytest

from vectorbucket_server.engine.milvus.options import MilvusOptions

NAMES = [field.name for field in dataclasses.fields(MilvusOptions)]
COUNTS = ["replicas", "shards", "m", "ef_construction", "ef_search"]


def test_defaults_are_those_of_a_milvus_on_this_machine() -> None:
    options = MilvusOptions()
    assert (options.uri, options.database) == ("http://127.0.0.1:19530", "default")
    assert options.token == ""
    assert (options.replicas, options.shards) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timeout_s": 0}, "timeout_s is 0; it must be more than 0"),
        ({"timeout_s": float("nan")}, "timeout_s is nan; it must be more than 0"),
        ({"load_timeout_s": -1.5}, "load_timeout_s is -1.5; it must be more than 0"),
        ({"catalogue_cache_s": -0.1}, "catalogue_cache_s is -0.1; it must be 0 or more"),
        ({"catalogue_cache_s": float("nan")}, "catalogue_cache_s is nan; it must be 0 or more"),
        *(({name: 0}, f"{name} is 0; it must be 1 or more") for name in COUNTS),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_number_that_cannot_be_is_named_with_its_value(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        MilvusOptions(**changes)


def test_least_that_is_possible_is_taken() -> None:
    least: dict[str, Any] = dict.fromkeys(COUNTS, 1)
    options = MilvusOptions(catalogue_cache_s=0, timeout_s=0.001, load_timeout_s=0.001, **least)
    assert [getattr(options, name) for name in COUNTS] == [1] * len(COUNTS)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_says_what_it_is_for(name: str) -> None:
    source = inspect.getsource(MilvusOptions)
    assert re.search(rf'^    {name}: [^\n]+\n    """\S', source, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_options_do_not_change(name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(MilvusOptions(), name, 1)
