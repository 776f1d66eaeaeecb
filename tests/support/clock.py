"""What a test gives a gateway in memory: its clock, and bytes that no run changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tests.support.keys import NOW

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Clock:
    """The one clock of a test; it stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime.fromtimestamp(NOW, tz=UTC))

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **how_long: float) -> None:
        self.now += timedelta(**how_long)


@dataclass
class Entropy:
    """Bytes that are never the same twice and always the same in every run."""

    label: str
    calls: int = 0

    def __call__(self, size: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.label} {self.calls}".encode()).digest(size)
