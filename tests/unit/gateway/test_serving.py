"""What the running gateway does by the clock, where it is no flow's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import auditing, serving
from gateway.auditing import LogReport
from gateway.home import Home
from gateway.tlog.fsck import Problem
from tests.support.exchange import make_town


async def test_an_entry_altered_long_after_it_was_signed_is_told_by_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = tuple(Problem(index=n, column="entry", rule="not what its leaf hash was made of") for n in range(40))

    async def verified(home: Home) -> LogReport:
        return LogReport(entries=100, problems=faults if home.path == tmp_path else ())

    monkeypatch.setattr(auditing, "verify_log", verified)
    town = make_town()
    await serving.verify_whole(Home(tmp_path), town.a.exchange)
    assert town.a.alarms == ["log-altered"] * serving.FAULTS_TOLD
    await serving.verify_whole(Home(tmp_path / "sound"), town.b.exchange)
    assert town.b.alarms == []
