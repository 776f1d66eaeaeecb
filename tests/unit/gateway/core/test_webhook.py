"""Webhooks: secrets, signatures as another implementation reads them, and what follows an attempt."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from gateway.core import webhook
from gateway.core.webhook import (
    Arrived,
    Post,
    Stopped,
    TryAgain,
    after_attempt,
    given_up,
    make_post,
    new_secret,
    read_secret,
)

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
AT_US = int(NOW.timestamp()) * 1_000_000


def make_told(**changes: Any) -> Post:
    members: dict[str, Any] = {
        "event_type": "message.delivered",
        "at_us": AT_US,
        "data": {"index": 7},
        "told": "log/1 7",
    }
    return make_post(**{**members, **changes})


def test_another_implementation_verifies_what_is_posted() -> None:
    secret = new_secret(b"k" * 32)
    post = make_told()
    at = int(datetime.now(UTC).timestamp())  # noqa: TID251 - the other implementation reads the clock itself
    read = Webhook(secret.decode()).verify(post.body, dict(post.headers(read_secret(secret), at)))
    assert read == {"type": "message.delivered", "timestamp": "2026-12-01T09:00:00Z", "data": {"index": 7}}


@given(secret=st.binary(min_size=24, max_size=64), body=st.text().map(str.encode), at=st.integers(0, 2**37))
def test_signature_is_that_of_another_implementation(secret: bytes, body: bytes, at: int) -> None:
    other = Webhook(new_secret(secret).decode())
    theirs = other.sign("evt_1", datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at), body.decode())
    assert f"v1,{webhook.signature(secret, 'evt_1', at, body)}" == theirs


def test_an_event_has_one_id_and_one_body_whenever_it_is_made() -> None:
    assert make_told() == make_told()
    assert make_told().id != make_told(told="log/1 8").id


def test_an_id_has_no_dot_as_the_signed_text_is_joined_by_dots() -> None:
    assert "." not in make_told().id
    assert "." not in webhook.ping_post(b"n" * 16, AT_US).id


def test_a_ping_says_nothing() -> None:
    body = json.loads(webhook.ping_post(b"n" * 16, AT_US).body)
    assert body == {"type": "ping", "timestamp": "2026-12-01T09:00:00Z", "data": {}}


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_as_it_was_made(key: bytes) -> None:
    assert read_secret(new_secret(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"whsec_",
        b"whsec_" + b"A" * 31,  # 23 bytes
        b"whsec_" + b"A" * 88,  # 66 bytes
        b"whsec_" + b"A" * 33,
        b"whsec_" + b"A" * 42 + b"-_",
        b"A" * 44,
        b"whsec_" + b"A" * 40 + b"\n\n",
        b"whsec_" + "é".encode() * 20,
    ],
)
def test_what_is_no_secret_is_refused_without_repeating_it(text: bytes) -> None:
    with pytest.raises(ValueError, match="whsec_ and base64 of 24 to 64 bytes") as refused:
        read_secret(text)
    assert "AAAA" not in str(refused.value)


def test_headers_and_posts_do_not_show_the_secret() -> None:
    post = make_told()
    assert "kkkk" not in repr(post) + repr(post.headers(b"k" * 32, 1))


# --- what follows


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_2xx_is_arrival(status: int) -> None:
    assert after_attempt(status, None, attempts=1, now=NOW, jitter=0) == Arrived()


@pytest.mark.parametrize("status", [None, 100, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503])
def test_everything_else_is_tried_again_a_redirect_too(status: int | None) -> None:
    assert after_attempt(status, None, attempts=1, now=NOW, jitter=0) == TryAgain(at=NOW + timedelta(seconds=5))


def test_gone_ends_it() -> None:
    assert after_attempt(410, 60, attempts=1, now=NOW, jitter=0) == Stopped()


def test_what_the_receiver_asked_for_is_kept_to() -> None:
    assert after_attempt(429, 120, attempts=1, now=NOW, jitter=0) == TryAgain(at=NOW + timedelta(seconds=120))


def test_a_person_is_told_after_a_day() -> None:
    assert not given_up(AT_US, NOW + timedelta(hours=23, minutes=59))
    assert given_up(AT_US, NOW + timedelta(days=1))
