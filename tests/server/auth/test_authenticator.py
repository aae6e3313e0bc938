"""Tests of auth/authenticator.py: who a call's metadata makes the caller, and who is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectorbucket.errors import (
    AccessDenied,
    InvalidAccessKeyId,
    InvalidArgument,
    MalformedJson,
    RequestTimeTooSkewed,
    SignatureDoesNotMatch,
    VectorBucketError,
)
from vectorbucket_server.auth.api_keys import hash_api_key
from vectorbucket_server.auth.authenticator import Authenticator
from vectorbucket_server.auth.credential import Credential, Credentials
from vectorbucket_server.auth.entries import (
    ACCOUNT_ID,
    AUTHORIZATION,
    FAULT,
    PRINCIPAL,
    REMOTE_ADDRESS,
    REQUEST_ID,
    Entries,
    encode_fault,
)

OWN = "vbk_of-the-child"
ID = "0123456789ABCDEF01234567"
ANN = Credential("ann", "111", api_key_hashes=(hash_api_key("of-ann"),))
SIGNER = Credential("sig", "222", "ak", "sk", owner=True)
DOOR = Credential("door", "333", api_key_hashes=(hash_api_key("of-door"),), impersonate=True)
EVERYBODY = [ANN, SIGNER, DOOR]


class Files:
    """Credentials that can be others at the next look."""

    def __init__(self, *credentials: Credential) -> None:
        self.credentials = Credentials(credentials, version=1)

    def __call__(self) -> Credentials:
        return self.credentials

    def change(self, *credentials: Credential) -> None:
        """Put others in force."""
        self.credentials = Credentials(credentials, version=self.credentials.version + 1)


FILES = Files(*EVERYBODY)
CLOSED = Authenticator(FILES, account_id="1234567890", own_api_key=OWN)
OPEN = Authenticator(None, account_id="1234567890", own_api_key=OWN)


def refusal(authenticator: Authenticator, entries: Entries) -> VectorBucketError:
    """Return how a call with these entries is refused."""
    with pytest.raises(VectorBucketError) as caught:
        authenticator.authenticate(entries.metadata())
    return caught.value


# --- By an API key ------------------------------------------------------------------------------


def test_caller_is_whom_the_api_key_belongs_to() -> None:
    caller = CLOSED.authenticate([("user-agent", "x"), (AUTHORIZATION, "Bearer of-ann")])
    assert caller.principal is ANN.principal
    assert (caller.request_id, caller.account_id, caller.fault) == ("", "", None)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "of-ann", "Basic of-ann", "Bearer of-nobody"]
)
def test_missing_or_wrong_key_is_refused(authorization: str) -> None:
    with pytest.raises(InvalidAccessKeyId):
        CLOSED.authenticate([(AUTHORIZATION, authorization)])
    with pytest.raises(InvalidAccessKeyId):
        CLOSED.authenticate([])


def test_wrong_key_is_not_in_the_error() -> None:
    assert "of-nobody" not in str(refusal(CLOSED, Entries("of-nobody")))


def test_access_key_and_its_secret_are_no_api_keys() -> None:
    for key in ("ak", "sk", "sig", hash_api_key("of-ann")):
        assert isinstance(refusal(CLOSED, Entries(key)), InvalidAccessKeyId)


def test_own_translator_is_told_from_all_others() -> None:
    for authenticator in (OPEN, CLOSED):
        assert authenticator.is_own_translator(Entries(OWN, "ann").metadata())
        for key in ("", "of-ann", "of-door", OWN[:-1]):
            assert not authenticator.is_own_translator(Entries(key, "ann").metadata())
    without = Authenticator(None, account_id="1")
    assert not without.is_own_translator(Entries("").metadata())
    assert not CLOSED.is_own_translator([])
    assert not CLOSED.is_own_translator([*Entries(OWN).metadata()] * 2)
    assert not CLOSED.is_own_translator([("authorization", f"Basic {OWN}")])


def test_server_without_a_translator_of_its_own_knows_no_key_for_it() -> None:
    without = Authenticator(FILES, account_id="1")
    assert isinstance(refusal(without, Entries("")), InvalidAccessKeyId)
    assert isinstance(refusal(without, Entries(OWN, "ann")), InvalidAccessKeyId)


# --- In the name of others ----------------------------------------------------------------------


@pytest.mark.parametrize("key", [OWN, "of-door"])
def test_translator_calls_in_the_name_of_the_principal(key: str) -> None:
    caller = CLOSED.authenticate(Entries(key, "sig", ID).metadata())
    assert caller.principal is SIGNER.principal
    assert caller.request_id == ID


@pytest.mark.parametrize("key", [OWN, "of-door"])
def test_translator_has_to_name_somebody(key: str) -> None:
    error = refusal(CLOSED, Entries(key, request_id=ID))
    assert isinstance(error, AccessDenied)
    assert (error.request_id, error.details) == (ID, {"entry": PRINCIPAL})


@pytest.mark.parametrize("key", [OWN, "of-door"])
def test_other_faults_do_not_stand_for_a_principal(key: str) -> None:
    fault = encode_fault(MalformedJson("no"))
    assert isinstance(refusal(CLOSED, Entries(key, request_id=ID, fault=fault)), AccessDenied)


@pytest.mark.parametrize("key", [OWN, "of-door"])
@pytest.mark.parametrize("name", ["", "nobody", "Ann", "ak", "\ud800"])
def test_principal_that_is_not_known_here_is_an_unknown_access_key(key: str, name: str) -> None:
    error = refusal(CLOSED, Entries(key, name, ID))
    assert isinstance(error, InvalidAccessKeyId)
    assert error.message == "The OSS Access Key Id you provided does not exist in our records."
    assert error.request_id == ID
    assert error.details == {"principal": name.replace("\ud800", r"'\ud800'")}


def test_principal_that_is_not_known_is_told_cut() -> None:
    error = refusal(CLOSED, Entries(OWN, "x" * 5_000))
    assert len(error.details["principal"]) < 100


@pytest.mark.parametrize("key", ["", "of-nobody"])
def test_wrong_key_of_a_translator_is_told_from_a_wrong_principal(key: str) -> None:
    assert refusal(CLOSED, Entries(key, "nobody", ID)).details == {}


@pytest.mark.parametrize(
    ("entry", "entries"),
    [
        (PRINCIPAL, Entries("of-ann", "sig", ID)),
        (PRINCIPAL, Entries("of-ann", "ann")),
        (REQUEST_ID, Entries("of-ann", request_id=ID)),
        (FAULT, Entries("of-ann", fault=encode_fault(MalformedJson("no")))),
        (FAULT, Entries("of-ann", fault=encode_fault(SignatureDoesNotMatch("no")))),
        (REMOTE_ADDRESS, Entries("of-ann", remote_address="192.0.2.1:5")),
    ],
)
def test_nobody_else_may_speak_of_somebody_elses_request(entry: str, entries: Entries) -> None:
    error = refusal(CLOSED, entries)
    assert isinstance(error, AccessDenied)
    assert (error.details, error.request_id) == ({"entry": entry}, None)


def test_entries_are_not_looked_at_before_the_key() -> None:
    entries = Entries("of-nobody", "sig", "no id", "no account", b"no fault")
    assert isinstance(refusal(CLOSED, entries), InvalidAccessKeyId)


# --- What everybody may send --------------------------------------------------------------------


@pytest.mark.parametrize("authenticator", [CLOSED, OPEN])
def test_account_is_taken_from_everybody(authenticator: Authenticator) -> None:
    caller = authenticator.authenticate(Entries("of-ann", account_id="777").metadata())
    assert caller.account_id == "777"


@pytest.mark.parametrize(
    ("authenticator", "entries"),
    [(CLOSED, Entries("of-door", "ann")), (CLOSED, Entries(OWN, "ann")), (OPEN, Entries())],
)
def test_request_that_is_served_is_told_by_whoever_may(
    authenticator: Authenticator, entries: Entries
) -> None:
    fault = encode_fault(MalformedJson("no", field="body"))
    address = "[2001:db8::1]:50051"
    entries = dataclasses.replace(entries, request_id=ID, fault=fault, remote_address=address)
    caller = authenticator.authenticate(entries.metadata())
    assert isinstance(caller.fault, MalformedJson)
    assert (caller.request_id, caller.remote_address) == (ID, address)


@pytest.mark.parametrize("kind", [AccessDenied, SignatureDoesNotMatch, RequestTimeTooSkewed])
@pytest.mark.parametrize(
    ("authenticator", "entries"),
    [
        (CLOSED, Entries(OWN, None, ID)),
        (CLOSED, Entries(OWN, "sig", ID)),
        (CLOSED, Entries("of-door", None, ID)),
        (OPEN, Entries("", None, ID)),
    ],
)
def test_signature_that_a_translator_found_wrong_is_raised_at_once(
    authenticator: Authenticator, entries: Entries, kind: type[VectorBucketError]
) -> None:
    entries = dataclasses.replace(entries, fault=encode_fault(kind("why")))
    error = refusal(authenticator, entries)
    assert type(error) is kind
    assert (error.message, error.request_id) == ("why", ID)


def test_wrong_signature_of_a_stranger_is_not_believed() -> None:
    entries = Entries("of-nobody", fault=encode_fault(SignatureDoesNotMatch("why")))
    assert isinstance(refusal(CLOSED, entries), InvalidAccessKeyId)


@pytest.mark.parametrize("authenticator", [CLOSED, OPEN])
@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": ""},
        {"request_id": ID.lower()},
        {"request_id": ID + "0"},
        {"request_id": ID[:-1] + "\n"},
        {"request_id": "\u0661" * 24},
        {"account_id": ""},
        {"account_id": "-1"},
        {"account_id": "1" * 33},
        {"account_id": "\u0661"},
        {"fault": b""},
        {"fault": b"{}"},
        {"remote_address": ""},
        {"remote_address": "a" * 65},
        {"remote_address": "192.0.2.1 :5"},
        {"remote_address": "\u0661"},
    ],
)
def test_entry_of_another_form_is_an_invalid_argument(
    authenticator: Authenticator, wrong: dict[str, Any]
) -> None:
    named = "ann" if authenticator is CLOSED else None
    assert isinstance(refusal(authenticator, Entries("of-door", named, **wrong)), InvalidArgument)


# --- An open server -----------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "of-ann", "anything", OWN])
def test_anybody_may_do_anything_on_an_open_server(key: str) -> None:
    caller = OPEN.authenticate(Entries(key, request_id=ID).metadata())
    assert (caller.principal.unrestricted, caller.principal.account_id) == (True, "1234567890")
    assert (caller.principal.name, caller.request_id) == ("", ID)


@pytest.mark.parametrize("key", ["", "of-door", OWN])
def test_nobody_can_be_named_on_an_open_server(key: str) -> None:
    assert isinstance(refusal(OPEN, Entries(key, "ann")), AccessDenied)


# --- Credentials that change --------------------------------------------------------------------


def test_caller_stays_the_same_while_the_credentials_do() -> None:
    caller = CLOSED.authenticate(Entries("of-ann").metadata())
    assert CLOSED.renewed(caller) is caller
    anybody = OPEN.authenticate([])
    assert OPEN.renewed(anybody) is anybody


def test_caller_is_renewed_by_the_credentials_in_force() -> None:
    files = Files(*EVERYBODY)
    authenticator = Authenticator(files, account_id="1", own_api_key=OWN)
    callers = [
        authenticator.authenticate(entries.metadata())
        for entries in (Entries("of-ann", account_id="5"), Entries(OWN, "ann", ID))
    ]
    changed = dataclasses.replace(ANN, owner=True)
    files.change(changed, DOOR)
    for caller in callers:
        assert not caller.principal.owner
        fresh = authenticator.renewed(caller)
        assert fresh.principal is changed.principal
        assert (fresh.request_id, fresh.account_id) == (caller.request_id, caller.account_id)
        assert authenticator.renewed(fresh) is fresh


def test_caller_whose_key_is_gone_is_refused() -> None:
    files = Files(*EVERYBODY)
    authenticator = Authenticator(files, account_id="1", own_api_key=OWN)
    by_key = authenticator.authenticate(Entries("of-ann").metadata())
    by_child = authenticator.authenticate(Entries(OWN, "ann").metadata())
    by_door = authenticator.authenticate(Entries("of-door", "sig").metadata())
    files.change(SIGNER, dataclasses.replace(DOOR, impersonate=False))
    for gone in (by_key, by_child):
        with pytest.raises(InvalidAccessKeyId):
            authenticator.renewed(gone)
    with pytest.raises(AccessDenied):
        authenticator.renewed(by_door)


def test_fault_is_still_there_after_a_renewal() -> None:
    files = Files(*EVERYBODY)
    authenticator = Authenticator(files, account_id="1")
    fault = encode_fault(MalformedJson("no"))
    caller = authenticator.authenticate(Entries("of-door", "ann", fault=fault).metadata())
    files.change(*EVERYBODY)
    assert isinstance(authenticator.renewed(caller).fault, MalformedJson)


# --- Whatever comes -----------------------------------------------------------------------------

_NAMES = st.sampled_from(
    [AUTHORIZATION, PRINCIPAL, REQUEST_ID, ACCOUNT_ID, FAULT, REMOTE_ADDRESS, "user-agent"]
)
_VALUES = st.one_of(
    st.text(st.characters(), max_size=30),
    st.binary(max_size=30),
    st.sampled_from(["Bearer of-ann", "Bearer of-door", f"Bearer {OWN}", "ann", ID, "111"]),
    st.just(encode_fault(AccessDenied("no"))),
)


@settings(derandomize=True, database=None, deadline=None, max_examples=500)
@given(metadata=st.lists(st.tuples(_NAMES, _VALUES), max_size=6))
def test_whatever_comes_is_a_caller_or_an_error_of_the_contract(
    metadata: list[tuple[str, str | bytes]],
) -> None:
    for authenticator in (CLOSED, OPEN):
        known, _sender = authenticator.knows(metadata), authenticator.sender_of(metadata)
        try:
            caller = authenticator.authenticate(metadata)
        except VectorBucketError as error:
            assert error.http_status in (400, 403)  # noqa: PT017 - either is right
        else:
            assert known
            assert caller.principal.account_id
            assert "of-ann" not in repr(caller)
