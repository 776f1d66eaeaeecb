"""What the image and the compose file promise: nothing more than a gateway needs, and no secret in the image.

Read, not run: there need be no container engine here. That a gateway writes its home alone is shown by running one.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import METRICS_LISTEN
from tests.support import canary
from tests.support.world import World, opened_world

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HOME = "/var/lib/safehand"
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]


def stages() -> list[list[tuple[str, str]]]:
    """The Dockerfile's stages: (instruction, arguments) of each line, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, (line.strip() for line in text.splitlines())):
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, " ".join(arguments.split())))
    return found


def instructions(stage: int, name: str) -> list[str]:
    return [arguments for instruction, arguments in stages()[stage] if instruction == name]


# --- compose


def test_the_compose_file_is_valid_by_the_specification() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run(
        [checker, "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_runs_two_gateways() -> None:
    assert set(SERVICES) == {"la-207", "la-850"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_gateway_may_do_nothing_but_serve(name: str) -> None:
    service = SERVICES[name]
    uid, _, gid = service["user"].partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["pids_limit"] > 0
    forbidden = {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "env_file", "sysctls"}
    assert not forbidden & set(service)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_gateway_can_write_is_its_home_and_a_small_scratch(name: str) -> None:
    (volume,) = SERVICES[name]["volumes"]
    source, target = volume.split(":")
    assert (source, target) == (f"{name}-home", HOME)
    assert source in COMPOSE["volumes"]
    (scratch,) = SERVICES[name]["tmpfs"]
    path, _, options = scratch.partition(":")
    assert path.split("/") == ["", "tmp"]
    assert {"noexec", "nosuid", "nodev", "mode=0700"} <= set(options.split(","))


def test_homes_and_secrets_are_shared_by_nobody() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service["volumes"]]
    assert len(volumes) == len(set(volumes))
    private = [secret["source"] for service in SERVICES.values() for secret in service["secrets"]]
    assert {name for name in private if private.count(name) > 1} == {"partners-ca"}, "a certificate is public"


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files_where_the_home_expects_them(name: str) -> None:
    targets = {secret["target"] for secret in SERVICES[name]["secrets"]}
    assert {f"{HOME}/secrets/{file}" for file in ("gateway.pass", "index.pass", "tls.key", "tls.crt")} <= targets
    for secret in SERVICES[name]["secrets"]:
        assert set(COMPOSE["secrets"][secret["source"]]) == {"file"}
    assert "environment" not in SERVICES[name], "the environment is read by whoever can look at the container"
    assert "command" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_only_the_exchange_listener_is_published_and_only_to_this_machine(name: str) -> None:
    for published in SERVICES[name]["ports"]:
        address, _, port = published.split(":")
        assert (address, port) == ("127.0.0.1", "8443")
        assert str(METRICS_LISTEN[1]) not in published


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_asked_for_without_the_command_line_and_before_a_stop_there_is_time(name: str) -> None:
    test = SERVICES[name]["healthcheck"]["test"]
    assert test[0] == "CMD"
    assert f"http://{METRICS_LISTEN[0]}:{METRICS_LISTEN[1]}/readyz" in test[-1]
    assert "safehand" not in test
    assert SERVICES[name]["stop_grace_period"] == "40s"  # a stop may take 25 s (log B3)


# --- the image


def test_base_images_are_pinned_by_a_tag_and_the_same() -> None:
    bases = {arguments.split(" AS ")[0] for stage in stages() for name, arguments in stage if name == "FROM"}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", bases.pop())


def test_what_is_installed_is_pinned_by_its_hash() -> None:
    runs = " && ".join(instructions(0, "RUN"))
    installs = [step for step in runs.split("&&") if "pip install" in step]
    assert installs
    for step in installs:
        assert "--require-hashes" in step or "--no-index" in step, step
    for lock in ("requirements.lock", "requirements-build.lock"):
        assert any(lock in step for step in installs)


def test_the_final_stage_gets_no_tools_and_does_not_run_as_root() -> None:
    last = len(stages()) - 1
    assert last == 1
    assert instructions(last, "COPY") == ["--from=build /opt/safehand /opt/safehand"]
    runs = " ".join(instructions(last, "RUN"))
    assert not re.search(r"pip install|apt|curl|wget|gcc", runs)
    (user,) = instructions(last, "USER")
    assert int(user.split(":")[0]) > 0
    order = [name for name, _ in stages()[last]]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "USER" not in order[order.index("USER") + 1 :]


def test_health_in_the_image_is_that_of_the_compose_file() -> None:
    (check,) = instructions(1, "HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[1:] == SERVICES["la-207"]["healthcheck"]["test"][2:]


def test_nothing_secret_is_copied_or_set() -> None:
    for stage in stages():
        for name, arguments in stage:
            assert name not in {"ADD", "ARG"}, "an argument stays in the image's history"
            if name == "COPY" and not arguments.startswith("--from"):
                sources = shlex.split(arguments)[:-1]
                assert not [source for source in sources if source in {".", "./"} or "secret" in source], arguments
            if name == "ENV":
                assert not re.search(r"(?i)pass|secret|key|token", arguments)


def test_the_builder_is_given_a_list_of_what_it_may_see() -> None:
    assert IGNORED[0] == "*"
    allowed = {line[1:].rstrip("/") for line in IGNORED if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for arguments in instructions(0, "COPY")
        for source in shlex.split(arguments)[:-1]
    }  # fmt: skip
    assert allowed == copied
    assert {"**/*.keystore", "**/*.pass", "**/*.key"} <= set(IGNORED)
    last_allowed = max(number for number, line in enumerate(IGNORED) if line.startswith("!"))
    assert all(IGNORED.index(line) > last_allowed for line in ("**/*.keystore", "**/*.pass", "**/*.key"))


def test_secrets_beside_the_compose_file_are_not_committed() -> None:
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert {secret["file"].split("/")[1] for secret in COMPOSE["secrets"].values()} == {"secrets"}


# --- a read-only root file system

WATCHER = """
import os, sys
home = os.path.realpath(sys.argv[1])
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.chmod", "os.link", "os.symlink", "os.truncate", "shutil.move"}

def audit(event, args):
    if event == "open":
        path, mode, flags = args
        written = bool((flags or 0) & WRITES)
    elif event in CHANGES:
        path, written = args[0], True
    elif event == "sqlite3.connect":
        path, written = args[0], True
    else:
        return
    if written and isinstance(path, (str, bytes)):
        path = os.path.realpath(os.fsdecode(path))
        if not path.startswith(home + os.sep) and path != "/dev/null":
            print(f"WROTE {event} {path}", file=sys.stderr, flush=True)

sys.addaudithook(audit)
"""
SERVE = """
sys.argv = ["safehand", "--home", home, "serve"]
from gateway.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened_world() as opened:
        yield opened


def test_the_watcher_sees_what_is_written_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    act = f"open({str(tmp_path / 'elsewhere')!r}, 'w').close(); open(home + '/here', 'w').close()"
    done = subprocess.run(
        [sys.executable, "-c", WATCHER + act, str(tmp_path / "home")], capture_output=True, text=True, check=True
    )
    assert re.findall(r"WROTE \S+ (\S+)", done.stderr) == [str(tmp_path / "elsewhere")]


def test_a_gateway_that_serves_writes_nothing_outside_its_home(world: World, tmp_path: Path) -> None:
    kc, hants = world.both
    hants.stop()
    log = tmp_path / "log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", WATCHER + SERVE, str(hants.home.path)],
            cwd="/",
            env={"HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "PATH": ""},
            stdout=subprocess.PIPE,
            stderr=told,
        )
    try:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline().startswith(b"serving"), log.read_text()
            sent = kc.send(hants, "cme.enquiry", canary.enquiry())
            kc.reaches(sent, "delivered")
            assert hants.page("/readyz")[0] == 200
            hants.run("doctor")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)
        hants.start()
    assert "WROTE" not in log.read_text()
