"""Telling the story: the order of its steps, and the one line in which each of them ends."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from gateway.demo.evidence import Evidence
from gateway.demo.stage import NotAsToldError
from gateway.demo.story import Story


def tell(*, keep: bool) -> int:
    """Tell the whole story; 0 only if every step came out as told."""
    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="safehand-demo-"))
    story = Story(folder, console)
    evidence = Evidence(story)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("Two gateways, each with its own home and keys", story.set_up),
        ("They are introduced by fingerprint", story.introduce),
        ("An agreement is drawn up and countersigned", story.agree),
        ("A child is handed over, opened, and accepted", story.hand_over),
        ("An enquiry is made and answered", story.enquire),
        ("More than the agreement allows is refused", story.refuse_more),
        ("What only urgency allows", story.urgent),
        ("A protected child", story.protect),
        ("The agreement is suspended", story.suspend),
        ("The receiver is killed in the middle of a burst", story.burst),
        ("A case system uses the API", evidence.case_system),
        ("Partners witness each other's logs", evidence.witness),
        ("An auditor verifies the log at home", evidence.auditor),
        ("An administrator turns back the clock", evidence.roll_back),
        ("A byte is changed in the database", story.tamper),
    )
    try:
        return _tell(steps, console, story, keep=keep)
    finally:
        for council in story.both:
            council.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _tell(steps: tuple[tuple[str, Callable[[], None]], ...], console: Console, story: Story, *, keep: bool) -> int:
    began = time.monotonic()
    for number, (title, step) in enumerate(steps, 1):
        console.print(f"\n[bold]{number}. {title}[/]")
        console.print(f"  [italic]{(step.__doc__ or '').strip()}[/]", soft_wrap=True)
        try:
            step()
        except NotAsToldError as error:
            console.print(f"  [bold red]NOT AS TOLD[/]: {error}")
            return 1
        console.print("  [green]as told[/]")
        if number == 1:
            began = time.monotonic()
    console.print(f"\n[bold green]Every step came out as told[/], {time.monotonic() - began:.0f} s after set-up.")
    if keep:
        _wait_until_stopped(console, story)
    return 0


def _wait_until_stopped(console: Console, story: Story) -> None:
    for council in story.both:
        console.print(f"  safehand --home {council.home.path} status", soft_wrap=True)
    console.print("Both gateways keep running. Ctrl-C ends them.")
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts this in the background ignores it
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("Stopped.")
