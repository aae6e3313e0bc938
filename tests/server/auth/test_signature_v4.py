"""Tests of auth/signature_v4.py: what is verified, against the published vectors and a signer.

Method: the four vectors of oss-vectors-api, section 7.5, and thousands of requests signed by the
vendor's own signer, an independent implementation. What is refused is in
test_signature_v4_refusals.py.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket.errors import SignatureDoesNotMatch
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.signature_v4 import SignedRequest, _canonical, _claim, verify

ACCOUNT, REGION, NOW_S = "1234567890", "cn-hangzhou", 1702743657
SCOPE = "test-ak/20231216/cn-hangzhou/oss/aliyun_v4_request"
EMPTY_MD5 = "1B2M2Y8AsgTpgAmY7PhCfg=="
PLAIN = Credential("owner", ACCOUNT, "test-ak", "test-sk")
WITH_TOKEN = Credential("owner", ACCOUNT, "test-ak", "test-sk", "token/+=1")


def headers(signature: str, additional: str = "", **more: str) -> dict[str, str]:
    """Return the headers of a vector."""
    middle = f"AdditionalHeaders={additional}," if additional else ""
    return {
        "authorization": f"OSS4-HMAC-SHA256 Credential={SCOPE},{middle}Signature={signature}",
        "x-oss-date": "20231216T162057Z",
        "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


A = SignedRequest(
    "POST",
    (("putVectors", ""),),
    headers(
        "067f6b71d06ea21a61a50ac30a45d9307caa3eeae64c0448f404075d1cf62cc0",
        content_md5="OkfjGBKbKXiID/mciTrbog==",
        content_type="application/json",
    ),
    "examplebucket",
    ACCOUNT,
)
B = SignedRequest(
    "GET",
    (("prefix", "my b"), ("max-keys", "10")),
    headers(
        "04d17c8f963dca93fe4f7441f24375b5c2c7a8605cec26b21a756b204166693e",
        content_md5=EMPTY_MD5,
        content_type="application/octet-stream",
    ),
    "",
    "",
)
C = SignedRequest(
    "GET",
    (("bucketInfo", ""),),
    headers(
        "520bdea267f0f8d92b5cbaff0b79412c9e55e133ed0eecb6373b653e28c9037e",
        "host;user-agent",
        content_md5=EMPTY_MD5,
        host="examplebucket-1234567890.127.0.0.1:9000",
        user_agent="x",
    )
    | {"x-oss-security-token": "token/+=1"},
    "examplebucket",
    ACCOUNT,
)
D = SignedRequest(
    "GET",
    (
        ("bucketInfo", ""),
        ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
        ("x-oss-date", "20231216T162057Z"),
        ("x-oss-expires", "600"),
        ("x-oss-credential", SCOPE),
        ("x-oss-signature", "c17ef1db0a791f0ce661c3ac4a3f909de31c365aee919c1cb5b32db3ad9ab787"),
    ),
    {"host": "anything", "accept": "*/*"},
    "examplebucket",
    ACCOUNT,
)
VECTORS = [
    (A, PLAIN, "583930b9d6ee65e9bcfead9b374882d7dc751dcfa3eff8775f54c5c24d9029f2"),
    (B, PLAIN, "3394fbfee1fa61565f22a966552b068189d46e637f0ccca3c2d45ad1dc389ecf"),
    (C, WITH_TOKEN, "98cc20d86d2b00f3812ebcd4b8e5b7d9d2ad98fff265e569e2faeb64a3b1dfac"),
    (D, PLAIN, "4111b963659754381248f59ea2e3492150c3d03d15dbe951501eae3fabe4281e"),
]


def verified(request: SignedRequest, *credentials: Credential, now_s: float = NOW_S) -> Credential:
    """Return who signed a request, by what this server believes."""
    return verify(request, Credentials(credentials or [PLAIN]), now_s=now_s, region=REGION)


def with_authorization(text: str) -> SignedRequest:
    """Return vector A with another Authorization header."""
    return dataclasses.replace(A, headers={**A.headers, "authorization": text})


# --- The published vectors ----------------------------------------------------------------------


@pytest.mark.parametrize(("request_", "credential", "digest"), VECTORS, ids="ABCD")
def test_published_vector_is_verified(
    request_: SignedRequest, credential: Credential, digest: str
) -> None:
    canonical = _canonical(request_, _claim(request_), ACCOUNT)
    assert hashlib.sha256(canonical).hexdigest() == digest
    assert verified(request_, credential) is credential


def test_canonical_form_of_a_published_vector_is_as_printed() -> None:
    assert _canonical(A, _claim(A), ACCOUNT).decode() == (
        "POST\n"
        "/acs%3Aossvector%3Acn-hangzhou%3A1234567890%3Aexamplebucket/\n"
        "putVectors\n"
        "content-md5:OkfjGBKbKXiID/mciTrbog==\n"
        "content-type:application/json\n"
        "x-oss-content-sha256:UNSIGNED-PAYLOAD\n"
        "x-oss-date:20231216T162057Z\n"
        "\n"
        "\n"
        "UNSIGNED-PAYLOAD"
    )


def test_request_in_path_style_is_signed_with_the_credentials_own_account() -> None:
    request = dataclasses.replace(A, account_id="")
    assert verified(request) is PLAIN
    with pytest.raises(SignatureDoesNotMatch):
        verified(request, dataclasses.replace(PLAIN, account_id="99"))


def test_request_to_anothers_bucket_is_signed_with_the_account_of_the_host() -> None:
    stranger = dataclasses.replace(PLAIN, account_id="99")
    assert verified(A, stranger) is stranger


def test_request_to_the_service_is_signed_without_an_account() -> None:
    stranger = dataclasses.replace(PLAIN, account_id="99")
    assert verified(B, stranger) is stranger


# --- How an Authorization header may be written -------------------------------------------------

_SIGNATURE = "Signature=067f6b71d06ea21a61a50ac30a45d9307caa3eeae64c0448f404075d1cf62cc0"


@pytest.mark.parametrize(
    "text",
    [
        f"OSS4-HMAC-SHA256 Credential={SCOPE},{_SIGNATURE}",
        f"OSS4-HMAC-SHA256 Credential={SCOPE}, {_SIGNATURE}",
        f"OSS4-HMAC-SHA256 {_SIGNATURE},Credential={SCOPE}",
        f"OSS4-HMAC-SHA256 Credential={SCOPE},AdditionalHeaders=,{_SIGNATURE}",
        f"  OSS4-HMAC-SHA256   {_SIGNATURE} ,\tCredential={SCOPE} ",
    ],
)
def test_parts_stand_in_any_order_with_or_without_blanks(text: str) -> None:
    assert verified(with_authorization(text)) is PLAIN


def test_additional_headers_stand_in_any_order_and_case() -> None:
    text = C.headers["authorization"].replace("host;user-agent", "User-Agent;HOST")
    request = dataclasses.replace(C, headers={**C.headers, "authorization": text})
    assert verified(request, WITH_TOKEN) is WITH_TOKEN


def test_order_of_the_query_and_headers_that_are_not_signed_do_not_matter() -> None:
    more = {**B.headers, "accept": "*/*", "user-agent": "curl", "host": "elsewhere"}
    assert verified(dataclasses.replace(B, query=B.query[::-1], headers=more)) is PLAIN


def test_blanks_around_a_headers_value_do_not_matter() -> None:
    padded = {name: f" {value}\t" for name, value in C.headers.items()}
    assert verified(dataclasses.replace(C, headers=padded), WITH_TOKEN) is WITH_TOKEN


# --- The clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-900, -1, 0, 1, 900])
def test_clocks_may_differ_by_fifteen_minutes(off_s: int) -> None:
    assert verified(A, now_s=NOW_S + off_s) is PLAIN


@pytest.mark.parametrize("off_s", [-900, 0, 600])
def test_presigned_request_is_good_until_it_expires(off_s: int) -> None:
    assert verified(D, now_s=NOW_S + off_s) is PLAIN


# --- Against the vendor's signer ----------------------------------------------------------------

_NAMES = st.text(min_size=1, max_size=12).filter(lambda name: not name.startswith("x-oss-"))
_VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
_QUERIES = st.dictionaries(_NAMES, st.text(max_size=20), max_size=5).map(lambda d: tuple(d.items()))
_HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-MD5", "x-oss-meta-a", "X-Oss-Tagging", "Host", "User-Agent", "If"]
    ),
    _VALUES,
).map(lambda d: tuple(d.items()))


def any_wanted(wanted: Any) -> st.SearchStrategy[Any]:
    """Return requests of all kinds."""
    return st.builds(
        wanted,
        method=st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
        bucket=st.sampled_from(["", "abc", "a--b", "x" * 63]),
        query=_QUERIES,
        headers=_HEADERS,
        account_id=st.sampled_from(["1234567890", "5"]),
        secret=st.text(min_size=1, max_size=40),
        token=st.one_of(st.just(""), _VALUES),
        additional=st.sampled_from([(), ("host",), ("If", "host", "absent", "content-type")]),
        signed_s=st.integers(NOW_S - 900, NOW_S + 900),
        expires_s=st.sampled_from([0, 901, 604_800]),
    )


@settings(derandomize=True, database=None, deadline=None, max_examples=400)
@given(data=st.data())
def test_whatever_the_vendors_signer_signs_is_verified(sign: Any, wanted: Any, data: Any) -> None:
    one = data.draw(any_wanted(wanted))
    credential = Credential("a", "77", one.access_key_id, one.secret, one.token)
    assert verified(sign(one), credential) is credential


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(data=st.data())
def test_nothing_that_is_signed_can_be_changed(sign: Any, wanted: Any, data: Any) -> None:
    one = data.draw(any_wanted(wanted))
    credential = Credential("a", "77", one.access_key_id, one.secret, one.token)
    request = sign(one)
    changes = {
        "method": "PATCH",
        "query": (*request.query, ("more", "")),
        "headers": {**request.headers, "x-oss-more": "1"},
        "bucket": f"{request.bucket}x",
        "account_id": "6" if request.bucket else None,
    }
    for name, value in changes.items():
        if value is not None:
            with pytest.raises(SignatureDoesNotMatch):
                verified(dataclasses.replace(request, **{name: value}), credential)
    with pytest.raises(SignatureDoesNotMatch):
        verified(request, dataclasses.replace(credential, access_key_secret=f"{one.secret}x"))
