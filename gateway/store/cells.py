"""What a cell holds may be of any kind, whatever its column says: SQLite lets whoever writes to the file put anything there.

So what is read in order to find tampering passes through here first; a value of another kind becomes one that no honest
row holds, and is then found like every other change. Pure.
"""

from __future__ import annotations


def as_blob(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def as_number(value: object) -> int:
    return value if isinstance(value, int) else -1


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
