"""The headers of a request that say of which trace it is a part, handed on to the RPC behind it.

Rules of this file: pure; what has not the form that the standard gives it is left out, as it asks;
the translator makes no spans of its own, so that the trace goes on where the call is served.

Source: W3C Trace Context, sections 3.2 and 3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_STATE = re.compile(r"[ -~]{1,512}", re.ASCII)


def trace_entries(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the entries that a call for a request has; none if it is part of no trace.

    Args:
        headers: Of the request; names in lower case.
    """
    said = [(name, value) for name, value in headers if name in (TRACEPARENT, TRACESTATE)]
    if not said:
        return ()
    parents = [value.strip() for name, value in said if name == TRACEPARENT]
    if len(parents) != 1 or not _PARENT.fullmatch(parents[0]):
        return ()
    # Several of these are one list.
    state = ",".join(value.strip() for name, value in said if name == TRACESTATE)
    found = ((TRACEPARENT, parents[0]),)
    return (*found, (TRACESTATE, state)) if _STATE.fullmatch(state) else found
