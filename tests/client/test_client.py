"""The client as a whole: its example runs, and no operation of the contract is missing."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from textwrap import dedent

import pytest

from house import ROOT
from vectorbucket import Client
from vectorbucket.v1 import (
    bucket_service_pb2,
    index_service_pb2,
    operations_service_pb2,
    vector_service_pb2,
)
from vectorbucket_server.app import Server

OPERATIONS = [
    method.name
    for module, service in (
        (bucket_service_pb2, "BucketService"),
        (index_service_pb2, "IndexService"),
        (vector_service_pb2, "VectorService"),
        (operations_service_pb2, "OperationsService"),
    )
    for method in module.DESCRIPTOR.services_by_name[service].methods
]

MORE = {"close", "is_serving"}
"""Methods that are no operation; the second asks gRPC's own health service."""

NOTHING_TO_RAISE = {"ListVectorBuckets", "ListBackups", "GetServerStatistics", "GetMetrics"}
"""Operations without an error of their own."""


def snake_case(name: str) -> str:
    """Return ``put_vectors`` for ``PutVectors``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def test_every_operation_of_the_contract_is_a_method() -> None:
    methods = {name for name in dir(Client) if not name.startswith("_")}
    pages = {name for name in methods if name.endswith("_page")}
    assert methods - pages - MORE == {snake_case(name) for name in OPERATIONS}
    assert {name.removesuffix("_page") for name in pages} == {
        name
        for name in methods - pages - {"list_backups"}  # which has no pages
        if name.startswith("list_")
    }


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_method_is_typed_and_says_what_it_raises(operation: str) -> None:
    method = getattr(Client, snake_case(operation))
    signature = inspect.signature(method)
    untyped = [
        name
        for name, parameter in signature.parameters.items()
        if name != "self" and parameter.annotation is inspect.Parameter.empty
    ]
    assert untyped == []
    assert signature.return_annotation is not inspect.Signature.empty
    documented = inspect.getdoc(method) or ""
    assert documented.endswith(".")
    if operation not in NOTHING_TO_RAISE:
        assert "Raises:" in documented


def test_example_of_the_docstring_runs(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    documented = inspect.getdoc(Client) or ""
    start = documented.index("    with Client(")
    example = dedent(documented[start : documented.index("\n\nEach operation")])
    program = example.replace("127.0.0.1:50051", server.address) + "\n    print(hits)"
    exec(compile(program, "example", "exec"), {"Client": Client})  # noqa: S102 - it is ours
    assert capsys.readouterr().out.startswith("[Hit(key='ann', distance=")


def test_client_needs_nothing_but_its_own_packages() -> None:
    """Method: a new interpreter in which the server's packages cannot be imported."""
    barred = [
        *("vectorbucket_server", "hnswlib", "rocksdict", "pyroaring", "msgspec", "structlog"),
        *("pydantic", "pydantic_settings", "typer", "rich", "tenacity"),
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({barred!r}))\n"
        "import vectorbucket; vectorbucket.Client('127.0.0.1:1').close()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=ROOT / "client")
