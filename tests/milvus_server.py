"""The real Milvus, standalone, for the tests: started, killed, started again, and never left over.

The binary and its configuration come from the package ``milvus``; its wrapper ``milvus-server`` is
not used, since two wrappers at once fight for etcd's second port, each unpacks a quarter of a
gigabyte for itself, and what it starts outlives it. Here the binary is unpacked once, in the
system's folder for temporary files, and a keeper stands between a test and each Milvus: this file,
run as a program. It ends Milvus when nobody uses it any more, as the kernel's lock on the file
``users`` says, and the kernel ends Milvus with the keeper. So not even a test run that is killed
with SIGKILL leaves one behind.

Rules of this file: nothing of ours is imported here, and pymilvus only where a database is made.
A folder holds one Milvus: its ports, data and logs are all in there.
"""

from __future__ import annotations

import ctypes
import fcntl
import http.client
import importlib.util
import os
import platform
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Self

QUICK = {
    "PROXY_TIMETICKINTERVAL": "20",
    "QUERYCOORD_CHECKINTERVAL": "50",
    "QUERYCOORD_CHECKSEGMENTINTERVAL": "50",
    "QUERYCOORD_CHECKCHANNELINTERVAL": "50",
    "QUERYCOORD_DISTPULLINTERVAL": "50",
}
"""Makes waiting short: a Strong read takes 25 ms instead of 200, loading 2 s instead of 3."""

MILVUS_TESTS = (
    "tests/engines",
    "tests/server/engine/milvus",
    "tests/durability",
    "tests/oss",
    "tests/end_to_end",
    "tests/test_milvus_server.py",
    "tests/scripts/test_bench_milvus.py",
    "tests/scripts/test_bench_milvus_direct.py",
)
"""Where tests may use it; ``scripts/test`` runs those beside all others."""

READY_WITHIN_S = 120.0
"""A start takes 2.5 s on a quiet machine, and 8 s over the data of one that was killed."""

LEASE_S = 5
"""What a killed Milvus stands in its successor's way: its session at etcd, 30 s by default.

It renews the session every third of this, so that much shorter would end it on a busy machine.
"""

_PORTS_FROM, _PORTS_TO = 20_000, 32_000
"""Below those that the kernel gives to others, so that a port is still free after a restart."""

_ATTEMPTS = 3
_LOOK_EVERY_S = 0.2
_PR_SET_PDEATHSIG = 1

_ETCD = """\
name: default
data-dir: {data}
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
unsafe-no-fsync: {quick}
log-level: warn
log-outputs: [{log}]
"""


def why_missing() -> str | None:
    """Say why there is no Milvus to test with; None if there is one.

    Raises:
        RuntimeError: It is not installed, on a platform that has it.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"there is no package milvus for {sys.platform} on {platform.machine()}"
    if importlib.util.find_spec("milvus") is None:
        raise RuntimeError("the package milvus is not installed; scripts/setup installs it")
    return None


class MilvusServer:
    """One Milvus in a folder, and the keeper that ends it; used as a context, it is started."""

    def __init__(self, folder: Path, *, quick: bool = True, lease_s: int = LEASE_S) -> None:
        """Do not start it yet.

        Args:
            folder: Where it is to be, or was.
            quick: Whether ``QUICK`` is in force, and etcd does not wait for the disk (which only a
                machine without power would notice); else everything is as Milvus has it.
            lease_s: See ``LEASE_S``; not less than 2.
        """
        self.folder = folder
        self.keeper: subprocess.Popen[bytes] | None = None
        """The leader of the process group that Milvus is in."""
        self._quick = quick
        self._lease_s = lease_s
        self._users: IO[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def uri(self) -> str:
        """Where clients find it; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def group(self) -> int:
        """The number of the process group that it and its keeper are in."""
        assert self.keeper is not None, "it is not started"
        return self.keeper.pid

    def start(self) -> None:
        """Start it over what is in its folder, and return when it serves.

        Raises:
            RuntimeError: It ended again, three times.
            TimeoutError: It does not become ready.
        """
        self.use()
        before = self._port
        for _ in range(_ATTEMPTS):
            if self._started(before or _free_ports()):
                return
        raise RuntimeError(f"Milvus does not start; its last words: {self._last_words()}")

    def restart(self) -> None:
        """Start it again where it was, on the same port; kill it first if it is there."""
        self.kill()
        self.start()

    def kill(self) -> None:
        """End it as SIGKILL does, and return when nothing of it is left but its data."""
        if self.keeper is not None:
            with suppress(ProcessLookupError):
                os.kill(self.keeper.pid, signal.SIGTERM)
            self.keeper.wait()
            self.keeper = None
        self._let_go()

    def stop(self) -> None:
        """End it for good: the data are removed, the logs are left.

        It is killed. A Milvus that is asked to end takes a second or a minute and a half.
        """
        self.kill()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def use(self) -> None:
        """Say that this process uses what runs in the folder, until it stops or kills it."""
        if self._users is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "users").touch()
            self._users = (self.folder / "users").open("rb")
            fcntl.lockf(self._users, fcntl.LOCK_SH)

    def leave(self) -> None:
        """Do not use it any more; whoever started it waits until nobody does, and it has ended."""
        self._let_go()
        if self.keeper is not None:
            self.keeper.wait()
            self.keeper = None
            shutil.rmtree(self.folder / "data", ignore_errors=True)

    def find(self) -> bool:
        """Return whether another process has started it, and take its address from there."""
        with suppress(FileNotFoundError):
            self._port = int((self.folder / "address").read_text())
            return True
        return False

    def _let_go(self) -> None:
        if self._users is not None:
            self._users.close()
            self._users = None

    def _started(self, first: int) -> bool:
        """Return whether it serves, at this port and those after it; False if it has ended."""
        self._port = first
        environment = self._configured(first)
        binary = _unpacked() / "milvus"
        with (self.folder / "logs" / "output.log").open("ab") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, "-I", __file__, str(self.folder), str(binary)],
                cwd=self.folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + READY_WITHIN_S
        while not _is_healthy(int(environment["METRICS_PORT"])):
            if self.keeper.poll() is not None:
                self.keeper = None
                return False
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError(f"Milvus is not ready; its last words: {self._last_words()}")
            time.sleep(0.02)
        (self.folder / "address").write_text(str(first))
        return True

    def _configured(self, first: int) -> dict[str, str]:
        """Write its configuration; return what it is told by its environment.

        Args:
            first: The first of as many ports as it needs.
        """
        from milvus import MilvusServerConfig  # noqa: PLC0415 - not everywhere to be had

        config = MilvusServerConfig(data_dir=str(self.folder))
        config.resolve_storage()
        ports = {name: first + 2 + at for at, name in enumerate(_port_names())}
        ports["proxy_port"] = first
        for name, port in ports.items():
            config.set(name, port)
        config.write_config()
        etcd = self.folder / "configs" / "etcd.yaml"
        etcd.write_text(
            _ETCD.format(
                data=self.folder / "data" / "etcd.data",
                client=ports["etcd_port"],
                peer=first + 1,
                quick=str(self._quick).lower(),
                log=self.folder / "logs" / "etcd.log",
            )
        )
        environment = {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(max(ports.values()) + 1),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "LD_LIBRARY_PATH": str(_unpacked()),
            "ETCD_CONFIG_PATH": str(etcd),
            "LOG_LEVEL": "warn",
        }
        if self._quick:
            environment |= QUICK | {"COMMON_SESSION_TTL": str(self._lease_s)}
        return environment

    def _last_words(self) -> str:
        return (self.folder / "logs" / "output.log").read_text(errors="replace")[-2_000:]


@contextmanager
def shared_server(folder: Path) -> Iterator[MilvusServer]:
    """Yield the one Milvus of a folder to all processes that ask for it, started by the first.

    It ends when the last has left; the one that started it waits for that.
    """
    server = MilvusServer(folder, lease_s=30)
    server.use()
    try:
        with (folder / "starting").open("wb") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            if not server.find():
                server.start()
        yield server
    finally:
        server.leave()


@contextmanager
def temporary_database(uri: str) -> Iterator[str]:
    """Yield the name of a new database; it is dropped at the end with all that is in it.

    Milvus has at most 64 at once.
    """
    from pymilvus import MilvusClient  # noqa: PLC0415 - takes a second, which few tests need

    name = f"t_{uuid.uuid4().hex}"
    with closing(MilvusClient(uri)) as client:
        client.create_database(name)
    yield name
    with closing(MilvusClient(uri, db_name=name)) as client:
        for collection in client.list_collections():
            client.drop_collection(collection)
        client.drop_database(name)


def _port_names() -> list[str]:
    """Return what the package's template calls the ports, but for the one of the clients."""
    from milvus import MilvusServerConfig  # noqa: PLC0415 - not everywhere to be had

    names = [name for name in MilvusServerConfig().configurable_items if name.endswith("_port")]
    return [name for name in names if name != "proxy_port"]


def _free_ports() -> int:
    """Return the first of as many free ports in a row as a Milvus needs."""
    count = len(_port_names()) + 3
    while True:
        first = _PORTS_FROM + secrets.randbelow((_PORTS_TO - _PORTS_FROM) // count) * count
        if all(_is_free(port) for port in range(first, first + count)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", port))
        except OSError:
            return False
    return True


def _is_healthy(metrics_port: int) -> bool:
    """Ask Milvus whether all its parts are there."""
    connection = http.client.HTTPConnection("127.0.0.1", metrics_port, timeout=10)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status == http.client.OK and b"OK" in answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _unpacked() -> Path:
    """Return the folder with the binary and its libraries, which all runs of a user share."""
    import milvus  # noqa: PLC0415 - not everywhere to be had

    name = f"vectorbucket-tests-milvus-{milvus.__version__}-{os.getuid()}"
    place = Path(tempfile.gettempdir()) / name
    if not place.exists():
        made = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        milvus._initialize_data_files(str(made))
        with suppress(OSError):  # another was as quick
            made.rename(place)
        shutil.rmtree(made, ignore_errors=True)
    assert place.stat().st_uid == os.getuid(), f"{place} belongs to somebody else"
    return place / "bin"


def _keep(folder: Path, binary: str) -> None:
    """Run Milvus until it ends, a signal says so, or nobody uses it."""
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    address = folder / "address"
    with (folder / "users").open("r+b") as users:
        # One thread alone is in this program, so a function may run between fork and exec.
        child = subprocess.Popen([binary, "run", "standalone"], preexec_fn=prepare)  # noqa: PLW1509
        while signal.sigtimedwait(signals, _LOOK_EVERY_S) is None:
            with suppress(OSError):
                fcntl.lockf(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
        address.unlink(missing_ok=True)
        child.kill()
        child.wait()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.argv[2])
