import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import HttpSignatureError
from keys.http import NONCE_LIFETIME, WINDOW, NonceMemory

NOW = 1_790_000_000
NONCE = bytes(16)


def refused(memory: NonceMemory, code: str, org: str, nonce: bytes, now: int) -> None:
    with pytest.raises(HttpSignatureError) as caught:
        memory.remember(org, nonce, now)
    assert caught.value.code == code


def test_nonce_is_good_once_for_an_organisation() -> None:
    memory = NonceMemory(limit=10)
    memory.remember("la-850", NONCE, NOW)
    refused(memory, "http.replay", "la-850", NONCE, NOW)
    memory.remember("la-207", NONCE, NOW)
    memory.remember("la-850", b"\1" * 16, NOW)


def test_nonce_is_remembered_as_long_as_its_request_could_be_in_the_window() -> None:
    memory = NonceMemory(limit=10)
    memory.remember("la-850", NONCE, NOW)  # at worst `created` is NOW + WINDOW, good until NOW + 2 * WINDOW
    assert NONCE_LIFETIME == 2 * WINDOW
    refused(memory, "http.replay", "la-850", NONCE, NOW + NONCE_LIFETIME)
    memory.remember("la-850", NONCE, NOW + NONCE_LIFETIME + 1)


def test_full_memory_refuses_rather_than_forgets_and_frees_itself() -> None:
    memory = NonceMemory(limit=2)
    memory.remember("la-850", b"a", NOW)
    memory.remember("la-850", b"b", NOW + 1)
    refused(memory, "http.nonces", "la-850", b"c", NOW + 1)
    refused(memory, "http.replay", "la-850", b"a", NOW + 1)
    memory.remember("la-207", b"c", NOW + 1)
    memory.remember("la-850", b"c", NOW + NONCE_LIFETIME + 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 250)), max_size=40))
def test_no_nonce_is_accepted_twice_within_its_time(requests: list[tuple[str, int, int]]) -> None:
    memory, accepted, now = NonceMemory(limit=100), dict[tuple[str, int], int](), NOW
    for org, number, pause in requests:
        now += pause
        last = accepted.get((org, number))
        if last is not None and now - last <= NONCE_LIFETIME:
            refused(memory, "http.replay", org, bytes([number]), now)
        else:
            memory.remember(org, bytes([number]), now)
            accepted[org, number] = now
