"""What only the running process knows of itself: its clock against the machine's steady one, the signer's last look, space.

One for each gateway that serves. Blocking reads (free space, the certificate's file) are short.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gateway.certificates import CertificateError, read_chain
from gateway.readiness import Process


@dataclass(slots=True, kw_only=True)
class Vitals:
    """Asked for a `Process` whenever somebody looks; `stopping` is set when the gateway is asked to stop."""

    clock: Callable[[], datetime]
    revision: str
    folder: Path  # where the database lies
    floor: int
    certificate: Path
    writes: Callable[[], int]
    stopping: bool = False
    webhooks: Callable[[], Mapping[str, int | None]] = dict  # set when they are followed
    _verified_at: int | None = None
    _intact: bool = True
    _steady: float = field(default_factory=time.monotonic)
    _began: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    async def look_at_log(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Let the signer look, and remember whether it found the log as it was written."""
        self._intact = await look()
        if self._intact:
            self._verified_at = int(self.clock().timestamp())

    def process(self) -> Process:
        """How it is now."""
        return Process(
            revision=self.revision,
            stopping=self.stopping,
            drift=self._drift(),
            verified_at=self._verified_at,
            intact=self._intact,
            free=shutil.disk_usage(self.folder).free,
            floor=self.floor,
            writes=self.writes(),
            certificate_ends=self.certificate_ends(),
            webhooks=self.webhooks(),
        )

    def _drift(self) -> int:
        return round((self.clock() - self._began).total_seconds() - (time.monotonic() - self._steady))

    def certificate_ends(self) -> int | None:
        """When the certificate ends, in seconds since 1970; None where it cannot be read."""
        try:
            return read_chain(self.certificate.read_bytes()).ends
        except (OSError, CertificateError):
            return None
