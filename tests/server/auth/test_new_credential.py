"""Tests of auth/new_credential.py: what is made can be used, and no two are alike."""

from __future__ import annotations

import re
import stat
from dataclasses import fields
from pathlib import Path

import pytest

from vectorbucket_server.auth.credentials import BadCredentials, parse_credentials
from vectorbucket_server.auth.new_credential import add_to_file, new_credential


@pytest.mark.parametrize("owner", [True, False])
def test_text_parses_back_into_the_credential(*, owner: bool) -> None:
    new = new_credential("ann@example.org", "1234567890", owner=owner)
    known = parse_credentials(new.toml).by_name("ann@example.org")
    assert known is not None
    assert (known.account_id, known.owner) == (new.account_id, owner)
    assert (known.access_key_id, known.access_key_secret) == (
        new.access_key_id,
        new.access_key_secret,
    )
    assert (known.security_token, known.impersonate, known.statements) == ("", False, ())


def test_api_key_is_in_the_text_as_its_hash_only() -> None:
    new = new_credential("ann", "1", owner=True)
    assert new.api_key not in new.toml
    found = parse_credentials(new.toml).by_api_key(new.api_key)
    assert found is not None
    assert found.name == "ann"


def test_texts_can_be_appended_to_each_other() -> None:
    names = ["ann", "bob", "eve"]
    text = "\n".join(new_credential(name, "1", owner=name == "bob").toml for name in names)
    credentials = parse_credentials(text)
    assert [credentials.by_name(name) is not None for name in names] == [True] * 3


def test_sample_statement_works_once_its_comment_signs_are_gone() -> None:
    lines = new_credential("ann", "1", owner=False).toml.splitlines()
    text = "\n".join(line.removeprefix("# ") for line in lines if not line.endswith(":"))
    known = parse_credentials(text).by_name("ann")
    assert known is not None
    assert known.statements[0].matches("oss:GetVectors", ["acs:ossvector:r:1:my-bucket/i/"])


def test_keys_have_their_prefixes_and_no_two_are_alike() -> None:
    made = [new_credential("ann", "1", owner=True) for _ in range(100)]
    for name in ("access_key_id", "access_key_secret", "api_key"):
        assert len({getattr(one, name) for one in made}) == len(made)
    assert re.fullmatch(r"VBAK[A-Z0-9]{20}", made[0].access_key_id)
    assert len(made[0].access_key_secret) == 40


def test_repr_shows_no_secret() -> None:
    new = new_credential("ann", "1", owner=True)
    secrets = (new.access_key_secret, new.api_key, new.toml)
    assert not [one for one in secrets if one in repr(new)]
    assert {field.name for field in fields(new) if field.repr} == {
        *("name", "account_id", "access_key_id")
    }


@pytest.mark.parametrize("name", ["", "12", 'a"\nowner = true', "a b", "é", "-a", "x" * 65])
def test_illegal_name_is_refused(name: str) -> None:
    with pytest.raises(BadCredentials, match=r"^name: expected"):
        new_credential(name, "1", owner=False)


@pytest.mark.parametrize("account_id", ["", "a", "1 ", "\u0661", "1" * 33, "-1"])
def test_illegal_account_is_refused(account_id: str) -> None:
    with pytest.raises(BadCredentials, match=r"^account_id: expected"):
        new_credential("ann", account_id, owner=False)


def test_credential_of_an_operator_operates_and_does_nothing_else() -> None:
    new = new_credential("ops", "1", operator=True)
    known = parse_credentials(new.toml).by_api_key(new.api_key)
    assert known is not None
    assert (known.principal.operator, known.owner, known.impersonate) == (True, False, False)
    assert "statement" not in new.toml
    both = parse_credentials(new_credential("ops", "1", owner=True, operator=True).toml)
    assert [getattr(both.by_name("ops"), one) for one in ("owner", "operator")] == [True, True]


def test_credential_of_a_translator_may_call_in_the_name_of_others() -> None:
    new = new_credential("door", "1", impersonate=True)
    known = parse_credentials(new.toml).by_api_key(new.api_key)
    assert known is not None
    assert (known.impersonate, known.owner, known.operator) == (True, False, False)
    assert "statement" not in new.toml


# --- Into a file --------------------------------------------------------------------------------


def test_missing_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    add_to_file(path, new_credential("ann", "1", owner=True))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(parse_credentials(path.read_text())) == 1


@pytest.mark.parametrize("ending", ["", "\n", "\n# the end"])
def test_what_stood_in_a_file_still_stands_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "credentials.toml"
    before = "# ours\n" + new_credential("ann", "1", owner=True).toml.rstrip() + ending
    path.write_text(before)
    for name in ("bob", "eve"):
        add_to_file(path, new_credential(name, "1"))
    text = path.read_text()
    assert text.startswith(before)
    assert len(parse_credentials(text)) == 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [new_credential("ann", "1", owner=True).toml.encode(), b"[[", b"\xff", b"a = 1"]
)
def test_file_that_cannot_take_the_credential_is_left_as_it_was(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "credentials.toml"
    path.write_bytes(content)
    with pytest.raises(BadCredentials, match=r"credentials\.toml"):
        add_to_file(path, new_credential("ann", "1", owner=True))
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        add_to_file(tmp_path / "none" / "credentials.toml", new_credential("ann", "1"))


def test_nothing_is_left_beside_a_file_that_could_not_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        add_to_file(tmp_path / "credentials.toml", new_credential("ann", "1"))
    assert list(tmp_path.iterdir()) == []


def test_file_keeps_its_rights_and_the_link_to_it(tmp_path: Path) -> None:
    path, link = tmp_path / "keys.toml", tmp_path / "link.toml"
    add_to_file(path, new_credential("ann", "1"))
    path.chmod(0o640)
    link.symlink_to(path)
    add_to_file(link, new_credential("bob", "1"))
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert parse_credentials(path.read_text()).by_name("bob") is not None
