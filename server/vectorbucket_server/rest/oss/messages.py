"""What comes in and what goes out: one HTTP request, who sent it, one HTTP response, as values.

Rules of this file: values only. Text is as it stood on the wire, one character a byte, and nothing
of it is trusted.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from vectorbucket.errors import VectorBucketError


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, with its body."""

    method: str
    target: str
    """As on the request line: ``/bucket/?putVectors``, or with scheme and host before it."""
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, in the order in which they came."""
    body: bytes = field(default=b"", repr=False)
    """Whole and without its framing."""
    remote_address: str = ""
    """Host and port of whoever sent it; empty if unknown."""

    def header(self, name: str) -> str:
        """Return the first header of a name in lower case; empty if there is none."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Identified:
    """What is known of whoever sent a request, from its head alone."""

    principal: str | None = None
    """The name of the credential that signed it; None if nobody is asked for one, or is known."""
    refusal: VectorBucketError | None = None
    """Why nobody known has sent it."""

    @property
    def is_known(self) -> bool:
        """Whether the body is worth reading: no more is told to a stranger than the refusal."""
        return self.refusal is None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response; whoever sends it frames the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """Names in lower case, without those that say how the body is framed."""
    body: bytes = field(default=b"", repr=False)
