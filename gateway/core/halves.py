"""Who stated one half of an act that needs two people: a name, and the credential through which it came.

Pure. A half from the command line has no credential beside it; one that came through a token has the token's id. Two halves
make a whole only where names differ and credentials do too: whoever stole one token can type two names.
"""

from __future__ import annotations

from typing import Final

_BETWEEN: Final = "\n"  # in no name: white space in names was made single spaces


def half(name: str, through: str | None) -> str:
    """Return how a half is kept: the name, and the id of the token that it came through."""
    return name if through is None else f"{name}{_BETWEEN}{through}"


def independent(one: str, other: str) -> bool:
    """Whether two kept halves are two people's, as far as a gateway can tell."""
    name, _, through = one.partition(_BETWEEN)
    other_name, _, other_through = other.partition(_BETWEEN)
    return name != other_name and (through != other_through or not through)


def name_of(kept: str) -> str:
    """Return the name in a kept half."""
    return kept.partition(_BETWEEN)[0]
