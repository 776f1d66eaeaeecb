"""Destruction: the seed of a KEM key whose day has come, or that is revoked, goes; what was sealed to it opens no more.

Own bundles -> keys that open nothing any more -> seeds out of memory and keystore -> one entry for each. The entry comes
after the deed: the log never says that a seed is gone which is not. Whoever is killed in between leaves a key that is
gone and not logged; the next run finds it so, and logs it.
"""

from __future__ import annotations

from gateway import entries
from gateway.core import commands
from gateway.ports import Exchange
from gateway.tlog.entry import digest_text
from keys import base64url
from keys.key import Kid
from keys.rotation import closed_kems

KIND = "key-destroyed"


async def destroy_closed(exchange: Exchange) -> tuple[Kid, ...]:
    """Destroy the seeds whose time has come and log it; return those that were still held. Nothing due: nothing is opened.

    Raises KeystoreError and HomeError where the keystore cannot be written; what is in memory is gone even then.
    """
    now = exchange.clock()
    closed = frozenset(closed_kems(await exchange.partners.own_bundles(), int(now.timestamp())))
    logged = await exchange.seeds.logged() if closed else frozenset()
    untold = frozenset(kid for kid in closed if digest_of(kid) not in logged)
    due = untold | (closed & exchange.seeds.held())  # a keystore put back from a backup brings seeds back
    if not due:
        return ()
    gone = await exchange.in_thread(lambda: exchange.seeds.destroy(due))
    for kid in sorted(untold | gone):
        what = entries.Circumstance(outcome="destroyed", receipt=digest_of(kid))
        await exchange.store.write(commands.Record(entry=entries.about_own(exchange.journal, KIND, now, what)))
    return tuple(sorted(gone))


def digest_of(kid: Kid) -> str:
    """Return how the log names a key: its thumbprint (RFC 7638), which is a SHA-256, in the text form of digests."""
    return digest_text(base64url.decode(kid, 32))
