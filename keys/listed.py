"""A key as a bundle lists it: its job, who holds it, and the times that decide its state.

Pure: the instant is always an argument, in whole seconds since 1970. Whether a key is revoked is not known here but to
the bundle, which is therefore the one to ask before a key is used. The rules are those of envelope sections 5 and 10.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import msgspec

from keys.errors import BundleError, KeyFormatError
from keys.key import Ed25519Public, Kid, MlDsa65Public, PublicKey, VerifyingPair, XWingPublic, public_from_jwk

DAY = 86_400
CLOCK_SKEW = 300  # seconds that two honest clocks may differ
KEM_ACTIVE = 30 * DAY
KEM_RETIRING = 31 * DAY  # one day more than the 30 that a message may live past `retire`
BROWSER_LIFETIME = 400 * DAY

Mark = str | bytes
"""What must not recur elsewhere: a key id (text), a raw public key or the X25519 half of a KEM key (bytes)."""

_ORIGIN = re.compile(r"[^\s+]+")  # C2SP signed-note: a key name has no white space and no plus
_TEXT_LIMIT = 200


class Role(StrEnum):
    """The one job of a key; a key never has two."""

    MESSAGE_KEM = "message-kem"
    MESSAGE_SIGN = "message-sign"
    HTTP = "http"
    LOG = "log"
    WITNESS = "witness"
    AGREEMENT_SIGN = "agreement-sign"


PAIRED = frozenset({Role.MESSAGE_SIGN, Role.AGREEMENT_SIGN})


class Holder(StrEnum):
    """Where the secret half lies; a browser's key lives long and has no forward secrecy."""

    GATEWAY = "gateway"
    BROWSER = "browser"


class KeyState(StrEnum):
    """What a key may be used for at an instant, revocation apart."""

    NEXT = "next"
    ACTIVE = "active"  # makes signatures, is sealed to
    RETIRING = "retiring"  # its signatures are still read, it still opens
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """next < `nbf` <= active < `retire` <= retiring < `exp`, in seconds since 1970."""

    nbf: int
    retire: int
    exp: int

    def state(self, at: int) -> KeyState:
        """Return the state at an instant."""
        if at < self.nbf:
            return KeyState.NEXT
        if at < self.retire:
            return KeyState.ACTIVE
        return KeyState.RETIRING if at < self.exp else KeyState.EXPIRED

    def active_at(self, at: int) -> bool:
        """Whether the owner signs with it, and partners seal to it."""
        return self.state(at) is KeyState.ACTIVE

    def valid_at(self, at: int) -> bool:
        """Whether a reader takes its signatures: `nbf` <= at < `exp`, retiring or not."""
        return self.nbf <= at < self.exp

    def opens_at(self, at: int) -> bool:
        """Whether the owner opens with it: a sender's clock may be ahead by 300 s (envelope section 2, step 5)."""
        return self.nbf - CLOCK_SKEW <= at < self.exp


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedKey(Period):
    """One entry of `keys`; `origin` stands with log keys only, `name` with witness keys only."""

    role: Role
    holder: Holder
    public: PublicKey
    origin: str | None
    name: str | None

    @property
    def kid(self) -> Kid:
        """The thumbprint of the key."""
        return self.public.kid

    @property
    def kids(self) -> tuple[Kid, ...]:
        """Its only key id: a key can be asked for its ids as a pair can."""
        return (self.public.kid,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPair(Period):
    """Two neighbouring entries that sign together; all but the key is equal in both."""

    role: Role
    holder: Holder
    public: VerifyingPair

    @property
    def kids(self) -> tuple[Kid, Kid]:
        """The two key ids, Ed25519 first."""
        return self.public.kids


def marks(public: PublicKey) -> tuple[Mark, ...]:
    """Return what would betray the same key elsewhere: no other organisation, role or entry may have any of it."""
    if isinstance(public, XWingPublic):
        return public.kid, public.raw, public.x25519_half
    return public.kid, public.raw


class EntryWire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of an entry in their order; the bundle's reader has compared the bytes."""

    role: Role
    holder: Holder
    jwk: dict[str, str]
    nbf: int
    retire: int
    exp: int
    origin: str | msgspec.UnsetType = msgspec.UNSET
    name: str | msgspec.UnsetType = msgspec.UNSET


def read_entry(wire: EntryWire) -> ListedKey:
    """Return the key of an entry that keeps every rule for entries. Raises BundleError `bundle.key`."""
    try:
        public = public_from_jwk(wire.jwk)
    except KeyFormatError as error:
        raise BundleError("bundle.key", error.rule) from error
    key = ListedKey(
        role=wire.role,
        holder=wire.holder,
        public=public,
        nbf=wire.nbf,
        retire=wire.retire,
        exp=wire.exp,
        origin=None if wire.origin is msgspec.UNSET else wire.origin,
        name=None if wire.name is msgspec.UNSET else wire.name,
    )
    _check_kind(key)
    _check_period(key)
    _check_names(key)
    return key


def write_entry(key: ListedKey) -> EntryWire:
    """Return the entry of a key."""
    return EntryWire(
        role=key.role,
        holder=key.holder,
        jwk=key.public.jwk(),
        nbf=key.nbf,
        retire=key.retire,
        exp=key.exp,
        origin=msgspec.UNSET if key.origin is None else key.origin,
        name=msgspec.UNSET if key.name is None else key.name,
    )


def pair_up(keys: Sequence[ListedKey]) -> tuple[ListedPair, ...]:
    """Return the signing pairs of a list of entries, in its order.

    Raises BundleError `bundle.pair` where a key of a paired role is not beside its other half.
    """
    pairs: list[ListedPair] = []
    left = iter(keys)
    for first in left:
        if first.role not in PAIRED:
            continue
        second = next(left, None)
        if not (
            second is not None
            and isinstance(first.public, Ed25519Public)
            and isinstance(second.public, MlDsa65Public)
            and (first.role, first.holder) == (second.role, second.holder)
            and (first.nbf, first.retire, first.exp) == (second.nbf, second.retire, second.exp)
        ):
            raise BundleError(
                "bundle.pair", "the keys of a pair are neighbours of one role and holder, Ed25519 first, of equal times"
            )
        pairs.append(
            ListedPair(
                role=first.role,
                holder=first.holder,
                public=VerifyingPair(first.public, second.public),
                nbf=first.nbf,
                retire=first.retire,
                exp=first.exp,
            )
        )
    return tuple(pairs)


def check_text(text: str, what: Literal["name", "reason", "origin"]) -> None:
    """Refuse text of no or of more than 200 characters, counted in code points."""
    if not 1 <= len(text) <= _TEXT_LIMIT:
        raise BundleError("bundle.malformed", f"{what} has 1 to {_TEXT_LIMIT} characters")


def _check_kind(key: ListedKey) -> None:
    expected: type[PublicKey] | tuple[type[PublicKey], ...] = Ed25519Public
    if key.role is Role.MESSAGE_KEM:
        expected = XWingPublic
    elif key.role in PAIRED:
        expected = (Ed25519Public, MlDsa65Public)
    if not isinstance(key.public, expected):
        raise BundleError("bundle.key", f"a key of role {key.role} has the algorithm of that role")


def _check_period(key: ListedKey) -> None:
    if not 0 <= key.nbf < key.retire <= key.exp:
        raise BundleError("bundle.period", "nbf is before retire, and retire not after exp")
    if key.holder is Holder.BROWSER:
        if key.exp - key.nbf > BROWSER_LIFETIME:
            raise BundleError("bundle.period", "a browser's key lives at most 400 days")
    elif key.role is Role.MESSAGE_KEM and (key.retire - key.nbf > KEM_ACTIVE or key.exp != key.retire + KEM_RETIRING):
        raise BundleError("bundle.period", "a gateway's KEM key is active at most 30 days, then retiring exactly 31")


def _check_names(key: ListedKey) -> None:
    if (key.origin is not None) != (key.role is Role.LOG) or (key.name is not None) != (key.role is Role.WITNESS):
        raise BundleError("bundle.malformed", "a log key has an origin, a witness key a name, and no other key either")
    if key.origin is not None:
        check_text(key.origin, "origin")
        if not _ORIGIN.fullmatch(key.origin):
            raise BundleError("bundle.malformed", "an origin has no white space and no plus")
    if key.name is not None:
        check_text(key.name, "name")
