"""How much work something is, in calls: what a timing would say, without the time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_of(work: Callable[[], object], *, builtin: str | None = None) -> int:
    """How many functions are called, and generators resumed, while this is done; with `builtin`, how often
    the built-in function or method of that name is."""
    count = 0

    def note(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal count
        if builtin is None:
            count += event == "call"
        else:
            count += event == "c_call" and called.__name__ == builtin

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
