"""Returning: a gateway that was restored from a backup says so, and asks its partners for what it may have missed.

Entry -> each partner's newer bundles -> the events of both chains of each agreement, our own included: what was suspended
after the backup must be known before anything is sent again. Messages that we delivered since then are sent again, and
answered with the receipts that were stored there; what was delivered to us since then is known to its senders alone.
"""

from __future__ import annotations

from gateway import entries, governing, partner_keys
from gateway.core import commands
from gateway.core.errors import NotYetError
from gateway.ports import Exchange


async def say_so(exchange: Exchange) -> None:
    """Log that from here on the log continues a backup: entries under the same indexes may have been lost."""
    what = entries.Circumstance(outcome="from-backup")
    entry = entries.about_own(exchange.journal, "restored", exchange.clock(), what)
    await exchange.store.write(commands.Record(entry=entry))


async def catch_up(exchange: Exchange) -> tuple[str, ...]:
    """Ask every verified partner for its newer bundles and for the events of our agreements; return who did not answer."""
    now, missed = exchange.clock(), []
    held = await governing.load_all(exchange, now)
    for partner in await exchange.partners.all():
        if not partner.verified_by:
            continue
        try:
            await partner_keys.refresh(partner, now, exchange)
            for agreement in held:
                if partner.org in agreement.parties:
                    await partner_keys.pull_events(partner.org, agreement.digest, agreement, exchange)
        except NotYetError:
            missed.append(partner.org)
    return tuple(missed)
