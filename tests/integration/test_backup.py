"""A backup is one whole state, taken from a home in use; a home is made of it only where nothing would be forked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import backups, serving, tokens, two_people
from gateway.app import Running, Writing
from gateway.backups import BackupError, Recovery, Secrets
from gateway.core.commands import PutCheckpoint, Record
from gateway.core.errors import LogInconsistentError
from gateway.core.tokens import TokenUnknownError
from gateway.entries import Circumstance, about_own
from gateway.home import Home, HomeError
from gateway.store.backup import CopyError
from gateway.store.signer import LogSigner
from gateway.store.sqlite import StoreUnavailableError
from gateway.tlog.checkpoint import NoteKey, sign_checkpoint
from gateway.tlog.entry import row_mac
from keys.errors import KeystoreError
from keys.key import Kid
from keys.listed import DAY, Role
from tests.support.homes import AGREEMENT_PASSPHRASE, cheap_keystores, make_home, request_keys, running_at, take_up
from tests.support.keys import NOW
from tests.support.memory import Clock
from tests.support.store import rows, tamper

ORG = "la-207"
PASSPHRASE = b"an invented passphrase of the backup"
CANARY = "Zebulonia"
ACT = ("protection-remove", "location", "00")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    cheap_keystores(monkeypatch)
    with make_home(ORG) as made:
        yield made


@pytest.fixture
async def running(home: Home) -> AsyncIterator[Writing]:
    async with running_at(home, Clock()) as opened:
        await take_up(opened, request_keys(home, None, NOW))
        yield opened


async def log(running: Running, count: int = 1) -> None:
    exchange = running.exchange
    for _ in range(count):
        entry = about_own(exchange.journal, "search", exchange.clock(), Circumstance(by=CANARY))
        await exchange.store.write(Record(entry=entry))


async def sign(home: Home, running: Running) -> None:
    """One look of the log's signer; what it lets through is signed and kept."""
    append, origin = running.keys.gateway.secrets["append"], running.settings.log_origin
    signer = LogSigner(
        home.database, home.signer, origin=origin, mac=lambda index, data: row_mac(append, origin, index, data)
    )
    grown = signer.advance()
    assert grown is not None
    signing = running.exchange.ring().log(NOW)
    note = sign_checkpoint(grown, NoteKey(name=origin, public=signing.key.public.raw), signing.key.sign).decode()
    await running.exchange.store.write(PutCheckpoint(size=grown.size, root=grown.root, note=note, signed_at=NOW))


def out(home: Home, name: str = "backup") -> Path:
    return home.path.parent / name


def back_up(home: Home, name: str = "backup", secrets: Secrets | None = None) -> Path:
    backups.back_up(home, out(home, name), NOW, secrets)
    return out(home, name)


def restore(folder: Path, name: str = "again", **changes: Any) -> Home:
    given: dict[str, Any] = {"folder": folder, "secrets": None, "passphrase": None, "signer": None}
    made = Home(folder.parent / name)
    backups.restore(Recovery(**(given | changes)), made)
    return made


def size(database: Path) -> int:
    return int(rows(database, "SELECT size FROM log_head")[0][0])


# --- making one


async def test_backup_beside_a_gateway_that_writes_is_one_state_of_it(home: Home, running: Running) -> None:
    """Entries are written all the while; whatever the moment was, head, entries and tree in the copy belong together."""
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            await log(running)

    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write(), name="load")
        made = []
        for number in range(5):
            await sign(home, running)
            made.append(await asyncio.to_thread(back_up, home, f"backup-{number}"))
        stop.set()
        await writing
    sizes = [backups.read_manifest(folder).log.size for folder in made]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0]
    assert sizes == [size(folder / "data/safehand.db") for folder in made]


async def test_backup_of_a_stopped_home_holds_all_of_it(home: Home) -> None:
    async with running_at(home, Clock()) as running:
        await take_up(running, request_keys(home, None, NOW))
        await log(running, 3)
    folder = back_up(home)
    assert backups.read_manifest(folder).log.size == size(home.database) == 4


async def test_backup_is_for_its_owner_alone_and_one_file_a_part(home: Home, running: Running) -> None:
    await sign(home, running)
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "manifest.json",
        "config.toml",
        "data/safehand.db",
        "data/log-signer",
        "secrets/gateway.keystore",
        "secrets/index.keystore",
        "secrets/agreement.keystore",
    }


async def test_backup_holds_no_key_unless_asked_and_never_a_passphrase(home: Home, running: Running) -> None:
    assert not (back_up(home) / "secrets").exists()
    with_secrets = back_up(home, "with", Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    passphrase = (home.secrets / "gateway.pass").read_bytes().strip()
    for path in with_secrets.rglob("*"):
        assert path.is_dir() or passphrase not in path.read_bytes(), path.name


async def test_what_is_encrypted_at_rest_is_encrypted_in_the_backup(home: Home, running: Running) -> None:
    await log(running, 5)  # each with who acted, whose opening is encrypted
    folder = back_up(home)
    for path in folder.rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes(), path.name


async def test_nothing_is_overwritten(home: Home, running: Running) -> None:
    folder = back_up(home)
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(BackupError, match="not overwritten"):
        back_up(home)
    assert (folder / "manifest.json").read_bytes() == before


async def test_backup_that_fails_leaves_nothing_behind(home: Home, running: Running) -> None:
    await log(running)
    home.signer.write_text(json.dumps({"origin": "another", "size": 0, "frontier": ""}))
    with pytest.raises(LogInconsistentError):
        back_up(home)
    assert sorted(path.name for path in home.path.parent.iterdir()) == ["home"]


async def test_too_little_room_is_said_before_anything_is_written(
    home: Home, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "ROOM", 1 << 60)
    with pytest.raises(BackupError, match="too little room"):
        back_up(home)
    assert not out(home).exists()


async def test_database_that_is_damaged_is_not_backed_up_as_if_it_were_whole(home: Home, running: Running) -> None:
    await log(running, 3)
    tamper(home.database, "DELETE FROM log_detail", "DELETE FROM log_entry WHERE idx = 1")
    with pytest.raises(CopyError, match="entry 1 of the log is missing"):
        back_up(home)


async def test_kem_seeds_that_end_within_a_fortnight_stay_out_and_the_first_end_is_told(home: Home) -> None:
    clock = Clock()
    async with running_at(home, clock) as running:
        bundle = await take_up(running, request_keys(home, None, NOW))
        clock.forward(days=61 - 14, hours=1)
        first, second, *_ = (key for key in bundle.keys if key.role is Role.MESSAGE_KEM)
        secrets = Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home))
        manifest = backups.back_up(home, out(home), int(clock().timestamp()), secrets)
    assert manifest.destroy_by == second.exp >= clock().timestamp() + backups.SECRETS_KEPT
    made = restore(out(home), passphrase=PASSPHRASE)
    held = {key.kid for key in made.keystore("gateway").load().keys}
    assert first.kid not in held
    assert second.kid in held


async def test_seed_made_for_a_bundle_that_is_not_published_yet_is_backed_up(home: Home, running: Running) -> None:
    request_keys(home, running.keys.bundles[-1], NOW + 60 * DAY)
    listed = await backups.kem_ends(home)
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=listed))
    held = {key.kid for key in restore(folder, passphrase=PASSPHRASE).keystore("gateway").load().keys}
    assert held == {key.kid for key in home.keystore("gateway").load().keys}
    assert {Kid(kid) for kid in held} - set(listed)


# --- making a home of one


async def test_restored_home_opens_and_its_log_goes_on(home: Home, running: Running) -> None:
    await log(running, 2)
    await sign(home, running)
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    made = restore(folder, passphrase=PASSPHRASE)
    assert made.keystore("agreement", AGREEMENT_PASSPHRASE).load().keys == ()
    assert (made.secrets / "gateway.pass").read_bytes() != (home.secrets / "gateway.pass").read_bytes()
    async with running_at(made, Clock()) as again:
        assert [bundle.seq for bundle in again.keys.bundles] == [1]
        await log(again)
        await sign(made, again)
    assert size(made.database) == 4


async def test_keystores_come_from_another_backup_where_they_are_kept_apart(home: Home, running: Running) -> None:
    kept = back_up(home, "kept", Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    await log(running, 3)
    made = restore(back_up(home), secrets=kept, passphrase=PASSPHRASE)
    async with running_at(made, Clock()):
        assert size(made.database) == 4


async def test_backup_without_keystores_makes_a_home_without_them(home: Home, running: Running) -> None:
    made = restore(back_up(home))
    assert list(made.secrets.iterdir()) == []
    with pytest.raises(KeystoreError):
        made.keystore("gateway")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["config.toml", "data/safehand.db", "data/log-signer", "secrets/index.keystore"])
@pytest.mark.parametrize("harm", [flip, os.unlink, lambda path: path.write_bytes(b"")], ids=["flip", "gone", "empty"])
async def test_any_file_that_is_not_as_written_stops_a_restore(
    home: Home, running: Running, name: str, harm: Callable[[Path], None]
) -> None:
    await sign(home, running)
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    harm(folder / name)
    with pytest.raises(CopyError, match=name):
        restore(folder, passphrase=PASSPHRASE)
    assert not (folder.parent / "again").exists()
    assert not (folder.parent / ".again.new").exists()


@pytest.mark.parametrize(
    "alter",
    [
        lambda m: m["files"].append({"path": "../../evil", "size": 0, "sha256": ""}),
        lambda m: m["files"].append(m["files"][0]),
        lambda m: m["files"].pop(),
        lambda m: m.update(v=2),
        lambda m: m.update(surprise=True),
        lambda m: m["log"].update(size=99),
        lambda m: m.update(org="la-850"),
        lambda m: m.update(origin="another"),
    ],
    ids=["outside", "twice", "missing", "version", "unknown", "size", "organisation", "origin"],
)
async def test_manifest_that_no_backup_writes_stops_a_restore(
    home: Home, running: Running, alter: Callable[[Any], None]
) -> None:
    folder = back_up(home)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    alter(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")))
    with pytest.raises((CopyError, LogInconsistentError)):
        restore(folder)
    assert not (folder.parent / "again").exists()


async def test_folder_that_is_no_backup_is_named(home: Home) -> None:
    with pytest.raises(BackupError, match=r"manifest\.json cannot be read"):
        restore(home.path)


async def test_home_that_is_there_is_never_restored_over(home: Home, running: Running) -> None:
    folder = back_up(home)
    with pytest.raises(BackupError, match="is not empty"):
        restore(folder, "home")


async def test_wrong_passphrase_and_foreign_keystores_stop_a_restore(home: Home, running: Running) -> None:
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    with pytest.raises(KeystoreError):
        restore(folder, passphrase=b"another")
    with make_home(ORG) as other:
        foreign = back_up(other, secrets=Secrets(passphrase=PASSPHRASE, ends={}))
        with pytest.raises(BackupError, match="not those of this database"):
            restore(folder, secrets=foreign, passphrase=PASSPHRASE)
    assert not (folder.parent / "again").exists()


# --- no fork


async def test_backup_behind_the_signers_memory_is_refused(home: Home, running: Running) -> None:
    """The database was lost, its signer's memory was not: it has seen entries that the backup lacks."""
    folder = back_up(home)
    await log(running, 2)
    await sign(home, running)
    with pytest.raises(LogInconsistentError, match="has seen 3 entries, and this backup has 1"):
        restore(folder, signer=home.signer)
    assert restore(back_up(home, "newer"), signer=home.signer).signer.read_bytes() == home.signer.read_bytes()


async def test_backup_whose_own_signer_saw_another_log_is_refused(home: Home, running: Running) -> None:
    await log(running, 3)
    await sign(home, running)
    other = Home(home.path.parent / "other")
    shutil.copytree(home.path, other.path)
    async with running_at(home_unlocked(other), Clock()) as forked:
        await log(forked)
        await sign(other, forked)
    await log(running, 5)
    with pytest.raises(LogInconsistentError, match="not those that the log's signer has seen"):
        restore(back_up(home), signer=other.signer)


def home_unlocked(home: Home) -> Home:
    home.lock.unlink(missing_ok=True)
    return home


async def test_database_put_back_beside_a_newer_memory_is_not_written_to(home: Home) -> None:
    """By hand, without `restore`: nothing opens it for writing, so no index that was signed gets another entry."""
    async with running_at(home, Clock()) as running:
        await take_up(running, request_keys(home, None, NOW))
        folder = back_up(home)
        await log(running, 2)
        await sign(home, running)
    for path in home.database.parent.glob("safehand.db*"):
        path.unlink()
    shutil.copy(folder / "data/safehand.db", home.database)
    with pytest.raises(LogInconsistentError, match="went back from 3 entries to 1"):
        async with running_at(home, Clock()):
            raise AssertionError("opened")
    assert size(home.database) == 1


async def test_restored_gateway_says_so_in_its_log_and_leaves_its_mark_until_partners_answered(
    home: Home, running: Writing
) -> None:
    token = await tokens.create("Case system", "officer", ["read"], 30, running.exchange, by=CANARY)
    await two_people.confirm(ACT, "one", running.exchange, now=running.exchange.clock(), alone=False)
    folder = back_up(home, secrets=Secrets(passphrase=PASSPHRASE, ends=await backups.kem_ends(home)))
    await tokens.revoke(token.token.id, running.exchange, by=CANARY)  # the backup does not know
    made = restore(folder, passphrase=PASSPHRASE)
    mark = backups.read_mark(made)
    assert mark is not None
    assert (mark.size, mark.logged) == (3, False)
    async with running_at(made, Clock()) as again:
        heard: list[str] = []
        exchange = replace(again.exchange, alarm=lambda name, _: heard.append(name))
        again.comparison.run()
        assert len((await exchange.halves.waiting()).halves) == 1
        await serving._say_restored(made, exchange)
        later = await tokens.create("Case system", "officer", ["read"], 30, exchange, by=CANARY)
        await serving._say_restored(made, exchange)  # the next start: nothing is said twice, nothing ended again
        with pytest.raises(TokenUnknownError):
            await tokens.authorise(token.text, exchange)
        assert await tokens.authorise(later.text, exchange) == later.token
        assert (await exchange.halves.waiting()).halves == ()  # it may have been used since
        assert again.comparison.run().rows == ()
        await serving._return(made, exchange)
    assert heard == ["restored"]
    assert rows(made.database, "SELECT kind, outcome FROM log_entry WHERE idx >= 3 ORDER BY idx") == [
        ("restored", "from-backup"),
        ("token-revoked", "from-backup"),
        ("token-created", "created"),
    ]
    assert backups.read_mark(made) is None  # there is no partner to wait for


async def test_mark_that_no_restore_wrote_is_named(home: Home) -> None:
    home.restored.write_text("{}")
    with pytest.raises(HomeError, match="restored"):
        backups.read_mark(home)


async def test_home_without_a_database_is_named(home: Home) -> None:
    home.database.unlink()
    with pytest.raises((BackupError, StoreUnavailableError), match=r"safehand\.db"):
        back_up(home)
