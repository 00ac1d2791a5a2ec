"""A node's memory on huge pages: what is full is chosen, and nothing of it is lost."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from kraft import huge_pages
from kraft.huge_pages import HUGE_PAGE, gather_heap

SMAPS = """\
00400000-00600000 r-xp 00000000 00:00 0
Size:               2048 kB
Rss:                2048 kB
00600000-00e00000 rw-p 00000000 00:00 0    [heap]
Size:               8192 kB
Rss:                8000 kB
VmFlags: rd wr mr mw me ac
01000000-01300000 rw-p 00000000 00:00 0
Rss:                3072 kB
02000000-02800000 rw-p 00000000 00:00 0
Rss:                 100 kB
03000000-03800000 rw-p 00000000 08:01 77   /some/file
Rss:                8192 kB
04100000-04300000 rw-p 00000000 00:00 0
Rss:                2048 kB
"""


def test_full_private_memory_is_chosen_in_whole_huge_pages() -> None:
    assert tuple(huge_pages._full_ranges(SMAPS)) == ((0x600000, 0xE00000), (0x1000000, 0x1200000))


def test_what_is_gathered_stays_as_it_was() -> None:
    with mmap.mmap(-1, 4 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        # A mapping of its own, whatever lies beside it: the kernel joins none that a child would not have.
        memory.madvise(mmap.MADV_DONTFORK)
        pattern = bytes(range(256)) * (len(memory) // 256)
        memory[:] = pattern
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        first, last = -(-address // HUGE_PAGE) * HUGE_PAGE, (address + len(memory)) // HUGE_PAGE * HUGE_PAGE
        assert (first, last) in huge_pages._full_ranges(Path("/proc/self/smaps").read_text())
        gathered = gather_heap()
        assert gathered % HUGE_PAGE == 0
        assert memory[:] == pattern
