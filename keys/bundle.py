"""The key bundle: an organisation's signed list of its public keys, and the rules for accepting the next one.

Pure: bytes, the bundles accepted before, and an instant go in; a `KeyBundle` or a BundleError comes out. Fetching,
storing, logging and alarming are the gateway's. A `KeyBundle` comes from `accept_bundle`, `accept_bundles`,
`first_trust` or `replay_history` alone, so its signatures and its place in the history are proven.

What stops what: a root key that was not announced takes over: four signatures and `next_roots`; a key of somebody
else is passed off as one's own: marks held by other organisations; an old bundle hides a revocation: `seq` only grows
and `revoked` is never forgotten; two readers are told two stories: the same `seq` with other bytes is an alarm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from keys import suite
from keys.bundle_payload import (
    BUNDLE_LIMIT,
    ClaimedBundle,
    Endpoints,
    Revocation,
    UnsignedBundle,
    check_owners,
    read_payload,
    write_payload,
)
from keys.errors import BundleError, StatementError
from keys.fingerprint import fingerprint as fingerprint_of
from keys.key import Ed25519Public, Kid, SigningPair, VerifyingPair
from keys.listed import CLOCK_SKEW, ListedKey, ListedPair, Mark, Role, pair_up
from keys.statement import ClaimedStatement, read_statement, sign_statement, verify_statement

__all__ = [
    "Endpoints",
    "KeyBundle",
    "Revocation",
    "UnsignedBundle",
    "accept_bundle",
    "accept_bundles",
    "first_trust",
    "issue_bundle",
    "reissue_bundle",
    "reissue_request",
    "replay_history",
    "roots_chain",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBundle:
    """A bundle that was accepted; every key in it is well-formed and the organisation's own.

    Lookups that end in `_for` serve readers of what the organisation signed; those that begin with `active_` serve the
    organisation itself and those who seal to it. Both leave revoked keys out.
    """

    accepted: ClaimedBundle
    changes_roots: bool
    jws: bytes = field(repr=False)
    pairs: tuple[ListedPair, ...] = field(repr=False)
    digest: str = field(init=False, compare=False)  # `sha256:` over the published bytes

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", f"sha256:{hashlib.sha256(self.jws).hexdigest()}")

    @property
    def content(self) -> UnsignedBundle:
        """All that it says except its roots."""
        return self.accepted.content

    @property
    def roots(self) -> VerifyingPair:
        """The keys that signed it."""
        return self.accepted.roots

    @property
    def next_roots(self) -> tuple[Kid, Kid]:
        """The thumbprints of the roots that alone may follow."""
        return self.accepted.next_roots

    @property
    def org(self) -> str:
        """The organisation whose keys these are."""
        return self.content.org

    @property
    def name(self) -> str:
        """The organisation's name for people."""
        return self.content.name

    @property
    def seq(self) -> int:
        """The place in the organisation's history, from 1."""
        return self.content.seq

    @property
    def iat(self) -> int:
        """When it was requested, in seconds since 1970."""
        return self.content.iat

    @property
    def exp(self) -> int:
        """When it must have been replaced, in seconds since 1970."""
        return self.content.exp

    @property
    def keys(self) -> tuple[ListedKey, ...]:
        """Every entry, in the order of the bundle."""
        return self.content.keys

    @property
    def revoked(self) -> tuple[Revocation, ...]:
        """Every key ever revoked."""
        return self.content.revoked

    @property
    def endpoints(self) -> Endpoints:
        """Where the organisation is reached."""
        return self.content.endpoints

    @property
    def fingerprint(self) -> bytes:
        """The 32 bytes that two people compare by telephone."""
        return fingerprint_of(self.org, self.roots)

    @property
    def marks(self) -> frozenset[Mark]:
        """What no other organisation's bundle may hold, roots and announced roots included; to be kept for ever."""
        return frozenset(mark for mark, _, _ in self.accepted.claims())

    def current_at(self, now: int) -> bool:
        """Whether the bundle is neither expired nor from the future."""
        return self.iat - CLOCK_SKEW <= now < self.exp

    def find(self, kid: Kid) -> ListedKey | None:
        """Return the entry of a key id in whatever state, revoked or not."""
        return next((key for key in self.keys if key.kid == kid), None)

    def is_revoked(self, kid: Kid) -> bool:
        """Whether the key is revoked; then it is refused whatever the time of the message."""
        return any(entry.kid == kid for entry in self.revoked)

    def trusts(self, listed: ListedKey | ListedPair, *instants: int) -> bool:
        """Whether a reader takes a signature: no half revoked, and valid at every one of `instants`."""
        unrevoked = not any(self.is_revoked(kid) for kid in listed.kids)
        return unrevoked and all(listed.valid_at(instant) for instant in instants)

    def pair_for(self, role: Role, kids: tuple[str, str]) -> ListedPair | None:
        """Return the pair of exactly these ids in this order, in whatever state, revoked or not.

        None means that a newer bundle may exist; a pair found must still pass `trusts`.
        """
        return next((pair for pair in self.pairs if pair.role is role and pair.kids == kids), None)

    def message_sign_pair_for(self, kids: tuple[str, str]) -> ListedPair | None:
        """As `pair_for`, for messages, receipts and daily statements."""
        return self.pair_for(Role.MESSAGE_SIGN, kids)

    def agreement_sign_pair_for(self, kids: tuple[str, str]) -> ListedPair | None:
        """As `pair_for`, for agreement events."""
        return self.pair_for(Role.AGREEMENT_SIGN, kids)

    def http_key_for(self, kid: str, now: int) -> Ed25519Public | None:
        """Return the key that a request names, if the bundle and the key are good for a request now."""
        if not self.current_at(now):
            return None
        return next((_ed(key) for key in self._valid(Role.HTTP, now) if key.kid == kid), None)

    def log_keys_for(self, origin: str, now: int) -> tuple[Ed25519Public, ...]:
        """Return the keys whose checkpoints of this log are taken now, newest first."""
        return tuple(_ed(key) for key in self._valid(Role.LOG, now) if key.origin == origin)

    def witness_keys(self, now: int) -> tuple[tuple[str, Ed25519Public], ...]:
        """Return name and key of each witness key whose cosignatures are taken now, newest first."""
        return tuple((key.name or "", _ed(key)) for key in self._valid(Role.WITNESS, now))

    def has_log(self, origin: str) -> bool:
        """Whether the log was ever one of this organisation's, as far as this bundle lists (envelope section 10)."""
        return any(key.origin == origin for key in self.keys if key.role is Role.LOG)

    def active_keys(self, role: Role, now: int) -> tuple[ListedKey, ...]:
        """Return the unrevoked active keys of an unpaired role, newest first."""
        return tuple(key for key in self._valid(role, now) if key.active_at(now))

    def active_pairs(self, role: Role, now: int) -> tuple[ListedPair, ...]:
        """Return the unrevoked active pairs of a role, newest first."""
        found = [pair for pair in self.pairs if pair.role is role and pair.active_at(now) and self.trusts(pair)]
        return tuple(sorted(found, key=_newest_first))

    def active_message_kem(self, now: int) -> ListedKey | None:
        """Return the key to seal to now; `retire` + 30 d bounds the message. None: nothing can be sealed."""
        return next(iter(self.active_keys(Role.MESSAGE_KEM, now)), None)

    def active_message_sign(self, now: int) -> ListedPair | None:
        """Return the newest active pair for messages and receipts."""
        return next(iter(self.active_pairs(Role.MESSAGE_SIGN, now)), None)

    def active_agreement_sign(self, now: int) -> ListedPair | None:
        """Return the newest active pair for agreement events."""
        return next(iter(self.active_pairs(Role.AGREEMENT_SIGN, now)), None)

    def active_http(self, now: int) -> ListedKey | None:
        """Return the newest active key for requests."""
        return next(iter(self.active_keys(Role.HTTP, now)), None)

    def active_log(self, now: int) -> ListedKey | None:
        """Return the newest active key for checkpoints; its `origin` names the log."""
        return next(iter(self.active_keys(Role.LOG, now)), None)

    def _valid(self, role: Role, now: int) -> list[ListedKey]:
        found = [key for key in self.keys if key.role is role and self.trusts(key, now)]
        return sorted(found, key=_newest_first)


# --- issuing


def issue_bundle(
    request: UnsignedBundle,
    roots: SigningPair,
    next_roots: tuple[Kid, Kid],
    *,
    old_roots: SigningPair | None = None,
) -> bytes:
    """Return the published bytes: two signatures by `roots`, or four where `old_roots` hand over to them.

    Nothing is signed that a reader would refuse for its content (BundleError). After a root change, publish
    `reissue_bundle` of it too.
    """
    payload = write_payload(request, roots.public, next_roots)
    signers = (*(old_roots.signers if old_roots else ()), *roots.signers)
    return sign_statement(payload, suite.BUNDLE_TYPE, signers)


def reissue_bundle(bundle: KeyBundle, roots: SigningPair) -> bytes:
    """Return the same content under the next `seq` with two signatures: where newcomers begin after a root change."""
    return issue_bundle(reissue_request(bundle.content, bundle.jws), roots, bundle.next_roots)


def reissue_request(request: UnsignedBundle, jws: bytes) -> UnsignedBundle:
    """Return the request that repeats what was signed as `jws` under the next `seq`."""
    return replace(request, seq=request.seq + 1, prev=f"sha256:{hashlib.sha256(jws).hexdigest()}")


# --- accepting


def accept_bundle(
    jws: bytes,
    *,
    org: str,
    history: tuple[KeyBundle, ...],
    foreign: Container[Mark],
    now: int,
    fingerprint: bytes | None = None,
) -> KeyBundle:
    """Return the bundle that these bytes add to `history`, the bundles accepted from `org` before, ascending.

    Bytes accepted before return the bundle held, and nothing changes. `foreign` holds the marks of every bundle ever
    accepted from any other organisation, the own one included. `fingerprint` is what two people compared; without it
    the first bundle is taken at its word and the partner stays unverified. Raises BundleError.
    """
    bundle = _follow(jws, org=org, history=history, foreign=foreign, fingerprint=fingerprint)
    if bundle not in history:
        _check_current(bundle, now)
    return bundle


def accept_bundles(
    bundles: Sequence[bytes],
    *,
    org: str,
    history: tuple[KeyBundle, ...],
    foreign: Container[Mark],
    now: int,
    fingerprint: bytes | None = None,
) -> tuple[KeyBundle, ...]:
    """Return `history` grown by `bundles`, ascending as a partner lists them; those on the way may have expired.

    All or nothing: raises BundleError at the first that is refused, or where the newest is not current now.
    """
    grown = history
    for jws in bundles:
        bundle = _follow(jws, org=org, history=grown, foreign=foreign, fingerprint=fingerprint)
        if bundle not in grown:
            grown = (*grown, bundle)
    if grown != history:
        _check_current(grown[-1], now)
    return grown


def first_trust(
    bundles: Sequence[bytes], *, org: str, foreign: Container[Mark], now: int, fingerprint: bytes | None
) -> tuple[KeyBundle, ...]:
    """Return the history with which a newcomer begins: from the newest two-signature bundle whose roots have the
    fingerprint (None: of any roots, for a partner not yet verified) to the newest of all.

    Raises BundleError, `bundle.fingerprint` where no bundle has those roots.
    """
    for start in reversed(range(len(bundles))):
        statement, claimed = _open(bundles[start])
        found = fingerprint_of(claimed.content.org, claimed.roots)
        if len(statement.signatures) == 2 and (fingerprint is None or fingerprint == found):
            return accept_bundles(
                bundles[start:], org=org, history=(), foreign=foreign, now=now, fingerprint=fingerprint
            )
    raise BundleError("bundle.fingerprint", "no bundle of two signatures has roots of this fingerprint")


def replay_history(bundles: Sequence[bytes], *, org: str) -> tuple[KeyBundle, ...]:
    """Return a history from its stored bytes, ascending, verified again except for other organisations' keys.

    Raises BundleError where the bytes stored are not a history that could have been accepted.
    """
    history: tuple[KeyBundle, ...] = ()
    for jws in bundles:
        history = (*history, _follow(jws, org=org, history=history, foreign=(), fingerprint=None))
    return history


def roots_chain(history: tuple[KeyBundle, ...]) -> tuple[bytes, ...]:
    """Return the fingerprints from the first roots trusted to today's; an agreement may name any of them as `root`."""
    return tuple(dict.fromkeys(bundle.fingerprint for bundle in history))


def _follow(
    jws: bytes,
    *,
    org: str,
    history: tuple[KeyBundle, ...],
    foreign: Container[Mark],
    fingerprint: bytes | None,
) -> KeyBundle:
    """Judge one bundle against what came before, the clock apart (envelope sections 5 and 10)."""
    # 1 strict statement, strict payload, rules for one bundle by itself
    statement, claimed = _open(jws)
    # 2 the organisation asked for
    if claimed.content.org != org:
        raise BundleError("bundle.org", "the bundle is another organisation's")
    # 3 the same bytes again: nothing changes
    held = next((bundle for bundle in history if bundle.seq == claimed.content.seq), None)
    if held is not None and held.jws == jws:
        return held
    # 4 signatures by roots trusted or announced before: a forgery must not raise the alarms that the steps below do
    old_roots = _handing_over(statement, claimed, held, history)
    signers = (*(old_roots.publics if old_roots else ()), *claimed.roots.publics)
    try:
        verify_statement(statement, suite.BUNDLE_TYPE, signers)
    except StatementError as error:
        raise BundleError("bundle.signature", error.rule) from error
    bundle = KeyBundle(
        accepted=claimed, changes_roots=old_roots is not None, jws=jws, pairs=pair_up(claimed.content.keys)
    )
    # 5 the place in the history
    if held is not None:
        raise BundleError("bundle.conflict", "two different bundles have the same seq")
    if history:
        _check_place(bundle, history[-1])
    # 6 one key, one role, over all bundles; nothing known is changed or forgotten
    owners: dict[Mark, tuple[str, Kid]] = {}
    for earlier in (*history, bundle):
        check_owners(owners, earlier.accepted.claims())
    _check_known(bundle, history)
    # 7 no key that another organisation's bundle ever held
    if any(mark in foreign for mark in bundle.marks):
        raise BundleError("bundle.foreign-key", "the bundle holds a key that another organisation's bundle held")
    # 8 what the two people compared
    if fingerprint is not None and fingerprint not in roots_chain((*history, bundle)):
        raise BundleError("bundle.fingerprint", "the roots do not have the fingerprint that was compared")
    return bundle


def _handing_over(
    statement: ClaimedStatement, claimed: ClaimedBundle, held: KeyBundle | None, history: tuple[KeyBundle, ...]
) -> VerifyingPair | None:
    """Return the roots whose two signatures come first where the bundle changes its roots, else None."""
    if len(statement.signatures) == 2:
        if history and claimed.roots != (held or history[-1]).roots:
            raise BundleError("bundle.roots", "other roots need the signatures of both root pairs")
        return None
    before = next((bundle for bundle in history if bundle.seq == claimed.content.seq - 1), None)
    if before is None:
        raise BundleError("bundle.roots", "a root change is accepted only after its predecessor")
    if claimed.roots.kids != before.next_roots:
        raise BundleError("bundle.roots", "new roots are those that the predecessor announced")
    return before.roots


def _check_place(bundle: KeyBundle, newest: KeyBundle) -> None:
    if bundle.seq <= newest.seq:
        raise BundleError("bundle.seq", "seq is above that of the newest bundle held")
    if bundle.seq > newest.seq + 1:
        return  # a jump under unchanged roots: prev names a bundle that was never seen
    if bundle.content.prev != newest.digest:
        raise BundleError("bundle.prev", "prev is the digest of the bundle before")
    if newest.changes_roots:
        again = replace(bundle.content, seq=newest.seq, prev=newest.content.prev, iat=newest.iat, exp=newest.exp)
        if bundle.changes_roots or (again, bundle.next_roots) != (newest.content, newest.next_roots):
            raise BundleError("bundle.roots", "after a root change the same content follows with two signatures")


def _check_known(bundle: KeyBundle, history: tuple[KeyBundle, ...]) -> None:
    known = {key.kid: key for earlier in history for key in earlier.keys}  # the newest listing of each
    for key in bundle.keys:
        before = known.get(key.kid)
        # role: one key in two roles was refused before; JWK: the kid is its thumbprint
        if before is not None and (key.nbf != before.nbf or key.exp > before.exp):
            raise BundleError("bundle.key-changed", "a known key keeps its nbf, and its exp never moves later")
    if history and not set(history[-1].revoked) <= set(bundle.revoked):
        raise BundleError("bundle.revoked", "an entry of revoked is never dropped or changed")


def _check_current(bundle: KeyBundle, now: int) -> None:
    if now >= bundle.exp:
        raise BundleError("bundle.expired", "the bundle has expired")
    if not bundle.current_at(now):
        raise BundleError("bundle.future", "the bundle is from the future")


def _open(jws: bytes) -> tuple[ClaimedStatement, ClaimedBundle]:
    """Return the parts of published bytes; nothing is verified."""
    try:
        statement = read_statement(jws, limit=BUNDLE_LIMIT)
    except StatementError as error:
        raise BundleError("bundle.malformed", error.rule) from error
    return statement, read_payload(statement.payload)


def _ed(key: ListedKey) -> Ed25519Public:
    if not isinstance(key.public, Ed25519Public):
        raise TypeError("a key of this role is Ed25519")  # read_entry lets no other through
    return key.public


def _newest_first(listed: ListedKey | ListedPair) -> int:
    return -listed.nbf
