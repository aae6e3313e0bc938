"""TLS of the listeners, and of the way to a server: certificates in force, and changed ones.

Rules of this file: a change that cannot be used leaves in force what was, and is told; a connection
goes on as it began, only new ones find what has changed. What is in files, certificates.py knows.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec

from vectorbucket_server.addresses import is_loopback, split_address
from vectorbucket_server.auth.watched_files import LOOK_AGAIN_S, Watched
from vectorbucket_server.certificates import (
    BadTls,
    Identity,
    TlsFiles,
    load_identity,
    read_certificates,
    read_key,
    show_pair,
    stamps_of,
)
from vectorbucket_server.door_settings import DoorSettings
from vectorbucket_server.listening import StartFailed
from vectorbucket_server.observability.logs import Log
from vectorbucket_server.translate_settings import TranslateSettings


class GrpcTls(msgspec.Struct, frozen=True):
    """Paths of what a translator speaks TLS with to its server."""

    ca: str | None
    """None: whom gRPC trusts by itself."""
    certificate: str | None
    key: str | None


def tls_files_of(settings: DoorSettings) -> TlsFiles | None:
    """Return the files of listeners that speak TLS; None if they are not to."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    client_ca = _text(settings.tls_client_ca)
    return TlsFiles(str(settings.tls_certificate), str(settings.tls_key), client_ca)


def grpc_tls_of(settings: TranslateSettings) -> GrpcTls | None:
    """Return the files for the way to the server; None if TLS is not to be spoken there."""
    if not settings.grpc_tls:
        return None
    own = settings.grpc_client_certificate, settings.grpc_client_key
    return GrpcTls(_text(settings.grpc_ca), *map(_text, own))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


# --- What is in force ---------------------------------------------------------------------------


class IdentityFiles:
    """Files that may change while a listener serves; any thread may ask what is in them."""

    def __init__(
        self,
        files: TlsFiles,
        log: Log,
        *,
        clock: Callable[[], float] = time.monotonic,
        look_again_s: float = LOOK_AGAIN_S,
    ) -> None:
        """Read the files.

        Args:
            files: Where they are.
            log: Is told of every change, once, by the thread of a connection.
            clock: Seconds from any beginning.
            look_again_s: For how long the files are taken to be as they were.

        Raises:
            StartFailed: They cannot be used.
        """
        self._files = files
        self._log = log
        try:
            self._watched = Watched(
                stamp=lambda: stamps_of(files),
                read=lambda: load_identity(files),
                make=self._taken,
                fault=BadTls,
                on_failure=self._tell_failure,
                clock=clock,
                look_again_s=look_again_s,
            )
        except BadTls as error:
            raise StartFailed(str(error)) from error

    def current(self) -> Identity:
        """Return what is in force, after a look at the files if the last was a while ago.

        The same keeps its context, and with it the sessions that clients may resume. Nobody waits
        for somebody else's look.
        """
        return self._watched.current()

    def context(self) -> ssl.SSLContext:
        """Return the context of a connection that begins now."""
        return self.current().context

    def _taken(self, found: Identity, before: Identity | None) -> Identity:
        """Return what the files show now, and tell what there is to say of it."""
        if before is not None:
            self._log.info("the TLS files have changed", expires=found.expires)
        if found.objection:
            self._log.warning(
                "clients will refuse the certificate",
                tls_certificate=self._files.certificate,
                reason=found.objection,
            )
        return found

    def _tell_failure(self, error: BadTls) -> None:
        event = "the TLS files cannot be used; those of before stay in force"
        self._log.error(event, error=str(error))


def open_identity(settings: DoorSettings, log: Log) -> IdentityFiles | None:
    """Return what the listeners of settings show; None if they are not to speak TLS.

    Raises:
        StartFailed: It cannot be used.
    """
    files = tls_files_of(settings)
    return None if files is None else IdentityFiles(files, log)


def tell_clear_text(settings: DoorSettings, log: Log, **addresses: str) -> None:
    """Warn of addresses that other machines send keys to, and that speak no TLS.

    Args:
        settings: Of the listeners.
        log: Where the warning goes.
        addresses: HOST:PORT of each, by its setting; empty: there is none.
    """
    if settings.credentials is None or settings.tls_certificate is not None:
        return
    for name, address in addresses.items():
        if address and not is_loopback(split_address(address)[0]):
            event = "callers' keys and vectors come to this address without encryption"
            log.warning(event, setting=name, address=address, missing="tls_certificate")


# --- For gRPC -------------------------------------------------------------------------------------


def server_credentials(files: IdentityFiles | None) -> grpc.ServerCredentials | None:
    """Return what a gRPC server speaks TLS with; a new connection finds what is in force then.

    Args:
        files: What is shown and asked for; None: TLS is not spoken.
    """
    if files is None:
        return None
    given = files.current()

    def changed() -> Any:  # None: nothing has
        nonlocal given
        now = files.current()
        if now is given:
            return None
        given = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        changed,
        require_client_authentication=given.client_ca is not None,
    )


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(identity.key, identity.certificate)], root_certificates=identity.client_ca
    )


def channel_credentials(tls: GrpcTls) -> grpc.ChannelCredentials:
    """Return what a channel speaks TLS with; the files are read now, and never again.

    Raises:
        StartFailed: They cannot be used.
    """
    try:
        ca = None if tls.ca is None else read_certificates("grpc_ca", tls.ca)
        if tls.certificate is None or tls.key is None:
            return grpc.ssl_channel_credentials(ca)
        certificate = read_certificates("grpc_client_certificate", tls.certificate)
        key = read_key("grpc_client_key", tls.key)
        show_pair(
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            ("grpc_client_certificate", tls.certificate),
            ("grpc_client_key", tls.key),
        )
    except BadTls as error:
        raise StartFailed(str(error)) from error
    return grpc.ssl_channel_credentials(ca, key, certificate)
