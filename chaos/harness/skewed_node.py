"""A node whose wall clock can be set from outside: `python -m chaos.harness.skewed_node FILE run …`.

The product has no switch for it. This program replaces Python's `time.time` and `time.time_ns` by those plus
the offset that stands in FILE, a float of eight bytes that is mapped into memory, and then is `kraft`. The
monotonic clock stays what it is, as it does when somebody sets a machine's clock.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

OFFSET = struct.Struct("d")


def set_offset(path: Path, seconds: float) -> None:
    """Let the clocks of the node that runs with `path` be that much ahead."""
    with open(path, "r+b" if path.exists() else "w+b") as file:
        file.write(OFFSET.pack(seconds))


def skewed(path: Path) -> tuple[Callable[[], float], Callable[[], int]]:
    """`time.time` and `time.time_ns` with the offset in `path`; raises OSError."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, prot=mmap.PROT_READ)
    true_time, true_time_ns = time.time, time.time_ns

    def seconds() -> float:
        return true_time() + float(OFFSET.unpack_from(offset)[0])

    def nanoseconds() -> int:
        return true_time_ns() + int(1e9 * OFFSET.unpack_from(offset)[0])

    return seconds, nanoseconds


def main() -> None:
    """Skew the clock, and become the node."""
    path = sys.argv.pop(1)
    time.time, time.time_ns = skewed(Path(path))
    runpy.run_module("kraft", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
