"""The memory that a peer's server takes: of all its processes, as the system tells.

Rules of this file: it reads /proc and changes nothing; what cannot be read is unknown, not zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_STATE_LISTENS = "0A"
_PROCESSES = Path("/proc")


def server_memory_bytes(host: str, port: int) -> int | None:
    """Return the memory of the processes that serve at an address; None: not here, or unknown."""
    if host not in _LOOPBACK:
        return None
    pid = _listening_pid(port)
    return None if pid is None else tree_memory_bytes(pid)


def tree_memory_bytes(pid: int) -> int | None:
    """Return the anonymous memory of a process and all its descendants; None: unknown.

    Memory that they share, such as a database's buffers, counts once.
    """
    parents = dict(_parents())
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    sizes = [
        _fields_bytes(_PROCESSES / str(member) / "smaps_rollup", ("Pss_Anon", "Pss_Shmem"))
        for member in family
    ]
    known = [size for size in sizes if size is not None]
    return sum(known) if known else None


def parent_pid(pid: int) -> int | None:
    """Return the parent of a process; None: there is none here."""
    return dict(_parents()).get(pid)


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process and its parent."""
    for status in _PROCESSES.glob("[0-9]*/stat"):
        try:
            # The name stands in brackets and may hold anything, brackets too.
            fields = status.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        yield int(status.parent.name), int(fields[1])


def _fields_bytes(path: Path, names: Sequence[str]) -> int | None:
    """Return the sum of fields in kB of a file of the system; None: it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.partition(":")[0] in names]
    return sum(int(words[1]) for words in found) * 1024 if found else None


def _listening_pid(port: int) -> int | None:
    """Return the process that listens on a TCP port; None: none that we may look into."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        path = _PROCESSES / "net" / table
        if not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            words = line.split()
            if words[3] == _STATE_LISTENS and int(words[1].rpartition(":")[2], 16) == port:
                sockets.add(f"socket:[{words[9]}]")
    for opened in _PROCESSES.glob("[0-9]*/fd/*"):
        try:
            if str(opened.readlink()) in sockets:
                return int(opened.parts[-3])
        except OSError:
            continue  # closed meanwhile, or not ours to look into
    return None
