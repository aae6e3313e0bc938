"""The settings of a server: flags over environment over a TOML file over defaults.

Rules of this file: it only composes. A limit is declared in ``vectorbucket.limits``, an option of
an engine beside the engine; what stands here is what belongs to no other floor. Each field's
docstring is its manual: meaning, unit, default, effect of more and of less. It is the only reader
of the environment. An unknown name is an error that names it, wherever it stands.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from vectorbucket.limits import PROFILES, Limits
from vectorbucket_server.engine.embedded.options import EmbeddedOptions
from vectorbucket_server.observability.logs import LogFormat, LogLevel
from vectorbucket_server.rest.options import RestOptions

ENVIRONMENT_PREFIX = "VECTORBUCKET_"
"""Environment variables are named so, in capitals: VECTORBUCKET_GRPC_ADDRESS,
VECTORBUCKET_LIMIT__TOP_K_MAX."""

MIB = 1024 * 1024

_GIVEN_APART = ("data_dir", "sync_writes")
"""Options of the embedded engine that are settings of their own."""

_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?")


class BadSettings(ValueError):
    """The settings cannot be used; the message is one line and says which and why."""


def _options_of(kind: type[Any], what: str, *given_apart: str) -> Callable[[dict[str, Any]], Any]:
    """Return a validator for a table whose names are the fields of a dataclass.

    Args:
        kind: The dataclass.
        what: What a field is called in an error.
        given_apart: Fields that the table does not have.
    """
    hints = get_type_hints(kind)
    known = [one.name for one in dataclasses.fields(kind) if one.name not in given_apart]

    def checked(table: dict[str, Any]) -> dict[str, Any]:
        values = {}
        for name, value in table.items():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
                hint = f"; there is {', '.join(near)}" if near else ""
                raise ValueError(f"there is no {what} {name!r}{hint}")
            try:
                values[name] = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"{name} is {value!r}: {error.errors()[0]['msg']}") from error
        return values

    return checked


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host stands in brackets, and keeps them.

    Raises:
        ValueError: It is no such address.
    """
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError(f"{address!r} is no HOST:PORT (an IPv6 host stands in brackets)")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65_535):  # noqa: PLR2004 - TCP
        raise ValueError(f"{address!r} has no port from 0 to 65535")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host; no name but localhost is trusted."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _domain(name: object) -> str:
    """Return a host name, perhaps with a port, in small letters."""
    if not isinstance(name, str) or not _DOMAIN.fullmatch(name):
        raise ValueError(f"{name!r} is no host name")
    return name.lower()


def _domains(names: object) -> object:
    """Return host names from a list of them, or from a text with commas between them."""
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    return tuple(map(_domain, names)) if isinstance(names, (list, tuple)) else names


def check_reachable(name: str, address: str, *, guarded: bool) -> None:
    """Check that other machines reach a listener only if somebody wants that.

    Args:
        name: The setting.
        address: Its value.
        guarded: Whether callers are asked for credentials, or the operator waived that.

    Raises:
        ValueError: They do, and nobody is asked who he is.
    """
    host, _ = split_address(address)
    if not guarded and not is_loopback(host):
        raise ValueError(
            f"{name} {address} is no loopback address, so other machines reach it, and nobody is "
            "asked for credentials: name a file of --credentials, or say --insecure if that is "
            "what you want"
        )


class DoorSettings(BaseSettings):
    """What the server and a translator that runs alone have in common."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    insecure: bool = False
    """Whether to serve an address that other machines reach although nobody is asked who he is."""

    credentials: Path | None = None
    """TOML file of credentials: who may call, and what he may do. Changes are picked up while the
    server runs. Without it nobody is asked."""

    account_id: Annotated[str, Field(pattern=r"^[0-9]{1,32}$")] = "1234567890"
    """Account of callers who are not asked for credentials: decimal digits. Buckets belong to the
    account that made them."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "cn-hangzhou"
    """Region that stands in ARNs, and that signatures must name."""

    rest_base_domains: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_domains)] = ()
    """Domains under which REST is served, with commas between them: what stands left of one is
    BUCKET-ACCOUNT. Without any, every host whose first label looks like BUCKET-ACCOUNT is one."""

    rest_public_endpoint: Annotated[str, AfterValidator(lambda name: name and _domain(name))] = ""
    """HOST[:PORT] that REST shows as the endpoint of its buckets. Empty: that of the request."""

    rest: Annotated[
        dict[str, Any], AfterValidator(_options_of(RestOptions, "option of REST", "drain_grace_s"))
    ] = Field(default_factory=dict)
    """Options of the REST listener: NAME=VALUE. rest/options.py is their manual."""

    drain_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """Seconds that calls which are under way get to finish when the server is told to stop."""

    log_format: LogFormat = "json"
    """Form of the log on standard error: ``json``, or ``console`` for people."""

    log_level: LogLevel = "info"
    """Least severe lines that are logged. From ``warning`` on, calls that went well are not."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - of the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def is_guarded(self) -> bool:
        """Whether callers are asked for credentials, or the operator waived that."""
        return self.insecure or self.credentials is not None

    def rest_options(self) -> RestOptions:
        """Return the options of the REST listener."""
        return RestOptions(drain_grace_s=self.drain_grace_s, **self.rest)


class Settings(DoorSettings):
    """Everything that an operator can set for a server."""

    data_dir: Path = Path("vectorbucket-data")
    """Folder that holds everything; made if it is missing. One server at a time may use it."""

    grpc_address: str = "127.0.0.1:50051"
    """HOST:PORT to serve gRPC on. Port 0 takes a free one; the ready line says which. An address
    that is not loopback needs ``credentials`` or ``insecure``."""

    rest_address: str = ""
    """HOST:PORT to serve the REST API of OSS on, by a process that the server starts and watches.
    Port 0 takes a free one. Empty: no REST. An address that is not loopback needs ``credentials``
    or ``insecure``."""

    engine: Literal["embedded", "memory"] = "embedded"
    """What keeps the vectors. ``embedded``: RocksDB and HNSW graphs in this process. ``memory``:
    exact, slow, and forgotten at the end; for trying out and for tests."""

    limits: Literal["oss", "unlimited"] = "oss"
    """Profile of limits. ``oss``: those of OSS Vectors. ``unlimited``: without those that are only
    policy."""

    limit: Annotated[dict[str, Any], AfterValidator(_options_of(Limits, "limit"))] = Field(
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
        AfterValidator(_options_of(EmbeddedOptions, "option of the engine", *_GIVEN_APART)),
    ] = Field(default_factory=dict)
    """Options of the embedded engine: NAME=VALUE. engine/embedded/options.py is their manual."""

    streams_max: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Streaming calls that may be open at once; further ones are refused at once. More: a thread
    and up to two messages of memory each."""

    unary_workers: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Threads for calls that read and end at once, and as many for those that write. More: more
    slow calls side by side, but less throughput of quick ones, which share one interpreter."""

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

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what no field can know alone."""
        check_reachable("grpc_address", self.grpc_address, guarded=self.is_guarded)
        if self.rest_address:
            check_reachable("rest_address", self.rest_address, guarded=self.is_guarded)
        # These check that their values fit each other.
        self.request_limits()
        self.embedded_options()
        self.rest_options()
        return self

    def request_limits(self) -> Limits:
        """Return the limits in force: the profile, and what was set by itself."""
        changes = {"metadata_types": self.metadata_types, **self.limit}
        changes["metadata_types"] = TypeAdapter(
            get_type_hints(Limits)["metadata_types"]
        ).validate_python(changes["metadata_types"])
        return dataclasses.replace(PROFILES[self.limits], **changes)

    def bucket_logs(self) -> Path:
        """Return the folder of the buckets' log files."""
        return self.bucket_log_dir or self.data_dir / "bucket-logs"

    def embedded_options(self) -> EmbeddedOptions:
        """Return the options of the embedded engine."""
        return EmbeddedOptions(
            data_dir=self.data_dir, sync_writes=self.sync_writes, **self.embedded
        )


class TranslateSettings(DoorSettings):
    """Everything that an operator can set for a translator that runs alone."""

    grpc_target: Annotated[str, Field(min_length=1)] = "127.0.0.1:50051"
    """HOST:PORT of the server whose RPCs are called, or any other name that gRPC knows."""

    rest_address: str = "127.0.0.1:8080"
    """HOST:PORT to serve the REST API of OSS on. Port 0 takes a free one; the ready line says
    which. An address that is not loopback needs ``credentials`` or ``insecure``."""

    api_key: SecretStr = SecretStr("")
    """API key that the translator calls the server with; its credential there says
    ``impersonate = true``. Better given in the environment than as a flag, which others see."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what no field can know alone."""
        check_reachable("rest_address", self.rest_address, guarded=self.is_guarded)
        self.rest_options()
        if self.credentials is not None and not self.api_key.get_secret_value():
            raise ValueError(
                "credentials are given and api_key is not: the translator names callers to the "
                "server, which believes only an API key that may impersonate"
            )
        if self.credentials is None and self.api_key.get_secret_value():
            raise ValueError(
                "api_key is given and credentials are not: the translator could not check who "
                "calls, and the server would take everybody for its own"
            )
        return self


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
    shown = "" if fault["type"] == "value_error" else f" is {fault['input']!r}"
    return f"{name}{shown}: {message}" if name else message
