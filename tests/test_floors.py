"""The drawing in floors.py is sound, and an import against it is found."""

from __future__ import annotations

import pytest

from floors import ROOMS, Room, far_from_home, imports, orphans, room_of, strangers, wrong_arrows
from house import Module

FLOOR = {room.name: room.floor for room in ROOMS}


def module(name: str, source: str) -> Module:
    """Return an inline source as the module of that dotted name."""
    top = "server" if name.startswith("vectorbucket_server") else "client"
    return Module(f"{top}/{name.replace('.', '/')}.py", source)


def test_no_two_rooms_share_a_name_or_a_place() -> None:
    places = [place for room in ROOMS for place in (*room.modules, *room.faces)]
    assert len(FLOOR) == len(ROOMS)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_arrow_of_the_drawing_points_down(room: Room) -> None:
    seam = {"engine.base"} if room.name.startswith("engine.") else set()
    assert not [name for name in room.sees - seam if FLOOR[name] >= room.floor]


def test_nobody_sees_the_roof_and_no_engine_sees_another() -> None:
    for room in ROOMS:
        assert "roof" not in room.sees
        if room.name.startswith("engine."):
            assert not {name for name in room.sees if name.startswith("engine.")} - {"engine.base"}


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("vectorbucket", "client"),
        ("vectorbucket._client", "client"),
        ("vectorbucket.errors", "errors and limits"),
        ("vectorbucket.errors.NoSuchBucket", "errors and limits"),
        ("vectorbucket.v1.vector_pb2", "messages"),
        ("vectorbucket_server", "roof"),
        ("vectorbucket_server.app", "roof"),
        ("vectorbucket_server.filters.parser", "domain"),
        ("vectorbucket_server.engine", "engine.base"),
        ("vectorbucket_server.engine.embedded.store", "engine.embedded"),
        ("vectorbucket_server.service.convert", "service"),
    ],
)
def test_every_module_stands_in_its_room(name: str, room: str) -> None:
    assert room_of(name).name == room


@pytest.mark.parametrize(
    "name", ["vectorbucket_server.shed", "vectorbucket_server.engine.attic", "numpy"]
)
def test_module_that_the_drawing_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(LookupError, match="is in no room"):
        room_of(name)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("vectorbucket_server.model", "import vectorbucket_server.service.convert"),
        ("vectorbucket_server.model", "from vectorbucket.v1 import vector_pb2"),
        ("vectorbucket_server.filters.parser", "from vectorbucket_server.engine import base"),
        ("vectorbucket_server.engine.memory", "from vectorbucket.v1 import vector_pb2"),
        ("vectorbucket_server.engine.memory", "from ..engine.embedded import store"),
        ("vectorbucket_server.engine.embedded.graph", "from vectorbucket_server import app"),
        (
            "vectorbucket_server.observability.logs",
            "from vectorbucket_server.auth import principal",
        ),
        ("vectorbucket_server.service.vectors", "from vectorbucket_server.engine import memory"),
        ("vectorbucket_server.service.vectors", "from vectorbucket import Client"),
        ("vectorbucket_server.service.vectors", "import vectorbucket_server.settings"),
        ("vectorbucket_server.rest.app", "from vectorbucket_server.service import vectors"),
        ("vectorbucket_server.app", "from vectorbucket._client import Client"),
        ("vectorbucket_server.app", "def late():\n    from vectorbucket_server import shed"),
        ("vectorbucket._client", "import vectorbucket_server.model"),
        ("vectorbucket.errors", "from vectorbucket.v1 import error_pb2"),
        ("vectorbucket_server.shed", ""),
    ],
)
def test_arrow_against_the_drawing_is_found(name: str, source: str) -> None:
    assert len(wrong_arrows([module(name, source)])) == 1


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (
            "vectorbucket_server.service.vectors",
            "from vectorbucket_server.engine.base import Engine",
        ),
        ("vectorbucket_server.service.vectors", "from vectorbucket_server.service import convert"),
        ("vectorbucket_server.app", "from vectorbucket_server.engine.memory import MemoryEngine"),
        ("vectorbucket_server.engine.memory", "from vectorbucket_server.engine.base import Engine"),
        ("vectorbucket_server.model", "from vectorbucket.errors import NoSuchBucket"),
        ("vectorbucket_server.cli", "from . import app, settings"),
        ("vectorbucket._client", "from vectorbucket.v1 import vector_pb2"),
    ],
)
def test_arrow_of_the_drawing_is_let_pass(name: str, source: str) -> None:
    assert wrong_arrows([module(name, source)]) == []


def test_relative_imports_are_read_as_absolute_ones() -> None:
    face = Module("server/vectorbucket_server/engine/__init__.py", "from .base import Engine")
    inner = module("vectorbucket_server.engine.memory", "from . import base\nfrom .. import model")
    assert [name for name, _ in imports(face)] == ["vectorbucket_server.engine.base.Engine"]
    assert [name for name, _ in imports(inner)] == [
        "vectorbucket_server.engine.base",
        "vectorbucket_server.model",
    ]


def test_stranger_in_a_plain_room_is_found() -> None:
    assert strangers([module("vectorbucket_server.model", "import json, numpy")]) == []
    assert len(strangers([module("vectorbucket_server.model", "import grpc")])) == 1
    assert len(strangers([module("vectorbucket.errors", "import numpy")])) == 1
    assert strangers([module("vectorbucket_server.service.vectors", "import grpc")]) == []


def test_package_away_from_home_is_found() -> None:
    homes = {"rocksdict": ("vectorbucket_server.engine.embedded.store",)}
    at_home = module("vectorbucket_server.engine.embedded.store", "from rocksdict import Rdict")
    away = module("vectorbucket_server.engine.embedded.graph", "from rocksdict import Rdict")
    assert far_from_home([at_home], homes) == []
    assert len(far_from_home([away], homes)) == 1


def test_module_that_nobody_imports_is_found() -> None:
    modules = [
        module("vectorbucket_server.cli", "from vectorbucket_server.app import serve"),
        module("vectorbucket_server.app", "import vectorbucket_server.model"),
        module("vectorbucket_server.model", "a = 1"),
        module("vectorbucket_server.attic", "import vectorbucket_server.attic"),
    ]
    assert orphans(modules, ["vectorbucket_server.cli"]) == [
        "server/vectorbucket_server/attic.py is imported by no other module"
    ]
