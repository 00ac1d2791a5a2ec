"""Byte ranges of segment files: what a read returns instead of bytes, so that a shell may send the file."""

from __future__ import annotations

from typing import NamedTuple

from kafkawire.records import check_crc, headers
from logstore.storage import Buffer, File


class LogSlice(NamedTuple):
    """Whole batches in one file: `size` bytes at `position`. Empty if `size` is 0.

    The file stays open and whole for `file_delete_delay_ms` after its segment was deleted. A truncation may
    shorten it at once: then fewer bytes come out than `size` says.
    """

    file: File
    position: int
    size: int
    next_offset: int
    """Where the next read goes on; -1 if the slice is empty."""

    def bytes(self) -> bytes:
        """Read it; raises StorageError."""
        return self.file.read_at(self.position, self.size)

    def verify(self) -> bool:
        """Whether every batch still fits its checksum; reads all of it. Raises StorageError, KafkaError."""
        data = self.bytes()
        return len(data) == self.size and all(check_crc(data, at, header) for at, header in headers(data))


class _NoFile:
    """The file of the empty slice: nothing is in it and nothing can be done to it."""

    path = ""

    def write_at(self, position: int, data: Buffer) -> None:
        raise ValueError(f"no place for {len(data)} bytes at {position}")

    def read_at(self, position: int, size: int) -> bytes:
        del position, size
        return b""

    def size(self) -> int:
        return 0

    def truncate(self, size: int) -> None:
        raise ValueError(f"no {size} bytes to keep")

    def sync(self) -> None:
        """Nothing was written."""

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        """Nothing is open."""


EMPTY_SLICE = LogSlice(_NoFile(), 0, 0, -1)
