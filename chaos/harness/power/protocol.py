"""The messages between the kernel and a file system in user space: FUSE 7.31 (linux/fuse.h)."""

from __future__ import annotations

import stat
import struct
from enum import IntEnum
from typing import NamedTuple

MAJOR, MINOR = 7, 31
MAX_WRITE = 1024 * 1024
MAX_PAGES = 256
BUFFER = MAX_WRITE + 64 * 1024
BIG_WRITES = 1 << 5
MAX_PAGES_FLAG = 1 << 22
SET_MODE, SET_SIZE = 1, 8
BLOCK = 4096

IN_HEADER = struct.Struct("<IIQQIIII")
OUT_HEADER = struct.Struct("<IiQ")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHII24x")
SETATTR_IN = struct.Struct("<IIQQQQQQIIIIIIII")
MKDIR_IN = struct.Struct("<II")
RENAME_IN = struct.Struct("<Q")
RENAME2_IN = struct.Struct("<QII")
CREATE_IN = struct.Struct("<IIII")
READ_IN = struct.Struct("<QQIIQII")
WRITE_IN = struct.Struct("<QQIIQII")
WRITE_OUT = struct.Struct("<II")
OPEN_OUT = struct.Struct("<QII")
ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
ENTRY_OUT = struct.Struct("<QQQQII")
ATTR_OUT = struct.Struct("<QII")
STATFS_OUT = struct.Struct("<QQQQQIIII24x")
DIRENT = struct.Struct("<QQII")


class Opcode(IntEnum):
    """What the kernel may ask; what is not here is answered with ENOSYS."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    RENAME2 = 45


UNANSWERED = {Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT}


class Request(NamedTuple):
    """One message of the kernel; `body` is what follows the header."""

    opcode: int
    unique: int
    node: int
    body: memoryview


def parse_request(data: memoryview) -> Request:
    """A message as it was read from /dev/fuse."""
    _, opcode, unique, node, *_ = IN_HEADER.unpack_from(data)
    return Request(opcode, unique, node, data[IN_HEADER.size :])


def names(data: memoryview) -> list[str]:
    """The names that end in a zero byte each; bytes that are no UTF-8 are kept as surrogates."""
    return [part.decode(errors="surrogateescape") for part in bytes(data).split(b"\0")[:-1]]


def answer(unique: int, *parts: bytes) -> bytes:
    """A reply."""
    return b"".join((OUT_HEADER.pack(OUT_HEADER.size + sum(map(len, parts)), 0, unique), *parts))


def failure(unique: int, number: int) -> bytes:
    """A reply that says that it did not work."""
    return OUT_HEADER.pack(OUT_HEADER.size, -number, unique)


def attributes(number: int, size: int, mode: int, changed_at: float, *, directory: bool, owner: int) -> bytes:
    """What stat(2) says."""
    seconds, rest = divmod(changed_at, 1)
    times = (int(seconds),) * 3
    nanoseconds = (int(rest * 1e9),) * 3
    full_mode = (stat.S_IFDIR if directory else stat.S_IFREG) | stat.S_IMODE(mode)
    blocks = (size + 511) // 512
    return ATTR.pack(
        number, size, blocks, *times, *nanoseconds, full_mode, 1 + directory, owner, owner, 0, BLOCK, 0
    )


def directory_entry(number: int, position: int, name: str, *, directory: bool) -> bytes:
    """A name for READDIR; `position` is where the next one is asked for."""
    encoded = name.encode(errors="surrogateescape")
    kind = (stat.S_IFDIR if directory else stat.S_IFREG) >> 12
    padded = encoded + bytes(-len(encoded) % 8)
    return DIRENT.pack(number, position, len(encoded), kind) + padded
