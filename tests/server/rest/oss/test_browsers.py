"""Requests of web pages: which are refused, and that nothing else is."""

from __future__ import annotations

import pytest

from vectorbucket_server.rest.oss.browsers import refusal_of_browser

OWN = ("vectors.example", "Public.Example:8443", "")

SAME, OTHER, SITE, NAME = "", "(Origin)", "(Sec-Fetch-Site)", "rest_base_domains"
"""What tells refusals apart; the first is none."""


@pytest.mark.parametrize(
    ("host", "headers", "reason"),
    [
        # Programs say nothing of pages, whatever the host.
        ("evil.example:9000", {}, SAME),
        ("10.1.2.3:9000", {"user-agent": "Mozilla/5.0", "accept-language": "de"}, SAME),
        ("vectors:9000", {"sec-fetch-mode": "cors"}, SAME),
        # A page of this server's own host, or none at all.
        ("localhost:9000", {"origin": "http://localhost:9000"}, SAME),
        ("localhost:9000", {"sec-fetch-site": "none"}, SAME),
        ("localhost:9000", {"sec-fetch-site": "same-origin", "referer": "http://x/"}, SAME),
        ("b-1.localhost:9000", {"origin": "http://B-1.localhost:9000"}, SAME),
        ("127.0.0.1:9000", {"origin": "http://127.0.0.1:9000"}, SAME),
        ("127.9.9.9", {"user-agent": "Mozilla/5.0 (X11)"}, SAME),
        ("10.1.2.3:9000", {"origin": "http://10.1.2.3:9000"}, SAME),
        ("[fd00::1]:9000", {"user-agent": "Mozilla/5.0 (X11)"}, SAME),
        ("[::1]:9000", {"origin": "http://[::1]:9000"}, SAME),
        ("vectors.example", {"origin": "https://vectors.example"}, SAME),
        ("b-1.vectors.example:80", {"user-agent": "Mozilla/5.0 (X11)"}, SAME),
        ("b-1.public.example", {"sec-fetch-site": "none"}, SAME),
        # A page of another host.
        ("localhost:9000", {"origin": "http://evil.example"}, OTHER),
        ("localhost:9000", {"origin": "http://localhost:3000"}, OTHER),
        ("localhost:9000", {"origin": "http://localhost"}, OTHER),
        ("localhost:9000", {"origin": "null"}, OTHER),
        ("localhost:9000", {"origin": ""}, OTHER),
        ("localhost:9000", {"origin": "http://u@localhost:9000"}, OTHER),
        ("localhost:9000", {"origin": "http://localhost:9000, http://evil.example"}, OTHER),
        ("", {"origin": "null"}, OTHER),
        ("vectors.example", {"origin": "https://evil.example"}, OTHER),
        ("localhost:9000", {"sec-fetch-site": "cross-site"}, SITE),
        ("localhost:9000", {"sec-fetch-site": " Cross-Site"}, SITE),
        # A page of the same host, which somebody else has pointed here.
        ("evil.example:9000", {"origin": "http://evil.example:9000"}, NAME),
        ("evil.example:9000", {"user-agent": "Mozilla/5.0 (X11)"}, NAME),
        ("evil.example:9000", {"sec-fetch-site": "same-origin"}, NAME),
        ("vectors.example.evil.example", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("evilvectors.example", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("localhost.evil.example", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("evillocalhost", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("127.0.0.1.evil.example", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("b-1.127.0.0.1", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
        ("", {"user-agent": "Mozilla/5.0 Firefox"}, NAME),
    ],
)
def test_a_page_is_answered_only_where_it_has_business(
    host: str, headers: dict[str, str], reason: str
) -> None:
    refusal = refusal_of_browser(headers.items(), host, OWN)
    if not reason:
        assert refusal is None
        return
    assert refusal is not None
    assert reason in refusal.message
    assert "configure credentials" in refusal.message
    assert len(refusal.message) < 500


def test_every_origin_of_a_request_has_to_be_its_own() -> None:
    headers = [("origin", "http://localhost"), ("origin", "http://evil.example")]
    assert refusal_of_browser(headers, "localhost", ()) is not None
