"""The registers that agreements refer to: vocabulary, law and privacy notices, as package data.

The one place in this package that reads files (with `contracts.library`): importlib.resources, nothing else.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from contracts.vocabulary import Vocabulary, read_vocabulary


def register_bytes(name: str) -> bytes:
    """Return the bytes of one register: `fields.toml`, `law.toml` or `notices.toml`."""
    return files(__name__).joinpath(name).read_bytes()


@cache
def vocabulary() -> Vocabulary:
    """Return the vocabulary that this release ships."""
    return read_vocabulary(register_bytes("fields.toml"), file="fields.toml")
