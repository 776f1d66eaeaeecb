"""A body that was checked: the one type that may be sealed, and the proof that only a check can make one.

Pure. `contracts.check` makes it for records, `contracts.service` for service messages; nobody else holds the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, Final

import orjson

from contracts.facts import FactValue
from contracts.names import Digest, MessageType, Party

PROOF: Final = object()  # for contracts.check and contracts.service alone


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBody:
    """A body that its agreement allows. Made by `check` and `check_service` alone: sealing anything else is a type error.

    `wire` is the compact JSON in the sender's member order; `paths` the generic paths present, sorted; `conditions` the
    truth of each condition that was read; `bases` the names of the lawful bases that the present paths rest on, sorted;
    `facts` those stated. All but `wire` and `facts` may stand in a log.
    """

    wire: bytes = field(repr=False)
    type: MessageType
    sender: Party
    agreement_id: str
    agreement_version: int
    agreement_digest: Digest
    paths: tuple[str, ...]
    conditions: Mapping[str, str]
    bases: tuple[str, ...]
    facts: Mapping[str, FactValue] = field(repr=False)
    proof: InitVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not PROOF:
            raise TypeError("a CheckedBody is made by a check alone")

    @property
    def body(self) -> dict[str, Any]:
        """The body as a fresh value: changing it changes nothing that was checked."""
        value: dict[str, Any] = orjson.loads(self.wire)
        return value
