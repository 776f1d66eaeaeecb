"""What judging a message answers: the agreement, the checked body, and what follows. Pure data; made by the two kinds alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.check import CheckedBody
from gateway.core.commands import Effect
from gateway.governing import HeldAgreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A message that may travel. `about` is the record of the child that it is about (for tags), `carried` the part of that
    record that it brings itself; for a record both are the body. `thread` None: it opens one. `lane` None: its thread's."""

    held: HeldAgreement
    checked: CheckedBody
    about: Mapping[str, Any] = field(repr=False)
    carried: Mapping[str, Any] = field(repr=False)
    thread: str | None
    lane: str | None = None
    effects: tuple[Effect, ...] = ()
