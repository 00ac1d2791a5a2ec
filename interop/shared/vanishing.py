"""A group member that goes without a word: a process of its own, to be killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from interop.shared.telling import Unexpected, Where

READY = "polling"
"""What the member prints when it has partitions. Then it polls until it is killed."""


@contextlib.contextmanager
def member(module: str, at: Where, group: str, topic: str) -> Iterator[subprocess.Popen[str]]:
    """Start `python -m MODULE BOOTSTRAP GROUP TOPIC`; dead at the end, whatever happens."""
    command = [sys.executable, "-P", "-m", module, at.bootstrap, group, topic]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Raises Unexpected if the member ended before it had partitions."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == READY:
            return
    raise Unexpected("the second member ended early")
