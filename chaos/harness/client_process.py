"""A client in a process of its own: `python -m chaos.harness.client_process TASK`.

SIGTERM asks it to come to an end: a producer sends no more and waits for what is under way, a reader stops, a
group or a copier goes on until everything is committed. It ends with status 0 then; 3 means that the library
gave up or hung, and that another process should go on in its place.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path

from chaos.harness.journal import Journal
from chaos.harness.tasks import Library, decode_task
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready

GAVE_UP = 3

_MODULES = {
    Library.CONFLUENT: "chaos.harness.clients.confluent_client",
    Library.AIOKAFKA: "chaos.harness.clients.aiokafka_client",
    Library.KRAFT: "chaos.harness.clients.kraft_client",
}


class Stop:
    """Set by SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who presses Ctrl-C means the run, which ends us

    def _ask(self, *_: object) -> None:
        self.asked = True


def main() -> int:
    """Run one task to its end."""
    parser = argparse.ArgumentParser(prog="chaos.harness.client_process")
    parser.add_argument("task", type=decode_task)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent_pid)
    stop = Stop()
    task = arguments.task
    library = importlib.import_module(_MODULES[task.library])
    journal = Journal(Path(task.journal))
    announce_ready(arguments.ready_fd, NodeAddresses(0, (task.name, 0)))
    try:
        library.run(task, journal, stop)
    except library.FAILURES as failure:
        journal.note(f"gave up: {failure!r}")
        print(f"{task.name} gave up: {failure!r}", flush=True)
        return GAVE_UP
    finally:
        journal.close()
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # a library's threads need not be waited for
