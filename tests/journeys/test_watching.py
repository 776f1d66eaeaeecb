"""Gateways that run are watched, and `safehand doctor` says what is wrong with them: beside a server and alone."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pysqlite3
import pytest

from gateway.demo.stage import free_port
from gateway.demo.tls import write_certificate
from gateway.home import Home
from tests.support import canary
from tests.support.operator import Operator
from tests.support.tls import LOOPBACK, make_ca
from tests.support.world import Site, World, opened_world, say_raw, wait_for


def samples(site: Site) -> dict[str, float]:
    status, text = site.page("/metrics")
    assert status == 200
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


# --- health and metrics


def test_a_delivery_is_counted_at_both_ends(world: World) -> None:
    kc, hants = world.both
    kc.reaches(kc.send(hants, "cme.transfer", canary.transfer()), "delivered")
    delivered = 'safehand_messages{direction="out",partner="la-850",state="delivered"}'
    received = 'safehand_messages{direction="in",partner="la-207",state="received"}'
    wait_for(lambda: samples(kc).get(delivered, 0) >= 1, "the delivery is shown")
    wait_for(lambda: samples(hants).get(received, 0) >= 1, "the receipt is shown")
    sender, receiver = samples(kc), samples(hants)
    assert sender['safehand_attempts_total{outcome="receipt"}'] >= 1
    assert sender['safehand_entries_total{direction="out",kind="delivered"}'] >= 1
    assert sender['safehand_receipts_total{direction="in",event="checked"}'] >= 1
    assert receiver['safehand_receipts_total{direction="out",event="checked"}'] >= 1
    route = 'listener="exchange",method="POST",route="/exchange/v1/messages",status="200"'
    assert receiver[f"safehand_requests_total{{{route}}}"] >= 1
    assert abs(sender['safehand_partner_clock_ahead_seconds{partner="la-850"}']) <= 5
    assert sender["safehand_bundle_expires_seconds"] > 80 * 86_400
    assert sender['safehand_key_covered_seconds{role="message-kem"}'] > 80 * 86_400
    assert sender["safehand_free_bytes"] > 0
    assert sender["process_resident_memory_bytes"] > 0


def test_a_refusal_is_counted_by_its_codes(world: World) -> None:
    kc, hants = world.both
    child = canary.identity() | {"ethnicity": "WBRI"}
    samples(kc)
    body = kc.file("body.json", canary.transfer() | {"child": child})
    kc.run("send", "--to", hants.org, "--type", "cme.transfer", "--urgency", "routine", body, expect=4)
    counted = 'safehand_refusals_total{code="field.not-allowed",direction="out"}'
    wait_for(lambda: samples(kc).get(counted, 0) >= 1, "the refusal is counted")


def test_health_is_told_with_a_word_and_a_code_for_each_thing(world: World) -> None:
    assert world.kc.page("/livez") == (200, '{"status":"alive"}')
    status, text = world.kc.page("/readyz")
    said = json.loads(text)
    assert (status, said["status"]) == (200, "ready"), text
    names = {"serving", "database", "migrations", "keys", "clock", "queue", "log", "space", "webhooks"}
    assert set(said["checks"]) == names
    assert {check["level"] for check in said["checks"].values()} == {"ok"}
    assert all(check["words"] and check["code"] for check in said["checks"].values())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("POST /metrics", 405), ("DELETE /readyz", 405), ("GET /", 404), ("GET /metrics/x", 404), ("HEAD /livez", 405)],
)
def test_the_listener_reads_and_does_nothing_else(world: World, request_line: str, status: int) -> None:
    head = f"{request_line} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    answer = say_raw((LOOPBACK, world.kc.metrics), head.encode())
    first, _, rest = answer.partition(b"\r\n")
    assert first.split()[1] == str(status).encode()
    assert b"\r\nServer:" not in rest
    assert rest.endswith(b"\r\n\r\n"), "no body"


def test_each_request_is_one_line_of_the_log_by_its_route(world: World) -> None:
    world.kc.run("status")
    lines = [json.loads(line) for line in world.kc.log.read_text().splitlines()]
    told = [line for line in lines if line["event"] == "request"]
    assert {line["listener"] for line in told} <= {"exchange", "admin"}
    assert "/acts/{name}" in {line["route"] for line in told}
    assert all(set(line) <= {"event", "level", "timestamp", "source", "listener", "method", "route", "status", "ms", "partner"} for line in told)  # fmt: skip


def test_an_address_for_metrics_that_is_taken_is_named(operator: Operator, copy: Path) -> None:
    certify(copy)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        configure(copy, METRICS, f"{LOOPBACK}:{port}")
        refused = operator.serve(copy)
    assert refused.returncode == 2
    assert f"metrics.listen: cannot listen at {LOOPBACK}, port {port} (Address already in use)" in refused.stderr


# --- doctor beside a server


def codes(said: Any, *levels: str) -> set[str]:
    return {finding["code"] for finding in said["findings"] if finding["level"] in (levels or ("warning", "wrong"))}


def test_the_doctor_finds_nothing_wrong_with_two_gateways_that_run(world: World) -> None:
    for site in world.both:
        said = site.ask("doctor", expect=0)
        assert codes(said) <= {"witness.none", "alarms.raised"}, said
        assert {"ready", "server", "listen", "keys", "log", "waiting"} <= codes(said, "ok")


def test_what_is_told_beside_a_server_is_told_alone_too(world: World) -> None:
    beside = world.hants.ask("doctor", expect=0)
    world.hants.stop()
    try:
        alone = world.hants.ask("doctor", expect=0)
    finally:
        world.hants.start()
    shared = {
        "home",
        "config",
        "tls",
        "keystore",
        "database",
        "space",
        "keys",
        "partners",
        "agreements",
        "log",
        "clock",
    }
    assert shared <= codes(beside, "ok") & codes(alone, "ok")
    assert "ready" not in codes(alone, "ok")


def test_a_log_that_was_changed_takes_the_gateway_out_of_service_and_the_doctor_ends_with_3() -> None:
    """What the signer remembers outside the database tells it; nothing is signed any more."""
    with opened_world() as world:
        kc = world.kc
        wait_for(lambda: samples(kc)["safehand_checkpoint_entries"] >= 5, "the log is signed")
        connection = pysqlite3.connect(kc.home.database, isolation_level=None)
        connection.execute("update log_head set size = 1")
        connection.close()
        wait_for(lambda: kc.page("/readyz")[0] == 503, "it is no longer ready")
        said = json.loads(kc.page("/readyz")[1])
        assert said["checks"]["log"]["code"] == "inconsistent"
        assert said["alarms"]["log-inconsistent"] >= 1
        assert samples(kc)['safehand_check{check="log"}'] == 2
        wait_for(lambda: "log.went-back" in codes(kc.ask("doctor", expect=3), "wrong"), "the doctor sees it")
        kc.stop()
        assert "log.went-back" in codes(kc.ask("doctor", expect=3), "wrong")


# --- doctor alone


@pytest.fixture
def copy(operator: Operator) -> Iterator[Path]:
    home = operator.folder / "watched-copy"
    shutil.copytree(operator.home, home)
    configure(home, PUBLIC, f"{LOOPBACK}:{free_port()}")
    configure(home, METRICS, f"{LOOPBACK}:{free_port()}")
    yield home
    shutil.rmtree(home)


def certify(home: Path, host: str = "a.example") -> None:
    for path, name in zip(write_certificate(make_ca(), home / "secrets", host), ("tls.crt", "tls.key"), strict=True):
        path.rename(home / "secrets" / name)


PUBLIC, METRICS = "listen", "metrics.listen"


def configure(home: Path, key: str, address: str) -> None:
    """Put another address into the configuration."""
    config = home / "config.toml"
    lines = config.read_text().splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith("listen = ")]
    lines[places[0 if key == PUBLIC else 1]] = f'listen = "{address}"'
    config.write_text("\n".join(lines))


def spoil(home: Path, old: str, new: str) -> None:
    config = home / "config.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))


def doctor(operator: Operator, home: Path, expect: int) -> set[str]:
    done = operator.run("doctor", "--json", home=home)
    assert done.exit_code == expect, done.output
    return codes(json.loads(done.stdout))


def test_a_sound_home_without_a_server_has_nothing_wrong(operator: Operator, copy: Path) -> None:
    certify(copy)
    assert doctor(operator, copy, 0) <= {"witness.none", "log.memory-absent", "log.unsigned"}


def test_no_home_is_a_finding_too(operator: Operator) -> None:
    assert doctor(operator, operator.folder / "nowhere", 2) == {"home.absent"}


def test_every_fault_of_the_configuration_is_told_with_the_rest(operator: Operator, copy: Path) -> None:
    certify(copy)
    spoil(copy, 'org = "la-207"', 'org = "LA-207"')
    spoil(copy, "[metrics]", "surprise = 1\n[metrics]")
    done = operator.run("doctor", "--json", home=copy)
    said = json.loads(done.stdout)
    told = {finding["words"].split(":")[1].strip() for finding in said["findings"] if finding["code"] == "config.wrong"}
    assert told == {"org", "partners.surprise"}
    assert "keystore" in codes(said, "ok"), "what needs no settings is looked at all the same"


def test_what_others_can_read_is_named(operator: Operator, copy: Path) -> None:
    certify(copy)
    (copy / "secrets" / "tls.key").chmod(0o644)
    (copy / "data").chmod(0o755)
    done = operator.run("doctor", home=copy)
    assert done.exit_code == 2
    for name in ("secrets/tls.key", "data"):
        assert f"{name} is open to its group or to others" in done.stdout


def test_a_root_keystore_and_a_missing_file_are_named(operator: Operator, copy: Path) -> None:
    certify(copy)
    (copy / "data" / "root.keystore").touch(mode=0o600)
    (copy / "secrets" / "index.pass").unlink()
    assert {"home.root-keystore", "home.incomplete", "keystore.closed"} <= doctor(operator, copy, 2)


def test_a_certificate_of_another_host_or_key_is_found(operator: Operator, copy: Path) -> None:
    certify(copy, "other.example")
    assert "tls.host" in doctor(operator, copy, 2)
    key = (copy / "secrets" / "tls.key").read_bytes()
    certify(copy)
    (copy / "secrets" / "tls.key").write_bytes(key)
    assert "tls.key" in doctor(operator, copy, 2)
    (copy / "secrets" / "tls.key").unlink()
    assert "tls.unreadable" in doctor(operator, copy, 2)


def test_an_address_of_another_process_or_machine_is_found(operator: Operator, copy: Path) -> None:
    certify(copy)
    configure(copy, METRICS, "192.0.2.1:9464")
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        configure(copy, PUBLIC, f"{LOOPBACK}:{taken.getsockname()[1]}")
        found = doctor(operator, copy, 2)
    assert {"listen.taken", "listen.not-here", "metrics.open"} <= found


def test_a_database_that_is_not_as_it_must_be_is_found(operator: Operator, copy: Path) -> None:
    certify(copy)
    connection = pysqlite3.connect(copy / "data" / "safehand.db", isolation_level=None)
    connection.execute("update alembic_version set version_num = '0001'")
    connection.close()
    assert "database.revision" in doctor(operator, copy, 2)
    (copy / "data" / "safehand.db").write_bytes(b"no database" * 100)
    assert "database.unreadable" in doctor(operator, copy, 2)
    (copy / "data" / "safehand.db").unlink()
    assert "database.absent" in doctor(operator, copy, 2)


def test_a_row_that_was_changed_ends_with_3(operator: Operator, copy: Path) -> None:
    certify(copy)
    connection = pysqlite3.connect(copy / "data" / "safehand.db", isolation_level=None)
    connection.execute("update bundle set mac = zeroblob(32)")
    connection.close()
    assert {"rows.tampered", "bundle.none"} <= doctor(operator, copy, 3)


def test_a_signers_memory_of_another_log_ends_with_3(operator: Operator, copy: Path) -> None:
    certify(copy)
    home = Home(copy)
    home.signer.write_text("not what a signer writes")
    home.signer.chmod(0o600)
    assert "log.memory-unreadable" in doctor(operator, copy, 3)


def test_a_server_that_holds_the_home_and_says_nothing_is_found(operator: Operator, copy: Path) -> None:
    certify(copy)
    with Home(copy).locked():
        assert "server.silent" in doctor(operator, copy, 2)
