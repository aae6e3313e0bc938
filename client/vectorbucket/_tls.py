"""How a client speaks TLS: whom it trusts and who it says it is → gRPC's credentials of a channel.

Rules of this file: what cannot be used is told when the client is made, by the name of the part and
of its file; a private key is shown nowhere: in no error and in no representation.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeGuard

import grpc

FilePath: TypeAlias = str | os.PathLike[str]

PemSource: TypeAlias = FilePath | bytes
"""PEM: the path of a file, or what stands in one."""

_BEGIN = b"-----BEGIN "
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"
_ENCRYPTED = b"ENCRYPTED"


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS with a server: ``Client("vectors.example:50051", tls=Tls(ca="ca.pem"))``.

    Each part is PEM: the path of a file, read when the client is made, or its bytes.

    Attributes:
        ca: Certificates of the authorities that may have signed the server's; None for those that
            gRPC brings along, or that the file named by GRPC_DEFAULT_SSL_ROOTS_FILE_PATH holds.
        certificate: The certificate that the client shows to a server that wants one (mutual TLS),
            with the chain behind it; None for none. No representation shows it: its file may hold
            the key, too.
        key: The private key of the certificate, not encrypted.
    """

    ca: PemSource | None = None
    certificate: PemSource | None = field(default=None, repr=False)
    key: PemSource | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check what no part can know alone."""
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise ValueError(f"tls.{missing} is missing; certificate and key go together")


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Return what a channel needs to speak TLS.

    Raises:
        ValueError: A part cannot be read, or is not what it has to be.
    """
    ca = None if tls.ca is None else _certificates("ca", tls.ca)
    if tls.certificate is None or tls.key is None:
        return grpc.ssl_channel_credentials(ca)
    certificate = _certificates("certificate", tls.certificate)
    key = _read("key", tls.key)
    if _KEY not in key:
        raise ValueError(f"{_named('key', tls.key)} holds no private key in PEM")
    if _ENCRYPTED in key:
        raise ValueError(
            f"{_named('key', tls.key)} is encrypted; gRPC reads only keys that are not"
        )
    _check_pair(tls.certificate, tls.key)
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _certificates(part: str, source: PemSource) -> bytes:
    """Return certificates in PEM.

    Raises:
        ValueError: There are none, or they cannot be read.
    """
    pem = _read(part, source)
    if _CERTIFICATE not in pem:
        raise ValueError(f"{_named(part, source)} holds no certificate in PEM")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ValueError(f"{_named(part, source)} holds a certificate that is broken") from error
    return pem


def _check_pair(certificate: PemSource, key: PemSource) -> None:
    """Raise ValueError unless a key is the certificate's; of bytes, only gRPC can tell."""
    if not _is_path(certificate) or not _is_path(key):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(_path(certificate), _path(key))
    except ssl.SSLError as error:
        named = f"{_named('certificate', certificate)} and {_named('key', key)}"
        raise ValueError(f"{named} do not belong together, or one of them is broken") from error


def _read(part: str, source: PemSource) -> bytes:
    """Return what a part holds.

    Raises:
        ValueError: Its file cannot be read.
    """
    if isinstance(source, bytes):
        return source
    if not _is_path(source):
        return str(source).encode("ascii", "replace")
    try:
        return _path(source).read_bytes()
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise ValueError(f"{_named(part, source)} cannot be read: {why}") from error


def _is_path(source: PemSource) -> TypeGuard[FilePath]:
    """Return whether a part is named by its file; PEM itself may be a text, too."""
    return not isinstance(source, bytes) and _BEGIN.decode() not in os.fspath(source)


def _path(source: FilePath) -> Path:
    return Path(source).expanduser()


def _named(part: str, source: PemSource) -> str:
    """Return how an error names a part, which is never by what it holds."""
    return f"tls.{part} {_path(source)}" if _is_path(source) else f"tls.{part}"
