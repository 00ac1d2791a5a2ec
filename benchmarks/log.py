"""What the log costs: µs of CPU per append and per read, with and without the checksum and the write.

python -m benchmarks.log [--directory DIR]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable

from crc32c import crc32c

from kafkawire.records import build_batch
from logstore.config import LogConfig
from logstore.log import Log
from logstore.storage import LocalStorage

NOW_MS = 1_700_000_000_000
SIZES = (("1 KiB", 1024, 20_000), ("16 KiB", 16 * 1024, 10_000), ("1 MB", 1_000_000, 300))


def best_of(rounds: int, count: int, act: Callable[[], None]) -> float:
    """µs of CPU per repetition in the cheapest of `rounds` rounds of `count`."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(count):
            act()
        best = min(best, time.process_time() - start)
    return best / count * 1e6


def measure(directory: str, size: int, count: int) -> tuple[float, float, float, float, float]:
    """µs of: append, append of an idempotent producer, checksum + pwrite alone, tail read, older read."""
    storage = LocalStorage()
    log = Log.open(storage, f"{directory}/plain-0", LogConfig(), now_ms=NOW_MS)
    value = os.urandom(size)
    plain = bytearray(build_batch([(NOW_MS, None, value)]))
    template = bytes(plain)

    def append() -> None:
        plain[:16] = template[:16]
        log.append_as_leader(memoryview(plain), 1, NOW_MS)

    appended = best_of(3, count, append)

    sequenced = [
        bytearray(build_batch([(NOW_MS, None, value)], producer_id=7, producer_epoch=0, base_sequence=number))
        for number in range(min(count, 1000))
    ]
    batches = iter(sequenced)
    idempotent = best_of(1, len(sequenced), lambda: log.append_as_leader(next(batches), 1, NOW_MS) and None)

    file = storage.open(f"{directory}/floor", create=True)
    position = 0

    def floor() -> None:
        nonlocal position
        crc32c(memoryview(plain)[21:])
        file.write_at(position, plain)
        position += len(plain)

    bare = best_of(3, count, floor)
    file.close()

    end = log.end_offset
    tail = best_of(3, 20_000, lambda: log.read(end - 1, 1_000_000, up_to=end) and None)
    older = [0]

    def read_older() -> None:
        found = log.read(older[0], 1_000_000, up_to=end)
        older[0] = found.next_offset if found.next_offset < end - 5000 else 0

    cold = best_of(3, 2000, read_older)
    log.close(clean=False)
    shutil.rmtree(directory)
    return appended, idempotent, bare, tail, cold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", help="where to write (a new temporary directory by default)")
    arguments = parser.parse_args()
    print(
        f"{'batch':>8} {'append':>8} {'idempot.':>9} {'crc+write':>10} {'log alone':>10} {'tail':>6} "
        f"{'older':>7}"
    )
    for name, size, count in SIZES:
        directory = tempfile.mkdtemp(prefix="log-bench-", dir=arguments.directory)
        appended, idempotent, bare, tail, cold = measure(directory, size, count)
        print(
            f"{name:>8} {appended:8.1f} {idempotent:9.1f} {bare:10.1f} {appended - bare:10.1f} "
            f"{tail:6.2f} {cold:7.1f}"
        )


if __name__ == "__main__":
    main()
