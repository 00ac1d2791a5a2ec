"""The port to a disk that works aside: writes and syncs happen off the event loop, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from logstore.storage import StorageError

Work = Callable[[], None]
Done = Callable[[StorageError | None], None]


class DiskWorker(Protocol):
    """Does blocking work in the order in which it was given."""

    def run(self, work: Work, done: Done) -> None:
        """Call `work` aside, then `done` on the caller's loop: with None, or with the StorageError that it
        raised.
        """

    def close(self) -> None:
        """Wait for what has begun; what has not is dropped."""


class ThreadDiskWorker:
    """A thread per disk. Must be created on the event loop that `done` is to be called on."""

    def __init__(self, name: str = "quorum-disk") -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def run(self, work: Work, done: Done) -> None:
        """See `DiskWorker`. An error that is not the disk's is raised from the loop's exception handler."""
        self._thread.submit(self._work, work, done)

    def _work(self, work: Work, done: Done) -> None:
        report: Callable[[], None]
        try:
            work()
        except StorageError as error:
            report = partial(done, error)
        except BaseException as error:
            report = partial(_raise, error)
            self._loop.call_soon_threadsafe(report)
            raise
        else:
            report = partial(done, None)
        self._loop.call_soon_threadsafe(report)

    def close(self) -> None:
        """See `DiskWorker`."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def _raise(error: BaseException) -> None:
    raise error
