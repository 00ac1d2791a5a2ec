"""What SIGINT (Ctrl-C) and SIGTERM do to a trial."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Self

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRun(Exception):  # noqa: N818 - somebody's wish, not an error
    """Whoever started the trial has had enough of it."""


class Interruptions:
    """A context manager for the whole of a trial, on the main thread.

    An interruption calls whoever has asked for that; while nobody has, it does nothing. So a report, once
    begun, is written, and what was started is cleaned up, however often Ctrl-C is pressed.
    """

    def __init__(self) -> None:
        self._call: Callable[[], object] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._come) for number in _NUMBERS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def calling(self, call: Callable[[], object]) -> Iterator[None]:
        """Call this, on the main thread, at any moment of the body; it may raise."""
        self._call = call
        try:
            yield
        finally:
            self._call = None

    def _come(self, _number: int, _frame: FrameType | None) -> None:
        if self._call is not None:
            self._call()
