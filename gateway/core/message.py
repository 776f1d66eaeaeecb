"""A message at each stage of its way, one frozen type per stage: none of these has a field that is None until later.

Pure values. `Submission` -> (contracts.check) `CheckedBody` -> `Draft` -> `SealedMessage` going out;
bytes -> `ClaimedEnvelope` -> `ClaimedMessage` -> `OpenedMessage` coming in. What says Claimed is not yet proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.check import CheckedBody
from gateway.core.payload import Payload
from keys.key import XWingPublic

DAY = 86_400
PUSH_LIFETIME = 30 * DAY  # envelope section 1: at most 30 days by push
CLOCK_SKEW = 300  # seconds by which two honest clocks may differ


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What an own client asks to be sent: not yet checked. `facts` are the asserted ones; `client` and `key` make it idempotent."""

    partner: str
    type: str
    body: bytes = field(repr=False)
    facts: Mapping[str, str | bool]
    client: str
    key: str
    on_behalf_of: str | None = None
    partner_for: str | None = None
    agreement: str | None = None
    thread: str | None = None
    replaces: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRef:
    """The agreement that governs a message, and the heads of its event chains (party a's, party b's) when it was read."""

    id: str
    version: int
    digest: str
    heads: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation in a message, and the controller it acts for, if another."""

    org: str
    acting_for: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A checked body with everything that its envelope will say, before any signature. Times in seconds since 1970."""

    id: str
    type: str
    checked: CheckedBody
    sender: Party
    bundle: str
    recipient: Party
    sealing_keys: tuple[XWingPublic, ...]
    issued_at: int
    expires_at: int
    agreement: AgreementRef
    thread: str | None
    replaces: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedMessage:
    """A message as it travels: `envelope` are the exact bytes, `env` their digest, `inner` the signed JWS, `jws` its digest."""

    draft: Draft
    envelope: bytes = field(repr=False)
    env: str
    inner: bytes = field(repr=False)
    jws: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedRecipient:
    """One entry of the outer `recipients` array."""

    kid: str
    ek: bytes = field(repr=False)
    encrypted_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedEnvelope:
    """Outer bytes that have the right form (reading steps 1 to 4): nothing in them is proven."""

    data: bytes = field(repr=False)
    env: str
    recipients: tuple[ClaimedRecipient, ...]
    protected: str
    commitment: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedMessage:
    """Decrypted bytes in the right form (steps 5 to 9): we were meant to read them, who wrote them is not proven."""

    envelope: ClaimedEnvelope
    inner: bytes = field(repr=False)
    jws: str
    payload: Payload = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMessage:
    """A message whose sender and recipient are proven (steps 10 to 12): made by `envelope.prove` alone."""

    payload: Payload = field(repr=False)
    env: str
    inner: bytes = field(repr=False)
    jws: str
