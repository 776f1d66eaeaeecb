import pytest

from keys.errors import KeyFormatError
from keys.key import Ed25519Secret, MlDsa65Secret, XWingSecret
from keys.keyset import KeySet, StoredKey

ED = StoredKey("message-sign", Ed25519Secret.from_seed(bytes(32)))
ML = StoredKey("message-sign", MlDsa65Secret.from_seed(bytes(32)))
KEM = StoredKey("message-kem", XWingSecret.from_seed(bytes(32)))
SET = KeySet(keys=(ED, ML), secrets={"append": b"\x5a" * 32})


def test_added_key_stands_last_and_the_old_set_is_unchanged() -> None:
    assert SET.add(KEM).keys == (ED, ML, KEM)
    assert SET.keys == (ED, ML)
    assert SET.add(KEM).secrets == SET.secrets


def test_key_is_found_by_its_id() -> None:
    assert SET.find(ML.kid) == ML
    assert SET.find(KEM.kid) is None


def test_removed_key_is_gone_and_must_have_been_there() -> None:
    assert SET.remove(ED.kid).keys == (ML,)
    with pytest.raises(KeyFormatError):
        SET.remove(KEM.kid)


def test_destroyed_keys_are_gone_and_may_have_been_gone_before() -> None:
    assert SET.destroy(ED.kid, KEM.kid).keys == (ML,)
    assert SET.destroy(ED.kid).destroy(ED.kid).keys == (ML,)


def test_key_is_stored_once_and_in_one_role() -> None:
    with pytest.raises(KeyFormatError):
        SET.add(StoredKey("http", ED.secret))


@pytest.mark.parametrize("secrets", [{"append": bytes(31)}, {"append": b""}, {"": bytes(32)}, {"Append": bytes(32)}])
def test_symmetric_secret_of_another_size_or_name_is_refused(secrets: dict[str, bytes]) -> None:
    with pytest.raises(KeyFormatError):
        KeySet(keys=(), secrets=secrets)


@pytest.mark.parametrize("role", ["", "HTTP", "message sign", "-http", "a" * 33])
def test_role_of_another_form_is_refused(role: str) -> None:
    with pytest.raises(KeyFormatError):
        StoredKey(role, ED.secret)


def test_secrets_cannot_be_changed_from_outside() -> None:
    given = {"append": bytes(32)}
    keys = KeySet(keys=(), secrets=given)
    given["append"] = b""
    assert keys.secrets["append"] == bytes(32)
    with pytest.raises(TypeError):
        keys.secrets["append"] = b""  # type: ignore[index]


def test_set_shows_no_secret() -> None:
    shown = repr(SET)
    assert ED.kid in shown
    assert "append" not in shown
    assert "seed" not in shown
