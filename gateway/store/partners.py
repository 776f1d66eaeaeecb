"""Partners and key bundles, own ones included: rows that decide, each with its mac.

A partner whose stored bundles are no history that could have been accepted counts as absent; so does one whose bundle the
log knows and the table lost, for that bundle may be the one that revokes a key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select, update

from gateway.core import deciding
from gateway.core.alarms import AlarmCode
from gateway.core.commands import AddBundle, PutPartner
from gateway.core.errors import ConflictError
from gateway.ports import Partner
from gateway.store import lanes, owed
from gateway.store.readers import Reader
from gateway.store.rows import RowSeal
from gateway.store.schema import bundle, message, partner
from gateway.store.transaction import Transaction
from keys.bundle import KeyBundle, replay_history
from keys.errors import BundleError

UNREADABLE: Final[AlarmCode] = "bundle-unreadable"
_ONE: Final = select(partner).where(partner.c.org == bindparam("at"))
_BUNDLES: Final = select(bundle).where(bundle.c.org == bindparam("at")).order_by(bundle.c.seq)


def put_partner(tx: Transaction, put: PutPartner) -> None:
    """Write the partner's row anew."""
    tx.put_sealed(
        partner,
        org=put.org,
        name=put.name,
        root=put.root,
        verified_by=deciding.people(put.verified_by),
        route=put.route,
        duty_number=put.duty_number,
        fetched_at=put.fetched_at,
    )
    tx.append(put.entry)
    lanes.look_again(tx, put.entry.at_us, message.c.partner == put.org)


def add_bundle(tx: Transaction, add: AddBundle) -> bool:
    """Keep the bundle; the partner counts as refreshed even where it was held already.

    Raises ConflictError where other bytes are held under the same seq.
    """
    same = (bundle.c.org == add.org) & (bundle.c.seq == add.seq)
    held = tx.read_sealed(bundle, same)
    if held and held[0]["jws"] != add.jws:
        raise ConflictError("another bundle has this seq")
    _refreshed(tx, add.org, add.fetched_at)
    lanes.look_again(tx, add.entry.at_us, message.c.partner == add.org)
    if held:
        return False
    tx.put_sealed(bundle, org=add.org, seq=add.seq, jws=add.jws)
    tx.append(add.entry)
    for org in add.broadcast_to:
        owed.owe(tx, org, owed.BUNDLE, f"sha256:{hashlib.sha256(add.jws).hexdigest()}", add.jws, add.entry.at_us)
    return True


def _refreshed(tx: Transaction, org: str, fetched_at: int) -> None:
    for row in tx.read_sealed(partner, partner.c.org == org):
        tx.refresh_sealed(partner, row, fetched_at=max(fetched_at, row["fetched_at"]))


def encrypt_names(connection: Connection, seal: RowSeal) -> None:
    """Write rows of ours again that hold names in the clear, as they were kept before 0006; the log states them as they are."""
    for found in connection.execute(select(partner)).all():
        row = dict(found._mapping)
        if seal.is_ours(partner, row) and seal.in_the_clear(partner, row):
            again = seal.sealed(partner, row | {"mac": b""})
            connection.execute(update(partner).where(partner.c.org == row["org"]).values(again))


class StoredPartners:
    """`ports.Partners` on the tables. Bundles once verified are kept parsed, by their bytes."""

    def __init__(self, reader: Reader, own: str) -> None:
        self._reader = reader
        self._own = own
        self._parsed: dict[str, tuple[KeyBundle, ...]] = {}

    async def get(self, org: str) -> Partner | None:
        found, bundles = await self._reader.ask(lambda rows: (rows(_ONE, at=org), rows(_BUNDLES, at=org)))
        partners = self._partners(found, bundles)
        return partners[0] if partners else None

    async def all(self) -> tuple[Partner, ...]:
        everyone = select(partner).order_by(partner.c.org)
        everything = select(bundle).order_by(bundle.c.org, bundle.c.seq)
        found, bundles = await self._reader.ask(lambda rows: (rows(everyone), rows(everything)))
        return self._partners(found, bundles)

    async def own_bundles(self) -> tuple[KeyBundle, ...]:
        rows = await self._reader.rows(_BUNDLES, at=self._own)
        return self._whole_history(self._own, self._reader.seal.checked(bundle, rows)) or ()

    def _partners(
        self, found: Sequence[Mapping[str, Any]], bundles: Sequence[Mapping[str, Any]]
    ) -> tuple[Partner, ...]:
        good = self._reader.seal.checked(bundle, bundles)
        partners = []
        for row in self._reader.seal.checked(partner, found):
            history = self._whole_history(row["org"], [mine for mine in good if mine["org"] == row["org"]])
            if history is not None:
                partners.append(_partner(row, history))
        return tuple(partners)

    def _whole_history(self, org: str, rows: Sequence[Mapping[str, Any]]) -> tuple[KeyBundle, ...] | None:
        """As `_history`; None too where the log knows a bundle that is not among the rows."""
        if any(key[0] == org for key in self._reader.seal.lacks(bundle, rows)):
            return None
        return self._history(org, rows)

    def _history(self, org: str, rows: Sequence[Mapping[str, Any]]) -> tuple[KeyBundle, ...] | None:
        """The bundles of one organisation, verified again; None where they are no history. Raises the alarm for that."""
        stored = [row["jws"] for row in rows]
        known = self._parsed.get(org, ())
        if [held.jws for held in known] == stored:
            return known
        try:
            history = replay_history(stored, org=org)
        except BundleError as error:
            self._reader.seal.tell(UNREADABLE, {"org": org, "cause": error.code}, org, error.code)
            return None
        self._parsed[org] = history
        return history


def _partner(row: Mapping[str, Any], history: tuple[KeyBundle, ...]) -> Partner:
    return Partner(
        org=row["org"],
        name=row["name"],
        root=row["root"],
        verified_by=tuple(json.loads(row["verified_by"])),
        route=row["route"],
        duty_number=row["duty_number"],
        fetched_at=row["fetched_at"],
        bundles=history,
    )
