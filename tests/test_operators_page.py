"""The operators' page says what the program does: its tables are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from contracts.strict import FileError
from gateway.cli.main import main
from gateway.config import default_origin, settings_from, write_settings
from gateway.core.alarms import ALARMS
from gateway.doctor import KINDS
from gateway.meters import Meters
from gateway.web.problems import EXIT_INTEGRITY, EXIT_USAGE
from tests.test_house import commands
from tests.unit.gateway.test_readiness import looked

LEAST = {"org": "a", "name": "A", "public_url": "https://a.example", "listen": "127.0.0.1:1"}
PAGE = (Path(__file__).resolve().parent.parent / "docs" / "operators.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(title: str) -> list[list[str]]:
    """The cells of a section's only table, code marks taken off, without its head."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in rows]


def test_every_metric_is_listed_with_its_labels_and_no_other() -> None:
    listed = {tuple(row) for row in table("Watching")}
    assert listed == {(meter.name, ", ".join(meter.labels) or "-", meter.text) for meter in Meters().described}


def test_every_finding_is_listed_with_level_and_mend_and_no_other() -> None:
    listed = {row[0]: tuple(row[1:]) for row in table("What doctor finds")}
    told = {
        code: (f"{kind.level}, integrity" if kind.integrity else kind.level, kind.what, kind.mend)
        for code, kind in KINDS.items()
    }
    assert listed == told


def test_every_alarm_is_listed_with_what_to_do_and_how_soon_and_no_other() -> None:
    told = [[code, known.what, known.do.strip("`"), known.soon] for code, known in ALARMS.items()]
    assert table("Alarms") == told


def test_what_an_alarm_tells_to_run_is_a_command() -> None:
    """In code marks stands a command, a file or a folder."""
    names = commands(main)
    for known in ALARMS.values():
        for text in re.findall(r"`([^`]+)`", known.do):
            words = re.sub(r"(?: --\S+)?(?: [A-Z]+)?$", "", text)
            assert words in names | {"config.toml", "secrets/"}, text


def test_how_the_doctor_ends_is_as_told() -> None:
    text = " ".join(section("What doctor finds").split())
    assert f"with {EXIT_INTEGRITY} where a finding marked *integrity* is among them, else with {EXIT_USAGE}" in text


def test_every_check_of_readiness_is_listed() -> None:
    assert [row[0] for row in table("Health")] == [check.name for check in looked()]


GIVEN = "127.0.0.1:2"


def settings() -> dict[str, object]:
    """Every key of a configuration that says everything, with what stands there by default."""
    written = write_settings(
        settings_from(LEAST | {"partners": {"ca_file": "x"}, "api": {"listen": GIVEN}}, file="test")
    )
    flat: dict[str, object] = {}
    for key, value in tomllib.loads(written).items():
        flat |= {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def test_every_key_of_the_configuration_is_listed_and_no_other() -> None:
    assert [row[0] for row in table("Configuration")] == list(settings())


@pytest.mark.parametrize("row", table("Configuration"), ids=lambda row: row[0])
def test_a_default_is_the_one_that_is_told(row: list[str]) -> None:
    key, told, _ = row
    by_default = {"required": None, "none": None, default_origin("ORG"): default_origin("a")}
    if told == "required":
        with pytest.raises(FileError, match=rf"test: {re.escape(key)}: missing"):
            settings_from({name: value for name, value in LEAST.items() if name != key}, file="test")
    elif told == "none":
        assert settings()[key] in ([], "x", GIVEN), "given above, for it has no default"
    else:
        assert str(settings()[key]) == by_default.get(told, told)
