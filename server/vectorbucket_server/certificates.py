"""Certificates and private keys: from files in PEM to what may be shown, or why it may not.

Rules of this file: certificate, key and authorities are good together or not at all; an error is
one line, names the setting and the file, and shows no key. Nothing is kept, and nothing is watched.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, TypeAlias

import msgspec

from vectorbucket_server.auth.watched_files import Stamp, UnusableFile, content_of, stamp_of

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = b"PRIVATE KEY-----"
_ENCRYPTED = b"ENCRYPTED"
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")

Stamps: TypeAlias = tuple[Stamp, ...]

_TURNS_MAX = 10
"""Turns of either side within which a handshake is over; it takes three."""


class BadTls(ValueError):
    """Files of TLS cannot be used; the message is one line, names the file, and shows no key."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Paths of what a listener speaks TLS with."""

    certificate: str
    key: str
    client_ca: str | None
    """None: callers show no certificates."""


# --- Reading --------------------------------------------------------------------------------------


def _contents(setting: str, path: str) -> bytes:
    """Return what stands in the file that a setting names.

    Raises:
        BadTls: It cannot be read.
    """
    try:
        return content_of(Path(path))
    except UnusableFile as error:
        raise BadTls(f"{setting} {path} {error}") from None


def _stamp(setting: str, path: str) -> Stamp:
    """Return what tells a file from what it was.

    Raises:
        BadTls: There is no file.
    """
    try:
        return stamp_of(Path(path))
    except UnusableFile as error:
        raise BadTls(f"{setting} {path} {error}") from None


def read_certificates(setting: str, path: str) -> bytes:
    """Return the certificates of a file, and nothing else that may stand there, as a key.

    Raises:
        BadTls: There are none.
    """
    found = _CERTIFICATE.findall(_contents(setting, path))
    if not found:
        raise BadTls(f"{setting} {path} holds no certificate in PEM")
    pem = b"".join(one + b"\n" for one in found)
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), setting, path, pem)
    return pem


def read_key(setting: str, path: str) -> bytes:
    """Return the private key of a file.

    Raises:
        BadTls: There is none that can be read.
    """
    pem = _contents(setting, path)
    if _KEY not in pem:
        raise BadTls(f"{setting} {path} holds no private key in PEM")
    if _ENCRYPTED in pem:
        raise BadTls(f"{setting} {path} is encrypted; there is nobody to ask for its password")
    return pem


def _trust(context: ssl.SSLContext, setting: str, path: str, pem: bytes) -> None:
    """Trust the certificates of a file.

    Raises:
        BadTls: One of them is broken.
    """
    try:
        context.load_verify_locations(cadata=pem.decode("latin1"))
    except (ssl.SSLError, ValueError):
        raise BadTls(f"{setting} {path} holds a certificate that is broken") from None


def show_pair(context: ssl.SSLContext, certificate: tuple[str, str], key: tuple[str, str]) -> None:
    """Have a context show a certificate; both are a setting and its path.

    Raises:
        BadTls: Certificate and key do not fit each other, or nobody may use them so.
    """

    def refuse() -> NoReturn:
        raise BadTls(f"{' '.join(key)} is encrypted; there is nobody to ask for its password")

    try:
        context.load_cert_chain(certificate[1], key[1], refuse)
    except ssl.SSLError as error:
        named = f"{' '.join(certificate)} and {' '.join(key)}"
        if error.reason in _MISMATCHES:
            raise BadTls(f"{named} do not belong together") from None
        why = (error.reason or "no PEM").lower().replace("_", " ")
        raise BadTls(f"{named} cannot be used: {why}") from None
    except OSError as error:
        named = " ".join(certificate)
        raise BadTls(f"{named} cannot be read: {error.strerror or error}") from None


# --- What listeners show --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identity:
    """What a listener shows of itself and asks of callers, at one time."""

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext = field(compare=False)
    """The same, for a listener that OpenSSL serves."""
    expires: str
    """When the certificate does, as ``Nov 21 20:00:00 2026 GMT``; empty if it is not good now."""
    objection: str
    """Why clients refuse the certificate, although it can be shown; empty: no reason is known."""


def load_identity(files: TlsFiles) -> Identity:
    """Return what stands in files.

    Raises:
        BadTls: It cannot be used.
    """
    stamps, (certificate, key, client_ca) = stamps_of(files), _read(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    show_pair(context, ("tls_certificate", files.certificate), ("tls_key", files.key))
    expires, objection = _as_clients_see(context, certificate)
    if client_ca is not None and files.client_ca is not None:
        _trust(context, "tls_client_ca", files.client_ca, client_ca)
        # As gRPC has it: who is named in the file is trusted, a root or not.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_mode = ssl.CERT_REQUIRED
    # OpenSSL read certificate and key by itself, so that it may have found others.
    if stamps != stamps_of(files):
        raise BadTls(f"tls_certificate {files.certificate} changed while it was read")
    return Identity(certificate, key, client_ca, context, expires, objection)


def stamps_of(files: TlsFiles) -> Stamps:
    """Return what is different once a file was written, or another put in its place.

    Raises:
        BadTls: One of them is not there.
    """
    named = {"tls_certificate": files.certificate, "tls_key": files.key}
    if files.client_ca is not None:
        named["tls_client_ca"] = files.client_ca
    return tuple(_stamp(setting, path) for setting, path in named.items())


def _read(files: TlsFiles) -> tuple[bytes, bytes, bytes | None]:
    """Return what stands in files, each good by itself."""
    certificate = read_certificates("tls_certificate", files.certificate)
    key = read_key("tls_key", files.key)
    ca = files.client_ca
    return certificate, key, None if ca is None else read_certificates("tls_client_ca", ca)


def _as_clients_see(context: ssl.SSLContext, certificate: bytes) -> tuple[str, str]:
    """Return when the certificate that a context shows expires, and what clients object to in it.

    Method: a client that trusts this very certificate shakes hands with the context. What it still
    finds wrong, everybody does; names are not looked at.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    first = _CERTIFICATE.findall(certificate)[0]
    trusting.load_verify_locations(cadata=first.decode("latin1"))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there)
    server = context.wrap_bio(there, back, server_side=True)
    for _ in range(_TURNS_MAX):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return "", error.verify_message
            except ssl.SSLError as error:
                return "", error.reason or "the handshake fails"
    found = client.getpeercert()
    return str(found["notAfter"]) if found else "", ""
