"""The translator as a process: alone in front of a server, or as the child of one.

Rules of this file: what a translation needs is one value, so that a child can be told all of it in
one line. A child learns on its standard input what to do, and ends when that is closed: so it ends
with its server, however that ends.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import msgspec
import uvloop

from vectorbucket_server.addresses import split_address
from vectorbucket_server.auth.credentials import BadCredentials, CredentialsFile
from vectorbucket_server.certificates import TlsFiles
from vectorbucket_server.door_settings import DoorSettings
from vectorbucket_server.listening import StartFailed, listen
from vectorbucket_server.observability.logs import (
    Log,
    LogFormat,
    LogLevel,
    make_logger,
    route_standard_logging,
)
from vectorbucket_server.rest.options import RestOptions
from vectorbucket_server.rest.oss.translator import Door
from vectorbucket_server.rest.serve import serve_rest
from vectorbucket_server.stop_signals import ONE_S, SIGNALS
from vectorbucket_server.tls import (
    GrpcTls,
    IdentityFiles,
    channel_credentials,
    grpc_tls_of,
    tell_clear_text,
    tls_files_of,
)
from vectorbucket_server.translate_settings import TranslateSettings

READY_LINE = b"ready\n"
"""What a child says once it serves."""


class Translation(msgspec.Struct, frozen=True):
    """What a translator does, and how."""

    grpc_target: str
    """Whose RPCs it calls."""
    api_key: str
    """What it calls them with; empty: nothing."""
    door: Door
    options: RestOptions
    credentials: str | None
    """Path of the file; None: nobody is asked."""
    log_format: LogFormat
    log_level: LogLevel
    tls: TlsFiles | None = None
    """What TLS is spoken with; None: it is not."""
    grpc_tls: GrpcTls | None = None
    """The same, to the server."""


class ChildOrder(msgspec.Struct, frozen=True):
    """What a child is told, as one line of JSON."""

    translation: Translation
    listening_fd: int
    """The descriptor of the socket that it inherited."""
    private_folder: str = ""
    """Of its server's socket, which a server that was killed cannot remove; empty: none is."""


def translation_of(settings: DoorSettings, grpc_target: str, api_key: str) -> Translation:
    """Return the translation that settings ask for."""
    return Translation(
        grpc_target=grpc_target,
        api_key=api_key,
        door=Door(
            region=settings.region,
            account_id=settings.account_id,
            base_domains=settings.rest_base_domains,
            public_endpoint=settings.rest_public_endpoint,
        ),
        options=settings.rest_options(),
        credentials=None if settings.credentials is None else str(settings.credentials),
        log_format=settings.log_format,
        log_level=settings.log_level,
        tls=tls_files_of(settings),
        grpc_tls=grpc_tls_of(settings) if isinstance(settings, TranslateSettings) else None,
    )


def open_credentials(path: str | Path, log: Log) -> CredentialsFile:
    """Return the credentials of a file, which is read again when it changes.

    Args:
        path: Of the file.
        log: Is told when a change cannot be read; what was read before stays in force then.

    Raises:
        StartFailed: It cannot be read now.
    """
    try:
        return CredentialsFile(
            Path(path),
            on_failure=lambda error: log.error(
                "the credentials cannot be read; those of before stay in force", error=str(error)
            ),
        )
    except BadCredentials as error:
        raise StartFailed(str(error)) from error


def new_request_id() -> str:
    """Return the id of a call: 24 upper-case hexadecimal digits."""
    return secrets.token_hex(12).upper()


def translate(settings: TranslateSettings, ready: TextIO) -> None:
    """Translate until SIGTERM or SIGINT, then end what is under way, or cut it after another one.

    Args:
        settings: What the operator wants.
        ready: Gets one line when requests are served, with the address that was really bound.

    Raises:
        StartFailed: The address cannot be had, or credentials or certificates cannot be read.
    """
    translation = translation_of(
        settings, settings.grpc_target, settings.api_key.get_secret_value()
    )
    tell_clear_text(settings, _log_of(translation), rest_address=settings.rest_address)
    with listen(settings.rest_address) as listening:
        host, _ = split_address(settings.rest_address)
        address = f"{host}:{listening.getsockname()[1]}"

        def tell() -> None:
            ready.write(f"vectorbucket-server ready rest={address}\n")
            ready.flush()

        def stop_on_signals(
            loop: asyncio.AbstractEventLoop, stop: asyncio.Event, hurry: asyncio.Event
        ) -> None:
            first_s = 0.0

            def came() -> None:
                nonlocal first_s
                if not stop.is_set():
                    first_s = loop.time()
                    stop.set()
                elif loop.time() - first_s >= ONE_S:
                    hurry.set()

            for number in SIGNALS:
                loop.add_signal_handler(number, came)

        _run(translation, listening, tell, stop_on_signals)


def run_child() -> None:
    """Be the child of a server: take the order from standard input, serve until it is closed."""
    for number in SIGNALS:
        # Those that reach a whole terminal or unit are the server's, which ends its child in turn.
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0) as orders:
        line = _line(orders.fileno())
        if not line:
            return
        order = msgspec.json.decode(line, type=ChildOrder)
        with socket.socket(fileno=order.listening_fd) as listening:

            def tell() -> None:
                os.write(sys.stdout.fileno(), READY_LINE)

            def stop_with_parent(
                loop: asyncio.AbstractEventLoop, stop: asyncio.Event, _hurry: asyncio.Event
            ) -> None:
                def ended() -> None:
                    loop.remove_reader(orders.fileno())  # or it would be called without a pause
                    stop.set()

                loop.add_reader(orders.fileno(), ended)

            try:
                _run(order.translation, listening, tell, stop_with_parent)
                if order.private_folder:
                    shutil.rmtree(order.private_folder, ignore_errors=True)
            except StartFailed as error:
                _log_of(order.translation).error("REST is not served", error=str(error))


def _line(descriptor: int) -> bytes:
    """Return what is read up to the end of a line, and not a byte more; nothing if none comes."""
    read = bytearray()
    while not read.endswith(b"\n"):
        part = os.read(descriptor, 1)
        if not part:
            return b""  # the server ended before it had said everything
        read += part
    return bytes(read)


def _log_of(translation: Translation) -> Log:
    return make_logger(translation.log_format, translation.log_level, sys.stderr)


def _run(
    translation: Translation,
    listening: socket.socket,
    on_ready: Callable[[], object],
    watch: Callable[[asyncio.AbstractEventLoop, asyncio.Event, asyncio.Event], object],
) -> None:
    """Serve until what ``watch`` watches sets the first event; at its second, cut what is left."""
    log = _log_of(translation)
    route_standard_logging(translation.log_format, translation.log_level, sys.stderr)
    credentials = (
        None
        if translation.credentials is None
        else open_credentials(translation.credentials, log).current
    )
    identity = None if translation.tls is None else IdentityFiles(translation.tls, log)
    grpc_tls = translation.grpc_tls
    grpc_credentials = None if grpc_tls is None else channel_credentials(grpc_tls)

    async def serve() -> None:
        loop, stop, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        watch(loop, stop, hurry)
        await serve_rest(
            listening,
            grpc_target=translation.grpc_target,
            grpc_credentials=grpc_credentials,
            door=translation.door,
            options=translation.options,
            credentials=credentials,
            api_key=translation.api_key,
            now_s=time.time,
            new_request_id=new_request_id,
            on_ready=on_ready,
            stop=stop,
            log=log,
            hurry=hurry,
            tls_context=None if identity is None else identity.context,
        )

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())


if __name__ == "__main__":
    run_child()
