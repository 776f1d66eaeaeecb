"""What ends soon: own keys and bundle, partners' bundles, the listener's certificate. Found purely, told once a step.

A ceremony takes people and a safe, so the alarms come 14, 7 and 1 days before the end, and once more when it has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

from gateway.core.alarms import AlarmCode
from gateway.ports import Exchange, Partner
from keys.bundle import KeyBundle
from keys.listed import DAY, Role
from keys.ring import NEEDED_TO_SERVE
from keys.rotation import covered_until

STEPS: Final = (14, 7, 1)  # days before the end
What = Literal["own-bundle", "own-key", "partner-bundle", "certificate"]

_CEREMONY: Final = "safehand keys request, root sign, keys publish"
_MENDS: Final[dict[What, str]] = {
    "own-bundle": _CEREMONY,
    "own-key": _CEREMONY,
    "partner-bundle": "ask the partner to publish its next bundle",
    "certificate": "put a new certificate and key in place and restart",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Something that ends at `at` (seconds since 1970): `step` is the nearest of 14, 7, 1 days, 0 when it has ended.

    `name` is an organisation, a role, or a file; never a person.
    """

    what: What
    name: str
    at: int
    step: int

    @property
    def mend(self) -> str:
        """What a person does about it."""
        return _MENDS[self.what]

    def sentence(self) -> str:
        """The finding in words."""
        ends = "has ended on" if self.step == 0 else "ends on"
        day = datetime.fromtimestamp(self.at, tz=UTC).strftime("%Y-%m-%d")
        return f"{self.what} {self.name} {ends} {day}: {self.mend}"


def own_expiries(newest: KeyBundle | None, now: int) -> tuple[Expiry, ...]:
    """Return what of the own bundle and its keys ends within 14 days; nothing where there is no bundle yet."""
    if newest is None:
        return ()
    ends: list[tuple[What, str, int]] = [("own-bundle", newest.org, newest.exp)]
    ends += [
        ("own-key", role.value, covered_until(newest, role, now)) for role in (*NEEDED_TO_SERVE, Role.AGREEMENT_SIGN)
    ]
    return _soon(ends, now)


def partner_expiries(partners: Iterable[Partner], now: int) -> tuple[Expiry, ...]:
    """Return which verified partners' newest bundles end within 14 days."""
    return _soon([("partner-bundle", p.org, p.newest.exp) for p in partners if p.verified_by and p.bundles], now)


def certificate_expiry(name: str, at: int, now: int) -> tuple[Expiry, ...]:
    """Return whether the listener's certificate ends within 14 days."""
    return _soon([("certificate", name, at)], now)


def _soon(ends: Iterable[tuple[What, str, int]], now: int) -> tuple[Expiry, ...]:
    found = []
    for what, name, at in ends:
        passed = [step for step in STEPS if at - now <= step * DAY]
        if passed:
            found.append(Expiry(what=what, name=name, at=at, step=0 if at <= now else passed[-1]))
    return tuple(found)


@dataclass(slots=True)
class Told:
    """What has been told since this process began: each finding once a step, what has ended once a day."""

    told: dict[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)

    def news(self, found: Iterable[Expiry], now: int) -> tuple[Expiry, ...]:
        """Return what is to be told now, and remember it; what was mended is forgotten."""
        found = tuple(found)
        before, self.told = self.told, {}
        fresh = []
        for expiry in found:
            key = (expiry.what, expiry.name)
            said = (expiry.at if expiry.step else 0, expiry.step, now // DAY if expiry.step == 0 else 0)
            self.told[key] = said
            if before.get(key) != said:
                fresh.append(expiry)
        return tuple(fresh)


async def tell(told: Told, certificate: Iterable[tuple[str, int]], exchange: Exchange) -> tuple[Expiry, ...]:
    """Raise the alarm `expiring` or `expired` for each step that was reached; return everything that ends soon."""
    now = int(exchange.clock().timestamp())
    own = await exchange.partners.own_bundles()
    found = (
        *own_expiries(own[-1] if own else None, now),
        *partner_expiries(await exchange.partners.all(), now),
        *(expiry for name, at in certificate for expiry in certificate_expiry(name, at, now)),
    )
    for expiry in told.news(found, now):
        alarm: AlarmCode = "expired" if expiry.step == 0 else "expiring"
        exchange.alarm(alarm, {"kind": expiry.what, "source": expiry.name, "rule": expiry.sentence()})
    return found
