"""How the Python scripts tell what came of their steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from kafkawire.errors import ErrorCode

PATIENCE = 30.0
"""Seconds that anything may take."""


class Unsupported(Exception):  # noqa: N818 - a fact about the library, not an error
    """The library itself can not do it; the text says why."""


class Unexpected(Exception):  # noqa: N818 - what a step is there to find, not an error of the script's
    """Something is not as it should be; the text says what."""


def tell_library(name: str, version: str) -> None:
    """The first line."""
    print(json.dumps({"library": name, "version": version}), flush=True)


def tell(step: str, do: Callable[[], str | None], code: Callable[[BaseException], int | None]) -> None:
    """Run a step and tell its outcome. `code` reads Kafka's error code off an exception of the library's."""
    outcome, detail = _outcome(do, code)
    print(json.dumps({"step": step, "outcome": outcome, "detail": detail}), flush=True)


def _outcome(do: Callable[[], str | None], code: Callable[[BaseException], int | None]) -> tuple[str, str]:
    try:
        return "ok", do() or ""
    except Unsupported as reason:
        return "unsupported", str(reason)
    except Unexpected as what:
        return "failed", str(what)
    except Exception as error:  # noqa: BLE001 - the root of every step; the next ones are to be run all the same
        found = code(error)
        if found is None:
            return "failed", f"{type(error).__name__}: {error}"
        return ErrorCode(found).name, str(error)


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
