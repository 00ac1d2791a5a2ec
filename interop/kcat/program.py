"""Running kcat, once or for a while."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from functools import partial
from typing import Any

from interop.shared.telling import PATIENCE, Unexpected
from kafkawire.errors import ErrorCode
from kraft.processes import die_with_parent

SEPARATOR = "|"
"""Between key and value, where records are given and taken as lines."""


class KcatError(Exception):
    """kcat ended badly; the text is what it complained about."""

    @property
    def code(self) -> int | None:
        """Kafka's number, for the errors that the steps provoke."""
        text = str(self)
        if "fenced" in text:
            return ErrorCode.PRODUCER_FENCED
        if "Unknown topic or partition" in text:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        return None


def command(bootstrap: str, *words: str) -> list[str]:
    """The command line; names are resolved to IPv4 only, since a broker may listen there alone."""
    return ["kcat", "-b", bootstrap, "-X", "broker.address.family=v4", *words]


def settings(**more: object) -> list[str]:
    """Underscores stand for dots."""
    return [word for name, value in more.items() for word in ("-X", f"{name.replace('_', '.')}={value}")]


def once(bootstrap: str, *words: str, given: str = "") -> str:
    """What it prints. Raises KcatError."""
    done = subprocess.run(
        command(bootstrap, *words), input=given, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode != 0:
        raise KcatError(done.stderr.strip())
    return done.stdout


def messages(printed: str) -> list[dict[str, Any]]:
    """The envelopes that `-J` prints."""
    return [json.loads(line) for line in printed.splitlines()]


class Running:
    """A kcat that runs for a while. What it prints and complains about is read as it comes."""

    def __init__(self, bootstrap: str, *words: str) -> None:
        self._process = subprocess.Popen(
            command(bootstrap, *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # It is to end with this process, also when that is killed.
            preexec_fn=partial(die_with_parent, os.getpid()),  # noqa: PLW1509 - it only calls prctl
        )
        self.lines: list[str] = []
        self.complaints: list[str] = []
        self._readers = [
            threading.Thread(target=self.lines.extend, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self.complaints.extend, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def give(self, lines: list[str]) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.writelines(f"{line}\n" for line in lines)
        self._process.stdin.flush()

    def end_of_input(self) -> None:
        """Close its standard input, and wait. Raises KcatError if it ended badly."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._wait()

    def terminate(self) -> None:
        """Ask it to end, and wait. Twice is once."""
        self._process.terminate()
        self._wait(expect_success=False)

    def kill(self) -> None:
        """Without a word."""
        self._process.kill()
        self._wait(expect_success=False)

    def _wait(self, *, expect_success: bool = True) -> None:
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Unexpected(f"kcat did not end in {PATIENCE:g} s") from None
        for reader in self._readers:
            reader.join()
        if expect_success and status != 0:
            raise KcatError("".join(self.complaints).strip())


_TOPIC = re.compile(r"(\S+) \[\d+\]")


def rebalances(complaints: list[str]) -> list[tuple[bool, bool, set[str]]]:
    """Each rebalance that a member tells of: is it incremental, does it take away, and whose partitions."""
    told = [line for line in list(complaints) if " rebalanced" in line]
    return [
        ("incremental" in line, "revoke" in line, set(_TOPIC.findall(line.rpartition("): ")[2])))
        for line in told
    ]
