"""Mounts that nobody else sees, and that are gone with the processes that see them.

A run enters a mount namespace of its own before it starts anything (as root, or in a user namespace where
the system allows that), so that no mount is left behind, however it ends. The kernel is spoken to directly:
neither libfuse nor fusermount is needed.
"""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
from pathlib import Path

DEVICE = "/dev/fuse"
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
_MNT_DETACH = 2


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def enter_private_mounts() -> None:
    """From now on mounts of this process and its children are theirs alone; raises OSError."""
    libc = _libc()
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(_CLONE_NEWNS | (0 if user == 0 else _CLONE_NEWUSER)))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


def mount_fuse(directory: Path) -> int:
    """Mount a file system on `directory`; returns the descriptor to serve it on. Raises OSError."""
    descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    options = f"fd={descriptor},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
    try:
        _check(_libc().mount(b"kraft-chaos", bytes(directory), b"fuse.kraft-chaos", 0, options.encode()))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def bind(source: Path, directory: Path) -> None:
    """Let `directory` be `source`; raises OSError."""
    _check(_libc().mount(bytes(source), bytes(directory), None, _MS_BIND, None))


def unmount(directory: Path) -> None:
    """Take a mount away, whoever uses it; raises OSError."""
    _check(_libc().umount2(bytes(directory), _MNT_DETACH))


@functools.cache
def refusal() -> str | None:
    """Why there can be no such mount here, in one line; None if there can. Tries it in another process."""
    if not os.path.exists(DEVICE):
        return f"needs FUSE, and there is no {DEVICE} here"
    tried = subprocess.run(
        [sys.executable, "-m", "chaos.harness.power.mounting"], capture_output=True, text=True, check=False
    )
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip().splitlines()
    return f"needs FUSE mounts, which are not allowed here ({said[-1] if said else 'no reason given'})"


def _try() -> int:
    try:
        enter_private_mounts()
        os.close(mount_fuse(Path("/tmp")))
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_try())
