"""What a command imports: beside a running server the start of Python is most of what it takes.

Lists of modules, no stop-watch: each was measured to cost something that the command does not need.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import main

ROOT = Path(main.__file__).parents[2]
HEAVY = (
    "aiohttp",
    "alembic",
    "asyncio",
    "contracts.compiled",
    "cryptography",
    "gateway.acts",
    "gateway.app",
    "gateway.config",
    "gateway.demo",
    "holidays",
    "keys.key",
    "keys.sources.keystore",
    "msgspec",
    "nacl",
    "prometheus_client",
    "rich",
    "sqlalchemy",
    "structlog",
)
RUN = """
import sys
from gateway.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    print("exit", ended.code)
print("imported", *sorted(sys.modules))
print("logging", "structlog" in sys.modules and sys.modules["structlog"].is_configured())
"""


def run(*arguments: str) -> dict[str, list[str]]:
    """Run a command as a process of its own; what was printed after it, by its first word."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[-3:]}


def test_the_version_is_told_without_what_a_gateway_is_made_of() -> None:
    said = run("--version")
    assert said["exit"] == ["0"]
    assert set(said["imported"]) & set(HEAVY) == set()


def test_a_command_beside_a_server_imports_only_what_asks_it() -> None:
    imports = "; ".join(f"import gateway.cli.{module}" for module in sorted(main._BRIDGED))
    code = f"import sys; import gateway.cli.main; {imports}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert set(done.stdout.split()) & (set(HEAVY) - {"contracts.compiled"}) == set()


@pytest.mark.parametrize("arguments", [("status",), ("doctor",), ("log", "verify"), ("partner", "list")])
def test_whatever_opens_a_home_itself_logs_through_the_allow_list(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("--home", str(tmp_path), *arguments)["logging"] == ["True"]


@pytest.mark.parametrize("module", sorted(main._BRIDGED))
def test_a_command_of_the_bridge_calls_nothing_that_logs(module: str) -> None:
    tree = ast.parse((ROOT / "gateway" / "cli" / f"{module}.py").read_text())
    named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    named |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    ours = {name for name in named if name.split(".")[0] == "gateway"}
    silent = ("gateway.cli", "gateway.core", "gateway.summaries")
    assert {name for name in ours if not name.startswith(silent)} == set()


def test_every_command_stands_in_the_module_that_the_table_names() -> None:
    assert {name: command.name for name, command in main.main.commands.items()} == {
        name: name for name in main._MODULES
    }
