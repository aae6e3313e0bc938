"""The settings of a server: flags over environment over a TOML file over defaults.

Rules of this file: it only composes. A limit is declared in ``vectorbucket.limits``, an option of
an engine beside the engine; what stands here is what belongs to no other floor. Each field's
docstring is its manual: meaning, unit, default, effect of more and of less. It is the only reader
of the environment. An unknown name is an error that names it, wherever it stands.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_settings import SettingsConfigDict, SettingsError

from vectorbucket.limits import PROFILES, Limits
from vectorbucket_server.addresses import check_reachable
from vectorbucket_server.door_settings import ENVIRONMENT_PREFIX, DoorSettings, options_of
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.engine.milvus.options import (
    DATABASE_DEFAULT,
    URI_DEFAULT,
    MilvusOptions,
)
from vectorbucket_server.service.rate_limits import OSS_RATES, checked_rates

MIB = 1024 * 1024

_GIVEN_APART = ("data_dir", "sync_writes")
"""Options of the embedded engine that are settings of their own."""

_MILVUS_GIVEN_APART = ("uri", "token", "database")
"""The same of the engine on Milvus."""

_ENGINES_OWN = ("store", "generations", "backup.partial", "restore.partial")
"""Folders of ``data_dir`` in which nothing is but what the engine put there."""


class BadSettings(ValueError):
    """The settings cannot be used; the message is one line and says which and why."""


class Settings(DoorSettings):
    """Everything that an operator can set for a server."""

    data_dir: Path = Path("vectorbucket-data")
    """Folder that holds everything; made if it is missing. One server at a time may use it."""

    grpc_address: str = "127.0.0.1:50051"
    """HOST:PORT to serve gRPC on. Port 0 takes a free one; the ready line says which. An address
    that is not loopback needs ``credentials``, ``tls_client_ca`` or ``insecure``."""

    rest_address: str = ""
    """HOST:PORT to serve the REST API of OSS on, by a process that the server starts and watches.
    Port 0 takes a free one. Empty: no REST. An address that is not loopback needs
    ``credentials``, ``tls_client_ca`` or ``insecure``."""

    metrics_address: str = ""
    """HOST:PORT to serve `/metrics` for Prometheus on, beside the REST listener, which serves it
    too. Port 0 takes a free one. Empty: no such listener. An address that is not loopback needs
    ``credentials``, ``tls_client_ca`` or ``insecure``; with credentials, whoever asks sends an
    operator's API key."""

    otlp_endpoint: Annotated[str, Field(pattern=r"^(https?://[^/@\s]+/?)?$")] = ""
    """Where traces go, by gRPC: ``http://HOST:PORT`` of an OpenTelemetry collector, or ``https``
    for TLS. Empty: no traces. What else there is to say (headers, sampling, batches) is read from
    OpenTelemetry's own variables, OTEL_…; it needs the extra ``telemetry``."""

    engine: Literal["embedded", "milvus", "memory"] = "embedded"
    """What keeps the vectors. ``embedded``: RocksDB and HNSW graphs in this process. ``milvus``: a
    Milvus that is running elsewhere; see ``milvus_uri``; it needs the extra ``milvus``. ``memory``:
    exact, slow, and forgotten at the end; for trying out and for tests."""

    milvus_uri: Annotated[str, Field(pattern=r"^https?://[^/@\s]+/?$")] = URI_DEFAULT
    """Where Milvus takes calls, for the engine ``milvus``: ``http://HOST:PORT``, or ``https`` for
    TLS."""

    milvus_token: str = ""
    """``USER:PASSWORD`` or an API key for Milvus, where it asks for one. Better given by the
    environment than on the command line, which others can read."""

    milvus_database: str = DATABASE_DEFAULT
    """The database of Milvus that holds the buckets. It must exist. Servers that name the same one
    serve the same buckets; nothing else may keep its own there."""

    milvus: Annotated[
        dict[str, Any],
        AfterValidator(options_of(MilvusOptions, "option of the engine", *_MILVUS_GIVEN_APART)),
    ] = Field(default_factory=dict)
    """Options of the engine on Milvus: NAME=VALUE. engine/milvus/options.py is their manual."""

    limits: Literal["oss", "unlimited"] = "oss"
    """Profile of limits. ``oss``: those of OSS Vectors. ``unlimited``: without those that are only
    policy."""

    limit: Annotated[dict[str, Any], AfterValidator(options_of(Limits, "limit"))] = Field(
        default_factory=dict
    )
    """Limits set by themselves, over the profile: NAME=VALUE."""

    metadata_types: Literal["all", "strings"] = "all"
    """Which values metadata may hold. ``all``: texts, numbers, booleans and lists of them.
    ``strings``: texts and lists of texts, as OSS documented it until March 2026."""

    sync_writes: bool = True
    """Whether a write is synced to disk before it is acknowledged. Without, a killed process loses
    nothing, but a machine that loses power may lose the last seconds."""

    embedded: Annotated[
        dict[str, Any],
        AfterValidator(options_of(EmbeddedOptions, "option of the engine", *_GIVEN_APART)),
    ] = Field(default_factory=dict)
    """Options of the embedded engine: NAME=VALUE. engine/embedded/options.py is their manual."""

    streams_max: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Streaming calls that may be open at once; further ones are refused at once. More: a thread
    and up to two messages of memory each."""

    unary_workers: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Threads for calls that read and end at once, and as many for those that write. More: more
    slow calls side by side, but less throughput of quick ones, which share one interpreter."""

    rate_limits: Literal["none", "oss"] = "none"
    """Profile of rates: how often a caller may do what. ``none``: as often as he likes. ``oss``: as
    OSS documented it, 5 PutVectors and 5 PutVectorIndex a second. Callers are told apart by their
    credentials; on a server without any, all are one."""

    rate_limit: Annotated[dict[str, Any], AfterValidator(checked_rates)] = Field(
        default_factory=dict
    )
    """Rates set by themselves, over the profile: OPERATION=CALLS_A_SECOND, as QueryVectors=100;
    operations are those of OSS, and each RPC counts as the one whose work it does. A call too many
    is refused with the time after which it is welcome; a put stream is slowed down instead."""

    first_message_timeout_s: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """Seconds that a caller who has sent the headers of a call has for its message. Then the call
    is cancelled, because it keeps a thread. Less: a slow line may be too slow for large batches."""

    health: bool = True
    """Whether to serve the standard health service, grpc.health.v1."""

    reflection: bool = True
    """Whether to serve the standard reflection service, with which tools like grpcurl find their
    way. It says what the contract says, to callers who are known."""

    drain_notice_s: Annotated[float, Field(ge=0, le=3_600)] = 0.0
    """Seconds for which a server that is told to stop goes on as before, with health already
    saying NOT_SERVING, so that load balancers send nobody else. Then ``drain_grace_s`` begins."""

    in_flight_bytes_max: Annotated[int, Field(ge=1)] = 256 * MIB
    """Bytes of request messages that are worked on at once; further ones wait their turn. Memory in
    use is a small multiple of it."""

    bucket_log_dir: Path | None = None
    """Folder of the log files that buckets ask for (PutBucketLogging), one folder in it for each
    target bucket; made when the first line is written. None: ``bucket-logs`` in ``data_dir``."""

    bucket_log_rotate_s: Annotated[float, Field(ge=1, le=86_400 * 7)] = 3600.0
    """Seconds after which a bucket's log goes on in a new file."""

    bucket_log_bytes_max: Annotated[int, Field(ge=4096)] = 64 * MIB
    """Bytes after which a bucket's log goes on in a new file."""

    backup_dir: Path | None = None
    """Folder of the backups that PutBackup makes, one folder in it for each; made with the first
    one. On the disk of ``data_dir`` a backup shares files with it until those change, and is made
    in a moment; on another disk it survives the loss of the first. None: ``backups`` in
    ``data_dir``, of which it may not be a folder that the server uses itself."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what no field can know alone."""
        check_reachable("grpc_address", self.grpc_address, guarded=self.is_guarded)
        if self.rest_address:
            check_reachable("rest_address", self.rest_address, guarded=self.is_guarded)
        if self.metrics_address:
            check_reachable("metrics_address", self.metrics_address, guarded=self.is_guarded)
        # These check that their values fit each other.
        self.request_limits()
        self.embedded_options()
        self.milvus_options()
        self.rest_options()
        self._check_backup_dir()
        return self

    def _check_backup_dir(self) -> None:
        """Check that backups are not where an engine removes what it does not know."""
        folder, data_dir = self.backups().resolve(), self.data_dir.resolve()
        if folder.is_relative_to(data_dir):
            parts = folder.relative_to(data_dir).parts
            if not parts or parts[0] in _ENGINES_OWN:
                raise ValueError(
                    f"backup_dir is {folder}, among the engine's own files in data_dir; it must "
                    "be another folder, in data_dir or elsewhere"
                )

    def request_limits(self) -> Limits:
        """Return the limits in force: the profile, and what was set by itself."""
        changes = {"metadata_types": self.metadata_types, **self.limit}
        changes["metadata_types"] = TypeAdapter(
            get_type_hints(Limits)["metadata_types"]
        ).validate_python(changes["metadata_types"])
        return dataclasses.replace(PROFILES[self.limits], **changes)

    def rates(self) -> dict[str, float]:
        """Return how often a second a caller may do what, by operation."""
        profile = OSS_RATES if self.rate_limits == "oss" else {}
        return {**profile, **self.rate_limit}

    def bucket_logs(self) -> Path:
        """Return the folder of the buckets' log files."""
        return self.bucket_log_dir or self.data_dir / "bucket-logs"

    def backups(self) -> Path:
        """Return the folder of the backups."""
        return self.backup_dir or self.data_dir / "backups"

    def embedded_options(self) -> EmbeddedOptions:
        """Return the options of the embedded engine."""
        return EmbeddedOptions(
            data_dir=self.data_dir, sync_writes=self.sync_writes, **self.embedded
        )

    def milvus_options(self) -> MilvusOptions:
        """Return the options of the engine on Milvus."""
        return MilvusOptions(
            uri=self.milvus_uri,
            token=self.milvus_token,
            database=self.milvus_database,
            **self.milvus,
        )


S = TypeVar("S", bound=DoorSettings)


def load_settings(kind: type[S], flags: Mapping[str, Any], config: Path | None = None) -> S:
    """Return the settings from all sources.

    Args:
        kind: Settings, or TranslateSettings.
        flags: What the command line said; strings are fine, names are those of the kind.
        config: The TOML file; None means the one that VECTORBUCKET_CONFIG names, if any.

    Raises:
        BadSettings: A source cannot be read, or says something unknown or impossible.
    """
    if config is None and (named := os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")):
        config = Path(named)
    if config is not None and not config.is_file():
        raise BadSettings(f"the configuration file {config} does not exist")

    configured = type(
        kind.__name__, (kind,), {"model_config": SettingsConfigDict(toml_file=config)}
    )
    try:
        settings: S = configured(**flags)
    except ValidationError as error:
        raise BadSettings("; ".join(_sentence(dict(one)) for one in error.errors())) from error
    except SettingsError as error:
        raise BadSettings(f"the environment cannot be read: {error}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"the configuration file {config} cannot be read: {error}") from error
    return settings


def _sentence(fault: dict[str, Any]) -> str:
    """Return what is wrong with one setting, as one line."""
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"there is no setting {name!r}"
    message = str(fault["msg"]).removeprefix("Value error, ").replace("\n", " ")
    # An address with an @ in it was given with a password.
    is_secret = name in {"api_key", "milvus_token"} or "@" in str(fault["input"])
    shown = "" if is_secret or fault["type"] == "value_error" else f" is {fault['input']!r}"
    return f"{name}{shown}: {message}" if name else message
