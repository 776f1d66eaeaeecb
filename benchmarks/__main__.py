"""`make bench`: check, seal, open, and messages per second through two gateways, each beside its bare primitives.

Machines differ and are noisy; the ratio in one run is the figure, the absolute number only says on what. Nothing here is
asserted: a slow day is no fault.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from benchmarks import line, parts


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=..")
    parser.add_argument("--messages", type=int, default=300, help="how many go through the two gateways")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each small measurement runs")
    given = parser.parse_args()
    console = Console(highlight=False)
    parts.run(console, given.seconds)
    line.run(console, given.messages)


main()
