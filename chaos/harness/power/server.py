"""The process that is the disk of a cluster: `python -m chaos.harness.power.server DIRECTORY`.

It mounts a `Volume` and answers the kernel, one request after the other. On a control connection it is told
of power cuts: a line `NAME SEED` each, answered by a line with the number of changes that are gone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from chaos.harness.power import protocol
from chaos.harness.power.mounting import mount_fuse
from chaos.harness.power.protocol import Opcode, Request, answer, failure, parse_request
from chaos.harness.power.volume import Node, Volume, VolumeError
from kraft.processes import die_with_parent
from kraft.readiness import NodeAddresses, announce_ready

CAPACITY = 4 * 1024**3
AT_ONCE = 64
"""Requests that are answered before somebody else has a turn."""

NONE = b""


class FileServer:
    """Answers the kernel's requests out of a volume."""

    def __init__(self, volume: Volume, clock: Callable[[], float] = time.time) -> None:
        self._volume = volume
        self._clock = clock
        self._owner = os.geteuid()
        self._handlers: dict[int, Callable[[Request], bytes]] = {
            Opcode.INIT: self._init,
            Opcode.LOOKUP: self._look_up,
            Opcode.GETATTR: lambda request: self._attributes(self._volume.node(request.node)),
            Opcode.SETATTR: self._set_attributes,
            Opcode.MKDIR: self._make_directory,
            Opcode.UNLINK: lambda request: self._remove(request, directory=False),
            Opcode.RMDIR: lambda request: self._remove(request, directory=True),
            Opcode.RENAME: lambda request: self._rename(request, protocol.RENAME_IN.size),
            Opcode.RENAME2: lambda request: self._rename(request, protocol.RENAME2_IN.size),
            Opcode.OPEN: self._open,
            Opcode.OPENDIR: self._open,
            Opcode.CREATE: self._create,
            Opcode.READ: self._read,
            Opcode.WRITE: self._write,
            Opcode.READDIR: self._list,
            Opcode.RELEASE: self._release,
            Opcode.RELEASEDIR: self._release,
            Opcode.FSYNC: self._sync,
            Opcode.FSYNCDIR: self._sync,
            Opcode.STATFS: self._status,
            Opcode.FLUSH: lambda _: NONE,
            Opcode.ACCESS: lambda _: NONE,
            Opcode.DESTROY: lambda _: NONE,
        }

    def serve(self, request: Request) -> bytes | None:
        """The whole reply, None if there is to be none."""
        if request.opcode in protocol.UNANSWERED:
            return None
        handler = self._handlers.get(request.opcode)
        if handler is None:
            return failure(request.unique, errno.ENOSYS)
        try:
            return answer(request.unique, handler(request))
        except VolumeError as error:
            return failure(request.unique, error.number)

    def _init(self, request: Request) -> bytes:
        _, _, read_ahead, flags = protocol.INIT_IN.unpack_from(request.body)
        wanted = flags & (protocol.BIG_WRITES | protocol.MAX_PAGES_FLAG)
        return protocol.INIT_OUT.pack(
            protocol.MAJOR, protocol.MINOR, read_ahead, wanted, 16, 12, protocol.MAX_WRITE, 1,
            protocol.MAX_PAGES, 0, 0, 0,
        )  # fmt: skip

    def _stat(self, node: Node) -> bytes:
        return protocol.attributes(
            node.number, len(node.data), node.mode, node.changed_at,
            directory=node.is_directory, owner=self._owner,
        )  # fmt: skip

    def _entry(self, node: Node) -> bytes:
        # Nothing is valid for longer than this answer: after a power cut all may be different.
        return protocol.ENTRY_OUT.pack(node.number, 0, 0, 0, 0, 0) + self._stat(node)

    def _attributes(self, node: Node) -> bytes:
        return protocol.ATTR_OUT.pack(0, 0, 0) + self._stat(node)

    def _look_up(self, request: Request) -> bytes:
        return self._entry(self._volume.look_up(request.node, protocol.names(request.body)[0]))

    def _set_attributes(self, request: Request) -> bytes:
        valid, _, _, size, *rest = protocol.SETATTR_IN.unpack_from(request.body)
        node = self._volume.node(request.node)
        if valid & protocol.SET_SIZE:
            self._volume.truncate(node.number, size, self._clock())
        if valid & protocol.SET_MODE:
            node.mode = rest[7]
        return self._attributes(node)

    def _make_directory(self, request: Request) -> bytes:
        mode, _ = protocol.MKDIR_IN.unpack_from(request.body)
        (name,) = protocol.names(request.body[protocol.MKDIR_IN.size :])
        return self._entry(self._volume.create(request.node, name, mode, self._clock(), directory=True))

    def _remove(self, request: Request, *, directory: bool) -> bytes:
        self._volume.remove(request.node, protocol.names(request.body)[0], directory=directory)
        return NONE

    def _rename(self, request: Request, head: int) -> bytes:
        (target,) = protocol.RENAME_IN.unpack_from(request.body)
        old, new = protocol.names(request.body[head:])
        self._volume.rename(request.node, old, target, new)
        return NONE

    def _opened(self, node: Node) -> bytes:
        node.opens += 1
        return protocol.OPEN_OUT.pack(node.number, 0, 0)

    def _open(self, request: Request) -> bytes:
        return self._opened(self._volume.node(request.node))

    def _create(self, request: Request) -> bytes:
        _, mode, _, _ = protocol.CREATE_IN.unpack_from(request.body)
        (name,) = protocol.names(request.body[protocol.CREATE_IN.size :])
        node = self._volume.create(request.node, name, mode, self._clock())
        return self._entry(node) + self._opened(node)

    def _read(self, request: Request) -> bytes:
        _, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        return bytes(self._volume.node(request.node).data[offset : offset + size])

    def _write(self, request: Request) -> bytes:
        _, offset, size, *_ = protocol.WRITE_IN.unpack_from(request.body)
        start = protocol.WRITE_IN.size
        self._volume.write(request.node, offset, request.body[start : start + size], self._clock())
        return protocol.WRITE_OUT.pack(size, 0)

    def _list(self, request: Request) -> bytes:
        _, offset, size, *_ = protocol.READ_IN.unpack_from(request.body)
        node = self._volume.node(request.node)
        found = [(".", node.number), ("..", node.number), *node.names.items()]
        listed = b""
        for position, (name, number) in enumerate(found[offset:], offset + 1):
            directory = self._volume.node(number).is_directory
            entry = protocol.directory_entry(number, position, name, directory=directory)
            if len(listed) + len(entry) > size:
                break
            listed += entry
        return listed

    def _release(self, request: Request) -> bytes:
        node = self._volume.nodes.get(request.node)
        if node is not None:
            node.opens = max(0, node.opens - 1)
            if not node.opens and not node.links:
                self._volume.collect()
        return NONE

    def _sync(self, request: Request) -> bytes:
        self._volume.node(request.node).sync()
        return NONE

    def _status(self, _: Request) -> bytes:
        blocks = self._volume.capacity // protocol.BLOCK
        free = (self._volume.capacity - self._volume.used) // protocol.BLOCK
        return protocol.STATFS_OUT.pack(
            blocks, free, free, 1 << 20, 1 << 20, protocol.BLOCK, 255, protocol.BLOCK, 0
        )


def answer_kernel(descriptor: int, server: FileServer) -> None:
    """Answer what is waiting; ends the process when the file system is unmounted."""
    for _ in range(AT_ONCE):
        try:
            data = os.read(descriptor, protocol.BUFFER)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ENODEV:
                raise SystemExit(0) from None
            if error.errno in (errno.ENOENT, errno.EINTR):
                continue  # the request was taken back
            raise
        reply = server.serve(parse_request(memoryview(data)))
        if reply is not None:
            with contextlib.suppress(FileNotFoundError):  # nobody waits for it any more
                os.write(descriptor, reply)


async def serve(directory: Path, ready_fd: int) -> None:
    """Mount and answer until the end of the process."""
    volume = Volume(CAPACITY)
    server = FileServer(volume)
    descriptor = mount_fuse(directory)
    asyncio.get_running_loop().add_reader(descriptor, answer_kernel, descriptor, server)

    async def control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            name, seed = line.decode().split()
            writer.write(b"%d\n" % volume.power_cut(name, Random(seed)))
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(control, "127.0.0.1", 0)
    address = listening.sockets[0].getsockname()
    announce_ready(ready_fd, NodeAddresses(0, (address[0], address[1])))
    await listening.serve_forever()


def main() -> int:
    """Parse the command line, and serve."""
    parser = argparse.ArgumentParser(prog="chaos.harness.power.server")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent_pid)
    try:
        asyncio.run(serve(arguments.directory, arguments.ready_fd))
    except OSError as error:
        print(f"disk: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
