"""What a translator that runs alone can be told.

Rules of this file: as those of settings.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from vectorbucket_server.addresses import check_reachable
from vectorbucket_server.door_settings import DoorSettings


class TranslateSettings(DoorSettings):
    """Everything that an operator can set for a translator that runs alone."""

    grpc_target: Annotated[str, Field(min_length=1)] = "127.0.0.1:50051"
    """HOST:PORT of the server whose RPCs are called, or any other name that gRPC knows."""

    rest_address: str = "127.0.0.1:8080"
    """HOST:PORT to serve the REST API of OSS on. Port 0 takes a free one; the ready line says
    which. An address that is not loopback needs ``credentials``, ``tls_client_ca`` or
    ``insecure``."""

    grpc_tls: bool = False
    """Whether to speak TLS with the server. Its certificate must be for the host of
    ``grpc_target``."""

    grpc_ca: Path | None = None
    """PEM file of the authorities that the server's certificate must be from. Without it, those
    that gRPC brings along. Read at the start, as the next two are."""

    grpc_client_certificate: Path | None = None
    """PEM file of the certificate that is shown to a server that wants one (mutual TLS)."""

    grpc_client_key: Path | None = None
    """PEM file of that certificate's private key, not encrypted."""

    api_key: SecretStr = SecretStr("")
    """API key that the translator calls the server with; its credential there says
    ``impersonate = true``. Better given in the environment than as a flag, which others see."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Check what no field can know alone."""
        check_reachable("rest_address", self.rest_address, guarded=self.is_guarded)
        self.rest_options()
        if (self.grpc_client_certificate is None) != (self.grpc_client_key is None):
            given = "certificate" if self.grpc_client_key is None else "key"
            missing = "key" if self.grpc_client_key is None else "certificate"
            raise ValueError(f"grpc_client_{given} is given and grpc_client_{missing} is not")
        if not self.grpc_tls and (self.grpc_ca or self.grpc_client_certificate):
            raise ValueError(
                "grpc_ca and grpc_client_certificate are for TLS, and grpc_tls is not switched on"
            )
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
