"""An operator sets a gateway up and looks after it, with commands alone and no server running."""

from __future__ import annotations

import json
import stat

import pysqlite3
import pytest

from gateway.home import Home
from tests.support.operator import CANARY, PASSPHRASE, Operator


def test_secrets_are_for_the_owner_alone(operator: Operator) -> None:
    secrets = operator.home / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for path in [*secrets.iterdir(), operator.home / "data" / "safehand.db"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_home_is_not_made_twice(operator: Operator) -> None:
    again = operator.init(operator.home)
    assert again.exit_code == 2
    assert "already" in again.output


def test_serve_names_what_is_missing_before_a_bundle_is_published(operator: Operator) -> None:
    fresh = operator.folder / "fresh"
    assert operator.init(fresh).exit_code == 0
    refused = operator.serve(fresh)
    assert refused.returncode == 2
    assert "keys publish" in refused.stderr


def test_a_root_keystore_is_not_made_inside_a_home(operator: Operator) -> None:
    inside = operator.run(
        "root", "init", str(operator.home / "root.keystore"), "--org", "la-207",
        "--passphrase-file", operator.file("passphrase", PASSPHRASE),
    )  # fmt: skip
    assert inside.exit_code == 2


def test_serve_refuses_to_start_beside_a_root_keystore(operator: Operator) -> None:
    stray = operator.home / "data" / "root.keystore"
    stray.write_bytes((operator.folder / "root.keystore").read_bytes())
    try:
        refused = operator.serve()
    finally:
        stray.unlink()
    assert refused.returncode == 2
    assert "root keystore" in refused.stderr


def test_every_role_has_a_key_in_force(operator: Operator) -> None:
    active = {key["role"] for key in operator.ask("keys", "list") if key["state"] == "active"}
    assert active == {"message-sign", "message-kem", "http", "log", "witness", "agreement-sign"}


def test_three_kem_keys_follow_each_other_without_a_gap(operator: Operator) -> None:
    kems = [key for key in operator.ask("keys", "list") if key["role"] == "message-kem"]
    assert len(kems) == 3
    assert [key["active_from"] for key in kems[1:]] == [key["retires"] for key in kems[:-1]]


def test_a_request_of_other_keys_is_not_published(operator: Operator) -> None:
    """A bundle that lists keys which no keystore of this home holds would make us unreachable."""
    other = Operator(operator.folder)
    away = operator.folder / "away"
    assert other.init(away).exit_code == 0
    secret = ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    request, bundle = str(operator.folder / "foreign"), str(operator.folder / "foreign.jws")
    other.done("keys", "request", "--out", request, *secret, home=away)
    root = str(operator.folder / "root.keystore")
    other.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret, home=away)
    refused = operator.run("keys", "publish", bundle, *secret)
    assert refused.exit_code == 4
    assert "held by no keystore" in refused.output


def test_the_own_fingerprint_has_twelve_words(operator: Operator) -> None:
    said = operator.ask("partner", "fingerprint")
    assert len(said["words"].split()) == 12
    assert said["hex"].startswith("sha256:")


def test_sending_to_nobody_is_refused_by_name_and_logged(operator: Operator) -> None:
    before = operator.ask("status")["counts"]["log.size"]
    body = operator.file("body.json", json.dumps({"child": {"name": {"family": CANARY}}}))
    refused = operator.run("send", "--to", "la-852", "--type", "cme.enquiry", "--urgency", "routine", "--json", body)
    assert refused.exit_code == 4
    assert json.loads(refused.output)["code"] == "partner.unknown"
    assert operator.ask("status")["counts"]["log.size"] == before + 1
    for file in (operator.home / "data").iterdir():
        assert CANARY.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    "text",
    [f'{{"child": "{CANARY}", "child": 1}}', f'["{CANARY}"]', f'{{"{CANARY}": NaN}}', '{"a":' * 40, f"{CANARY} {{", ""],
    ids=["duplicate-member", "no-object", "not-a-number", "deep", "no-json", "empty"],
)
def test_a_malformed_body_is_refused_with_the_rule_and_without_a_value(operator: Operator, text: str) -> None:
    body = operator.file("body.json", text)
    refused = operator.run("send", "--to", "la-850", "--type", "cme.enquiry", "--urgency", "routine", body)
    assert refused.exit_code == 4
    assert CANARY not in refused.output


def test_a_partner_that_cannot_be_reached_is_not_kept(operator: Operator) -> None:
    refused = operator.run("partner", "add", "la-851", "https://127.0.0.1:9", "--duty-number", "01632 960000")
    assert refused.exit_code == 4
    assert "la-851" not in {row["org"] for row in operator.ask("partner", "list")}


def test_a_partner_can_be_added_from_a_bundle_that_came_another_way(operator: Operator) -> None:
    away, secret = operator.folder / "away-b", ("--passphrase-file", operator.file("passphrase", PASSPHRASE))
    init = operator.run(
        "init", "--org", "la-850", "--name", "Council B", "--public-url", "https://b.example", *secret, home=away
    )
    assert init.exit_code == 0
    root, request, bundle = (str(operator.folder / f"b-{n}") for n in ("root.keystore", "request", "bundle.jws"))
    operator.done("root", "init", root, "--org", "la-850", *secret)
    operator.done("keys", "request", "--out", request, *secret, home=away)
    operator.done("root", "sign", request, "--root", root, "--out", bundle, "--yes", *secret)
    added = operator.ask("partner", "add", "la-850", "--bundle", bundle, "--duty-number", "01632 960000")
    assert (added["url"], added["verified"]) == ("https://b.example", False)


def test_two_people_take_a_child_off_the_protection_list(operator: Operator) -> None:
    child = operator.file(
        "child.json",
        json.dumps({"child": {"name": {"family": CANARY, "given": "Ada"}, "date_of_birth": "2014-03-12"}}),
    )
    assert operator.ask("protect", "add", child, "--kind", "location", "--by", "Officer One")["listed"] == 1
    first = operator.ask("protect", "remove", child, "--kind", "location", "--by", "Manager One")
    same = operator.ask("protect", "remove", child, "--kind", "location", "--by", "  manager  ONE ")
    assert (first["removed"], same["removed"]) == (0, 0)
    assert operator.ask("protect", "list") == {"location": 1}
    assert operator.ask("protect", "remove", child, "--kind", "location", "--by", "Manager Two")["removed"] == 1
    assert operator.ask("protect", "list") == {}


def test_one_person_is_enough_only_where_that_is_logged(operator: Operator) -> None:
    child = operator.file("child.json", json.dumps({"child": {"upn": "P207000016049"}}))
    operator.done("protect", "add", child, "--kind", "identity", "--by", "Officer One")
    operator.done("protect", "remove", child, "--kind", "identity", "--by", "Manager", "--single-person-demo")
    connection = pysqlite3.connect(operator.home / "data" / "safehand.db")
    last = connection.execute("select entry from log_entry order by idx desc limit 1").fetchone()[0]
    connection.close()
    assert json.loads(last)["outcome"] == "removed.single-person"


def test_a_second_process_cannot_write_beside_the_first(operator: Operator) -> None:
    child = operator.file("child.json", json.dumps({"child": {"upn": "P207000016049"}}))
    with Home(operator.home).locked():
        refused = operator.run("protect", "add", child, "--kind", "location", "--by", "Officer")
    assert refused.exit_code == 75


def test_upgrading_a_database_that_is_current_changes_nothing(operator: Operator) -> None:
    before = operator.ask("status")["counts"]
    operator.done("db", "upgrade")
    assert operator.ask("status")["counts"] == before


def test_log_verify_passes_and_then_names_the_entry_that_an_administrator_changed(operator: Operator) -> None:
    assert operator.ask("log", "verify")["problems"] == []
    database = operator.home / "data" / "safehand.db"
    connection = pysqlite3.connect(database, isolation_level=None)
    (trigger,) = connection.execute("select sql from sqlite_master where name = 'log_entry_no_update'").fetchone()
    connection.execute("drop trigger log_entry_no_update")
    data = bytes(connection.execute("select entry from log_entry where idx = 0").fetchone()[0])
    connection.execute("update log_entry set entry = ? where idx = 0", (data.replace(b'"v":1', b'"v":2'),))
    found = operator.run("log", "verify", "--json")
    connection.execute("update log_entry set entry = ? where idx = 0", (data,))
    connection.execute(trigger)
    connection.close()
    assert found.exit_code == 3
    assert {problem["index"] for problem in json.loads(found.output)["problems"]} >= {-1, 0}
    assert operator.ask("log", "verify")["problems"] == []


def test_an_unknown_setting_is_refused_with_file_key_and_rule(operator: Operator) -> None:
    config = operator.home / "config.toml"
    before = config.read_text()
    config.write_text(before + '\nsurprise = "yes"\n')
    try:
        refused = operator.run("status")
    finally:
        config.write_text(before)
    assert refused.exit_code == 2
    assert "config.toml" in refused.output
    assert "surprise" in refused.output
