"""Signing the exchange log: what the signer lets through gets the log key's signature and is published (log A4).

One for each open exchange. The signer's memory is read when it is first asked for, so that a command that never signs
never needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.commands import PutCheckpoint
from gateway.core.errors import LogInconsistentError
from gateway.ports import Exchange
from gateway.store.signer import LogSigner
from gateway.tlog.checkpoint import NoteKey, sign_checkpoint


class Signing:
    """Looks at the log, one look at a time."""

    def __init__(self, make: Callable[[], LogSigner]) -> None:
        self._make = make
        self._signer: LogSigner | None = None
        self._one = asyncio.Lock()

    async def look(self, exchange: Exchange) -> bool:
        """What the log has grown by is verified, appended to the signer's own tree, and signed; False, and an alarm, where
        it is not what was written."""
        async with self._one:
            try:
                if self._signer is None:
                    self._signer = self._make()
                grown = await asyncio.to_thread(self._signer.advance)
            except LogInconsistentError as error:
                exchange.tell("log-inconsistent", "signer", {"cause": str(error)}, exchange.clock())
                return False
            if grown is None:
                return True
            at = int(exchange.clock().timestamp())
            signing = exchange.ring().log(at)
            if signing.origin != grown.origin:
                rule = "no log key for this epoch: keys request, root sign, keys publish"
                exchange.tell("log-unsigned", grown.origin, {"rule": rule}, exchange.clock())
                return True
            key = NoteKey(name=signing.origin, public=signing.key.public.raw)
            note = sign_checkpoint(grown, key, signing.key.sign)
            await exchange.store.write(
                PutCheckpoint(size=grown.size, root=grown.root, note=note.decode(), signed_at=at)
            )
            return True
