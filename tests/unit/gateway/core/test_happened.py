"""What own clients are told of: every state that a message can come to, each in words."""

from __future__ import annotations

from gateway.core.happened import LED_TO, TYPES, WORDS
from gateway.core.lifecycle import InboundState, State


def test_every_state_that_a_message_can_reach_is_told_but_attempts_and_mailboxes() -> None:
    told = {state for kinds in LED_TO.values() for state in kinds.values()}
    assert told == {*State, *InboundState} - {State.SENDING, State.AVAILABLE}


def test_every_state_that_is_told_has_words_and_a_type() -> None:
    assert {direction: set(kinds.values()) for direction, kinds in LED_TO.items()} == {
        direction: set(words) for direction, words in WORDS.items()
    }
    assert len(set(TYPES)) == len(TYPES)
