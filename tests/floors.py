"""The floors of the house and the arrows between them, as one table.

Rules of this file: ROOMS is the drawing of server/ARCHITECTURE.md and is changed together with it;
arrows are read from the sources, never by importing them; every module belongs to exactly one room.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from house import Findings, Module


@dataclass(frozen=True)
class Room:
    """A part of the house whose modules may import the same things."""

    name: str
    floor: int
    modules: tuple[str, ...]
    """Dotted names; each stands for what is below it, too. The longest that fits decides."""
    sees: frozenset[str] = frozenset()
    """Rooms that it may import from, beside itself: lower ones, and for engines their seam."""
    faces: tuple[str, ...] = ()
    """Packages of which only the ``__init__`` belongs to the room."""
    third_party: frozenset[str] | None = None
    """Packages that are neither ours nor the standard library's; None means any."""


CONTRACT = frozenset({"errors and limits", "messages", "status"})
NOTHING: frozenset[str] = frozenset()
NUMPY = frozenset({"numpy"})
_SERVER = "vectorbucket_server"
_ENGINES = frozenset({"engine.memory", "engine.embedded", "engine.milvus"})

ROOMS = (
    Room(
        "errors and limits",
        0,
        ("vectorbucket.errors", "vectorbucket.limits"),
        third_party=NOTHING,
    ),
    Room("messages", 0, ("vectorbucket.v1",)),
    # How an error crosses the wire, both ways.
    Room("status", 1, ("vectorbucket.status",), frozenset({"errors and limits"})),
    # The client is a tower of its own; its face exports what stands behind it.
    Room("client", 2, ("vectorbucket",), CONTRACT),
    # What a shell asks stands on the client, as any other program of a user.
    Room("command line", 3, ("vectorbucket.cli",), CONTRACT | {"client"}),
    Room(
        "domain",
        1,
        (f"{_SERVER}.model", f"{_SERVER}.naming", f"{_SERVER}.filters"),
        frozenset({"errors and limits"}),
        third_party=NUMPY,
    ),
    Room(
        "engine.base",
        2,
        tuple(
            f"{_SERVER}.engine.{name}"
            for name in ("base", "callers", "capabilities", "backup_file")
        ),
        frozenset({"errors and limits", "domain"}),
        faces=(f"{_SERVER}.engine",),
        third_party=NUMPY,
    ),
    *(
        Room(
            name,
            2,
            (f"{_SERVER}.{name}",),
            frozenset({"errors and limits", "domain", "engine.base"}),
            third_party=NUMPY if name == "engine.memory" else None,
        )
        for name in sorted(_ENGINES)
    ),
    Room("auth", 3, (f"{_SERVER}.auth",), CONTRACT | {"domain"}),
    Room("observability", 3, (f"{_SERVER}.observability",), CONTRACT | {"domain"}),
    Room(
        "service",
        4,
        (f"{_SERVER}.service",),
        CONTRACT | {"domain", "engine.base", "auth", "observability"},
    ),
    Room("rest", 5, (f"{_SERVER}.rest",), CONTRACT | {"auth", "observability"}),
    Room("console", 5, (f"{_SERVER}.console",), third_party=NOTHING),
    Room(
        "roof",
        6,
        tuple(
            f"{_SERVER}.{name}"
            for name in (
                "app",
                "cli",
                "settings",
                "door_settings",
                "translate_settings",
                "addresses",
                "grpc_listener",
                "tls",
                "certificates",
                "metrics_listener",
                "disk_commands",
                "listening",
                "stop_signals",
                "connections",
                "translate",
                "translator_process",
                "__main__",
                "fork_support",
            )
        ),
        CONTRACT
        | _ENGINES
        | {"domain", "engine.base", "auth", "observability", "service", "rest", "console"},
        faces=(_SERVER,),
    ),
)
"""Every room, from the ground up."""


def is_below(name: str, prefixes: Iterable[str]) -> bool:
    """Return whether a dotted name is one of these, or inside one."""
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def room_of(name: str) -> Room:
    """Return the room of a module, or of a name inside one.

    Raises:
        LookupError: The drawing has no place for it.
    """
    fitting = [
        (len(prefix), room.name, room)
        for room in ROOMS
        for prefix in (*room.modules, *room.faces)
        if name == prefix or (prefix in room.modules and name.startswith(f"{prefix}."))
    ]
    if not fitting:
        raise LookupError(f"{name} is in no room of the drawing")
    return max(fitting, key=lambda one: one[0])[2]


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Yield each module that a module imports, absolute, with the line.

    For ``from package import name`` it yields ``package.name``, which may be a module or a name in
    one: both belong to the same room, unless the package's face is all that was meant.
    """
    package = module.name.split(".")
    if not module.path.endswith("__init__.py"):
        package = package[:-1]
    for node in module.nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{origin}.{alias.name}", node.lineno) for alias in node.names)


def is_ours(name: str) -> bool:
    """Return whether a dotted name belongs to the client or the server."""
    return is_below(name, ("vectorbucket", _SERVER))


def wrong_arrows(modules: Iterable[Module]) -> Findings:
    """Find imports that the drawing does not allow, and modules that it does not place."""
    findings = []
    for module in modules:
        try:
            room = room_of(module.name)
            for name, line in imports(module):
                if is_ours(name) and not _may_see(room, room_of(name)):
                    findings.append(f"{module.path}:{line} {room.name} imports {name}")
        except LookupError as error:
            findings.append(f"{module.path}: {error}")
    return findings


def _may_see(room: Room, target: Room) -> bool:
    return target is room or target.name in room.sees


def strangers(modules: Iterable[Module]) -> Findings:
    """Find imports of third-party packages in rooms that are to stand without them."""
    findings = []
    for module in modules:
        allowed = room_of(module.name).third_party
        for name, line in imports(module):
            package = name.split(".")[0]
            foreign = not is_ours(name) and package not in sys.stdlib_module_names
            if allowed is not None and foreign and package not in allowed:
                findings.append(f"{module.path}:{line} imports {package}")
    return findings


def far_from_home(modules: Iterable[Module], homes: Mapping[str, tuple[str, ...]]) -> Findings:
    """Find imports of packages outside the modules where they are at home.

    Args:
        modules: Where to look.
        homes: By package, the dotted names (each with what is below it) that may import it.
    """
    return [
        f"{module.path}:{line} imports {package}"
        for module in modules
        for name, line in imports(module)
        for package, places in homes.items()
        if is_below(name, (package,)) and not is_below(module.name, places)
    ]


def orphans(modules: Iterable[Module], entries: Iterable[str]) -> Findings:
    """Find modules that no other module imports.

    Args:
        modules: All modules.
        entries: Dotted names that are started rather than imported.
    """
    modules = list(modules)
    imported: set[str] = set()
    for module in modules:
        for name, _ in imports(module):
            imported |= {name, name.rpartition(".")[0]} - {module.name}
    return [
        f"{module.path} is imported by no other module"
        for module in modules
        if module.name not in imported
        and module.name not in set(entries)
        and not module.path.endswith("__init__.py")
    ]
