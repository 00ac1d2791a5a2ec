"""What the same work costs without a broker, measured in the same run: a noisy machine shows here as well."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from crc32c import crc32c

CHUNK = 1_000_000


def checksum_and_write(directory: Path, size: int) -> float:
    """CPU seconds per GB to check and write `size` bytes to a new file, in pieces of 1 MB.

    It is done twice. The first round makes the machine hand out memory, maybe from what it uses to cache
    other files, at a price that depends on the machine. That memory is free again for the second round,
    which is measured, and for the broker that writes as much after it.
    """
    chunk = os.urandom(CHUNK)
    count = size // CHUNK
    used = 0.0
    for _ in range(2):
        path = directory / "floor"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
        try:
            before = time.process_time()
            for index in range(count):
                crc32c(chunk)
                os.pwrite(descriptor, chunk, index * CHUNK)
            used = time.process_time() - before
        finally:
            os.close(descriptor)
            path.unlink()
    return used / (count * CHUNK / 1e9)


def synced_write(directory: Path, rounds: int = 100) -> float:
    """The median seconds of a write of 512 bytes to the end of a file and its fdatasync."""
    taken = []
    path = directory / "floor"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        for index in range(rounds):
            started = time.perf_counter()
            os.pwrite(descriptor, b"x" * 512, index * 512)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken)
