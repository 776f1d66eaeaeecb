"""What own clients ask again and again is answered by an index, however much there is: no plan looks through a table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from gateway.store import feed, inbox, outbox

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
FOUND = [{"sender": "la-207", "id": ID}, {"sender": "la-919", "id": ID}]
ASKED = {
    "a page of the inbox": feed._arrived(9_000, 50),
    "the receipts of a page": inbox.receipts_of(FOUND),
    "one message of the inbox": inbox._MESSAGE.where(inbox.message.c.id == ID, inbox.message.c.sender == "la-207"),
    "one message of ours": outbox._MESSAGE.where(outbox.message.c.id == ID),
    "the receipts of ours": outbox.receipts_of("la-850", [ID]),
    "the last place of the inbox": feed._LAST_PLACE,
    "restores since the last look": feed._restored(9_000, 9_100),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_nothing_is_looked_through(asked: Select[Any], database: Path) -> None:
    sql = str(asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    with closing(sqlite3.connect(database)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plan
    assert [step for step in plan if step.startswith("SCAN")] == []
