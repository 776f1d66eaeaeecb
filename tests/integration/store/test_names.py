"""Names of people in rows that decide, at rest: nobody who reads the files of a database, or a copy of them, learns one."""

from __future__ import annotations

from pathlib import Path

from gateway.core import deciding
from gateway.core.commands import PutPartner
from gateway.store.rows import RowSeal
from gateway.store.schema import partner
from tests.support.store import KEYS, PARTNER, Alarms, make_entry, open_lab, rows, tamper

NAMES = ("officer wilhelmina", "manager peregrina")
HELD = {
    "org": PARTNER,
    "name": "Council B",
    "root": "sha256:" + "00" * 32,
    "route": "peer",
    "duty_number": "020 7946 0000",
}


async def put(database: Path) -> None:
    async with open_lab(database) as lab:
        entry = make_entry("partner-verified", rows=deciding.of_partner(verified_by=NAMES, **HELD))
        await lab.open.store.write(PutPartner(verified_by=NAMES, fetched_at=1, entry=entry, **HELD))


async def check(database: Path) -> None:
    """Both names are told, the log still states the row, and the closed files hold neither."""
    async with open_lab(database, agreement=False) as lab:
        held = await lab.open.read.partners.get(PARTNER)
        assert held is not None
        assert held.verified_by == NAMES
        found = lab.open.comparison.run()
        assert (found.rows, found.log, lab.alarms.raised) == ((), (), [])
    assert in_files(database) == []


def in_files(database: Path) -> list[str]:
    """The names that stand in the files of the database."""
    files = b"".join(path.read_bytes() for path in database.parent.glob(f"{database.name}*"))
    return [name for name in NAMES if name.encode() in files]


async def test_who_verified_a_partner_is_in_no_table_in_the_clear(database: Path) -> None:
    await put(database)
    await check(database)


async def test_names_that_were_kept_in_the_clear_are_encrypted_when_the_database_is_opened(database: Path) -> None:
    await put(database)
    row = HELD | {"verified_by": deciding.people(NAMES), "fetched_at": 1}
    mac = RowSeal(key=KEYS.store, alarm=Alarms())._mac(partner, row)
    tamper(database, f"UPDATE partner SET verified_by = '{row['verified_by']}', mac = x'{mac.hex()}'")  # noqa: S608
    assert in_files(database) == list(NAMES)
    await check(database)


async def test_row_in_the_clear_that_is_not_ours_stays_refused(database: Path) -> None:
    await put(database)
    tamper(database, """UPDATE partner SET verified_by = '["somebody"]'""")
    async with open_lab(database, agreement=False) as lab:
        assert await lab.open.read.partners.get(PARTNER) is None
    assert rows(database, "SELECT verified_by FROM partner") == [('["somebody"]',)]
