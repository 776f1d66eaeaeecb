"""A process to be killed: submits and receives without end, and says what was acknowledged, one a line, at once.

`python -m tests.integration.store.submitter DATABASE [early]`; `early` is the mutant that answers before the commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.store import writer
from tests.support.store import Lab, make_receive, make_submit, open_lab

WORKERS = 20


def say(*words: str) -> None:
    os.write(1, " ".join(words).encode() + b"\n")


async def work(lab: Lab, number: int) -> None:
    while True:
        submit = make_submit(lane=b"%d" % number)
        await lab.open.store.write(submit)
        say("submitted", submit.message.id)
        receive = make_receive()
        received = await lab.open.store.write(receive)
        say("received", receive.message.id, hashlib.sha256(received.receipt).hexdigest())


async def main(path: Path) -> None:
    async with open_lab(path) as lab:
        say("ready")
        async with asyncio.TaskGroup() as tasks:
            for number in range(WORKERS):
                tasks.create_task(work(lab, number), name=f"worker-{number}")


def answer_before_the_commit() -> None:
    answers, resolve = writer.Writer._answers, writer._resolve

    def early(self: writer.Writer, tx: Any, batch: Sequence[Any]) -> Sequence[object]:
        given = answers(self, tx, batch)
        for job, answer in zip(batch, given, strict=True):
            resolve(job, writer._outcome(answer))
        time.sleep(0.02)
        return given

    writer.Writer._answers = early  # type: ignore[method-assign]
    writer._resolve = lambda job, outcome: None if job.future.done() else resolve(job, outcome)


if __name__ == "__main__":
    if sys.argv[2:] == ["early"]:
        answer_before_the_commit()
    asyncio.run(main(Path(sys.argv[1])))
