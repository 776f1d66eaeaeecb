"""Where the third-party test vectors lie: beside the repository, never in it.

`SAFEHAND_VECTORS` names the folder; without it, `../shared/vectors` seen from the repository root. A test that reads
them skips, with its reason, where they are absent; where `.ci/run` could have read them (`SAFEHAND_CI` is set, and a
folder was named or exists), their absence is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def vectors(name: str) -> Path:
    """Return the path of the vector file or folder `name`; skip (or, in CI, fail) the test where there is none."""
    environment = os.environ  # noqa: TID251 - no gateway runs here, and this is the one place where tests ask
    named = environment.get("SAFEHAND_VECTORS")
    folder = Path(named) if named else ROOT.parent / "shared" / "vectors"
    path = folder / name
    if path.exists():
        return path
    if environment.get("SAFEHAND_CI") and (named or folder.exists()):
        pytest.fail(f"the test vectors have no {name}")
    pytest.skip(f"third-party vectors are absent ({name}); set SAFEHAND_VECTORS to their folder")
