"""`make bench`: check, seal, open, an exported log verified, and messages per second through two gateways, each beside its bare
primitives.

Machines differ and are noisy; the ratio in one run is the figure, the absolute number only says on what. Nothing here is
asserted: a slow day is no fault.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from benchmarks import line, log, parts


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench ARGS=..")
    parser.add_argument("--messages", type=int, default=300, help="how many go through the two gateways")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each small measurement runs")
    parser.add_argument("--entries", type=int, default=200_000, help="of the exported log, at most 1,000,000")
    given = parser.parse_args()
    if not 1 <= given.entries <= 1_000_000:
        parser.error("--entries is a number from 1 to 1,000,000")
    console = Console(highlight=False)
    parts.run(console, given.seconds)
    log.run(console, given.entries)
    line.run(console, given.messages)


main()
