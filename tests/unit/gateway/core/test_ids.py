"""Message ids are UUIDv7 of their own instant."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.ids import new_message_id
from gateway.core.payload import UUID7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
entropies = st.binary(min_size=10, max_size=10)


@given(instants, entropies)
def test_id_is_a_lower_case_uuid_of_version_7(now: datetime, random: bytes) -> None:
    made = new_message_id(now, lambda size: random[:size])
    assert re.match(UUID7, made)
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)


@given(instants, entropies)
def test_id_begins_with_the_milliseconds_of_its_instant(now: datetime, random: bytes) -> None:
    made = new_message_id(now, lambda size: random[:size])
    assert uuid.UUID(made).int >> 80 == (now - EPOCH) // timedelta(milliseconds=1)


def test_later_ids_sort_after_earlier_ones() -> None:
    start = datetime(2027, 1, 15, tzinfo=UTC)
    made = [new_message_id(start + timedelta(milliseconds=n), lambda size: b"\xff" * size) for n in range(3)]
    assert made == sorted(made)


def test_seventy_four_bits_are_random() -> None:
    start = datetime(2027, 1, 15, tzinfo=UTC)
    none = uuid.UUID(new_message_id(start, lambda size: bytes(size))).int
    every = uuid.UUID(new_message_id(start, lambda size: b"\xff" * size)).int
    assert (none ^ every).bit_count() == 74
