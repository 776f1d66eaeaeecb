"""The key ring: an organisation's own secret keys, judged by its own newest bundle.

Pure: the instant is always an argument, in whole seconds since 1970. It chooses; who may ask is decided by which
keystores were opened to fill it. A secret that the bundle does not list, or lists for another job, does not exist here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from keys.bundle import KeyBundle
from keys.errors import KeysError
from keys.key import Ed25519Secret, Kid, MlDsa65Secret, SecretKey, SigningPair, XWingSecret
from keys.keyset import StoredKey
from keys.listed import ListedKey, Role

NEEDED_TO_SERVE: Final = (Role.HTTP, Role.LOG, Role.MESSAGE_SIGN, Role.MESSAGE_KEM)


class KeyUnavailableError(KeysError):
    """No key of ours is in force for a job: it is missing, not yet or no longer active, or revoked."""

    code = "key.unavailable"

    def __init__(self, role: Role) -> None:
        self.role = role
        super().__init__(f"an active {role} key is listed in the own bundle and held; `keys publish` puts one in force")


class Signing(NamedTuple):
    """A pair that signs now, and the end that no message signed with it may outlive (seconds since 1970)."""

    pair: SigningPair
    exp: int


class LogSigning(NamedTuple):
    """The key that signs checkpoints now, and the log it signs for."""

    key: Ed25519Secret
    origin: str


class WitnessSigning(NamedTuple):
    """The key that cosigns other organisations' checkpoints now, and the name it does so under."""

    key: Ed25519Secret
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The secrets at hand and the bundle that says which of them are in force."""

    bundle: KeyBundle
    secrets: tuple[StoredKey, ...] = field(repr=False)

    @property
    def org(self) -> str:
        """The organisation that signs."""
        return self.bundle.org

    def signing(self, now: int) -> Signing:
        """Return the newest active pair for messages, receipts and statements, or raise KeyUnavailableError."""
        return self._pair(Role.MESSAGE_SIGN, now)

    def agreement(self, now: int) -> Signing:
        """Return the newest active pair for agreement events; `serve` never holds it. Raises KeyUnavailableError."""
        return self._pair(Role.AGREEMENT_SIGN, now)

    def http(self, now: int) -> Ed25519Secret:
        """Return the newest active key for requests, or raise KeyUnavailableError."""
        return self._single(Role.HTTP, now)[1]

    def log(self, now: int) -> LogSigning:
        """Return the newest active key for checkpoints and its origin, or raise KeyUnavailableError."""
        listed, secret = self._single(Role.LOG, now)
        if listed.origin is None:
            raise KeyUnavailableError(Role.LOG)
        return LogSigning(secret, listed.origin)

    def witness(self, now: int) -> WitnessSigning | None:
        """Return the newest active witness key and its name; None: this gateway witnesses nobody, and runs all the same."""
        try:
            listed, secret = self._single(Role.WITNESS, now)
        except KeyUnavailableError:
            return None
        return None if listed.name is None else WitnessSigning(secret, listed.name)

    def opening(self, kid: str, now: int) -> XWingSecret | None:
        """Return the secret of a KEM key that is active (from 300 s before `nbf`) or retiring, unrevoked and held."""
        listed = self.bundle.find(Kid(kid))
        if listed is None or listed.role is not Role.MESSAGE_KEM or not listed.opens_at(now):
            return None
        if self.bundle.is_revoked(listed.kid):
            return None
        secret = self._secret(listed.kid, Role.MESSAGE_KEM)
        return secret if isinstance(secret, XWingSecret) else None

    def missing(self, now: int) -> tuple[Role, ...]:
        """Return the roles that `serve` cannot do without and has no active key for; all, if the bundle is not current."""
        return tuple(role for role in NEEDED_TO_SERVE if not self.bundle.current_at(now) or not self._has(role, now))

    def not_held(self) -> tuple[ListedKey, ...]:
        """Return the entries of the bundle whose secrets are not at hand: `keys publish` wants none."""
        return tuple(key for key in self.bundle.keys if self._secret(key.kid, key.role) is None)

    def _has(self, role: Role, now: int) -> bool:
        if role is Role.MESSAGE_SIGN:
            return bool(self._pairs(role, now))
        return any(self._secret(key.kid, role) is not None for key in self.bundle.active_keys(role, now))

    def _single(self, role: Role, now: int) -> tuple[ListedKey, Ed25519Secret]:
        for listed in self.bundle.active_keys(role, now):
            secret = self._secret(listed.kid, role)
            if isinstance(secret, Ed25519Secret):
                return listed, secret
        raise KeyUnavailableError(role)

    def _pair(self, role: Role, now: int) -> Signing:
        pairs = self._pairs(role, now)
        if not pairs:
            raise KeyUnavailableError(role)
        return pairs[0]

    def _pairs(self, role: Role, now: int) -> tuple[Signing, ...]:
        found = []
        for listed in self.bundle.active_pairs(role, now):
            ed, ml = (self._secret(kid, role) for kid in listed.kids)
            if isinstance(ed, Ed25519Secret) and isinstance(ml, MlDsa65Secret):
                found.append(Signing(SigningPair(ed, ml), listed.exp))
        return tuple(found)

    def _secret(self, kid: Kid, role: Role) -> SecretKey | None:
        return next((stored.secret for stored in self.secrets if stored.kid == kid and stored.role == role), None)
