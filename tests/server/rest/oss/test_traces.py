"""Which headers of a request say of which trace it is a part, and which do not say it well."""

from __future__ import annotations

import pytest

from vectorbucket_server.rest.oss.traces import trace_entries

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Headers = tuple[tuple[str, str], ...]


def test_trace_of_a_request_is_handed_on_and_nothing_else() -> None:
    headers = (("host", "x"), ("traceparent", f" {PARENT} "), ("authorization", "secret"))
    assert trace_entries(headers) == (("traceparent", PARENT),)


def test_state_goes_with_its_trace_in_one_list() -> None:
    headers = (("tracestate", "a=1"), ("traceparent", PARENT), ("tracestate", " b=2 "))
    assert trace_entries(headers) == (("traceparent", PARENT), ("tracestate", "a=1,b=2"))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("tracestate", "a=1"),),
        (("traceparent", ""),),
        (("traceparent", PARENT.upper()),),
        (("traceparent", PARENT + "-more"),),
        (("traceparent", PARENT + "\n"), ("traceparent", PARENT)),
        (("traceparent", PARENT), ("traceparent", PARENT)),
    ],
    ids=["nothing", "state-alone", "empty", "capitals", "longer", "two", "twice"],
)
def test_what_names_no_trace_is_left_out(headers: Headers) -> None:
    assert trace_entries(headers) == ()


@pytest.mark.parametrize("state", ["x" * 513, "é=1", "a=\x7f"], ids=["long", "accent", "control"])
def test_state_that_cannot_be_sent_is_left_out_alone(state: str) -> None:
    assert trace_entries((("traceparent", PARENT), ("tracestate", state))) == (
        ("traceparent", PARENT),
    )
