"""Tests of auth/signature_v4.py: what is refused, with which error, and that nothing else comes."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket.errors import (
    AccessDenied,
    InvalidAccessKeyId,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
    VectorBucketError,
)
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.signature_v4 import SignedRequest, verify

REGION, NOW_S = "cn-hangzhou", 1702743657
PLAIN = Credential("owner", "1234567890", "test-ak", "test-sk")
WITH_TOKEN = Credential("owner", "1234567890", "test-ak", "test-sk", "token")
LEAVES = (AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed)
SCOPE = "test-ak/20231216/cn-hangzhou/oss/aliyun_v4_request"
SIGNATURE = "0" * 64


def refusal(request: SignedRequest, *credentials: Credential, now_s: float = NOW_S) -> Any:
    """Return the error that a request is refused with."""
    known = Credentials(credentials or [PLAIN])
    with pytest.raises(VectorBucketError) as caught:
        verify(request, known, now_s=now_s, region=REGION)
    assert type(caught.value) in LEAVES
    return caught.value


def by_header(authorization: str | None, **more: str | None) -> SignedRequest:
    """Return a request with an Authorization header, or without one."""
    headers: dict[str, str | None] = {"x-oss-date": "20231216T162057Z"}
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    headers["authorization"] = authorization
    present = {name: value for name, value in headers.items() if value is not None}
    return SignedRequest("GET", (), present, "examplebucket", "1234567890")


def by_query(*left_out: str, **more: str) -> SignedRequest:
    """Return a presigned request, of which parameters can be left out or be others."""
    query = {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-date": "20231216T162057Z",
        "x-oss-expires": "600",
        "x-oss-credential": SCOPE,
        "x-oss-signature": SIGNATURE,
    }
    query |= {name.replace("_", "-"): value for name, value in more.items()}
    pairs = tuple((name, value) for name, value in query.items() if name not in left_out)
    return SignedRequest("GET", pairs, {}, "examplebucket", "1234567890")


# --- What has not the form of a signed request --------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "OSS test-ak:c2lnbmF0dXJl",
        "Bearer key",
        "OSS4-HMAC-SHA256",
        "OSS4-HMAC-SHA256 ",
        "oss4-hmac-sha256 Credential=" + SCOPE + ",Signature=" + SIGNATURE,
        "OSS4-HMAC-SHA256 Credential=" + SCOPE,
        "OSS4-HMAC-SHA256 Signature=" + SIGNATURE,
        "OSS4-HMAC-SHA256 Credential=,Signature=" + SIGNATURE,
        f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature=",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE},",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE},Signature={SIGNATURE}",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE},Credential={SCOPE}",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE},Other=1",
        f"OSS4-HMAC-SHA256 Credential={SCOPE} Signature={SIGNATURE}",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},AdditionalHeaders=host;HOST,Signature={SIGNATURE}",
    ],
)
def test_unsigned_or_malformed_request_is_denied(authorization: str | None) -> None:
    assert isinstance(refusal(by_header(authorization, host="h")), AccessDenied)


@pytest.mark.parametrize(
    "scoped",
    [
        "test-ak",
        "test-ak/20231216/cn-hangzhou/oss",
        f"{SCOPE}/more",
        "test-ak/20231216/cn-hangzhou/oss-vectors/aliyun_v4_request",
        "test-ak/20231216/cn-hangzhou/s3/aliyun_v4_request",
        "test-ak/20231216/cn-hangzhou/oss/aws4_request",
        "test-ak/20231215/cn-hangzhou/oss/aliyun_v4_request",
        "test-ak//cn-hangzhou/oss/aliyun_v4_request",
    ],
)
def test_scope_of_another_product_day_or_form_is_denied(scoped: str) -> None:
    header = f"OSS4-HMAC-SHA256 Credential={scoped},Signature={SIGNATURE}"
    assert isinstance(refusal(by_header(header)), AccessDenied)
    assert isinstance(refusal(by_query(x_oss_credential=scoped)), AccessDenied)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "2023-12-16T16:20:57Z",
        "20231216T162057",
        "20231216T162057Z ",
        "20231216T162057z",
        "20231216T996057Z",
        "\u0662\u0660231216T162057Z",
        "x" * 10_000,
    ],
)
def test_date_that_is_none_is_denied(date: str) -> None:
    header = f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE}"
    if date != "20231216T162057Z ":
        assert isinstance(refusal(by_header(header, x_oss_date=date)), AccessDenied)
    assert isinstance(refusal(by_query(x_oss_date=date)), AccessDenied)


def test_day_that_no_calendar_has_is_denied() -> None:
    scoped = "test-ak/20230230/cn-hangzhou/oss/aliyun_v4_request"
    request = by_query(x_oss_credential=scoped, x_oss_date="20230230T000000Z")
    assert isinstance(refusal(request), AccessDenied)


def test_signature_by_header_needs_its_date_as_a_header() -> None:
    header = f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE}"
    assert "x-oss-date" in refusal(by_header(header, x_oss_date=None)).message


def test_request_that_is_signed_twice_is_denied() -> None:
    header = f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={SIGNATURE}"
    request = dataclasses.replace(by_header(header), query=by_query().query)
    assert isinstance(refusal(request), AccessDenied)


@pytest.mark.parametrize(
    "name",
    [
        "x-oss-signature-version",
        "x-oss-date",
        "x-oss-expires",
        "x-oss-credential",
        "x-oss-signature",
        "x-oss-security-token",
        "x-oss-additional-headers",
    ],
)
def test_parameter_that_is_missing_or_stands_twice_is_denied(name: str) -> None:
    if "token" not in name and "additional" not in name:
        assert isinstance(refusal(by_query(name)), AccessDenied)
    twice = by_query(**{name.replace("-", "_"): "a"})
    twice = dataclasses.replace(twice, query=(*twice.query, (name, "a")))
    assert f"{name} stands twice" in refusal(twice).message


def test_presigned_request_of_another_version_is_denied() -> None:
    assert isinstance(refusal(by_query(x_oss_signature_version="OSS")), AccessDenied)
    old = SignedRequest("GET", (("Signature", "x"), ("OSSAccessKeyId", "test-ak")), {}, "b", "1")
    assert isinstance(refusal(old), AccessDenied)


def test_hash_of_a_body_is_denied_because_nobody_would_check_it(sign: Any, wanted: Any) -> None:
    request = sign(wanted())
    headers = {**request.headers, "x-oss-content-sha256": "e3b0c442"}
    error = refusal(dataclasses.replace(request, headers=headers))
    assert isinstance(error, AccessDenied)


# --- Who, when and where ------------------------------------------------------------------------


def test_unknown_access_key_is_told_in_the_words_that_sdks_expect(sign: Any, wanted: Any) -> None:
    error = refusal(sign(wanted(access_key_id="nobody")))
    assert isinstance(error, InvalidAccessKeyId)
    assert error.message == "The OSS Access Key Id you provided does not exist in our records."


def test_unknown_access_key_is_told_before_anything_about_time_or_region(
    sign: Any, wanted: Any
) -> None:
    request = sign(wanted(access_key_id="nobody", region="elsewhere"))
    assert isinstance(refusal(request, now_s=0), InvalidAccessKeyId)


@pytest.mark.parametrize("off_s", [-901, 901, 86_400, -1e12, float("inf")])
def test_clocks_over_fifteen_minutes_apart_are_refused(sign: Any, wanted: Any, off_s: int) -> None:
    assert isinstance(refusal(sign(wanted()), now_s=NOW_S + off_s), RequestTimeTooSkewed)


@pytest.mark.parametrize("off_s", [-901, 601, 1e12])
def test_presigned_request_is_denied_when_it_is_too_old_or_not_good_yet(
    sign: Any, wanted: Any, off_s: float
) -> None:
    request = sign(wanted(expires_s=600))
    assert isinstance(refusal(request, now_s=NOW_S + off_s), AccessDenied)


@pytest.mark.parametrize(
    "expires",
    [
        "0",
        "-1",
        "604801",
        "9999999",
        "6e2",
        "600.0",
        " 600",
        "+600",
        "\u0666\u0660\u0660",
        "9" * 5000,
    ],
)
def test_presigned_request_is_good_for_a_second_to_seven_days(expires: str) -> None:
    assert isinstance(refusal(by_query(x_oss_expires=expires)), AccessDenied)


@pytest.mark.parametrize("expires_s", [0, 600])
def test_signature_for_another_region_does_not_match(
    sign: Any, wanted: Any, expires_s: int
) -> None:
    error = refusal(sign(wanted(region="cn-beijing", expires_s=expires_s)))
    assert isinstance(error, SignatureDoesNotMatch)
    assert "region" in error.message


def test_signature_for_another_product_is_denied(sign: Any, wanted: Any) -> None:
    assert isinstance(refusal(sign(wanted(product="oss-cloudbox"))), AccessDenied)


@pytest.mark.parametrize("expires_s", [0, 600])
def test_signature_by_another_secret_does_not_match(sign: Any, wanted: Any, expires_s: int) -> None:
    request = sign(wanted(secret="guessed", expires_s=expires_s))  # noqa: S106 - wrong on purpose
    assert isinstance(refusal(request), SignatureDoesNotMatch)


@pytest.mark.parametrize("signature", ["0", "é" * 64, "\udcff", "A" * 100_000])
def test_signature_that_is_none_does_not_match(signature: str) -> None:
    header = f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature={signature}"
    assert isinstance(refusal(by_header(header)), SignatureDoesNotMatch)
    assert isinstance(refusal(by_query(x_oss_signature=signature)), SignatureDoesNotMatch)


def test_signature_in_capitals_does_not_match(sign: Any, wanted: Any) -> None:
    request = sign(wanted())
    start, _, signature = request.headers["authorization"].rpartition("=")
    headers = {**request.headers, "authorization": f"{start}={signature.upper()}"}
    error = refusal(dataclasses.replace(request, headers=headers))
    assert isinstance(error, SignatureDoesNotMatch)


def test_additional_header_that_got_lost_does_not_match(sign: Any, wanted: Any) -> None:
    request = sign(wanted(headers=(("Host", "h"),), additional=("host",)))
    headers = {name: value for name, value in request.headers.items() if name != "host"}
    error = refusal(dataclasses.replace(request, headers=headers))
    assert isinstance(error, SignatureDoesNotMatch)


def test_more_additional_headers_than_anybody_signs_are_denied() -> None:
    names = ";".join(f"h{number}" for number in range(101))
    header = f"OSS4-HMAC-SHA256 Credential={SCOPE},AdditionalHeaders={names},Signature={SIGNATURE}"
    assert isinstance(refusal(by_header(header)), AccessDenied)


def test_header_that_holds_the_end_of_a_line_does_not_match(sign: Any, wanted: Any) -> None:
    one = wanted(headers=(("x-oss-meta-a", "1"), ("x-oss-meta-b", "2")))
    request = sign(one)
    headers = {**request.headers, "x-oss-meta-a": "1\nx-oss-meta-b:2"}
    del headers["x-oss-meta-b"]
    error = refusal(dataclasses.replace(request, headers=headers))
    assert isinstance(error, SignatureDoesNotMatch)


# --- Session tokens -----------------------------------------------------------------------------


@pytest.mark.parametrize("expires_s", [0, 600])
@pytest.mark.parametrize("token", ["", "other", "toke", "x" * 4096])
def test_missing_or_wrong_token_is_denied(
    sign: Any, wanted: Any, token: str, expires_s: int
) -> None:
    error = refusal(sign(wanted(token=token, expires_s=expires_s)), WITH_TOKEN)
    assert isinstance(error, AccessDenied)
    assert "missing or wrong" in error.message


@pytest.mark.parametrize("expires_s", [0, 600])
def test_token_of_a_credential_without_one_is_denied(
    sign: Any, wanted: Any, expires_s: int
) -> None:
    error = refusal(sign(wanted(token="token", expires_s=expires_s)), PLAIN)  # noqa: S106
    assert isinstance(error, AccessDenied)


def test_only_whoever_has_the_secret_hears_of_the_token(sign: Any, wanted: Any) -> None:
    request = sign(wanted(secret="guessed"))  # noqa: S106 - wrong on purpose
    assert isinstance(refusal(request, WITH_TOKEN), SignatureDoesNotMatch)


# --- Whatever comes -----------------------------------------------------------------------------

_TEXT = st.one_of(
    st.text(st.characters(), max_size=30),  # halves of surrogate pairs, too
    st.sampled_from(["", SCOPE, SIGNATURE, "oss", "OSS4-HMAC-SHA256", "20231216T162057Z", "600"]),
)
_AUTHORIZATIONS = st.one_of(
    _TEXT,
    st.lists(
        st.builds(
            "{}={}".format, st.sampled_from(["Credential", "Signature", "AdditionalHeaders"]), _TEXT
        ),
        max_size=4,
    ).map(lambda parts: "OSS4-HMAC-SHA256 " + ",".join(parts)),
    st.builds(
        "OSS4-HMAC-SHA256 Credential=test-ak/{}/{}/oss/aliyun_v4_request,Signature={}".format,
        _TEXT,
        _TEXT,
        _TEXT,
    ),
    st.builds(
        "OSS4-HMAC-SHA256 Credential={},AdditionalHeaders={},Signature={}".format,
        st.just(SCOPE),
        _TEXT,
        _TEXT,
    ),
)
_PARAMETER_NAMES = [
    *("x-oss-signature-version", "x-oss-date", "x-oss-expires", "x-oss-credential"),
    *("x-oss-signature", "x-oss-security-token", "x-oss-additional-headers"),
]
_REQUESTS = st.builds(
    SignedRequest,
    _TEXT,
    st.one_of(
        st.lists(st.tuples(st.one_of(_TEXT, st.sampled_from(_PARAMETER_NAMES)), _TEXT), max_size=9),
        st.fixed_dictionaries(dict.fromkeys(_PARAMETER_NAMES, _TEXT)).map(
            lambda found: list(found.items())
        ),
        st.builds(
            lambda more: [*by_query().query, *more], st.lists(st.tuples(_TEXT, _TEXT), max_size=3)
        ),
    ).map(tuple),
    st.one_of(
        st.dictionaries(_TEXT, _TEXT, max_size=5),
        st.fixed_dictionaries(
            {"authorization": _AUTHORIZATIONS, "x-oss-date": st.just("20231216T162057Z")},
            optional={"x-oss-security-token": _TEXT, "content-type": _TEXT, "host": _TEXT},
        ),
    ),
    _TEXT,
    _TEXT,
)


@settings(derandomize=True, database=None, deadline=None, max_examples=800)
@given(request=_REQUESTS)
def test_whatever_comes_gets_one_of_four_errors_and_shows_no_secret(request: SignedRequest) -> None:
    error = refusal(request, WITH_TOKEN)
    assert "test-sk" not in str(error)


@pytest.mark.parametrize(
    "request_",
    [
        SignedRequest("GET", tuple((f"n{i}", "é" * 9) for i in range(20_000)), {}, "b", "1"),
        SignedRequest("GET", tuple(("a", "") for _ in range(20_000)), {}, "b", "1"),
        by_header("OSS4-HMAC-SHA256 " + "Credential=a," * 100_000),
        by_header(f"OSS4-HMAC-SHA256 Credential={'/' * 1_000_000},Signature=0"),
        by_header(
            f"OSS4-HMAC-SHA256 Credential={SCOPE},Signature=0,AdditionalHeaders="
            + ";".join(f"h{i}" for i in range(100_000))
        ),
        by_query(x_oss_additional_headers=";" * 1_000_000),
    ],
    ids=range(6),
)
def test_huge_request_is_refused_quickly(request_: SignedRequest) -> None:
    begun_s = time.thread_time()
    refusal(request_)
    refusal(dataclasses.replace(by_query(), query=(*by_query().query, *request_.query[:20_000])))
    assert time.thread_time() - begun_s < 5
