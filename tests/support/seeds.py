"""`ports.Seeds` without a keystore: the seeds lie in a gateway's ring, and what is destroyed is taken out of it."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import replace
from typing import Protocol

from keys.key import Kid
from keys.listed import Role
from keys.ring import KeyRing
from tests.support.memory import Memory


class Holder(Protocol):
    """What holds a ring and a log: a gateway in memory."""

    memory: Memory
    ring: KeyRing


class MemorySeeds:
    def __init__(self, holder: Holder) -> None:
        self._holder = holder

    def held(self) -> frozenset[Kid]:
        return frozenset(key.kid for key in self._holder.ring.secrets if key.role == Role.MESSAGE_KEM)

    def destroy(self, kids: Set[Kid]) -> frozenset[Kid]:
        ring, gone = self._holder.ring, self.held() & kids
        self._holder.ring = replace(ring, secrets=tuple(key for key in ring.secrets if key.kid not in kids))
        return gone

    async def logged(self) -> frozenset[str]:
        log = self._holder.memory.log
        return frozenset(json.loads(entry.data)["receipt"] for entry in log if entry.kind == "key-destroyed")
