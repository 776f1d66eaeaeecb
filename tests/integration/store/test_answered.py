"""The keys of clients' requests at rest: found again, and not to be read by whoever has the file or a backup of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.core.commands import Idempotency
from gateway.core.errors import IdempotencyConflictError
from gateway.core.tokens import Remember
from tests.support.store import open_lab, rows, tamper

KEY = "Zebulonia-Quark 2013-02-17"


def request(digest: bytes = b"request", response: bytes = b"answer") -> Remember:
    return Remember(idempotency=Idempotency(client="case-system", key=KEY, request_digest=digest, response=response))


async def test_a_key_is_kept_as_a_mac_and_found_by_its_text(database: Path) -> None:
    async with open_lab(database) as lab:
        assert await lab.open.store.write(request()) == b"answer"
        assert await lab.open.store.write(request(response=b"another")) == b"answer"
        assert await lab.open.read.outbox.response("case-system", KEY) == (b"request", b"answer")
        assert await lab.open.read.outbox.response("another", KEY) is None
        with pytest.raises(IdempotencyConflictError):
            await lab.open.store.write(request(digest=b"other"))
    [(kept,)] = rows(database, "SELECT idempotency_key FROM command")
    assert kept.startswith("idempotency:")
    files = [path.read_bytes() for path in database.parent.glob(f"{database.name}*")]
    assert not any(KEY.encode() in data for data in files)


async def test_a_row_of_before_that_holds_the_key_itself_is_honoured(database: Path) -> None:
    async with open_lab(database) as lab:
        await lab.open.store.write(request())
    tamper(database, "UPDATE command SET idempotency_key = 'Zebulonia-Quark 2013-02-17'")
    async with open_lab(database) as lab:
        assert await lab.open.store.write(request(response=b"another")) == b"answer"
        assert await lab.open.read.outbox.response("case-system", KEY) == (b"request", b"answer")
