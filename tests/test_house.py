"""The house rules that a machine can hold us to: documents say what is, packages hold what they should, nothing leaks a place."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from gateway.cli.main import main
from gateway.core.lifecycle import diagram

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def commands(group: click.Group, prefix: str = "") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found.add(prefix + name)
    return found


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name and (ROOT / name.decode()).is_file()]


def test_the_state_diagram_of_the_readme_is_the_table() -> None:
    assert f"```mermaid\n{diagram()}```" in README


def test_the_readme_lists_every_command_and_no_other() -> None:
    table = README.partition("## Commands")[2].partition("## Glossary")[0]
    listed = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z -]+)`", line.split("|")[1])
    }
    assert listed == commands(main)


def test_every_command_explains_itself() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help, path
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                walk(inner, f"{path} {name}")

    walk(main, "safehand")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_documents_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
        assert "://" in target or (page.parent / target).exists(), target


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    pages = {path.name for path in (ROOT / "docs/decisions").glob("0*.md")}
    assert pages == set(re.findall(r"\((0[^)]+\.md)\)", index))


def test_modules_on_the_map_of_the_readme_exist() -> None:
    story = README.partition("## The map")[2].partition("```")[2].partition("```")[0]
    lines = [line[2:].split("  ")[0] for line in story.splitlines() if line.startswith("  ")]
    names = {name for line in lines for name in re.findall(r"[a-z_]+", line.replace(">", " ").replace("|", " "))}
    for name in names:
        assert (ROOT / "gateway" / f"{name}.py").exists() or (ROOT / "gateway" / name).is_dir(), name


def test_the_wheel_holds_the_four_packages_and_nothing_else() -> None:
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for package in ("contracts", "keys", "adapters", "gateway")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert listed == found


def test_lock_files_pin_hashes_and_name_no_host() -> None:
    for lock in ROOT.glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text, lock.name
        assert text.count("==") <= text.count("--hash=sha256:"), lock.name


def test_no_file_names_a_place_on_a_machine() -> None:
    places = re.compile(rb"(?<![\w*.}])/(?:home|root|Users|work)/[a-z]")
    for path in tracked_files():
        assert not places.search(path.read_bytes()), path.relative_to(ROOT)


def test_every_module_says_what_it_is() -> None:
    for package in ("contracts", "keys", "adapters", "gateway"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            assert not text.strip() or text.lstrip().startswith('"""'), path.relative_to(ROOT)


def test_no_test_file_skips_by_itself() -> None:
    """A skip would be a promise nobody checks: only absent third-party vectors may, and in one place."""
    allowed = {"tests/support/vectors.py", "tests/test_house.py"}
    for path in (ROOT / "tests").rglob("*.py"):
        name = str(path.relative_to(ROOT))
        assert name in allowed or not re.search(
            r"pytest\.skip\(|mark\.skip|mark\.xfail|importorskip", path.read_text()
        ), name
