"""The names that one exchange log has had: an epoch ends where the log went back in time, and the next has another name.

Pure. The entries that are left go on in the tree of the next epoch, at their old places; a checkpoint belongs to the epoch of
the last entry below it. Witnesses know an epoch by its origin, and begin anew with each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NUMBERED: Final = re.compile(r"(.*[^0-9])([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Epochs:
    """`current` is the origin today; `ended` are (entries that were left when it ended, origin) of the earlier ones, ascending."""

    current: str
    ended: tuple[tuple[int, str], ...] = ()

    def at(self, index: int) -> str:
        """Return the origin under which the entry of this index was written."""
        return next((origin for size, origin in self.ended if index < size), self.current)

    def of_size(self, size: int) -> str:
        """Return the origin of a checkpoint of this size."""
        return self.at(max(0, size - 1))


def next_origin(origin: str) -> str | None:
    """Return the name of the epoch after this one: its last number plus one; None where the name does not end in one."""
    match = _NUMBERED.fullmatch(origin)
    return None if match is None else f"{match[1]}{int(match[2]) + 1}"
