"""What server and translator can both be told, and tables whose names are a dataclass's fields."""

from __future__ import annotations

import dataclasses

import pytest

from vectorbucket_server.door_settings import DoorSettings, options_of
from vectorbucket_server.settings import BadSettings, Settings, load_settings
from vectorbucket_server.translate_settings import TranslateSettings


@dataclasses.dataclass(frozen=True)
class Options:
    """Something that has options."""

    size_bytes: int = 1
    folder: str = ""


CHECKED = options_of(Options, "option of the test", "folder")


def test_table_gives_each_value_its_type() -> None:
    assert CHECKED({"size_bytes": "12"}) == {"size_bytes": 12}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"size_byte": 1}, "there is no option of the test 'size_byte'; there is size_bytes"),
        ({"folder": "x"}, "there is no option of the test 'folder'"),
        ({"size_bytes": "many"}, "size_bytes is 'many'"),
    ],
)
def test_table_refuses_what_is_no_option(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CHECKED(table)


CERTIFICATE = {"tls_certificate": "c.pem", "tls_key": "k.pem"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"tls_certificate": "c.pem"}, "tls_key is not given; tls_certificate and tls_key go"),
        ({"tls_key": "k.pem"}, "tls_certificate is not given; tls_certificate and tls_key go"),
        ({"tls_client_ca": "a.pem"}, "tls_client_ca is given and tls_certificate is not"),
    ],
)
@pytest.mark.parametrize("kind", [Settings, TranslateSettings])
def test_half_of_what_tls_needs_is_refused(
    kind: type[DoorSettings], flags: dict[str, str], words: str
) -> None:
    with pytest.raises(BadSettings, match=words):
        load_settings(kind, flags)


def test_certificates_that_callers_need_are_a_guard_and_one_of_the_servers_own_is_none() -> None:
    reachable = {"rest_address": "0.0.0.0:0"} | CERTIFICATE
    assert load_settings(Settings, reachable | {"tls_client_ca": "a.pem"}).is_guarded
    with pytest.raises(BadSettings, match=r"rest_address 0\.0\.0\.0:0 .*--tls-client-ca"):
        load_settings(Settings, reachable)


def test_both_doors_have_the_settings_of_a_door() -> None:
    for kind in (Settings, TranslateSettings):
        assert kind.model_fields.keys() > DoorSettings.model_fields.keys()
