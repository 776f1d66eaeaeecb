"""Returning: a gateway that was restored from a backup says so, and asks its partners for what it may have missed.

Entry -> each partner's newer bundles -> the events of both chains of each agreement, our own included:
what was suspended after the backup must be known before anything is sent again. Messages that we delivered since then are
sent again, and answered with the receipts that were stored there; what was delivered to us since then is known to its
senders alone.
"""

from __future__ import annotations

import asyncio
from typing import Final

from gateway import governing, partner_keys, two_people
from gateway.core.errors import SafehandError
from gateway.governing import HeldAgreement
from gateway.ports import Exchange, Partner

PARTNER_WITHIN: Final = 20.0  # seconds that each partner has to answer, all of them at the same time
FROM_BACKUP: Final = "from-backup"  # the outcome of what is done because of it


async def say_so(exchange: Exchange) -> None:
    """Log that from here on the log continues a backup: entries under the same indexes may have been lost.

    The same entry states every half of an act gone: a half that waits in a backup may have been used since.
    """
    await two_people.forget_all("restored", FROM_BACKUP, exchange)


async def catch_up(exchange: Exchange) -> tuple[str, ...]:
    """Ask every verified partner for its newer bundles and for the events of our agreements; return who did not answer.

    All at once: who is away keeps nobody else from being asked.
    """
    held = await governing.load_all(exchange, exchange.clock())
    partners = [partner for partner in await exchange.partners.all() if partner.verified_by]
    answered: set[str] = set()

    async def ask(partner: Partner) -> None:
        try:
            async with asyncio.timeout(PARTNER_WITHIN):
                await _ask(partner, held, exchange)
        except (SafehandError, TimeoutError):
            return
        answered.add(partner.org)

    async with asyncio.TaskGroup() as tasks:
        for partner in partners:
            tasks.create_task(ask(partner), name=f"return:{partner.org}")
    return tuple(partner.org for partner in partners if partner.org not in answered)


async def _ask(partner: Partner, held: tuple[HeldAgreement, ...], exchange: Exchange) -> None:
    await partner_keys.fetch_newer(partner, exchange.clock(), exchange)
    for agreement in held:
        if partner.org in agreement.parties:
            await partner_keys.pull_events(partner.org, agreement.digest, agreement, exchange)
