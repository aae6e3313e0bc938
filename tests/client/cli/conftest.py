"""Fixtures of the command line's tests: commands run in this process, against a live server."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import typer.main

from vectorbucket import Client
from vectorbucket.cli.application import app

_NUMBERS = itertools.count()

COMMAND: Any = typer.main.get_command(app)
"""The command, put together once for all tests."""

ENVIRONMENT: dict[str, str | None] = {"COLUMNS": "80", "NO_COLOR": None, "FORCE_COLOR": None}
"""What must not depend on the environment of whoever runs the tests; None is not there."""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        assert self.code == 0, self.err
        assert self.out.endswith("\n")
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(server_address: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command of the command line against the server of the module."""

    def ran(
        *arguments: str, given: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Ran:
        said = ENVIRONMENT | {"VECTORBUCKET_ENDPOINT": server_address} | dict(environment or {})
        raw = {name: io.BytesIO() for name in ("stdin", "stdout", "stderr")}
        raw["stdin"] = io.BytesIO((given or "").encode())
        with monkeypatch.context() as patched:
            for name, stream in raw.items():
                text = io.TextIOWrapper(stream, encoding="utf-8", write_through=True)
                patched.setattr(sys, name, text)
            for name, value in said.items():
                if value is None:
                    patched.delenv(name, raising=False)
                else:
                    patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                COMMAND.main(args=[*arguments], prog_name="vectorbucket")
            out, err = (raw[name].getvalue().decode() for name in ("stdout", "stderr"))
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, out, err)

    return ran


@pytest.fixture
def client(server_address: str) -> Iterator[Client]:
    """A client of the server of the module."""
    with Client(server_address) as client:
        yield client


@pytest.fixture
def bucket(client: Client) -> Iterator[str]:
    """The name of a bucket of this test alone."""
    name = f"photos-{next(_NUMBERS)}"
    client.put_vector_bucket(name)
    yield name
    for index in list(client.list_vector_indexes(name)):
        client.delete_vector_index(name, index.index_name)
    client.delete_vector_bucket(name)


@pytest.fixture
def faces(client: Client, bucket: str) -> list[str]:
    """The flags that name index ``faces`` of 3 numbers, which holds ann, ben and cat."""
    client.put_vector_index(bucket, "faces", dimension=3, distance_metric="euclidean")
    client.put_vectors(
        bucket,
        "faces",
        [
            ("ann", [0.1, 0.2, 0.3], {"year": 1999, "tags": ["a", "b"]}),
            ("ben", [1.0, 0.0, 0.0], {"year": 2001}),
            ("cat", [0.0, 2.0, 0.0], None),
        ],
    )
    return ["--bucket", bucket, "--index-name", "faces"]
