"""The eight worked agreements, as templates to draw an agreement up from: package data, no agreement in force.

Like `contracts.register` it reads files, by importlib.resources only.
"""

from __future__ import annotations

from importlib.resources import files


def template_names() -> tuple[str, ...]:
    """Return the file names of the templates, sorted."""
    return tuple(sorted(item.name for item in files(__name__).iterdir() if item.name.endswith(".toml")))


def template_bytes(name: str) -> bytes:
    """Return the TOML bytes of one template. Raises KeyError where the name is not in `template_names()`."""
    if name not in template_names():
        raise KeyError(name)
    return files(__name__).joinpath(name).read_bytes()
