"""What is made once for all tests: two running gateways cost half a minute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.api_councils import Councils


@pytest.fixture(scope="session")
def councils() -> Iterator[Councils]:
    """Kensington and Chelsea and Hampshire, their API on, a webhook each; whoever uses them leaves them running."""
    from tests.support.api_councils import two_councils

    with two_councils() as both:
        yield both
