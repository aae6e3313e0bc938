"""What the server and a translator that runs alone can both be told.

Rules of this file: as those of settings.py, which is the one that is used; only fields and how a
field is read.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from vectorbucket_server.addresses import domain, domains
from vectorbucket_server.observability.logs import LogFormat, LogLevel
from vectorbucket_server.rest.options import RestOptions

ENVIRONMENT_PREFIX = "VECTORBUCKET_"
"""Environment variables are named so, in capitals: VECTORBUCKET_GRPC_ADDRESS,
VECTORBUCKET_LIMIT__TOP_K_MAX."""


def options_of(kind: type[Any], what: str, *given_apart: str) -> Callable[[dict[str, Any]], Any]:
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

    tls_certificate: Path | None = None
    """PEM file of the certificate that is shown to callers, with the chain behind it: gRPC and REST
    then speak TLS only, version 1.2 or later. Read again when it changes; connections go on as they
    are. Without it nothing is encrypted."""

    tls_key: Path | None = None
    """PEM file of the certificate's private key, not encrypted. Goes with ``tls_certificate``; may
    be the same file."""

    tls_client_ca: Path | None = None
    """PEM file of authorities: only callers that show a certificate signed by one of them get in,
    by gRPC and by REST (mutual TLS). Read again when it changes. It says who gets in, not what he
    may do: that takes ``credentials``, without which everybody who gets in may do everything."""

    account_id: Annotated[str, Field(pattern=r"^[0-9]{1,32}$")] = "1234567890"
    """Account of callers who are not asked for credentials: decimal digits. Buckets belong to the
    account that made them."""

    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "cn-hangzhou"
    """Region that stands in ARNs, and that signatures must name."""

    rest_base_domains: Annotated[tuple[str, ...], NoDecode, BeforeValidator(domains)] = ()
    """Domains under which REST is served, with commas between them: what stands left of one is
    BUCKET-ACCOUNT. Without any, every host whose first label looks like BUCKET-ACCOUNT is one."""

    rest_public_endpoint: Annotated[str, AfterValidator(lambda name: name and domain(name))] = ""
    """HOST[:PORT] that REST shows as the endpoint of its buckets. Empty: that of the request."""

    rest: Annotated[
        dict[str, Any], AfterValidator(options_of(RestOptions, "option of REST", "drain_grace_s"))
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
        """Whether not everybody gets in, or the operator waived that."""
        asked = self.credentials is not None or self.tls_client_ca is not None
        return self.insecure or asked

    @model_validator(mode="after")
    def _tls_fits_together(self) -> Self:
        """Check what no setting of TLS can know alone."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            raise ValueError(f"{missing} is not given; tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError(
                "tls_client_ca is given and tls_certificate is not: callers show their "
                "certificates only where TLS is spoken"
            )
        return self

    def rest_options(self) -> RestOptions:
        """Return the options of the REST listener."""
        return RestOptions(drain_grace_s=self.drain_grace_s, **self.rest)
