"""Who is at the other end of a loopback connection, asked of the kernel.

All nodes dial from 127.0.0.1, and the addresses that a broker registers are the same for everybody. So a
proxy in front of a destination has to find out which node dials it: `/proc/net/tcp` has the inode of the
peer's socket, and one of our processes holds that inode among its descriptors. Neither the nodes nor the
clients need to know that they are behind a proxy.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

OUTSIDE = "outside"
"""A caller that is none of ours: the observer, or somebody who looks on with a tool."""

CLIENT = "client"

_CLIENT_MODULE = b"chaos.harness.client_process"


def caller(address: tuple[str, int], parent_pid: int) -> str:
    """The id of the node, CLIENT, or OUTSIDE: whose socket is bound to `address`.

    `parent_pid` is the process whose children our nodes and clients are.
    """
    inode = _inode(address)
    if inode is None:
        return OUTSIDE
    wanted = f"socket:[{inode}]"
    for pid in children(parent_pid):
        if _holds(pid, wanted):
            return _role(pid)
    return OUTSIDE


def children(parent_pid: int) -> list[int]:
    """The processes that `parent_pid` has started and that run still."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{parent_pid}/task"):
            with contextlib.suppress(OSError):
                found += [
                    int(pid) for pid in Path(f"/proc/{parent_pid}/task/{task}/children").read_text().split()
                ]
    return found


def _inode(address: tuple[str, int]) -> str | None:
    """The inode of the IPv4 TCP socket that is bound to `address`."""
    packed = int.from_bytes(socket.inet_aton(address[0]), "little")
    local = f"{packed:08X}:{address[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            fields = line.split(maxsplit=10)
            if fields[1] == local and fields[9] != "0":
                return fields[9]
    return None


def _holds(pid: int, wanted: str) -> bool:
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(directory):
            with contextlib.suppress(OSError):
                if os.readlink(f"{directory}/{descriptor}") == wanted:
                    return True
    return False


def _role(pid: int) -> str:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return OUTSIDE
    if b"--node-id" in arguments:
        return arguments[arguments.index(b"--node-id") + 1].decode()
    return CLIENT if _CLIENT_MODULE in arguments else OUTSIDE
