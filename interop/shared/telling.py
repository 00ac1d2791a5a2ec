"""How the Python scripts take their arguments, run their steps and tell what came of them."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kafkawire.errors import ErrorCode

PATIENCE = 30.0
"""Seconds that anything may take."""


class Unsupported(Exception):  # noqa: N818 - a fact about the library, not an error
    """The library itself can not do it; the text says why."""


class Unexpected(Exception):  # noqa: N818 - what a step is there to find, not an error of the script's
    """Something is not as it should be; the text says what."""


@dataclass(frozen=True, slots=True)
class Where:
    """The cluster, and the names that this run may use there."""

    bootstrap: str
    prefix: str
    replication_factor: int

    def name(self, of: str) -> str:
        """A name for a topic, a group or a transactional id that nobody else has."""
        return f"{self.prefix}-{of}"


Step = Callable[[Where], str | None]
"""Does it; returns a detail worth telling, if there is one."""


@dataclass(frozen=True, slots=True)
class Library:
    """A client library: name, version, and how to read Kafka's error code off one of its exceptions.

    `code` returns None for an exception that has none.
    """

    name: str
    version: str
    code: Callable[[BaseException], int | None]


def where(description: str) -> Where:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--replication-factor", type=int, default=1)
    said = parser.parse_args()
    return Where(said.bootstrap, said.prefix, said.replication_factor)


def tell(library: Library, at: Where, steps: Mapping[str, Step], unsupported: Mapping[str, str]) -> None:
    """Run the steps in their order, and tell each one's outcome when it is over."""
    print(json.dumps({"library": library.name, "version": library.version}), flush=True)
    for step, reason in unsupported.items():
        _say(step, "unsupported", reason)
    for step, do in steps.items():
        _say(step, *_outcome(library, do, at))


def _outcome(library: Library, do: Step, at: Where) -> tuple[str, str]:
    try:
        return "ok", do(at) or ""
    except Unsupported as reason:
        return "unsupported", str(reason)
    except Unexpected as what:
        return "failed", str(what)
    except Exception as error:  # noqa: BLE001 - the root of every step; the next ones are to be run all the same
        code = library.code(error)
        if code is None:
            return "failed", f"{type(error).__name__}: {error}"
        return ErrorCode(code).name, str(error)


def _say(step: str, outcome: str, detail: str) -> None:
    print(json.dumps({"step": step, "outcome": outcome, "detail": detail}), flush=True)


def expect(what: str, found: object, wanted: object) -> None:
    """Raises Unexpected unless both are equal."""
    if found != wanted:
        raise Unexpected(f"{what}: {found!r}, should be {wanted!r}")


def refused(what: str) -> Unexpected:
    """To raise where an error should have come, and none did."""
    return Unexpected(f"{what} was not refused")


class Deadline:
    """Bounds a loop: `while deadline.left("members"): …`."""

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._end = time.monotonic() + seconds
        self._seconds = seconds

    def left(self, waiting_for: str) -> bool:
        """True; raises Unexpected when the time is up."""
        if time.monotonic() >= self._end:
            raise Unexpected(f"{waiting_for}: not after {self._seconds:g} s")
        return True


Row = tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]
"""Key, value, timestamp in ms, headers."""


def rows() -> list[Row]:
    """Records of every kind that all libraries can send, with timestamps of the last hour."""
    keys = [None, b"", b"key", "schlüssel".encode()]
    values = [b"value", b"", b"long" * 5000]
    headers = [[], [("a", b"1")], [("a", b"1"), ("a", b""), ("ü", b"\x00\xff")]]
    first = (int(time.time()) - 3600) * 1000
    return [
        (keys[index % 4], values[index // 4 % 3], first + 1000 * index, headers[index % 3])
        for index in range(48)
    ]
