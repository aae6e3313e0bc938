"""Authorities and certificates for tests: made when asked for, written where servers read them.

Rules of this file: keys are of elliptic curves, which are made at once; a file is replaced in one
step, as those who rotate certificates do it, unless a test wants to see it half-written.
"""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

HOSTS = ("127.0.0.1", "localhost")
"""Whom certificates are for, unless a test says otherwise."""


@dataclass(frozen=True)
class Issued:
    """A certificate with the chain behind it, and its key, in PEM."""

    certificate: bytes
    key: bytes

    def in_file(self, path: Path) -> Path:
        """Write both into one file, and return its path."""
        path.write_bytes(self.key + self.certificate)
        return path


class Authority:
    """Somebody who issues certificates."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self.pem = self._ca.cert_pem.bytes()
        """The authority's own certificate."""

    def issue(self, *names: str, expired: bool = False) -> Issued:
        """Return a new certificate for hosts, which servers and clients may show."""
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(days=-1 if expired else 9)
        made = self._ca.issue_cert(*(names or HOSTS), not_after=ends)
        chain = b"".join(one.bytes() for one in made.cert_chain_pems)
        return Issued(chain, made.private_key_pem.bytes())


def trusting(authority: Authority, shown: Path | None = None) -> ssl.SSLContext:
    """Return how a client speaks TLS that trusts an authority, and may show what is in a file."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if shown is not None:
        context.load_cert_chain(shown)
    return context


class TlsFolder:
    """The files that a listener speaks TLS with."""

    def __init__(self, folder: Path, issued: Issued, clients: Authority | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        self.client_ca = folder / "clients.pem"
        self.is_mutual = clients is not None
        self.write(issued, clients)

    def write(self, issued: Issued, clients: Authority | None = None) -> None:
        """Put others in the place of what is there."""
        replace(self.key, issued.key)
        replace(self.certificate, issued.certificate)
        if clients is not None:
            replace(self.client_ca, clients.pem)

    @property
    def settings(self) -> dict[str, Any]:
        """What a server is told of the files."""
        named = {"tls_certificate": self.certificate, "tls_key": self.key}
        return named | ({"tls_client_ca": self.client_ca} if self.is_mutual else {})

    @property
    def flags(self) -> list[str]:
        """The same on a command line."""
        return [
            text
            for name, path in self.settings.items()
            for text in (f"--{name.replace('_', '-')}", str(path))
        ]


def replace(path: Path, content: bytes) -> None:
    """Put another file in a file's place, in one step."""
    written = path.with_suffix(".new")
    written.write_bytes(content)
    written.replace(path)
